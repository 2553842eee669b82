package fleet

import (
	"context"
	"reflect"
	"slices"
	"time"

	"ollama-mcp/ollama"
)

// running returns how a model is loaded, or nil.
func (f *Fleet) running(ctx context.Context, model ollama.Name) (*ollama.Running, error) {
	all, err := f.ps.get(ctx)
	if err != nil {
		return nil, f.fail(ctx, model, err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	i := slices.IndexFunc(all, func(r ollama.Running) bool { return canonical(r.Name) == model })
	if i < 0 { // a copy of a loaded model runs with it, and ps lists one of them alone
		digest, err := f.digest(ctx, model)
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
func (f *Fleet) inUse(ctx context.Context, model ollama.Name) (*ollama.Running, error) {
	now := time.Now()
	f.mu.Lock()
	if t := f.traffic[model]; t != nil && t.answering > 0 && now.Sub(t.asked) < recent {
		defer f.mu.Unlock()
		return t.running, nil
	}
	f.mu.Unlock()
	running, err := f.running(ctx, model)
	if running != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		t := f.state(model)
		t.running, t.asked = running, now
	}
	return running, err
}

// digest names the content of an installed model, "" when it is not installed.
func (f *Fleet) digest(ctx context.Context, model ollama.Name) (string, error) {
	m, err := f.Find(ctx, model)
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
	contextLength int
}

// loadedWith remembers the load-time options of a load that ended well.
func (f *Fleet) loadedWith(options *ollama.Options, running *ollama.Running) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if options == nil {
		delete(f.loaded, running.Digest)
		return
	}
	f.loaded[running.Digest] = loadOptions{options, running.ContextLength}
}

// fitting returns the options with which a call on a loaded model makes it reload nothing:
// a call that names no load-time options gets those that the model was loaded with here. It
// reports false when the call wants others.
func (f *Fleet) fitting(n need, running *ollama.Running) (*ollama.Options, bool) {
	f.mu.Lock()
	loaded, known := f.loaded[running.Digest]
	f.mu.Unlock()
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
