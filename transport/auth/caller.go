// Package auth says who makes an HTTP request: a bearer token out of a file, a JWT of an
// OAuth 2.1 authorization server, or a client certificate. It knows nothing of MCP, of
// tools, or of what a caller may do.
package auth

import (
	"context"
	"time"
)

// Local is the caller where nobody has to say who they are.
const Local = "local"

// Caller is who makes a request. Its slices are shared: they must not be changed.
type Caller struct {
	// Name is unique. It is Local without authentication, a token's name (which has no
	// colon), "oidc:" and the subject of a JWT, or a certificate's URI or, without one,
	// "dns:" and its first DNS name.
	Name    string
	Groups  []string
	Scopes  []string
	Expires time.Time // when the credential ends; zero: never
}

type contextKey struct{}

// NewContext returns a context that carries the caller.
func NewContext(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the caller that NewContext put there; without one, Local.
func FromContext(ctx context.Context) Caller {
	if c, ok := ctx.Value(contextKey{}).(Caller); ok {
		return c
	}
	return Caller{Name: Local}
}
