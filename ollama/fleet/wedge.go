package fleet

import (
	"context"
	"errors"
	"fmt"
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
	calls   int  // of ours, sent and not yet over
	suspect bool // one was given up, and none was answered since
}

// guard runs a call on a model. On a suspect model, the call is cancelled and ends in
// errWedged when nothing came for WedgeAfter and no other call of ours could be the reason.
// The call says by alive that something came.
func (f *Fleet) guard(ctx context.Context, model ollama.Name, call func(ctx context.Context, alive func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := func() {}
	if f.enter(model) {
		timer := time.AfterFunc(f.opts.WedgeAfter, func() {
			if f.alone(model) {
				cancel(errWedged)
			}
		})
		defer timer.Stop()
		alive = func() { timer.Stop() }
	}
	err := call(ctx, alive)
	f.leave(model, err)
	if err != nil && context.Cause(ctx) == errWedged {
		return errWedged
	}
	return err
}

// enter counts a call in and reports whether the model is suspect.
func (f *Fleet) enter(model ollama.Name) (suspect bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.traffic[model]
	if t == nil {
		t = &traffic{}
		f.traffic[model] = t
	}
	t.calls++
	return t.suspect
}

// leave counts it out. A call that was given up makes the model suspect; one that was
// answered clears it.
func (f *Fleet) leave(model ollama.Name, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.traffic[model]
	t.calls--
	switch {
	case err == nil:
		t.suspect = false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isKind(err, ollama.Stalled):
		t.suspect = true
	}
	f.forget(model, t)
}

// forget drops what is known of a model when that is nothing. It wants f.mu locked.
func (f *Fleet) forget(model ollama.Name, t *traffic) {
	if t.calls == 0 && !t.suspect {
		delete(f.traffic, model)
	}
}

// alone reports whether a model has no call of ours but one.
func (f *Fleet) alone(model ollama.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.traffic[model].calls == 1
}

// recover unloads a wedged model, so that the next load brings its slots back.
func (f *Fleet) recover(ctx context.Context, model ollama.Name) error {
	state, err := f.Unload(ctx, model)
	if err == nil && state == Pending {
		err = f.fail(ctx, model, &ollama.Error{
			Op: "unload", Host: f.host.Client.Name(), Kind: ollama.Stalled,
			Message: fmt.Sprintf("%s gave no answer for %s and does not unload", model, f.opts.WedgeAfter),
		})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.traffic[model]; t != nil {
		t.suspect = false
		f.forget(model, t)
	}
	return err
}
