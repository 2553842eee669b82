package policy

import (
	"slices"

	"ollama-mcp/ollama"
	"ollama-mcp/transport/auth"
)

// view is the rules that match a caller.
type view struct {
	caller      auth.Caller
	allow, deny []*rule
	tools       toolSet // with which some model could be allowed
	users       toolSet // all that use a model
}

// maxViews bounds how many callers' views are kept.
const maxViews = 1 << 10

// view returns the caller's view. Matching every rule's patterns takes microseconds, so
// views are kept; one is made anew when the same name comes with other groups or scopes.
func (p *Policy) view(c auth.Caller) *view {
	p.mu.RLock()
	v := p.views[c.Name]
	p.mu.RUnlock()
	if v != nil && slices.Equal(v.caller.Groups, c.Groups) && slices.Equal(v.caller.Scopes, c.Scopes) {
		return v
	}
	v = p.newView(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.views) >= maxViews {
		clear(p.views)
	}
	p.views[c.Name] = v
	return v
}

func (p *Policy) newView(c auth.Caller) *view {
	v := &view{caller: c, users: p.users}
	for _, r := range p.rules {
		switch {
		case !r.matchesCaller(&c):
		case r.allows:
			v.allow = append(v.allow, r)
		default:
			v.deny = append(v.deny, r)
		}
	}
	for i := range maxTools {
		if t := toolSet(1) << i & p.all; t != 0 && v.someModel(t) {
			v.tools |= t
		}
	}
	return v
}

// with is those of the wanted tools that may be used with a model. One that only shows models
// may show what one that uses them may use.
func (v *view) with(wanted toolSet, model ollama.Name) toolSet {
	want, got := wanted, toolSet(0)
	if wanted&^v.users != 0 {
		want |= v.users
	}
	for _, r := range v.allow {
		if r.tools&want&^got != 0 && r.matchesModel(model) {
			got |= r.tools & want
		}
	}
	for _, r := range v.deny {
		if r.tools&got != 0 && r.matchesModel(model) {
			got &^= r.tools
		}
	}
	if got&v.users == 0 {
		return 0
	}
	return got & wanted
}

// someModel reports whether a tool could be allowed with some model: an allowed pattern
// is left that no denied one surely covers.
func (v *view) someModel(tool toolSet) bool {
	denied := func(g glob) bool {
		return slices.ContainsFunc(v.deny, func(r *rule) bool {
			return r.tools&tool != 0 && (r.models == nil || slices.ContainsFunc(r.models, func(d glob) bool { return d.covers(g) }))
		})
	}
	return slices.ContainsFunc(v.allow, func(r *rule) bool {
		if r.tools&tool == 0 {
			return false
		}
		models := r.models
		if models == nil {
			models = []glob{anything}
		}
		return slices.ContainsFunc(models, func(g glob) bool { return !denied(g) })
	})
}
