package jobs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBroken = errors.New("broken")

// answers is work that writes a word a second and then ends with all of them, or with err.
func answers(err error, words ...string) Work {
	return func(ctx context.Context, report Report) (Result, error) {
		for i, w := range words {
			if err := sleep(ctx, time.Second); err != nil {
				return Result{}, err
			}
			report(Progress{Phase: "generating", Done: float64(i + 1), Delta: w})
		}
		text := strings.Join(words, "")
		return Result{text, int64(len(text))}, err
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newTable makes a Table in a bubble, at whose end nothing runs.
func newTable(t *testing.T, o Options) *Table {
	t.Helper()
	table := New(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if !table.Shutdown(ctx) {
			t.Error("Shutdown() = false; work has not returned")
		}
	})
	return table
}

// published starts work and waits until it is a job.
func published(t *testing.T, table *Table, owner string, work Work) *Job {
	t.Helper()
	j := table.Start(t.Context(), Call{Owner: owner, Tool: "test"}, work)
	if s, err := j.Wait(t.Context(), 0, nil); s.ID == "" || err != nil {
		t.Errorf("Wait(0) = %+v, %v; want a job", s, err)
	}
	return j
}

func checkState(t *testing.T, j *Job, want State) {
	t.Helper()
	if got := j.Status(); got.State != want {
		t.Errorf("job is %s (%v), want %s", got.State, got.Err, want)
	}
}

// TestAnswerOrJob follows one call through a wait and later waits, to its result.
func TestAnswerOrJob(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name   string
		waits  []time.Duration
		told   []string // of text, by each wait
		err    error
		answer bool // it never was a job
		want   State
	}{
		{"answer", []time.Duration{9 * time.Second}, []string{"one two three"}, nil, true, Done},
		{"failed answer", []time.Duration{9 * time.Second}, []string{"one two three"}, errBroken, true, Failed},
		{"job", []time.Duration{1500 * ms, 9 * time.Second}, []string{"one ", "two three"}, nil, false, Done},
		{"job at once", []time.Duration{0, 9 * time.Second}, []string{"", "one two three"}, nil, false, Done},
		{"failed job", []time.Duration{0, 2500 * ms, 9 * time.Second}, []string{"", "one two ", "three"}, errBroken, false, Failed},
		{"no time", []time.Duration{-1, -1, -1, 9 * time.Second}, []string{"", "", "", "one two three"}, nil, false, Done},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := newTable(t, Options{})
				j := table.Start(t.Context(), Call{Owner: "ann", Tool: "chat"}, answers(test.err, "one ", "two ", "three"))
				var s Status
				var told []string
				for _, d := range test.waits {
					var b strings.Builder
					var err error
					if s, err = j.Wait(t.Context(), d, func(u Update) { b.WriteString(u.Delta) }); err != nil {
						t.Errorf("Wait(%s): %v", d, err)
					}
					told = append(told, b.String())
				}
				if diff := gocmp.Diff(test.told, told); diff != "" {
					t.Errorf("told by Wait of %v (-want +got):\n%s", test.waits, diff)
				}
				if answer := s.ID == "" && len(table.List("ann")) == 0; answer != test.answer {
					t.Errorf("id %q, listed %v; want an answer: %t", s.ID, table.List("ann"), test.answer)
				}
				if s.State != test.want || !errors.Is(s.Err, test.err) || s.Result.Value != "one two three" || s.Ended.Sub(s.Started) != 3*time.Second {
					t.Errorf("after the end: %+v; want %s, %v, 3 s", s, test.want, test.err)
				}
			})
		})
	}
}

// TestCallerLeaves cancels the caller's context, before the call is a job and after.
func TestCallerLeaves(t *testing.T) {
	tests := []struct {
		name     string
		outlives bool
		job      bool // by then
		want     State
	}{
		{"call", false, false, Cancelled},
		{"call that outlives it", true, false, Running},
		{"job", false, true, Running},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := newTable(t, Options{})
				ctx, cancel := context.WithCancelCause(t.Context())
				j := table.Start(ctx, Call{Owner: "ann", Outlives: test.outlives}, answers(nil, "one ", "two"))
				if test.job {
					if _, err := j.Wait(ctx, 0, nil); err != nil {
						t.Fatalf("Wait(0): %v", err)
					}
				}
				time.AfterFunc(time.Second/2, func() { cancel(errBroken) })
				start := time.Now()
				s, err := j.Wait(ctx, time.Hour, nil)
				if s.State != test.want || time.Since(start) != time.Second/2 {
					t.Errorf("Wait = %s after %s, want %s after 500ms", s.State, time.Since(start), test.want)
				}
				if running := test.want == Running; errors.Is(err, context.Canceled) != running || len(table.List("ann")) == 1 != running {
					t.Errorf("Wait: %v, listed: %v; want an error and a job: %t", err, table.List("ann"), running)
				}
				<-j.done
				if j.Status().State == Running {
					t.Errorf("runs for ever")
				}
			})
		})
	}
}

