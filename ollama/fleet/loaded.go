package fleet

import (
	"context"
	"reflect"
	"slices"
	"time"

	"ollama-mcp/ollama"
)

// running returns how a model is loaded, or nil.
func (h *member) running(ctx context.Context, model ollama.Name) (*ollama.Running, error) {
	all, err := h.ps.get(ctx)
	if err != nil {
		return nil, h.fail(ctx, model, err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	i := slices.IndexFunc(all, func(r ollama.Running) bool { return canonical(r.Name) == model })
	if i < 0 { // a copy of a loaded model runs with it, and ps lists one of them alone
		digest, err := h.digest(ctx, model)
		if err != nil {
			return nil, err
		}
		i = slices.IndexFunc(all, func(r ollama.Running) bool { return r.Digest == digest && digest != "" })
	}
	if i < 0 {
		return nil, nil
	}
	return &all[i], nil
}

// recent is how long an answer of ps holds for a model that has been answering since.
const recent = time.Second

// inUse is running, but asks nothing while a call of ours is being answered: Ollama unloads
// or reloads no model that works (0.17.4, server/sched.go). Only a call that waits for its
// first token can have let another program do so since; hence recent.
func (h *member) inUse(ctx context.Context, model ollama.Name) (*ollama.Running, error) {
	now := time.Now()
	h.mu.Lock()
	if t := h.traffic[model]; t != nil && t.answering > 0 && now.Sub(t.asked) < recent {
		defer h.mu.Unlock()
		return t.running, nil
	}
	h.mu.Unlock()
	running, err := h.running(ctx, model)
	if running != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		t := h.state(model)
		t.running, t.asked = running, now
	}
	return running, err
}

// moving reports whether a call on the model was answered within recent.
func (v *visit) moving() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Since(v.state(v.model).moved) < recent
}

// digest names the content of an installed model, "" when it is not installed.
func (h *member) digest(ctx context.Context, model ollama.Name) (string, error) {
	m, err := h.find(ctx, model)
	if m == nil {
		return "", err
	}
	return m.Digest, nil
}

// loadOptions are the load-time options that this fleet loaded a model with. Ollama does
// not tell them, but for the context length in force, by which it shows whether another
// program has reloaded the model since.
type loadOptions struct {
	options       *ollama.Options
	spelt         string
	contextLength int
}

// loadedWith remembers the load-time options of a load that ended well.
func (h *member) loadedWith(options *ollama.Options, running *ollama.Running) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.publish()
	if options == nil {
		delete(h.loaded, running.Digest)
		return
	}
	h.loaded[running.Digest] = loadOptions{options, spelt(options), running.ContextLength}
}

// fitting returns the options with which a call on a loaded model makes it reload nothing:
// a call that names no load-time options gets those that the model was loaded with here. It
// reports false when the call wants others.
func (h *member) fitting(n *need, running *ollama.Running) (*ollama.Options, bool) {
	h.mu.Lock()
	loaded, known := h.loaded[running.Digest]
	h.mu.Unlock()
	known = known && loaded.contextLength == running.ContextLength
	want := n.options.LoadTime()
	switch {
	case want == nil && known:
		return n.options.WithLoadTime(loaded.options), true
	case want == nil:
		return n.options, true
	case known && reflect.DeepEqual(want, loaded.options):
		return n.options, true
	}
	only := ollama.Options{NumCtx: want.NumCtx}
	return n.options, want.NumCtx != nil && reflect.DeepEqual(*want, only) && *want.NumCtx == running.ContextLength
}
