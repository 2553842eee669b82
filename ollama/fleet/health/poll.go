package health

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"ollama-mcp/ollama"
)

// lateAfter is how long an answer may take before other hosts are better. It is not a
// failure: a host that swaps memory takes longer, and ps waits for loads.
const lateAfter = 500 * time.Millisecond

// version is the question that shows whether a host is there.
const version = "version"

// run polls, once at a time, until Close.
func (w *Watcher) run() {
	timer := time.NewTimer(never)
	defer timer.Stop()
	for {
		w.mu.Lock()
		timer.Reset(time.Until(w.next))
		w.mu.Unlock()
		select {
		case <-w.life.Done():
			return
		case <-w.kick:
		case <-timer.C:
			w.poll()
		}
	}
}

func (w *Watcher) poll() {
	began, probe, over := w.begin()
	a := w.ask(probe)
	if w.life.Err() != nil {
		return
	}
	w.end(began, a)
	if over != nil {
		close(over)
	}
}

// begin reports whether the way that calls take is to be tried, too, and what to close when
// the poll is over.
func (w *Watcher) begin() (began time.Time, probe bool, over chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	over, w.polled = w.polled, nil
	w.began = time.Now()
	w.next = w.began.Add(w.interval())
	probe = w.breaker.try(w.began) && w.breaker.suspect && w.host.Probe != nil
	w.publish()
	return w.began, probe, over
}

// never is an interval that nobody sees the end of.
const never = 365 * 24 * time.Hour

// idleFactor is by how much more rarely a host is polled that nobody calls.
const idleFactor = 12

// interval is the time between two polls of a host that is well.
func (w *Watcher) interval() time.Duration {
	switch {
	case w.opts.Interval < 0:
		return never
	case w.opts.Idle != nil && w.opts.Idle():
		return jittered(idleFactor * w.opts.Interval)
	}
	return jittered(w.opts.Interval)
}

// answers are what came of a poll.
type answers struct {
	answered bool  // version was
	err      error // the first
	version  string
	models   []ollama.Model
	loaded   []ollama.Running
	noModels error // why models are not known
	noLoaded error

	probe  error
	proven bool // by the probe
}

// ask asks a host that does not answer the first question nothing more.
func (w *Watcher) ask(probe bool) (a answers) {
	a.err = w.bounded(version, func(ctx context.Context) (err error) { a.version, err = w.host.Version(ctx); return err })
	if a.err != nil {
		return a
	}
	a.answered = true
	a.noModels = w.bounded("tags", func(ctx context.Context) (err error) { a.models, err = w.host.Tags(ctx); return err })
	a.noLoaded = w.bounded("ps", func(ctx context.Context) (err error) { a.loaded, err = w.host.PS(ctx); return err })
	a.err = cmp.Or(a.noModels, a.noLoaded)
	if probe && a.err == nil {
		a.probe = w.within(probeFactor*w.opts.Timeout, "probe", w.host.Probe)
		a.proven = a.probe == nil
	}
	return a
}

// probeFactor is by how much longer than a question a probe may take: a model answers it.
const probeFactor = 10

// bounded asks a question that a host answers at once.
func (w *Watcher) bounded(op string, ask func(context.Context) error) error {
	return w.within(w.opts.Timeout, op, ask)
}

// within asks a question. That the host does not answer in time is the host's failure.
func (w *Watcher) within(limit time.Duration, op string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(w.life, limit)
	defer cancel()
	w.wait(op)
	defer time.AfterFunc(lateAfter, func() { w.isLate(op) }).Stop()
	err := ask(ctx)
	w.wait("")
	if err != nil && ctx.Err() != nil {
		return &ollama.Error{Op: op, Host: w.host.Name, Kind: ollama.Stalled, Message: fmt.Sprintf("nothing came for %v", limit)}
	}
	return err
}

// wait notes which question is waited for, "" for none.
func (w *Watcher) wait(op string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asking = op
}

// isLate notes that the answer to a question is late, if it is still waited for. What that
// means is for end to say.
func (w *Watcher) isLate(op string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asking == op {
		w.late = op
		w.publish()
	}
}

// end draws the conclusions from a poll.
func (w *Watcher) end(began time.Time, a answers) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = ""
	if !began.Before(w.pause.until) {
		w.pause = pause{}
	}
	e := effectOf(a.err)
	if dead := e != denies && e != pauses && (!a.answered || Refused(a.err)); dead {
		w.failure = a.err
		w.soon(w.breaker.fail(a.err, began, w.opts.Failures))
	} else {
		w.alive(began, a, e)
	}
	if w.pause.err != nil {
		w.soon(w.pause.until)
	}
	w.learn(a)
}

// alive is end for a host that answers, if only that it does not want to.
func (w *Watcher) alive(began time.Time, a answers, e effect) {
	w.denied, w.partial = nil, nil
	switch {
	case e == denies:
		w.denied = a.err
	case e == pauses:
		w.rest(a.err)
	case a.err != nil:
		w.partial = a.err
	}
	if a.err != nil {
		w.soon(began.Add(jittered(maxBackoff)))
	}
	if effectOf(a.probe) == fails {
		w.failure = a.probe
		w.soon(w.breaker.failCall(a.probe, time.Now(), w.opts.Failures))
		return
	}
	w.breaker.pass(began, a.proven)
	if w.breaker.doubt != nil { // calls have failed since
		w.soon(w.breaker.hold)
	}
}
