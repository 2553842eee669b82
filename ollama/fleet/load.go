package fleet

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"ollama-mcp/ollama"
)

// loadKey tells loads apart: the same model with other load-time options is another load.
// Another keep_alive is another request, which Ollama answers when the first is done.
type loadKey struct {
	model     ollama.Name
	options   string // the load-time options as JSON
	keepAlive string
}

// load is one load in progress, shared by all calls that need it. Ollama aborts a load
// when the request that caused it goes away, so a load runs in the fleet's life and not
// in a caller's.
type load struct {
	start time.Time
	done  chan struct{} // closed when err is final
	err   error         // read after done only
}

// LoadRequest asks for a model in memory.
type LoadRequest struct {
	Model     ollama.Name
	KeepAlive string // a Go duration, not 0: that unloads; "" leaves Ollama's own
	Options   *ollama.Options
}

// Loaded is what a load came to.
type Loaded struct {
	Host          string
	Took          time.Duration // how long this call waited
	ContextLength int           // tokens; 0 when Ollama does not say
	VRAM          int64         // bytes on GPUs
	Remote        bool          // ollama.com runs the model: there was nothing to load
}

// Load loads a model and waits for it, at most MaxWait. A caller that gives up, or whose
// wait is over ([*LoadingError]), does not stop the load. It is asked of Ollama even when
// the model is loaded already, so that keep_alive takes effect.
func (f *Fleet) Load(ctx context.Context, r LoadRequest, w Watch) (*Loaded, error) {
	start := time.Now()
	shown, err := f.describe(ctx, r.Model)
	if err != nil {
		return nil, err
	}
	if shown.RemoteHost != "" {
		return &Loaded{Host: f.host.Client.Name(), Remote: true}, nil
	}
	w.phase(Loading)
	if err := f.await(ctx, r, isEmbedding(shown.Capabilities), start.Add(f.opts.MaxWait)); err != nil {
		return nil, err
	}
	l := &Loaded{Host: f.host.Client.Name(), Took: time.Since(start)}
	running, err := f.running(ctx, r.Model)
	if err != nil {
		return nil, err
	}
	if running != nil {
		l.ContextLength, l.VRAM = running.ContextLength, running.SizeVRAM
	}
	return l, nil
}

// ready makes sure that a model is loaded with the options that a call will send, so
// that a caller who gives up never takes a load down with it. keep_alive is the call's own
// to send.
func (f *Fleet) ready(ctx context.Context, r LoadRequest, w Watch) (Place, error) {
	start := time.Now()
	p := Place{Host: f.host.Client.Name()}
	w.phase(Queued)
	running, err := f.running(ctx, r.Model)
	if err != nil {
		return p, err
	}
	// Ollama lists a model as running while it still loads (0.17.4, server/sched.go).
	if running == nil || !fits(running, r.Options) || f.loading(r.Model) {
		shown, err := f.describe(ctx, r.Model)
		if err != nil {
			return p, err
		}
		if p.Remote = shown.RemoteHost != ""; p.Remote {
			return p, nil
		}
		w.phase(Loading)
		if err := f.await(ctx, r, isEmbedding(shown.Capabilities), start.Add(f.opts.MaxWait)); err != nil {
			return p, err
		}
		p.LoadWait = time.Since(start)
		if running, err = f.running(ctx, r.Model); err != nil {
			return p, err
		}
	}
	if running != nil {
		p.ContextLength = running.ContextLength
	}
	return p, nil
}

// fits reports whether a loaded model serves options without a reload, as far as ps tells.
func fits(running *ollama.Running, o *ollama.Options) bool {
	want := o.LoadTime()
	if want == nil {
		return true
	}
	numCtx := want.NumCtx
	want.NumCtx = nil
	return want.LoadTime() == nil && (numCtx == nil || *numCtx == running.ContextLength)
}

// await joins the load of r, or starts it, and waits until it is done, ctx ends or the
// deadline is over.
func (f *Fleet) await(ctx context.Context, r LoadRequest, embedding bool, deadline time.Time) error {
	l := f.join(r, embedding)
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-l.done:
		return f.fail(ctx, r.Model, l.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return &LoadingError{Model: r.Model, Host: f.host.Client.Name(), For: time.Since(l.start)}
	}
}

// loading reports whether a load of the model runs, with whatever options.
func (f *Fleet) loading(model ollama.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.loads {
		if key.model == model {
			return true
		}
	}
	return false
}

// join returns the running load of r, starting it when there is none.
func (f *Fleet) join(r LoadRequest, embedding bool) *load {
	options, _ := json.Marshal(r.Options.LoadTime()) // plain numbers: cannot fail
	key := loadKey{r.Model, string(options), r.KeepAlive}
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.loads[key]; l != nil {
		return l
	}
	l := &load{start: time.Now(), done: make(chan struct{})}
	f.loads[key] = l
	f.wg.Go(func() {
		l.err = f.host.Client.Load(f.life, r.Model, embedding, r.KeepAlive, r.Options.LoadTime())
		f.mu.Lock()
		delete(f.loads, key)
		f.mu.Unlock()
		close(l.done)
	})
	return l
}

// UnloadState is what an unload came to.
type UnloadState string

// The states after an unload.
const (
	Unloaded  UnloadState = "unloaded"   // ps no longer lists the model
	Pending   UnloadState = "pending"    // asked for; calls still run on the model
	NotLoaded UnloadState = "not_loaded" // it was not loaded
)

// unloadWait bounds how long Unload watches ps before it says Pending.
const unloadWait = 10 * time.Second

// Unload frees a model's memory and says what ps says of it afterwards.
func (f *Fleet) Unload(ctx context.Context, model ollama.Name) (UnloadState, error) {
	running, err := f.running(ctx, model)
	if err != nil {
		return "", err
	}
	if running == nil {
		_, err := f.describe(ctx, model) // a name that is not installed is a mistake, not "not loaded"
		return NotLoaded, err
	}
	if err := f.host.Client.Unload(ctx, model); err != nil {
		return "", f.fail(ctx, model, err)
	}
	// Ollama answers at once, loaded or not: ps alone knows when the memory is free.
	deadline := time.Now().Add(unloadWait)
	for pause := 10 * time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, 250*time.Millisecond) {
		if running, err = f.running(ctx, model); err != nil {
			return "", err
		}
		if running == nil {
			return Unloaded, nil
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return Pending, nil
}

// running returns how a model is loaded, or nil.
func (f *Fleet) running(ctx context.Context, model ollama.Name) (*ollama.Running, error) {
	all, err := f.host.Client.PS(ctx)
	if err != nil {
		return nil, f.fail(ctx, model, err)
	}
	i := slices.IndexFunc(all, func(r ollama.Running) bool { return canonical(r.Name) == model })
	if i < 0 {
		return nil, nil
	}
	return &all[i], nil
}
