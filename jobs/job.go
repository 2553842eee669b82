package jobs

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Job is a call, and a job once it has an id. Its methods are safe for concurrent use.
type Job struct {
	table   *Table
	call    Call
	started time.Time
	done    chan struct{} // closed when the work has returned and all is recorded and told
	telling sync.Mutex    // held while a change is recorded and told, so that they are told in order

	// What follows is guarded by table.mu.

	id       string // "" until it is published
	state    State
	stopped  State                   // what it ends as when its work fails: "" if nobody stopped it
	cancel   context.CancelCauseFunc // nil after the end
	now      Progress                // as reported last, without the delta
	reports  int
	text     []byte // its bytes never change: they are read without the lock
	dropped  int    // bytes of text that are gone
	told     int    // up to where text was told by Wait
	changes  int
	watchers []chan struct{} // of capacity 1
	result   Result
	err      error
	ended    time.Time
}

// Status is where a call or a job stands.
type Status struct {
	ID          string // "" for what is not a job
	Tool        string
	State       State
	Phase       string
	Done, Total float64
	Message     func() string // nil for none, and after the end
	Started     time.Time
	Ended       time.Time // zero while it runs
	Seq         int       // of the latest Change, 0 before the first
	Result      Result    // after the end
	Err         error     // after the end: why it is not Done
}

// Update is what a watcher has not seen yet. Its Delta begins at Offset, which is further
// than where the last one ended only when the text between is no longer kept.
type Update struct {
	Progress
	Offset int // in bytes
}

func (u Update) end() int { return u.Offset + len(u.Delta) }

// PanicError is the error of work that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Wait waits for the end, for at most d, and gives tell, unless it is nil, what waits of
// this job that were not given up have not been told before. tell must not block.
//
// An ended call is the caller's alone: it leaves nothing behind. One that still runs after
// d becomes a job, which the Status names. With [ErrFull] it could not, runs on, and is to
// be waited for again. Of a call only its caller may wait.
//
// When ctx ends before d, its error is returned, and a job runs on. A call is cancelled,
// and waited for at most Options.Grace; if it Outlives, it becomes a job in place of that, as
// long as there is room. What has ended by then is returned without an error.
func (j *Job) Wait(ctx context.Context, d time.Duration, tell func(Update)) (Status, error) {
	told := j.follow(ctx, d, tell)
	givenUp := context.Cause(ctx)
	if j.leave(givenUp) {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.table.opts.Grace)
		defer cancel()
		j.within(grace)
	}
	switch s := j.Status(); {
	case s.State != Running:
		j.toldUpTo(j.catchUp(told, tell))
		return s, nil
	case givenUp != nil: // who gave up may not have heard it all: the next wait tells it again
		return s, ctx.Err()
	case s.ID == "":
		j.toldUpTo(told)
		return s, ErrFull
	default:
		j.toldUpTo(told)
		return s, nil
	}
}

// follow tells updates until the end, for at most d. It returns up to where text has been
// told.
func (j *Job) follow(ctx context.Context, d time.Duration, tell func(Update)) (told int) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	told = j.toldUpTo(0)
	if tell == nil {
		j.within(ctx)
		return told
	}
	for u := range j.Watch(ctx, told) {
		tell(u)
		told = u.end()
	}
	return told
}

// catchUp tells the text beyond what has been told.
func (j *Job) catchUp(told int, tell func(Update)) int {
	if tell == nil {
		return told
	}
	if u, _, _ := j.since(told); u.Delta != "" {
		tell(u)
		told = u.end()
	}
	return told
}

// toldUpTo notes and returns up to where text has been told by Wait.
func (j *Job) toldUpTo(offset int) int {
	j.table.mu.Lock()
	defer j.table.mu.Unlock()
	j.told = max(j.told, offset)
	return j.told
}

// leave decides what becomes of a call that runs when its caller's wait is over: a job if
// there is room. One that the caller gave up, for whatever cause, is stopped unless it is a
// job that outlives that: what nobody can list nobody could stop.
func (j *Job) leave(givenUp error) (stopped bool) {
	t := j.table
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case j.state != Running || j.id != "":
		return false
	case givenUp == nil:
		t.publish(j)
		return false
	case j.call.Outlives && t.publish(j):
		return false
	}
	j.stop(Cancelled, givenUp)
	return true
}

