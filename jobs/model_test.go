package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	modelTTL   = time.Minute
	modelMax   = 4
	modelBytes = 1000
)

// step is one thing done to a table, to the call number which of those started if it is
// about one.
type step struct {
	do    string
	which int
	n     int
	flag  bool
}

func steps() *rapid.Generator[[]step] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			do:    rapid.SampledFrom([]string{"start", "start", "wait", "wait", "report", "report", "end", "end", "leave", "cancel", "sleep"}).Draw(t, "do"),
			which: rapid.IntRange(0, 99).Draw(t, "which"),
			n:     rapid.IntRange(0, 400).Draw(t, "n"),
			flag:  rapid.Bool().Draw(t, "flag"),
		}
	}), 30, 90)
}

// modelCall is what a call has to be, and its work, which does what it is told.
type modelCall struct {
	job      *Job
	owner    string
	outlives bool
	bytes    int64 // that it is called with

	report Report // of the work
	ends   chan outcome

	state  State
	isJob  bool
	gone   bool // as a job
	text   string
	told   string // by waits
	result int64
	ended  time.Time
}

type outcome struct {
	result Result
	err    error
}

// model is the simplest table there can be: a list.
type model struct {
	table *Table
	calls []*modelCall
	ended []*modelCall // those that are jobs, in this order
}

// kept is what is kept of jobs, and of the text of calls, in bytes.
func (m *model) kept() (jobs int, bytes int64) {
	for _, c := range m.calls {
		switch {
		case c.isJob && !c.gone:
			jobs++
			bytes += c.holds()
		case c.state == Running:
			bytes += int64(len(c.text))
		}
	}
	return jobs, bytes
}

// holds is what is kept of a job.
func (c *modelCall) holds() int64 {
	n := int64(len(c.text)) + c.result
	if c.state == Running {
		n += c.bytes
	}
	return n
}

// trim drops what has expired, and then, until there is room for more, what ended first of
// the owner of most.
func (m *model) trim(moreJobs int, moreBytes int64) {
	for len(m.ended) > 0 {
		jobs, bytes := m.kept()
		jobs, bytes = jobs+moreJobs, bytes+moreBytes
		var at int
		switch {
		case time.Since(m.ended[0].ended) >= modelTTL:
		case bytes > modelBytes:
			at = m.oldestOfMost((*modelCall).holds)
		case jobs > modelMax:
			at = m.oldestOfMost(func(*modelCall) int64 { return 1 })
		default:
			return
		}
		m.ended[at].gone = true
		m.ended = slices.Delete(m.ended, at, at+1)
	}
}

func (m *model) oldestOfMost(holds func(*modelCall) int64) int {
	of := func(owner string) (sum int64) {
		for _, c := range m.calls {
			if c.isJob && !c.gone && c.owner == owner {
				sum += holds(c)
			}
		}
		return sum
	}
	owner := m.ended[0].owner
	for _, c := range m.ended {
		if of(c.owner) > of(owner) {
			owner = c.owner
		}
	}
	return slices.IndexFunc(m.ended, func(c *modelCall) bool { return c.owner == owner })
}

func (m *model) end(c *modelCall, as State, result int64) {
	c.state, c.result, c.ended = as, result, time.Now()
	if !c.isJob {
		c.text = ""
		return
	}
	m.trim(0, 0)
	m.ended = append(m.ended, c)
}

// publish makes c a job if there is room.
func (m *model) publish(c *modelCall) bool {
	own, all := c.bytes, c.bytes
	for _, other := range m.calls {
		if other.isJob && other.state == Running {
			all += other.bytes
			if other.owner == c.owner {
				own += other.bytes
			}
		}
	}
	if all > modelBytes/2 || own > modelBytes/4 {
		return false
	}
	m.trim(1, c.bytes)
	jobs, _ := m.kept()
	c.isJob = jobs < modelMax
	return c.isJob
}

// step does one step to the table and to the model, and says where they differ.
func (m *model) step(s step) error {
	if s.do == "start" {
		m.start(s)
		return nil
	}
	if s.do == "sleep" {
		time.Sleep(time.Duration(s.n) * time.Second / 4)
		return nil
	}
	if len(m.calls) == 0 {
		return nil
	}
	c := m.calls[s.which%len(m.calls)]
	switch s.do {
	case "wait":
		return m.wait(c, time.Duration(s.n)*10*time.Millisecond)
	case "leave":
		return m.leave(c)
	case "cancel":
		return m.cancel(c, s.flag)
	case "report":
		delta := fmt.Sprint(s.n)
		c.report(Progress{Delta: delta})
		if c.state == Running {
			m.trim(0, int64(len(delta)))
			c.text += delta
		}
	case "end":
		if c.state != Running {
			return nil
		}
		as, err := Done, error(nil)
		if s.flag {
			as, err = Failed, errBroken
		}
		c.ends <- outcome{Result{c, int64(s.n)}, err}
		m.end(c, as, int64(s.n))
	}
	return nil
}

