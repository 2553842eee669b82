package fleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/health"
)

// The law of trying again. A call is tried again only while nothing of an answer has come,
// and only if it leaves no trace, as list, show, embed, generate and chat do. Pull, create,
// copy, delete and push are never made again.
//
// Elsewhere: where the host is at fault, refuses our credentials, has too many calls waiting,
// cannot load the model or turns out not to have it. On the same host: only where it asks for
// it, with 429 or 503, and no other is left.
const (
	maxTries  = 3
	firstWait = 250 * time.Millisecond // the most before the second try on a host; doubles
	maxWait   = 10 * time.Second       // that a host may ask to be left alone
)

// retries is where one call stands in the law.
type retries struct {
	budget *budget
	tries  int      // that failed
	tried  []string // hosts
}

// again reports whether a call whose latest try failed on a host is tried again, after having
// waited as long as that takes. more reports whether another host is left.
func (r *retries) again(ctx context.Context, v *visit, err error, more func(tried []string) bool) bool {
	var e *ollama.Error
	if ctx.Err() != nil || v.answered || !errors.As(err, &e) || !elsewhere(e) {
		return false
	}
	moved := health.Refused(err) || v.sent.IsZero() && errors.Is(context.Cause(v.ctx), errGone) // no host had work of it
	if e.Kind != ollama.MissingModel && !moved {
		r.tries++
	}
	if r.tries >= maxTries {
		return false
	}
	r.tried = append(r.tried, v.Client.Name())
	if more(r.tried) {
		return moved || r.budget.spend()
	}
	if e.Kind != ollama.Busy || e.Status == 0 || e.RetryAfter > maxWait || !r.budget.spend() {
		return false
	}
	wait := max(e.RetryAfter, rand.N(firstWait<<r.tries))
	if at, ok := ctx.Deadline(); ok && time.Until(at) < wait {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
	}
	r.tried = slices.DeleteFunc(r.tried, func(name string) bool { return name == v.Client.Name() })
	return true
}

// elsewhere reports whether another host may do better: the failure is the host's, not the
// call's.
func elsewhere(e *ollama.Error) bool {
	switch e.Kind {
	case ollama.Unreachable, ollama.NotOllama, ollama.Unauthorized, ollama.MissingModel, ollama.LoadFailed,
		ollama.Stalled, ollama.Cut, ollama.Busy:
		return true
	case ollama.Failed: // with status 200 the model itself broke off
		return e.Status/100 == 5
	}
	return false
}

// budget keeps tries from multiplying the load when all is going wrong: a tenth of the calls
// may be tried again, and some more after quiet times. The zero value is full.
// Source: https://sre.google/sre-book/handling-overload/, "Deciding to retry".
type budget struct {
	mu   sync.Mutex // guards used
	used float64
}

const (
	maxBudget = 100 // tries
	perCall   = 0.1 // tries that a call gives back
)

// spend reports whether there is room for one more try.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+1 > maxBudget {
		return false
	}
	b.used++
	return true
}

// earn counts a call.
func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = max(0, b.used-perCall)
}