// Watch yields what is new since an offset in the text: at first where the call stands if
// it has reported anything, then each time that it has reported again, or less often if
// the loop is slow, which never holds up the work. It stops at the end, of which all has
// been yielded then, or with ctx.
func (j *Job) Watch(ctx context.Context, offset int) iter.Seq[Update] {
	return func(yield func(Update) bool) {
		wake := make(chan struct{}, 1)
		j.attach(wake)
		defer j.detach(wake)
		for seen := 0; ; {
			u, reports, ended := j.since(offset)
			if reports > seen && !yield(u) || ended {
				return
			}
			offset, seen = u.end(), reports
			select {
			case <-wake:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (j *Job) attach(wake chan struct{}) {
	j.table.mu.Lock()
	defer j.table.mu.Unlock()
	j.watchers = append(j.watchers, wake)
}

func (j *Job) detach(wake chan struct{}) {
	j.table.mu.Lock()
	defer j.table.mu.Unlock()
	j.watchers = slices.DeleteFunc(j.watchers, func(w chan struct{}) bool { return w == wake })
}

// wake must be called with table.mu held.
func (j *Job) wake() {
	for _, w := range j.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// since returns what is new since an offset, and how many reports that takes in.
func (j *Job) since(offset int) (u Update, reports int, ended bool) {
	t := j.table
	t.mu.Lock()
	u.Progress, reports, ended = j.now, j.reports, j.state != Running
	text := j.text
	u.Offset = max(offset, j.dropped)
	text = text[min(u.Offset-j.dropped, len(text)):]
	t.mu.Unlock()
	u.Delta = string(text)
	return u, reports, ended
}

// Status returns where the job stands.
func (j *Job) Status() Status {
	j.table.mu.Lock()
	defer j.table.mu.Unlock()
	return j.status()
}

// status must be called with table.mu held.
func (j *Job) status() Status {
	s := Status{
		ID: j.id, Tool: j.call.Tool, State: j.state, Phase: j.now.Phase, Done: j.now.Done, Total: j.now.Total,
		Started: j.started, Ended: j.ended, Seq: j.changes, Result: j.result, Err: j.err,
	}
	if j.state == Running {
		s.Message = j.now.Message
	}
	return s
}

// Text returns the text so far, from its byte at offset on: what came before that is no
// longer kept. offset is 0 unless the text is longer than Options.MaxText or memory short.
func (j *Job) Text() (text string, offset int) {
	u, _, _ := j.since(0)
	return u.Delta, u.Offset
}

// Cancel cancels the work, and waits until it has returned, ctx ends, or Options.Grace is
// over, to return where it stands then: what had ended before the cancel stays as it was,
// and what does not heed it is still Running.
func (j *Job) Cancel(ctx context.Context) Status {
	j.table.mu.Lock()
	j.stop(Cancelled, ErrCancelled)
	j.table.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, j.table.opts.Grace)
	defer cancel()
	j.within(ctx)
	return j.Status()
}

// stop must be called with table.mu held. The first stop says what the job ends as.
func (j *Job) stop(as State, cause error) {
	if j.state == Running {
		j.stopped = cmp.Or(j.stopped, as)
		j.cancel(cause)
	}
}

// within waits for the end until ctx ends.
func (j *Job) within(ctx context.Context) {
	select {
	case <-j.done:
	case <-ctx.Done():
	}
}

// run is the work from beginning to end.
func (j *Job) run(ctx context.Context, work Work) {
	defer close(j.done)
	result, err := work.do(ctx, j.report)
	j.settle()
	j.telling.Lock()
	defer j.telling.Unlock()
	if c := j.end(result, err); c.ID != "" {
		j.table.opts.Changed(c)
	}
}

// settle takes down the message that the work reported last: it would go on counting.
func (j *Job) settle() {
	t := j.table
	t.mu.Lock()
	message := j.now.Message
	t.mu.Unlock()
	if message == nil {
		return
	}
	defer func() { _ = recover() }() // of the message, not of the work
	words := message()
	t.mu.Lock()
	j.now.Message = func() string { return words }
	t.mu.Unlock()
}

func (w Work) do(ctx context.Context, report Report) (r Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return w(ctx, report)
}

// report is the Report of the job's work.
func (j *Job) report(p Progress) {
	j.telling.Lock()
	defer j.telling.Unlock()
	if c := j.note(p); c.ID != "" {
		j.table.opts.Changed(c)
	}
}

// note records a report. It returns the change to tell, if there is one.
func (j *Job) note(p Progress) Change {
	t := j.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if j.state != Running {
		return Change{}
	}
	turned := p.Phase != j.now.Phase
	t.write(j, p.Delta)
	p.Delta = ""
	j.now = p
	j.reports++
	j.wake()
	if !turned {
		return Change{}
	}
	return j.change()
}

// end records the end. It returns the change to tell, if there is one.
func (j *Job) end(r Result, err error) Change {
	t := j.table
	t.mu.Lock()
	defer t.mu.Unlock()
	j.state, j.result, j.err, j.ended = Done, r, err, time.Now()
	if err != nil {
		j.state = cmp.Or(j.stopped, Failed)
	}
	j.cancel(nil)
	j.cancel = nil // with it goes what its context holds
	delete(t.running, j)
	t.keep(j)
	j.wake()
	return j.change()
}

// change must be called with table.mu held. Nobody can have asked about what is not a job.
func (j *Job) change() Change {
	if j.id == "" {
		return Change{}
	}
	j.changes++
	return Change{Owner: j.call.Owner, ID: j.id, Seq: j.changes, State: j.state, Phase: j.now.Phase}
}
