package fleet

import (
	"context"
	"errors"
	"time"

	"ollama-mcp/ollama"
)

// DefaultWedgeAfter is how long a call waits for its first token on a model that may be
// wedged. It is long enough for most prompts: a wrong guess costs a reload.
const DefaultWedgeAfter = 90 * time.Second

// errWedged ends a call that got no answer on a model that is probably wedged.
var errWedged = errors.New("wedged")

// traffic is what a model's slots are known to do. Ollama 0.17 and later lose a slot for
// good when a client leaves at the wrong moment: a handler goes on writing to a channel
// that nobody reads, holding the slot, while ps, tags and version stay green
// (github.com/ollama/ollama/issues/17131). Measured with a model of 1 ms a token: 4 to
// 11 in 100 cancels. Unloading the model frees it.
type traffic struct {
	calls   map[*attempt]struct{} // of ours, sent and not yet over
	suspect bool                  // one was given up, or none was made, and none was answered since
	gaveUp  bool                  // it is suspect for the first reason
	moved   time.Time             // when one was answered last, or a load was over
	pace    pace

	answering int             // those of which something has come
	running   *ollama.Running // how the model was loaded when asked; nil when it was never seen loaded
	asked     time.Time
}

// state is what is known of a model. A model that is new here is suspect: a program that
// has ended in mid-call, as servers of MCP hosts do, may have left it wedged. It wants h.mu
// locked.
func (h *member) state(model ollama.Name) *traffic {
	t := h.traffic[model]
	if t == nil {
		t = &traffic{calls: map[*attempt]struct{}{}, suspect: true}
		h.traffic[model] = t
	}
	return t
}

// fresh notes that a model has just been loaded: all its slots are there.
func (h *member) fresh(model ollama.Name) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.state(model)
	t.suspect, t.gaveUp, t.moved = false, false, time.Now()
}

// attempt is one call while it is on a model. The member's mu guards it.
type attempt struct {
	cancel   context.CancelCauseFunc
	wait     time.Duration // for the first piece of an answer, where that is bounded
	patience *time.Timer   // runs for so long while nothing has come, else nil
	answered bool          // something has come
	recovery *recovery     // of the model, for which the call was ended
}

// recovery is an unload that brings a wedged model's slots back.
type recovery struct {
	done     chan struct{} // closed when what follows is final
	unloaded bool
	err      error
}

// guard runs a call on a model. When the model may be wedged, and for as long as the call's
// patience lasts nothing came of any call of ours that could hold its slot, the calls that
// wait are ended together and share a recovery, after which they can be made again.
func (v *visit) guard(n *need, call func(context.Context) error) (*recovery, error) {
	ctx, cancel := context.WithCancelCause(v.ctx)
	defer cancel(nil)
	a := &attempt{cancel: cancel}
	v.on = a
	v.enterTraffic(n, a)
	err := context.Canceled // what a call is that ends in a panic
	defer func() { v.leaveTraffic(n.model, a, err) }()
	if err = call(ctx); err == nil {
		return nil, nil
	}
	return v.ended(a), err
}

// alive is to be asked whenever something of an answer comes: false says that the call has
// been ended.
func (v *visit) alive() bool {
	if v.heard {
		return true
	}
	if f := v.opts.Observe.First; f != nil {
		f(v.Client.Name(), v.model, time.Since(v.sent))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if errors.Is(context.Cause(v.ctx), errGone) { // rescue came first
		return false
	}
	v.answered = true
	if v.on == nil { // not guarded
		v.heard = true
		return true
	}
	v.heard = v.on.recovery == nil
	v.on.calm()
	if !v.on.answered {
		v.on.answered = true
		t := v.traffic[v.model]
		t.answering++
		t.moved = time.Now()
	}
	return v.heard
}

// enterTraffic counts a call in.
func (h *member) enterTraffic(n *need, a *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.state(n.model)
	t.calls[a] = struct{}{}
	if wait := t.patience(h.opts.WedgeAfter, n); wait > 0 {
		a.wait = wait
		a.patience = time.AfterFunc(wait, func() { h.lose(n.model, a) })
	}
}

// ended returns the recovery for which a call was ended, or nil.
func (h *member) ended(a *attempt) *recovery {
	h.mu.Lock()
	defer h.mu.Unlock()
	return a.recovery
}

// calm stops the timer of a call. It wants the member's mu locked.
func (a *attempt) calm() {
	if a.patience != nil {
		a.patience.Stop()
		a.patience = nil
	}
}

// leaveTraffic counts a call out. One that was given up makes the model suspect; one that was
// answered clears it.
func (h *member) leaveTraffic(model ollama.Name, a *attempt, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.calm()
	t := h.traffic[model]
	delete(t.calls, a)
	if a.answered {
		t.answering--
	}
	switch {
	case a.recovery != nil: // given up by us
	case err == nil:
		t.suspect, t.gaveUp, t.moved = false, false, time.Now()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isKind(err, ollama.Stalled):
		t.suspect, t.gaveUp = true, true
	}
}

// lose takes a model for wedged when a call's patience is over and no other call explains
// the wait: one that is being answered, or was of late, or whose patience has no end.
func (h *member) lose(model ollama.Name, a *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.patience == nil { // answered, or over, in this very moment
		return
	}
	t := h.traffic[model]
	if !t.suspect && t.pace.seen < enoughSeen {
		return
	}
	moving := time.Since(t.moved)
	for other := range t.calls {
		if other.patience == nil {
			moving = 0
		}
	}
	if moving < a.wait {
		a.patience.Reset(a.wait - moving)
		return
	}
	r := &recovery{done: make(chan struct{})}
	for other := range t.calls {
		other.calm()
		other.recovery = r
		other.cancel(errWedged)
	}
	h.wg.Go(func() {
		r.unloaded, r.err = h.recover(h.life, model)
		close(r.done)
	})
}

// recover unloads a wedged model, so that the next load brings its slots back. One that
// does not unload is busy for another program: it stays suspect, and is waited for.
func (h *member) recover(ctx context.Context, model ollama.Name) (unloaded bool, err error) {
	state, err := h.unload(ctx, model, Watch{})
	if err != nil || state == Pending {
		return false, err
	}
	h.fresh(model)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state(model).pace = pace{} // if it was only slow it is so again, and must be left to answer
	return true, nil
}
