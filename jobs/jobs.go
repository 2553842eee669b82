// Package jobs owns calls that outlive their request. Every call starts as one that is
// waited for; what has not ended when the wait is over is published, and from then on is a
// job: known by its id to the caller who started it, and to nobody else. The package knows
// nothing of what a call does, nor of how callers reach it.
//
// Jobs are kept in the memory of the process and end with it.
package jobs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"
)

// State is where a job stands.
type State string

// States. All but Running are final.
const (
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled" // by its owner, or by its caller before it was a job
	Lost      State = "lost"      // it ended because the server did
)

var (
	// ErrNoJob is the answer to an id that is unknown, expired or another owner's.
	ErrNoJob = errors.New("no such job")
	// ErrFull is why a call could not become a job: there are Options.Max, and all run, or
	// Options.MaxRunning of its owner, or those that run were called with too much.
	ErrFull = errors.New("too many jobs are running")
	// ErrTooLarge is the error of a job whose result did not fit in Options.MaxBytes.
	ErrTooLarge = errors.New("the result is too large to be kept")
	// ErrCancelled and ErrShutdown are causes of the end of a work's context. That of a
	// call whose caller gave up is the cause of the caller's own.
	ErrCancelled = errors.New("the job was cancelled")
	ErrShutdown  = errors.New("the server shut down")
)

// Options tunes a Table. The zero value works: each field that is zero takes its default.
type Options struct {
	// TTL is how long a job is kept after its end. Default 1 h.
	TTL time.Duration
	// Max is how many jobs there may be, running or ended. Default 1,000. Of what ended, the
	// oldest of the owner who has most goes first, when there are as many, or MaxBytes of them.
	Max int
	// MaxRunning is how many jobs of one owner may run. Default 256.
	MaxRunning int
	// MaxBytes bounds what is kept of all calls and jobs: text, results, and what jobs that run
	// were called with. The last may be half of it, and a quarter of one owner. Default 256 MiB.
	MaxBytes int64
	// MaxText bounds the text of one job, in bytes. Default 4 MiB.
	MaxText int
	// Grace is how long work that was cancelled is waited for. Default 5 s.
	Grace time.Duration
	// Changed hears of each change of a job's phase and of its end, those of one job in their
	// order. It is called by the goroutine in which that happens: it must not block. Default:
	// nobody hears.
	Changed func(Change)
}

func (o Options) withDefaults() Options {
	o.TTL = cmp.Or(o.TTL, time.Hour)
	o.Max = cmp.Or(o.Max, 1000)
	o.MaxRunning = cmp.Or(o.MaxRunning, 256)
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<20)
	o.MaxText = cmp.Or(o.MaxText, 4<<20)
	o.Grace = cmp.Or(o.Grace, 5*time.Second)
	if o.Changed == nil {
		o.Changed = func(Change) {}
	}
	return o
}

// Change is a new phase of a job, or its end.
type Change struct {
	Owner, ID string
	Seq       int // counts the job's changes from 1, without a gap
	State     State
	Phase     string
}

// Table holds calls and jobs. Its methods are safe for concurrent use.
type Table struct {
	opts Options

	mu      sync.Mutex        // guards what follows, and what a Job says it guards there
	running map[*Job]struct{} // jobs, and calls that are not jobs yet
	jobs    map[string]*Job   // by id
	ended   []*Job            // those of jobs that have ended, in that order
	bytes   int64             // text of running, Call.Bytes of those that are jobs, text and results of ended
	sweep   *time.Timer       // when the first of ended expires; nil before there was one
	closed  bool
}

// New returns an empty Table, for whose end [Table.Shutdown] has to be called.
func New(o Options) *Table {
	return &Table{opts: o.withDefaults(), running: map[*Job]struct{}{}, jobs: map[string]*Job{}}
}

// Call says what is started.
type Call struct {
	Owner string // who may ask for it when it is a job
	Tool  string
	// Bytes is what the work holds in memory until it ends, such as its input, at least 0.
	// While it is waited for that is its caller's to count.
	Bytes int64
	// Outlives is set for work that goes on when its caller cancels the call: it is a job
	// then. Other work, and work for which as a job there is no room, is cancelled.
	Outlives bool
}

// Work is what a call does. Its context has the values of the one that the call was
// started with, but not its end; Work must return soon after it is cancelled. A result
// beside an error is kept too. Work that panics has failed with a [PanicError].
type Work func(ctx context.Context, report Report) (Result, error)

// Result is what came of a call.
type Result struct {
	Value any
	Bytes int64 // what it takes of memory, at least 0
}

// Report takes the progress of a call. It never blocks and never fails, may be called from
// several goroutines, and does nothing once the work has returned.
type Report func(Progress)

// Progress is how far a call has come. Message may be called later, again, and from
// another goroutine: that is how a quiet call can say how long it has been waiting.
type Progress struct {
	Phase   string
	Done    float64
	Total   float64 // 0 when unknown
	Delta   string  // text since the report before: joined, a call's deltas are its text
	Message func() string
}

// Start starts work, for which the caller has to wait with [Job.Wait]. After Shutdown it
// starts nothing and returns a call that is lost.
func (t *Table) Start(ctx context.Context, c Call, work Work) *Job {
	j := &Job{table: t, call: c, started: time.Now(), done: make(chan struct{}), state: Running}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		j.state, j.err, j.ended = Lost, ErrShutdown, time.Now()
		close(j.done)
		return j
	}
	ctx, j.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	t.running[j] = struct{}{}
	go j.run(ctx, work)
	return j
}

// Find returns the owner's job with an id, else [ErrNoJob].
func (t *Table) Find(owner, id string) (*Job, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if j := t.jobs[id]; j != nil && j.call.Owner == owner {
		return j, nil
	}
	return nil, ErrNoJob
}

// List returns the owner's jobs in one of the states, without states all of them, the
// latest first.
func (t *Table) List(owner string, states ...State) []Status {
	var list []Status
	t.mu.Lock()
	for _, j := range t.jobs {
		if j.call.Owner == owner && (len(states) == 0 || slices.Contains(states, j.state)) {
			list = append(list, j.status())
		}
	}
	t.mu.Unlock()
	sort.Slice(list, func(i, j int) bool { // slices.SortFunc would take 12 kB for this type
		a, b := &list[i], &list[j]
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.ID, b.ID)) < 0
	})
	return list
}

// Shutdown waits until nothing runs. When ctx ends before that, it cancels what runs, which
// is lost, and waits for it at most Options.Grace. It reports whether all work has returned.
// Until then work may still be started. Jobs that have ended are kept, for whoever asks.
func (t *Table) Shutdown(ctx context.Context) bool {
	for j := t.first(); j != nil && ctx.Err() == nil; j = t.first() {
		j.within(ctx)
	}
	left := t.close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.Grace)
	defer cancel()
	for _, j := range left {
		j.within(ctx)
	}
	return t.first() == nil
}

// first returns anything that runs, or nil.
func (t *Table) first() *Job {
	t.mu.Lock()
	defer t.mu.Unlock()
	for j := range t.running {
		return j
	}
	return nil
}

// close cancels and returns what runs.
func (t *Table) close() (left []*Job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.sweep != nil {
		t.sweep.Stop()
	}
	for j := range t.running {
		j.stop(Lost, ErrShutdown)
		left = append(left, j)
	}
	return left
}
