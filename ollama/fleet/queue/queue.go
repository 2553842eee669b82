// Package queue is the line of the calls that want one model of one host.
//
// Ollama keeps calls for a loaded model in a line without end that nobody can see
// (github.com/ollama/ollama/issues/2004). So calls wait here, and Ollama is sent no more than
// it runs at a time: this package owns who goes next, how many run, and what those who wait
// are told. It knows neither Ollama's API nor models.
package queue

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Priority orders calls that wait. "" and unknown words are Normal.
type Priority string

// The priorities.
const (
	Low    Priority = "low"
	Normal Priority = "normal"
	High   Priority = "high"
)

// Discipline is how calls of one priority take turns.
type Discipline string

// The disciplines. "" is Fair.
const (
	Fair Discipline = "fair" // callers share the slots evenly, by deficit round robin
	FIFO Discipline = "fifo" // first come, first served, whoever calls
)

// The defaults of [Options].
const (
	DefaultMax    = 1024
	DefaultAgeing = 30 * time.Second
)

// watchEvery is how often a call that waits is told how it stands.
const watchEvery = time.Second

// Options say how a queue behaves. The zero value works.
type Options struct {
	Parallel     int           // calls let through at a time; 0 learns it, see [Slot.Leave]
	Discipline   Discipline    // "" is Fair
	Max          int           // calls that wait, in all; 0 is DefaultMax
	MaxPerCaller int           // calls that wait, of one caller; 0 is a quarter of Max
	Ageing       time.Duration // a caller's calls of one priority that get no turn for so long rise by one; 0 is DefaultAgeing
}

// Call is what wants a slot.
type Call struct {
	Caller   string
	Priority Priority
	Came     time.Time // when the call came, which may be before Enter; zero is now. Of one caller and priority the first goes first
	Cost     int       // in a unit of which callers get equal shares, such as tokens; less than 1 is 1
}

// Position is how a call that waits stands, if nobody else comes and nobody leaves.
type Position struct {
	Place int           // 1 goes next
	Wait  time.Duration // what is left to wait, 0 when that is unknown or may be over any moment
}

// Stats are a moment of a queue.
type Stats struct {
	Parallel int           // calls let through at a time, now
	Running  int           // calls let through; above Parallel for a while after that has shrunk
	Waiting  int           // calls that wait
	Callers  int           // callers of those
	Service  time.Duration // running mean of how long calls hold a slot, 0 before the first
	Wait     time.Duration // what the last in line waits, 0 when nobody does
}

// Queue lets calls through. It runs no goroutine: those who leave let the next ones in. It
// is safe for concurrent use; it must be made by [New].
type Queue struct {
	opts Options

	mu       sync.Mutex // guards what follows, and the waiters
	line     line
	running  []*Slot // in the order in which they were let through
	parallel parallel
	service  time.Duration // running mean, 0 before the first
}

// New makes a queue.
func New(o Options) *Queue {
	if o.Max <= 0 {
		o.Max = DefaultMax
	}
	if o.MaxPerCaller <= 0 {
		o.MaxPerCaller = max(1, o.Max/4)
	}
	if o.Ageing <= 0 {
		o.Ageing = DefaultAgeing
	}
	return &Queue{
		opts:     o,
		line:     line{fifo: o.Discipline == FIFO, ageing: o.Ageing, of: map[string]int{}},
		parallel: newParallel(o.Parallel),
	}
}

// Slot is leave to run one call. Leave it.
type Slot struct {
	queue     *Queue
	since     time.Time
	alongside int // calls that ran when this one was let through, itself included
	era       int // of the limit by which it was
}

// Enter waits for a slot, at most until ctx ends, which costs nobody else their turn. The
// first time a call has to wait and then every second watch is told how it stands, on the
// call's own goroutine; nil: nobody watches. Errors are [*FullError], [*TooLateError] when
// ctx has a deadline before the expected end of the wait, or ctx's.
func (q *Queue) Enter(ctx context.Context, c Call, watch func(Position)) (*Slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	slot, w, err := q.join(ctx, c)
	if w == nil {
		return slot, err
	}
	return q.wait(ctx, w, watch)
}

