package fleet

import (
	"context"

	"ollama-mcp/ollama/fleet/queue"
)

// Caller is who makes a call, as far as fairness between callers needs to know.
type Caller struct {
	Name     string
	Priority queue.Priority // "" is normal
	Tags     []string       // that a host must have to take the caller's calls; a host's name is one of its tags
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
