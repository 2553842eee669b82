package fleet

import (
	"cmp"
	"fmt"

	"ollama-mcp/ollama"
)

// Pin is what the operator has settled for a model. The zero value settles nothing.
type Pin struct {
	Options   *ollama.Options // load-time options, sent on every call; those that are nil stay free
	KeepAlive string          // of calls and loads that name none; as in [LoadRequest]
	Preload   int             // on how many hosts the model is loaded from the start; 0: where calls need it
}

// PinnedError says that a call wants another context than the operator has pinned.
type PinnedError struct {
	Model         ollama.Name
	Pinned, Asked int // tokens
}

func (e *PinnedError) Error() string {
	return fmt.Sprintf("num_ctx of %s is pinned to %d, and the call wants %d", e.Model, e.Pinned, e.Asked)
}

// pinned returns a call's options with those that are pinned for its model. With
// AllowNumCtx a call may still have a context of its own; Ollama then loads the model anew.
func (o *Options) pinned(model ollama.Name, asks *ollama.Options) (*ollama.Options, error) {
	pin := o.Pins[model].Options.LoadTime()
	if pin == nil {
		return asks, nil
	}
	asked := asks.LoadTime()
	if asked == nil {
		return asks.WithLoadTime(pin), nil
	}
	if asked.NumCtx != nil && pin.NumCtx != nil && *asked.NumCtx != *pin.NumCtx && !o.AllowNumCtx {
		return nil, &PinnedError{Model: model, Pinned: *pin.NumCtx, Asked: *asked.NumCtx}
	}
	return asks.WithLoadTime(&ollama.Options{
		NumCtx:    cmp.Or(asked.NumCtx, pin.NumCtx),
		NumBatch:  cmp.Or(pin.NumBatch, asked.NumBatch),
		NumGPU:    cmp.Or(pin.NumGPU, asked.NumGPU),
		MainGPU:   cmp.Or(pin.MainGPU, asked.MainGPU),
		UseMMap:   cmp.Or(pin.UseMMap, asked.UseMMap),
		NumThread: cmp.Or(pin.NumThread, asked.NumThread),
	}), nil
}

// KeepsAlive reports whether the operator has settled how long a model stays loaded after
// calls that do not say.
func (f *Fleet) KeepsAlive(model ollama.Name) bool { return f.opts.Pins[model].KeepAlive != "" }

// keepAlive is a call's own, else the one that is pinned.
func (o *Options) keepAlive(model ollama.Name, asked string) string {
	return cmp.Or(asked, o.Pins[model].KeepAlive)
}
