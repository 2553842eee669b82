package policy

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/transport/auth"
)

// LimitError says that a caller has reached a limit of a rule.
type LimitError struct {
	Caller   string
	Rule     string
	Limit    int           // calls a minute, or calls at once
	Parallel bool          // of calls at once
	Wait     time.Duration // until there is room again; 0 for calls at once, which nobody can tell
}

func (e *LimitError) Error() string {
	unit := "a minute"
	if e.Parallel {
		unit = "at once"
	}
	return fmt.Sprintf("%s has reached the limit of %d calls %s of rule %q", e.Caller, e.Limit, unit, e.Rule)
}

// Pass is a call that a policy has let in. Nil is one that nothing limits. It is for the
// call's own goroutine.
type Pass struct {
	policy *Policy
	view   *view
	tool   string
	held   []slot
}

// Enter lets a call of a tool in: it refuses what is denied whatever the model, and counts
// the call against the rules that are for every model. Leave when the call is over. Errors
// are [*Denied], [*LimitError] or the Limiter's.
func (p *Policy) Enter(ctx context.Context, tool string) (*Pass, error) {
	if p == nil {
		return nil, nil
	}
	if err := p.Allow(ctx, tool); err != nil {
		return nil, err
	}
	pass := &Pass{policy: p, view: p.view(auth.FromContext(ctx)), tool: tool}
	if err := pass.count(ctx, func(r *rule) bool { return r.models == nil }); err != nil {
		pass.Leave()
		return nil, err
	}
	return pass, nil
}

// May reports whether the call could use a model, or show it when its tool only shows.
func (c *Pass) May(model ollama.Name) bool {
	return c == nil || c.view.with(c.policy.set(c.tool), model) != 0
}

// Use is for the one model that the call is about, before anything is asked of it. It
// refuses a model that is denied, and counts the call against the rules that name such
// models. It returns the limits of all rules that allow the call. Errors are as Enter's.
func (c *Pass) Use(ctx context.Context, model ollama.Name) (Limits, error) {
	if c == nil {
		return Limits{}, nil
	}
	if !c.May(model) {
		return Limits{}, c.policy.denied(c.view, c.tool, model)
	}
	if err := c.count(ctx, func(r *rule) bool { return r.models != nil && r.matchesModel(model) }); err != nil {
		return Limits{}, err
	}
	return c.view.limits(c.policy.set(c.tool), model), nil
}

// Leave gives back what the call held. It may be called again.
func (c *Pass) Leave() {
	if c == nil {
		return
	}
	c.policy.slots.release(c.held)
	c.held = nil
}

// count counts the call against the rules that are chosen among those that allow it. What
// can be given back is taken first: a call that is refused for calls at once costs nothing.
func (c *Pass) count(ctx context.Context, chosen func(*rule) bool) error {
	tool := c.policy.set(c.tool) &^ c.policy.follow
	rules := slices.DeleteFunc(slices.Clone(c.view.allow), func(r *rule) bool { return r.tools&tool == 0 || !chosen(r) })
	for _, r := range rules {
		if n := r.limits.ParallelCalls; n != nil {
			s := slot{r.name, c.view.caller.Name}
			if !c.policy.slots.take(s, *n) {
				return &LimitError{Caller: s.caller, Rule: r.name, Limit: *n, Parallel: true}
			}
			c.held = append(c.held, s)
		}
	}
	for _, r := range rules {
		n := r.limits.CallsPerMinute
		if n == nil {
			continue
		}
		// A minute's calls may come at once: an agent works in bursts.
		switch wait, err := c.policy.limiter.Take(ctx, r.name+"\x00"+c.view.caller.Name, *n, *n); {
		case err != nil:
			return fmt.Errorf("count the calls of %s: %w", c.view.caller.Name, err)
		case wait > 0:
			return &LimitError{Caller: c.view.caller.Name, Rule: r.name, Limit: *n, Wait: wait}
		}
	}
	return nil
}

// Limits are those of all rules that allow calls of the tool by the caller in ctx whatever the
// model, and calls with one of the models. They are as [Pass.Use] returns them, but nothing is
// counted, nor refused.
func (p *Policy) Limits(ctx context.Context, tool string, models ...ollama.Name) Limits {
	if p == nil {
		return Limits{}
	}
	v, set := p.view(auth.FromContext(ctx)), p.set(tool)
	l := v.limits(set, "")
	for _, m := range models {
		of := v.limits(set, m)
		l.tighten(&of)
	}
	return l
}

// limits are those of all rules that allow a call; model "" is no model.
func (v *view) limits(tool toolSet, model ollama.Name) Limits {
	var l Limits
	for _, r := range v.allow {
		if r.tools&tool != 0 && (r.models == nil || model != "" && r.matchesModel(model)) {
			l.tighten(&r.limits)
		}
	}
	return l
}

// slot is the calls at once of one caller under one rule.
type slot struct{ rule, caller string }

// slots counts calls at once. The zero value works.
type slots struct {
	mu    sync.Mutex // guards taken
	taken map[slot]int
}

func (s *slots) take(k slot, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[k] >= most {
		return false
	}
	if s.taken == nil {
		s.taken = map[slot]int{}
	}
	s.taken[k]++
	return true
}

func (s *slots) release(held []slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range held {
		if s.taken[k]--; s.taken[k] == 0 {
			delete(s.taken, k)
		}
	}
}
