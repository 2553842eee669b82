package fleet

import (
	"context"
	"sort"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/route"
)

// preload keeps the pinned models loaded that are to be: at the start, when hosts come, and
// when one is back. A model that is unloaded later, or whose time is over, stays so: to keep
// it is the task of keep_alive.
func (f *Fleet) preload() {
	var models []ollama.Name
	for n, pin := range f.opts.Pins {
		if pin.Preload > 0 && !f.opts.NoPreload {
			models = append(models, n)
		}
	}
	if len(models) == 0 {
		return
	}
	sort.Slice(models, func(i, j int) bool { return models[i] < models[j] })
	f.wg.Go(func() {
		for {
			select {
			case <-f.life.Done():
				return
			case <-f.warm:
			}
			for _, n := range models {
				f.warmUp(f.life, n)
			}
		}
	})
}

// rewarm has preload look again.
func (f *Fleet) rewarm() {
	select {
	case f.warm <- struct{}{}:
	default:
	}
}

// warmUp loads a model on as many hosts as its pin says, as far as there are. What fails is
// told to the observer, and tried again when preload looks again.
func (f *Fleet) warmUp(ctx context.Context, model ollama.Name) {
	options, err := f.opts.pinned(model, nil)
	if err != nil {
		return
	}
	var tried []string
	for warm := 0; warm < f.opts.Pins[model].Preload && ctx.Err() == nil; {
		n := need{op: "load", model: model, options: options}
		v, err := f.choose(ctx, &n, tried)
		if err != nil {
			return
		}
		tried = append(tried, v.Client.Name())
		err = v.visited(&n, func(v *visit) error {
			if l := v.facts.Load(); isLoaded(l, v.digest) {
				return nil
			}
			_, err := v.load(v.ctx, LoadRequest{Model: model, Options: options}, Watch{})
			return err
		})
		if err == nil {
			warm++
		}
	}
}

// isLoaded reports whether a host has the content in memory.
func isLoaded(h *route.Host, digest string) bool {
	for i := range h.Loaded {
		if l := &h.Loaded[i]; l.Digest == digest && !l.Loading {
			return true
		}
	}
	return false
}
