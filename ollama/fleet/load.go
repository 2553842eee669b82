package fleet

import (
	"context"
	"encoding/json"
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
	done chan struct{} // closed when what follows is final

	running *ollama.Running // how the model is loaded now; nil when ps does not list it
	err     error
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

// Load loads a model and waits for it. A caller that gives up does not stop the load. It is
// asked of Ollama even when the model is loaded already, so that keep_alive takes effect.
func (f *Fleet) Load(ctx context.Context, r LoadRequest, w Watch) (*Loaded, error) {
	start := time.Now()
	var err error
	if r.Options, err = f.pinned(r.Model, r.Options); err != nil {
		return nil, err
	}
	r.KeepAlive = f.keepAlive(r.Model, r.KeepAlive)
	shown, err := f.describe(ctx, r.Model)
	if err != nil {
		return nil, err
	}
	if shown.RemoteHost != "" {
		return &Loaded{Host: f.host.Client.Name(), Remote: true}, nil
	}
	w.phase(Loading)
	running, err := f.await(ctx, r, isEmbedding(shown.Capabilities))
	if err != nil {
		return nil, err
	}
	l := &Loaded{Host: f.host.Client.Name(), Took: time.Since(start)}
	if running != nil {
		l.ContextLength, l.VRAM = running.ContextLength, running.SizeVRAM
	}
	return l, nil
}

// ready makes sure that a model is loaded with the options that a call will send, so
// that a caller who gives up never takes a load down with it. It returns those options.
// keep_alive is the call's own to send.
func (f *Fleet) ready(ctx context.Context, n need, w Watch) (Place, *ollama.Options, error) {
	start := time.Now()
	p := Place{Host: f.host.Client.Name()}
	w.phase(Queued)
	if l := f.current(n.model); l != nil && n.options.LoadTime() == nil {
		// It suits whatever its options are, and a load of our own would undo it.
		w.phase(Loading)
		if l.wait(ctx); ctx.Err() != nil {
			return p, nil, ctx.Err()
		}
		p.LoadWait = time.Since(start)
	}
	running, err := f.inUse(ctx, n.model)
	if err != nil {
		return p, nil, err
	}
	// Ollama lists a model as running while it still loads (0.17.4, server/sched.go).
	if running != nil && f.current(n.model) == nil {
		if options, ok := f.fitting(n, running); ok {
			p.ContextLength = running.ContextLength
			return p, options, nil
		}
	}
	shown, err := f.describe(ctx, n.model)
	if err != nil {
		return p, nil, err
	}
	if p.Remote = shown.RemoteHost != ""; p.Remote {
		p.ContextLength = shown.ContextLength() // num_ctx is not for these
		return p, n.options, nil
	}
	if err := f.fits(ctx, &n, contextOf(n.options, shown)); err != nil {
		return p, nil, err
	}
	w.phase(Loading)
	r := LoadRequest{Model: n.model, Options: n.options, KeepAlive: f.keepAlive(n.model, "")}
	if running, err = f.await(ctx, r, isEmbedding(shown.Capabilities)); err != nil {
		return p, nil, err
	}
	if running != nil {
		p.ContextLength = running.ContextLength
	}
	p.LoadWait = time.Since(start)
	return p, n.options, nil
}

// await joins the load of r, or starts it, and waits until it is done or ctx ends. It
// returns how the model is loaded then, nil when ps does not list it.
func (f *Fleet) await(ctx context.Context, r LoadRequest, embedding bool) (*ollama.Running, error) {
	return f.join(r, embedding).wait(ctx)
}

// wait is await for a load that runs already.
func (l *load) wait(ctx context.Context) (*ollama.Running, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
		return l.running, l.err
	}
}

// current returns a load of the model that runs, with whatever options, or nil.
func (f *Fleet) current(model ollama.Name) *load {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, l := range f.loads {
		if key.model == model {
			return l
		}
	}
	return nil
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
	l := &load{done: make(chan struct{})}
	f.loads[key] = l
	f.wg.Go(func() {
		l.running, l.err = f.bring(r, embedding)
		f.mu.Lock()
		delete(f.loads, key)
		f.mu.Unlock()
		close(l.done)
		f.changed()
	})
	return l
}

// bring loads a model and notes what is known of it then, whether or not a caller still
// waits. It returns how the model is loaded, nil when ps does not list it.
func (f *Fleet) bring(r LoadRequest, embedding bool) (*ollama.Running, error) {
	before, err := f.running(f.life, r.Model)
	if err != nil {
		return nil, err
	}
	if err := f.host.Client.Load(f.life, r.Model, embedding, r.KeepAlive, r.Options.LoadTime()); err != nil {
		return nil, f.fail(f.life, r.Model, err)
	}
	if before == nil {
		f.fresh(r.Model)
	}
	running, err := f.running(f.life, r.Model)
	if running != nil {
		f.loadedWith(r.Options.LoadTime(), running)
	}
	return running, err
}