func (m *model) start(s step) {
	c := &modelCall{owner: fmt.Sprint(s.n % 2), outlives: s.flag, bytes: int64(s.which), ends: make(chan outcome), state: Running}
	call := Call{Owner: c.owner, Outlives: c.outlives, Bytes: c.bytes}
	c.job = m.table.Start(context.Background(), call, func(ctx context.Context, report Report) (Result, error) {
		c.report = report
		select {
		case o := <-c.ends:
			return o.result, o.err
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	})
	m.calls = append(m.calls, c)
	synctest.Wait()
}

func (m *model) wait(c *modelCall, d time.Duration) error {
	before, start := c.text, time.Now()
	if c.state != Running {
		d, before = 0, c.told+strings.TrimPrefix(c.text, c.told)
	}
	s, err := c.job.Wait(context.Background(), d, func(u Update) { c.told += u.Delta })
	var want error
	if m.trim(0, 0); c.state == Running && !c.isJob && !m.publish(c) {
		want = ErrFull
	}
	if s.State != c.state || !errors.Is(err, want) || (s.ID != "") != c.isJob || time.Since(start) != d {
		return fmt.Errorf("Wait(%s) = %+v, %v after %s; want %s, a job: %t, %v", d, s, err, time.Since(start), c.state, c.isJob, want)
	}
	if (c.isJob || c.state == Running) && c.told != before {
		return fmt.Errorf("waits told %q, want %q", c.told, before)
	}
	return nil
}

// leave waits with a context that is over.
func (m *model) leave(c *modelCall) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := c.job.Wait(ctx, time.Hour, nil)
	var want error
	switch {
	case c.state != Running:
	case c.isJob:
		want = context.Canceled
	case c.outlives:
		if want = context.Canceled; !m.publish(c) {
			want = nil
			m.end(c, Cancelled, 0)
		}
	default:
		m.end(c, Cancelled, 0)
	}
	if s.State != c.state || !errors.Is(err, want) || (s.ID != "") != c.isJob {
		return fmt.Errorf("Wait when cancelled = %+v, %v; want %s, a job: %t, %v", s, err, c.state, c.isJob, want)
	}
	return nil
}

// cancel cancels a job as its owner or as another.
func (m *model) cancel(c *modelCall, other bool) error {
	owner := c.owner
	if other {
		owner += "'s enemy"
	}
	j, err := m.table.Find(owner, c.job.Status().ID)
	if found := c.isJob && !c.gone && !other; found != (err == nil) {
		return fmt.Errorf("Find = %v, want it found: %t", err, found)
	}
	if err != nil {
		return nil
	}
	if c.state == Running {
		m.end(c, Cancelled, 0)
	}
	if s := j.Cancel(context.Background()); s.State != c.state {
		return fmt.Errorf("Cancel = %s, want %s", s.State, c.state)
	}
	return nil
}

// check compares what the owners see, and what is kept.
func (m *model) check() error {
	m.trim(0, 0)
	want, got := map[string][]string{}, map[string][]string{}
	for _, c := range m.calls {
		if c.isJob && !c.gone {
			s := fmt.Sprintf("%s: %s, %q, %d", c.job.Status().ID, c.state, c.text, c.result)
			want[c.owner] = append(want[c.owner], s)
		}
	}
	for _, owner := range []string{"0", "1"} {
		for _, s := range m.table.List(owner) {
			j, err := m.table.Find(owner, s.ID)
			if err != nil {
				return fmt.Errorf("Find of what is listed: %w", err)
			}
			text, _ := j.Text()
			got[owner] = append(got[owner], fmt.Sprintf("%s: %s, %q, %d", s.ID, s.State, text, s.Result.Bytes))
		}
		slices.Sort(got[owner])
		slices.Sort(want[owner])
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		return fmt.Errorf("jobs (-want +got):\n%s", diff)
	}
	gotJobs, gotBytes := kept(m.table)
	if jobs, bytes := m.kept(); gotJobs != jobs || gotBytes != bytes || jobs > modelMax || bytes > modelBytes {
		return fmt.Errorf("%d jobs, %d bytes are kept, want %d, %d", gotJobs, gotBytes, jobs, bytes)
	}
	return nil
}

// TestModel does random steps to a table and to a model of it. Texts stay so short that
// they always fit beside results and what calls hold.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		todo := steps().Draw(rt, "steps")
		var failed error
		synctest.Test(t, func(t *testing.T) {
			m := &model{table: newTable(t, Options{TTL: modelTTL, Max: modelMax, MaxBytes: modelBytes})}
			for i, s := range todo {
				err := m.step(s)
				synctest.Wait()
				if failed = errors.Join(err, m.check()); failed != nil {
					failed = fmt.Errorf("step %d, %+v: %w", i+1, s, failed)
					return
				}
			}
		})
		if failed != nil {
			rt.Fatal(failed)
		}
	})
}
