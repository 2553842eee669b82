package fleet

import (
	"context"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/route"
)

// Route says how a call on a model would be placed: the hosts in the order in which it and
// its retries would try them, and why the others are not among them. All hosts are asked
// afresh first; one that is slow counts as what is known of it. The error is that there are no
// hosts, or ctx's.
func (f *Fleet) Route(ctx context.Context, model ollama.Name) ([]route.Choice, []route.Refusal, error) {
	members, done := f.use(within(ctx, ""))
	defer done()
	if len(members) == 0 {
		return nil, nil, nowhere(ctx, model)
	}
	askEach(ctx, members, func(ctx context.Context, h *member) (HostStatus, error) {
		s := h.status(ctx)
		if s.Err == nil {
			h.refresh(ctx)
		}
		return s, s.Err
	})
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	need := need{op: "generate", model: model}
	f.mu.Lock()
	defer f.mu.Unlock()
	order, refused := route.Order(f.facts(), need.route(callerOf(ctx), false), time.Now())
	return order, refused, nil
}
