package fleet

import (
	"context"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/queue"
)

// Caller is who makes a call, as far as fairness between callers and the choice of a host need
// to know.
type Caller struct {
	Name     string
	Priority queue.Priority // "" is normal
	Tags     []string       // that a host must have: to the caller there are no others; a host's name is one of its tags
}

type callerKey struct{}

// WithCaller says in a context who makes the calls in it.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf is who makes the calls in a context; the zero Caller when it does not say.
func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// within has use return the hosts that the caller in ctx may use, or of these the one of a name.
func within(ctx context.Context, name string) func(*member) bool {
	tags := callerOf(ctx).Tags
	return func(h *member) bool {
		return (name == "" || h.Client.Name() == name) && h.facts.Load().Fits(tags)
	}
}

// nowhere is the error of a call for which there are no hosts.
func nowhere(ctx context.Context, model ollama.Name) *PlaceError {
	return &PlaceError{Model: model, Kind: ollama.Unreachable, Restricted: callerOf(ctx).Tags != nil}
}
