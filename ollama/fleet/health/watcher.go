package health

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/ollama"
)

// How long a host that said 429 or 503 is left alone, when it does not say, and at most.
const defaultPause, maxPause = time.Second, 5 * time.Minute

var errUnasked = errors.New("not asked yet")

// Watcher watches one host. It is safe for concurrent use; make it with New.
type Watcher struct {
	host Host
	opts Options

	life context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // run
	kick chan struct{}  // next has been brought forward

	snapshot atomic.Pointer[Snapshot] // stored with mu held

	mu       sync.Mutex // guards what follows, and the order of news
	breaker  breaker
	failure  error // the latest that counted
	denied   error // of our credentials, by the latest poll that was answered
	partial  error // of a poll: the host is there, but a question was not answered
	pause    pause
	asking   string // the question that is waited for
	late     string // the latest question of this poll that was not answered within lateAfter
	loads    int    // of ours, in progress
	draining bool
	began    time.Time     // the latest poll
	next     time.Time     // when the next poll begins
	polled   chan struct{} // closed at the end of the next poll; nil: nobody waits for it
}

// pause is a time for which the host asked to be left alone. The zero value is none.
type pause struct {
	state State
	until time.Time
	err   error
}

// New begins to watch a host. Until it has answered, or a call to it has gone well, it is
// Degraded. Close the watcher.
func New(h Host, o Options) *Watcher {
	w := &Watcher{host: h, opts: o.withDefaults(), kick: make(chan struct{}, 1)}
	now := time.Now()
	if w.next = now; o.Interval < 0 {
		w.next = now.Add(never)
	}
	w.breaker = breaker{state: Closed, doubt: errUnasked}
	w.snapshot.Store(&Snapshot{State: Degraded, Since: now, Why: errUnasked.Error(), Breaker: Closed})
	w.life, w.stop = context.WithCancel(context.Background())
	w.wg.Go(w.run)
	return w
}

// Close ends the poll that is running and waits for it. What is known can still be read.
func (w *Watcher) Close() {
	w.stop()
	w.wg.Wait()
}

// Snapshot is what is known now. It never waits.
func (w *Watcher) Snapshot() *Snapshot { return w.snapshot.Load() }

// Report tells how a call of the host went. Only an [ollama.Error] in err that shows that the
// host is at fault counts against it: no cancel or deadline of the caller, no 4xx, no model
// that does not load. A 401 or 403 may be about the model alone, as of an account at
// ollama.com: the host is asked at once, and its answer decides.
//
// Do not report transfers, whose failures may be the registry's, nor models that ollama.com
// runs, whose limits are not the host's.
func (w *Watcher) Report(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch effectOf(err) {
	case none:
		if err != nil || !w.breaker.succeedCall() {
			return
		}
	case denies:
		w.check()
		return
	case pauses:
		w.rest(err)
	case fails:
		w.failure = err
		w.soon(w.breaker.failCall(err, time.Now(), w.opts.Failures))
	}
	w.publish()
}

// Check has the host polled at once, as after an unload of ours or when a call gets no
// answer. If it is being polled it is polled again after that. What it returns is closed when
// that is over, unless the watcher is closed before.
func (w *Watcher) Check() (polled <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.check()
	if w.polled == nil {
		w.polled = make(chan struct{})
	}
	return w.polled
}

// Load tells that a load of ours begins; call done when it is over. The host is polled then.
func (w *Watcher) Load() (done func()) {
	w.load(1)
	return sync.OnceFunc(func() { w.load(-1) })
}

func (w *Watcher) load(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.loads += n; n < 0 {
		w.check()
	}
	w.publish()
}

// Drain tells that the host is being removed. It is watched on, for the calls it still has.
func (w *Watcher) Drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining = true
	w.publish()
}

// Statuses of RFC 6585, section 4, and RFC 9110, section 15.6.4.
const tooManyRequests, unavailable = 429, 503

// effect is what an error says of a host.
type effect int

