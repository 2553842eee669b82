package fleet

import (
	"context"
	"encoding/json"
	"errors"
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
	last   time.Duration // that it took the last time, 0 when nobody knows
	wanted int           // by so many who wait for it; guarded by the member's mu
	done   chan struct{} // closed when what follows is final

	running *ollama.Running // how the model is loaded now; nil when ps does not list it
	err     error
}

// LoadRequest asks for a model in memory.
type LoadRequest struct {
	Model     ollama.Name
	KeepAlive string // a Go duration, not 0: that unloads; "" leaves Ollama's own
	Options   *ollama.Options
	Host      string // where; "" is where calls on the model would go
}

// Loaded is what a load came to.
type Loaded struct {
	Host          string
	Took          time.Duration // how long this call waited
	ContextLength int           // tokens; 0 when Ollama does not say
	VRAM          int64         // bytes on GPUs
	Remote        bool          // ollama.com runs the model: there was nothing to load
}

// Load loads a model where calls on it would go, or on a named host, and waits for it. A caller
// that gives up does not stop the load. It is asked of Ollama even when the model is loaded
// already, so that keep_alive takes effect. Errors are as of Generate.
func (f *Fleet) Load(ctx context.Context, r LoadRequest, w Watch) (*Loaded, error) {
	need := need{op: "load", model: r.Model, host: r.Host}
	err := f.checkHost(ctx, r.Host)
	if err != nil {
		return nil, err
	}
	if need.options, err = f.opts.pinned(r.Model, r.Options); err != nil {
		return nil, err
	}
	r.Options = need.options
	var l *Loaded
	err = f.try(ctx, &need, func(v *visit) (err error) {
		l, err = v.load(v.ctx, r, w)
		return err
	})
	return l, err
}

func (h *member) load(ctx context.Context, r LoadRequest, w Watch) (*Loaded, error) {
	start := time.Now()
	r.KeepAlive = h.opts.keepAlive(r.Model, r.KeepAlive)
	shown, err := h.describe(ctx, r.Model)
	if err != nil {
		return nil, err
	}
	if shown.RemoteHost != "" {
		return &Loaded{Host: h.Client.Name(), Remote: true}, nil
	}
	running, err := h.await(ctx, r, isEmbedding(shown.Capabilities), w)
	if err != nil {
		return nil, err
	}
	l := &Loaded{Host: h.Client.Name(), Took: time.Since(start)}
	if running != nil {
		l.ContextLength, l.VRAM = running.ContextLength, running.SizeVRAM
	}
	return l, nil
}

// ready makes sure that a model is loaded with the options that a call will send, so
// that a caller who gives up never takes a load down with it. It returns those options.
// keep_alive is the call's own to send.
func (h *member) ready(ctx context.Context, n *need, w Watch) (Place, *ollama.Options, error) {
	start := time.Now()
	p := Place{Host: h.Client.Name()}
	if l := h.current(n.model); l != nil && n.options.LoadTime() == nil {
		// It suits whatever its options are, and a load of our own would undo it.
		w.expect(l.last)
		w.phase(Loading)
		h.want(l, 1)
		l.wait(ctx)
		if h.want(l, -1); ctx.Err() != nil {
			return p, nil, ctx.Err()
		}
		p.LoadWait = time.Since(start)
	}
	running, err := h.inUse(ctx, n.model)
	if err != nil {
		return p, nil, err
	}
	// Ollama lists a model as running while it still loads (0.17.4, server/sched.go).
	if running != nil && h.current(n.model) == nil {
		if options, ok := h.fitting(n, running); ok {
			p.ContextLength = running.ContextLength
			return p, options, nil
		}
	}
	shown, err := h.describe(ctx, n.model)
	if err != nil {
		return p, nil, err
	}
	if p.Remote = shown.RemoteHost != ""; p.Remote {
		p.ContextLength = shown.ContextLength() // num_ctx is not for these
		return p, n.options, nil
	}
	if err := h.fits(ctx, n, contextOf(n.options, shown)); err != nil {
		return p, nil, err
	}
	r := LoadRequest{Model: n.model, Options: n.options, KeepAlive: h.opts.keepAlive(n.model, "")}
	if running, err = h.await(ctx, r, isEmbedding(shown.Capabilities), w); err != nil {
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
func (h *member) await(ctx context.Context, r LoadRequest, embedding bool, w Watch) (*ollama.Running, error) {
	l := h.join(r, embedding)
	defer h.want(l, -1)
	w.expect(l.last)
	w.phase(Loading)
	return l.wait(ctx)
}

// want adds to those who wait for a load.
func (h *member) want(l *load, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.wanted += n
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
func (h *member) current(model ollama.Name) *load {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, l := range h.loads {
		if key.model == model {
			return l
		}
	}
	return nil
}

// errUnwanted ends a load that nobody waits for any more before Ollama is asked for it.
var errUnwanted = errors.New("nobody waits for the load")

// join returns the running load of r, starting it when there is none. It is wanted by one more
// then.
func (h *member) join(r LoadRequest, embedding bool) *load {
	options, _ := json.Marshal(r.Options.LoadTime()) // plain numbers: cannot fail
	key := loadKey{r.Model, string(options), r.KeepAlive}
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.loads[key]; l != nil {
		l.wanted++
		return l
	}
	l := &load{wanted: 1, last: h.took[h.known.models[r.Model].Digest], done: make(chan struct{})}
	h.loads[key] = l
	h.publish()
	h.wg.Go(func() {
		over := h.watcher.Load()
		l.running, l.err = h.bring(r, embedding, func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			if l.wanted == 0 {
				delete(h.loads, key) // who comes now starts another one
			}
			return l.wanted > 0
		})
		h.mu.Lock()
		if h.loads[key] == l {
			delete(h.loads, key)
		}
		h.publish()
		h.mu.Unlock()
		over()
		close(l.done)
		h.fleet.changed()
	})
	return l
}

// bring loads a model and notes what is known of it then, whether or not a caller still
// waits. It returns how the model is loaded, nil when ps does not list it.
func (h *member) bring(r LoadRequest, embedding bool, wanted func() bool) (*ollama.Running, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-h.life.Done():
		return nil, h.life.Err()
	}
	if !wanted() {
		return nil, errUnwanted
	}
	before, err := h.running(h.life, r.Model)
	if err != nil {
		return nil, err
	}
	if before == nil {
		err = h.makeRoom()
	} else if _, fits := h.fitting(&need{options: r.Options}, before); !fits {
		var gone bool
		if gone, err = h.clear(before); gone {
			before = nil
		}
	}
	if err != nil {
		return nil, err
	}
	start := time.Now()
	err = h.Client.Load(h.life, r.Model, embedding, r.KeepAlive, r.Options.LoadTime())
	h.opts.Observe.loaded(h.Client.Name(), r.Model, time.Since(start), err)
	if err != nil {
		return nil, h.fail(h.life, r.Model, err)
	}
	if before == nil {
		h.fresh(r.Model)
	}
	running, err := h.running(h.life, r.Model)
	if running != nil {
		h.loadedWith(r.Options.LoadTime(), running)
		if before == nil {
			h.mu.Lock()
			h.took[running.Digest] = time.Since(start)
			h.room.since[running.Digest] = time.Now()
			h.mu.Unlock()
		}
	}
	return running, err
}