// join gives a call a slot or, when none is free, a place in the line.
func (q *Queue) join(ctx context.Context, c Call) (*Slot, *waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if len(q.running) < q.parallel.limit { // then nobody waits
		return q.admit(now), nil, nil
	}
	if err := q.room(c.Caller, now); err != nil {
		return nil, nil, err
	}
	w := &waiter{caller: c.Caller, came: c.Came, cost: max(1, c.Cost), admitted: make(chan struct{})}
	if w.came.IsZero() {
		w.came = now
	}
	q.line.push(w, c.Priority, now)
	if deadline, ok := ctx.Deadline(); ok {
		p := q.position(w, now)
		if left := deadline.Sub(now); p.Wait > left {
			q.line.remove(w)
			return nil, nil, &TooLateError{Position: p, Left: left}
		}
	}
	return nil, w, nil
}

// wait waits until a call is let through.
func (q *Queue) wait(ctx context.Context, w *waiter, watch func(Position)) (slot *Slot, err error) {
	defer func() {
		if slot == nil { // an end of ctx, or a panic of watch
			q.abandon(w)
		}
	}()
	var tick <-chan time.Time
	if watch != nil {
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		tick = ticker.C
		q.tell(w, watch)
	}
	for {
		select {
		case <-w.admitted:
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return w.slot, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick:
			q.tell(w, watch)
		}
	}
}

// tell tells a call that still waits how it stands.
func (q *Queue) tell(w *waiter, watch func(Position)) {
	q.mu.Lock()
	waits := w.slot == nil
	var p Position
	if waits {
		p = q.position(w, time.Now())
	}
	q.mu.Unlock()
	if waits {
		watch(p)
	}
}

// abandon takes a call out that nobody waits for any more, even if it has a slot by now.
func (q *Queue) abandon(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.slot == nil {
		q.line.remove(w)
		return
	}
	q.release(w.slot)
	q.advance(time.Now())
}

// Leave gives the slot back, whatever became of the call; t is what Ollama said of it in
// the end, the zero Timing when it said nothing. Leaving again does nothing.
//
// A queue whose Options name no Parallel learns it from t, see [Timing].
func (s *Slot) Leave(t Timing) {
	q := s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.release(s) {
		return
	}
	now := time.Now()
	q.parallel.learn(s, t)
	held := max(1, now.Sub(s.since)-t.Load) // a load is no measure of the calls to come
	if q.service == 0 {
		q.service = held
	}
	q.service += (held - q.service) / 8 // the gain of RFC 6298, 2.3
	q.advance(now)
}

// Stats tells how the queue is.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{
		Parallel: q.parallel.limit, Running: len(q.running), Service: q.service,
		Waiting: q.line.size, Callers: len(q.line.of),
	}
	if s.Waiting > 0 {
		s.Wait = q.after(s.Waiting, time.Now())
	}
	return s
}

// What follows wants q.mu locked.

// admit lets a call through.
func (q *Queue) admit(now time.Time) *Slot {
	s := &Slot{queue: q, since: now, alongside: len(q.running) + 1, era: q.parallel.era}
	q.running = append(q.running, s)
	return s
}

// advance lets calls through that wait, as many as there are slots.
func (q *Queue) advance(now time.Time) {
	for q.line.size > 0 && len(q.running) < q.parallel.limit {
		w := q.line.pop(now)
		w.slot = q.admit(now)
		close(w.admitted)
	}
}

// release reports whether the slot was still held.
func (q *Queue) release(s *Slot) bool {
	i := slices.Index(q.running, s)
	if i >= 0 {
		q.running = slices.Delete(q.running, i, i+1)
	}
	return i >= 0
}

// room refuses a call for which there is none in the line.
func (q *Queue) room(caller string, now time.Time) error {
	switch {
	case q.line.size >= q.opts.Max:
		return &FullError{Caller: caller, Limit: q.opts.Max, Wait: max(time.Second, q.after(1, now))}
	case q.line.of[caller] >= q.opts.MaxPerCaller:
		first := q.line.first(caller, now)
		return &FullError{Caller: caller, PerCaller: true, Limit: q.opts.MaxPerCaller, Wait: max(time.Second, q.after(first, now))}
	}
	return nil
}

// position is how a call stands that waits.
func (q *Queue) position(w *waiter, now time.Time) Position {
	place := q.line.place(w, now)
	return Position{Place: place, Wait: q.after(place, now)}
}

// after is in how long the call at a place goes, if calls run for the mean time: those that
// run end in the order in which they began, and those let through after them likewise. All
// slots must be taken.
func (q *Queue) after(place int, now time.Time) time.Duration {
	round, slot := (place-1)/q.parallel.limit, (place-1)%q.parallel.limit
	ends := q.running[len(q.running)-q.parallel.limit+slot]
	return max(0, q.service-now.Sub(ends.since)) + time.Duration(round)*q.service
}
