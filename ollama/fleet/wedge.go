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

	answering int             // those of which something has come
	running   *ollama.Running // how the model was loaded when asked; nil when it was never seen loaded
	asked     time.Time
}

// state is what is known of a model. A model that is new here is suspect: a program that
// has ended in mid-call, as servers of MCP hosts do, may have left it wedged. It wants f.mu
// locked.
func (f *Fleet) state(model ollama.Name) *traffic {
	t := f.traffic[model]
	if t == nil {
		t = &traffic{calls: map[*attempt]struct{}{}, suspect: true}
		f.traffic[model] = t
	}
	return t
}

// fresh notes that a model has just been loaded: all its slots are there.
func (f *Fleet) fresh(model ollama.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state(model).suspect = false
}

// attempt is one call while it is on a model. The fleet's mu guards it.
type attempt struct {
	cancel   context.CancelCauseFunc
	patience *time.Timer // runs while nothing has come of a call on a suspect model, else nil
	answered bool        // something has come
	recovery *recovery   // of the model, for which the call was ended
}

// recovery is an unload that brings a wedged model's slots back.
type recovery struct {
	done     chan struct{} // closed when what follows is final
	unloaded bool
	err      error
}

// guard runs a call on a model. When the model is suspect, and for WedgeAfter nothing came
// of any call of ours that could hold its slot, the calls that wait are ended together and
// share a recovery, after which they can be made again. The call asks alive whenever
// something came: false says that it has been ended.
func (f *Fleet) guard(ctx context.Context, model ollama.Name, call func(ctx context.Context, alive func() bool) error) (*recovery, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &attempt{cancel: cancel}
	f.enter(model, a)
	err := context.Canceled // what a call is that ends in a panic
	defer func() { f.leave(model, a, err) }()
	heard := false
	err = call(ctx, func() bool {
		heard = heard || f.answered(model, a)
		return heard
	})
	if err == nil {
		return nil, nil
	}
	return f.ended(a), err
}

// enter counts a call in.
func (f *Fleet) enter(model ollama.Name, a *attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.state(model)
	t.calls[a] = struct{}{}
	if t.suspect {
		a.patience = time.AfterFunc(f.opts.WedgeAfter, func() { f.lose(model, a) })
	}
}

// answered notes that something came of a call, and reports false when the call was ended.
func (f *Fleet) answered(model ollama.Name, a *attempt) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	a.calm()
	if !a.answered {
		a.answered = true
		f.traffic[model].answering++
	}
	return a.recovery == nil
}

// ended returns the recovery for which a call was ended, or nil.
func (f *Fleet) ended(a *attempt) *recovery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return a.recovery
}

// calm stops the timer of a call. It wants the fleet's mu locked.
func (a *attempt) calm() {
	if a.patience != nil {
		a.patience.Stop()
		a.patience = nil
	}
}

// leave counts a call out. One that was given up makes the model suspect; one that was
// answered clears it.
func (f *Fleet) leave(model ollama.Name, a *attempt, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a.calm()
	t := f.traffic[model]
	delete(t.calls, a)
	if a.answered {
		t.answering--
	}
	switch {
	case a.recovery != nil: // given up by us
	case err == nil:
		t.suspect = false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isKind(err, ollama.Stalled):
		t.suspect = true
	}
}

// lose takes a model for wedged when a call's patience is over and no other call explains
// the wait: one that is being answered, or that was sent before the model was suspect.
func (f *Fleet) lose(model ollama.Name, a *attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.patience == nil { // answered, or over, in this very moment
		return
	}
	t := f.traffic[model]
	if !t.suspect {
		return
	}
	for other := range t.calls {
		if other.patience == nil {
			a.patience.Reset(f.opts.WedgeAfter)
			return
		}
	}
	r := &recovery{done: make(chan struct{})}
	for other := range t.calls {
		other.calm()
		other.recovery = r
		other.cancel(errWedged)
	}
	f.wg.Go(func() {
		r.unloaded, r.err = f.recover(f.life, model)
		close(r.done)
	})
}

// recover unloads a wedged model, so that the next load brings its slots back. One that
// does not unload is busy for another program: it stays suspect, and is waited for.
func (f *Fleet) recover(ctx context.Context, model ollama.Name) (unloaded bool, err error) {
	state, err := f.Unload(ctx, model, Watch{})
	if err != nil || state == Pending {
		return false, err
	}
	f.fresh(model)
	return true, nil
}
