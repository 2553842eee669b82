package policy

import (
	"ollama-mcp/ollama"
	"ollama-mcp/transport/auth"
)

// Explanation is why a call is allowed or not.
type Explanation struct {
	Allowed bool
	Rule    string  // the rule that decides; "" when no rule matches
	Matches []Match // the rules that match, in their order
	Limits  Limits  // in force for a call that is allowed
}

// Match is a rule that matches a call.
type Match struct {
	Rule   string
	Effect Effect
	Limits Limits
}

// Explain says how the policy decides on a call of a tool with a model, as Allow does.
// Model "" asks whether some model could be allowed; a rule that names models matches then
// too, but never decides against the call alone.
func (p *Policy) Explain(c auth.Caller, tool string, model ollama.Name) Explanation {
	if p == nil {
		return Explanation{Allowed: true}
	}
	v, want := p.newView(c), p.set(tool)
	e := Explanation{Allowed: v.tools&want != 0 && (model == "" || v.with(want, model) != 0)}
	decides := Deny
	if e.Allowed {
		decides = Allow
		e.Limits = v.limits(want, model)
	}
	for _, r := range p.rules {
		if !r.matchesCaller(&c) || r.tools&want == 0 || model != "" && !r.matchesModel(model) {
			continue
		}
		e.Matches = append(e.Matches, Match{r.name, r.effect(), r.limits})
		if e.Rule == "" && r.effect() == decides {
			e.Rule = r.name
		}
	}
	return e
}