// A call that does not heed its caller's cancel holds him up for no longer than Grace.
func TestStubbornWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{Grace: time.Second})
		stubborn := func(context.Context, Report) (Result, error) {
			time.Sleep(time.Minute)
			return Result{}, errBroken
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		s, err := table.Start(ctx, Call{}, stubborn).Wait(ctx, time.Hour, nil)
		if s.State != Running || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("Wait = %s, %v after %s; want running and a deadline after 2s", s.State, err, time.Since(start))
		}
		j := published(t, table, "ann", stubborn)
		start = time.Now()
		if s := j.Cancel(t.Context()); s.State != Running || time.Since(start) != time.Second {
			t.Errorf("Cancel = %s after %s, want running after 1s", s.State, time.Since(start))
		}
		start = time.Now()
		if ok := table.Shutdown(ctx); ok || time.Since(start) != time.Second {
			t.Errorf("Shutdown = %t after %s, want false after 1s", ok, time.Since(start))
		}
		<-j.done
		checkState(t, j, Cancelled) // the first to stop it says what it is
		time.Sleep(time.Minute)
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{})
		j := published(t, table, "ann", answers(nil, "one ", "two"))
		id := j.Status().ID
		if _, err := table.Find("bob", id); !errors.Is(err, ErrNoJob) {
			t.Errorf("Find by another owner: %v, want %v", err, ErrNoJob)
		}
		if found, err := table.Find("ann", id); found != j || err != nil {
			t.Errorf("Find by its owner = %p, %v; want %p", found, err, j)
		}
		time.Sleep(1500 * time.Millisecond)
		if s := j.Cancel(t.Context()); s.State != Cancelled || !errors.Is(s.Err, context.Canceled) {
			t.Errorf("Cancel = %s, %v; want cancelled", s.State, s.Err)
		}
		if text, from := j.Text(); text != "one " || from != 0 {
			t.Errorf("Text = %q from %d, want what had come", text, from)
		}
		done := published(t, table, "ann", answers(nil, "one"))
		<-done.done
		if s := done.Cancel(t.Context()); s.State != Done {
			t.Errorf("Cancel after the end = %s, want done", s.State)
		}
		if s := table.List("ann", Running, Done); len(s) != 1 || s[0].ID != done.Status().ID {
			t.Errorf("List(running, done) = %+v, want the one that is done", s)
		}
		if s := table.List("bob"); len(s) != 0 {
			t.Errorf("List of another owner = %+v, want nothing", s)
		}
	})
}

func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newTable(t, Options{}).Start(t.Context(), Call{}, func(context.Context, Report) (Result, error) { panic("ouch") })
		s, _ := j.Wait(t.Context(), time.Second, nil)
		var p *PanicError
		if s.State != Failed || !errors.As(s.Err, &p) || p.Value != "ouch" || len(p.Stack) == 0 {
			t.Errorf("Wait = %s, %v; want failed, a panic and its stack", s.State, s.Err)
		}
	})
}

// TestContext: work sees the values of its caller's context, but ends on its own.
func TestContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		var worked context.Context
		j := newTable(t, Options{}).Start(ctx, Call{}, func(ctx context.Context, _ Report) (Result, error) {
			worked = ctx
			return Result{Value: ctx.Value(key{})}, sleep(ctx, time.Second)
		})
		cancel()
		<-j.done
		if s := j.Status(); s.State != Done || s.Result.Value != "value" {
			t.Errorf("ended %s with %v, want done with the context's value", s.State, s.Result.Value)
		}
		if worked.Err() == nil {
			t.Error("the work's context outlives the work")
		}
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{})
		short := published(t, table, "ann", answers(nil, "a", "b"))
		long := published(t, table, "ann", answers(nil, strings.Split("abcdefghij", "")...))
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		start := time.Now()
		if ok := table.Shutdown(ctx); !ok || time.Since(start) != 3500*time.Millisecond {
			t.Errorf("Shutdown = %t after %s, want true after 3.5s", ok, time.Since(start))
		}
		checkState(t, short, Done)
		checkState(t, long, Lost)
		late := table.Start(t.Context(), Call{}, func(context.Context, Report) (Result, error) {
			t.Error("work ran after Shutdown")
			return Result{}, nil
		})
		if s, err := late.Wait(t.Context(), 0, nil); s.State != Lost || !errors.Is(s.Err, ErrShutdown) || s.ID != "" || err != nil {
			t.Errorf("a call after Shutdown: %+v, %v; want lost", s, err)
		}
		if s := long.Cancel(t.Context()); s.State != Lost {
			t.Errorf("Cancel after Shutdown = %s, want lost", s.State)
		}
		time.Sleep(24 * time.Hour)
		if list := table.List("ann", Done); len(list) != 1 {
			t.Errorf("a day after Shutdown: %+v, want what was done", list)
		}
	})
}