const (
	none   effect = iota
	fails         // it is at fault
	denies        // it refuses our credentials
	pauses        // it wants to be left alone for a while
)

func effectOf(err error) effect {
	if err == nil { // usually, and errors.As allocates
		return none
	}
	var e *ollama.Error
	if !errors.As(err, &e) {
		return none
	}
	switch e.Kind {
	case ollama.Unreachable, ollama.Stalled, ollama.Cut:
		return fails
	case ollama.NotOllama:
		if e.Status/100 != 4 {
			return fails
		}
	case ollama.Failed: // an error line in a stream, of status 200, is about its model
		if e.Status/100 == 5 {
			return fails
		}
	case ollama.Unauthorized:
		return denies
	case ollama.Busy: // with status 200 it is a transfer
		if e.Status == tooManyRequests || e.Status == unavailable {
			return pauses
		}
	}
	return none
}

// rest leaves the host alone for as long as an error that pauses says. It wants mu locked,
// as what follows does.
func (w *Watcher) rest(err error) {
	var e *ollama.Error
	errors.As(err, &e)
	p := pause{state: Busy, until: time.Now().Add(min(cmp.Or(e.RetryAfter, defaultPause), maxPause)), err: err}
	if e.Status == tooManyRequests {
		p.state = RateLimited
	}
	if p.until.After(w.pause.until) {
		w.pause, w.failure = p, err
	}
	w.soon(w.pause.until)
}

func (w *Watcher) check() { w.soon(latest(time.Now(), w.began.Add(minBackoff))) }

// soon has the next poll begin at a time, or earlier when it was to begin earlier.
func (w *Watcher) soon(at time.Time) {
	if !at.Before(w.next) {
		return
	}
	w.next = at
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *Watcher) state() (s State, why string) {
	switch {
	case w.draining:
		return Draining, "it is being removed"
	case w.breaker.state != Closed:
		return Down, w.breaker.doubt.Error()
	case w.denied != nil:
		return Unauthorized, w.denied.Error()
	case w.pause.err != nil:
		return w.pause.state, w.pause.err.Error()
	case w.breaker.doubt != nil:
		return Degraded, w.breaker.doubt.Error()
	case w.late == version: // which Ollama answers whatever it does
		return Degraded, lateness(w.late)
	case w.loads > 0: // during which ps is late, usually
		return Loading, "a model is being loaded"
	case w.late != "":
		return Degraded, lateness(w.late)
	case w.partial != nil:
		return Degraded, w.partial.Error()
	}
	return Up, ""
}

func lateness(op string) string { return op + " has not been answered for " + lateAfter.String() }

// publish makes a snapshot of what is known.
func (w *Watcher) publish() { w.learn(answers{}) }

// learn is publish, with what a poll has learnt.
func (w *Watcher) learn(a answers) {
	old := w.snapshot.Load()
	s := *old
	if a.err == nil && a.answered {
		s.Asked = w.began
	}
	if a.answered {
		s.Version = a.version
	}
	if a.answered && a.noModels == nil {
		s.Models = a.models
	}
	if a.answered && a.noLoaded == nil {
		s.Loaded = a.loaded
	}
	s.Breaker, s.Failure, s.Until = w.breaker.state, w.failure, time.Time{}
	if s.State, s.Why = w.state(); s.State != old.State {
		s.Since = time.Now()
	}
	if s.State == Busy || s.State == RateLimited {
		s.Until = w.pause.until
	}
	w.snapshot.Store(&s)
	if w.opts.Changed != nil && !same(old, &s) {
		w.opts.Changed(old, &s)
	}
}

// same reports whether nothing is new but Asked and Failure.
func same(a, b *Snapshot) bool {
	return a.State == b.State && a.Why == b.Why && a.Until.Equal(b.Until) && a.Breaker == b.Breaker &&
		a.Version == b.Version && reflect.DeepEqual(a.Models, b.Models) && reflect.DeepEqual(a.Loaded, b.Loaded)
}
