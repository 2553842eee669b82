// Package policy decides which caller may use which tools with which models, and how
// much of it. It owns the rules, their evaluation and the counting of calls.
//
// It knows callers by what authentication says of them and models by their canonical
// names; it knows nothing of MCP, of Ollama's hosts, or of what a tool does.
package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ollama-mcp/ollama"
	"ollama-mcp/transport/auth"
)

// Tool is what a policy must know of a tool.
type Tool struct {
	Name      string
	UsesModel bool // runs, loads or unloads one; another tool is allowed with those alone that such a tool is allowed with
	Follows   bool // sees to calls that were counted when they came: it is not counted itself
}

// Options say what a policy is for. The zero value has no tools.
type Options struct {
	Tools   []Tool  // all that there are, at most 64
	Limiter Limiter // counts calls; nil is a [MemoryLimiter]
}

// Policy is checked rules. It is safe for concurrent use. Nil allows everything.
//
// A rule that denies beats every rule that allows; a call that no rule allows is denied.
type Policy struct {
	rules   []*rule
	tools   map[string]toolSet // each tool's own bit
	all     toolSet
	users   toolSet // those that use a model
	follow  toolSet // those that are not counted
	limiter Limiter
	slots   slots

	mu    sync.RWMutex     // guards views
	views map[string]*view // by the caller's name
}

// New checks rules. Without rules it returns nil, the policy that allows everything.
// Its errors name the rule and the valid choices.
func New(rules []Rule, o Options) (*Policy, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	if len(o.Tools) > maxTools {
		return nil, fmt.Errorf("%d tools, more than %d", len(o.Tools), maxTools)
	}
	if o.Limiter == nil {
		o.Limiter = &MemoryLimiter{}
	}
	p := &Policy{limiter: o.Limiter, tools: map[string]toolSet{}, views: map[string]*view{}}
	for i, t := range o.Tools {
		p.tools[t.Name] = 1 << i
		p.all |= 1 << i
		if t.UsesModel {
			p.users |= 1 << i
		}
		if t.Follows {
			p.follow |= 1 << i
		}
	}
	var errs []error
	seen := map[string]bool{}
	for i, r := range rules {
		c, err := compile(i, r, o.Tools)
		switch {
		case err != nil:
			errs = append(errs, err)
			continue
		case seen[c.name]:
			errs = append(errs, fmt.Errorf("rule %d (%q): another rule has this name", i+1, c.name))
		}
		seen[c.name] = true
		p.rules = append(p.rules, c)
	}
	return p, errors.Join(errs...)
}

// Denied says that the policy does not let a caller do something.
type Denied struct {
	Caller auth.Caller
	Tool   string      // "" is all of them
	Model  ollama.Name // "" when the tool itself is denied
	Rule   string      // the rule that denies; "" when no rule allows
}

func (e *Denied) Error() string {
	why := "no rule allows it"
	if e.Rule != "" {
		why = fmt.Sprintf("rule %q denies it", e.Rule)
	}
	return e.What() + ": " + why
}

// What says who may not do what, without the rule.
func (e *Denied) What() string {
	tool, model := e.Tool, ""
	if tool == "" {
		tool = "any tool"
	}
	if e.Model != "" {
		model = " with the model " + string(e.Model)
	}
	return fmt.Sprintf("%s may not use %s%s", e.Caller.Name, tool, model)
}

// Command is the command line that shows the operator why.
func (e *Denied) Command() string {
	words := []string{"ollama-mcp", "explain"}
	if len(e.Caller.Groups) > 0 {
		words = append(words, "--groups", strings.Join(e.Caller.Groups, ","))
	}
	if len(e.Caller.Scopes) > 0 {
		words = append(words, "--scopes", strings.Join(e.Caller.Scopes, ","))
	}
	words = append(words, e.Caller.Name, e.Tool, string(e.Model))
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	for i, w := range words {
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
}

// quote makes a word safe in a POSIX shell: names come from tokens that others write.
func quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_+=:,./-"
	if strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Allow returns nil when the caller in ctx may use the tool with all the models, else a
// [*Denied]. Tool "" asks whether any tool may: that is who sees a model. Without models the
// question is whether some model could be allowed, which may be answered too generously:
// ask again with the model.
func (p *Policy) Allow(ctx context.Context, tool string, models ...ollama.Name) error {
	if p == nil {
		return nil
	}
	v := p.view(auth.FromContext(ctx))
	want := p.set(tool)
	if want&v.tools == 0 {
		return p.denied(v, tool, "")
	}
	for _, m := range models {
		if want = v.with(want, m); want == 0 {
			return p.denied(v, tool, m)
		}
	}
	return nil
}

// set is the set of one tool, or of all for "". A tool that nobody knows is in none.
func (p *Policy) set(tool string) toolSet {
	if tool == "" {
		return p.all
	}
	return p.tools[tool]
}

// denied looks for the rule to name.
func (p *Policy) denied(v *view, tool string, model ollama.Name) *Denied {
	d := &Denied{Caller: v.caller, Tool: tool, Model: model}
	for _, r := range v.deny {
		if p.set(tool)&^r.tools == 0 && (model == "" && r.models == nil || model != "" && r.matchesModel(model)) {
			d.Rule = r.name
			break
		}
	}
	return d
}
