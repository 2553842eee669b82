package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"ollama-mcp/config"
	"ollama-mcp/ollama"
	"ollama-mcp/policy"
	"ollama-mcp/tools"
	"ollama-mcp/transport/auth"
)

// Explain prints what the policy makes of a call: the decision, the rule that decides, all
// rules that match, and the limits in force. c.Explain must be set. Nothing is asked of
// Ollama. Errors are mistakes in the file or in the command.
func Explain(c *config.Config, stdout io.Writer) error {
	p, err := c.Policy.New(tools.ForPolicy)
	if err != nil {
		return err
	}
	asked, known := c.Explain, tools.ForPolicy()
	if !slices.ContainsFunc(known, func(t policy.Tool) bool { return t.Name == asked.Tool }) {
		var names []string
		for _, t := range known {
			names = append(names, t.Name)
		}
		return fmt.Errorf("unknown tool %q; valid: %s", asked.Tool, strings.Join(names, ", "))
	}
	var model ollama.Name
	if asked.Model != "" {
		if model, err = ollama.ParseName(asked.Model); err != nil {
			return err
		}
	}
	caller := auth.Caller{Name: asked.Caller, Groups: asked.Groups, Scopes: asked.Scopes}
	_, err = io.WriteString(stdout, explanation(asked, model, p.Explain(caller, asked.Tool, model), p == nil))
	return err
}

// explanation words what a policy makes of a call; open says that there is no policy.
func explanation(asked *config.ExplainCommand, model ollama.Name, e policy.Explanation, open bool) string {
	var b strings.Builder
	call := fmt.Sprintf("%s may use %s", asked.Caller, asked.Tool)
	if !e.Allowed {
		call = fmt.Sprintf("%s may not use %s", asked.Caller, asked.Tool)
	}
	if model != "" {
		call += " with " + string(model)
	}
	switch {
	case open:
		fmt.Fprintf(&b, "allowed: %s. There is no policy: everything is.\n", call)
		return b.String()
	case e.Allowed && model == "":
		fmt.Fprintf(&b, "allowed: %s. Rule %q allows it with some model at least: name one to be sure.\n", call, e.Rule)
	case e.Allowed:
		fmt.Fprintf(&b, "allowed: %s. Rule %q allows it, and none denies it.\n", call, e.Rule)
	case e.Rule != "":
		fmt.Fprintf(&b, "denied: %s. Rule %q denies it.\n", call, e.Rule)
	case len(e.Matches) > 0:
		fmt.Fprintf(&b, "denied: %s. Models are shown to those alone who may use them.\n", call)
	default:
		fmt.Fprintf(&b, "denied: %s. No rule allows it.\n", call)
	}
	b.WriteString(matches(e.Matches))
	switch {
	case e.Allowed && model == "":
		fmt.Fprintf(&b, "\nlimits in force with every model: %s\n", e.Limits)
	case e.Allowed:
		fmt.Fprintf(&b, "\nlimits in force: %s\n", e.Limits)
	}
	return b.String()
}

// matches lists the rules that match in columns.
func matches(all []policy.Match) string {
	if len(all) == 0 {
		return ""
	}
	rule, effect := 0, 0 // how wide their columns are
	for _, m := range all {
		rule, effect = max(rule, utf8.RuneCountInString(m.Rule)), max(effect, len(m.Effect))
	}
	var b strings.Builder
	b.WriteString("\nrules that match:\n")
	for _, m := range all {
		fmt.Fprintf(&b, "  %-*s  %-*s  %s\n", rule, m.Rule, effect, m.Effect, m.Limits)
	}
	return b.String()
}
