package tools

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ollama-mcp/schema"
)

// Toolset is what tools are switched on and off by. The zero value is none: it stops the
// start.
type Toolset string

// The toolsets, see [Toolsets].
const (
	Inference Toolset = "inference" // running models
	Models    Toolset = "models"    // what is installed and loaded
	Jobs      Toolset = "jobs"      // calls that outlive their request
	Library   Toolset = "library"   // changing what is installed; off unless asked for
)

// Toolsets are all toolsets.
func Toolsets() []Toolset { return []Toolset{Inference, Models, Jobs, Library} }

// Selection says which tools are offered. The zero value is all but those of [Library].
type Selection struct {
	Toolsets []string // in place of the default ones
	Tools    []string // these alone, whatever their toolset
	ReadOnly bool     // of those, only the ones that change nothing
}

// Select returns the tools that are offered. Without the tool jobs among them no call becomes
// a job: nobody could ask for its result. Its errors name the setting and the valid
// choices.
func (s Selection) Select(all []Tool) ([]Tool, error) {
	names, sets := Names(all), []string(nil)
	for _, t := range Toolsets() {
		sets = append(sets, string(t))
	}
	err := errors.Join(known("--toolsets", "toolset", s.Toolsets, sets), known("--tools", "tool", s.Tools, names))
	if err != nil {
		return nil, err
	}
	var chosen []Tool
	for _, t := range all {
		switch {
		case !s.wants(&t):
		case !s.ReadOnly || t.Effect == Reads:
			chosen = append(chosen, t)
		case len(s.Tools) > 0:
			return nil, fmt.Errorf("--tools names %s, which --read-only leaves out: it changes things", t.Name)
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("--toolsets, --tools and --read-only leave no tool")
	}
	for _, name := range []string{jobsName, cancelName} {
		if slices.ContainsFunc(chosen, func(t Tool) bool { return t.Name == name }) {
			continue
		}
		for i := range chosen {
			chosen[i].lacks = append(chosen[i].lacks, name)
		}
	}
	return chosen, nil
}

// Names are the names of tools.
func Names(tools []Tool) []string {
	names := []string{}
	for _, t := range tools {
		names = append(names, t.Name)
	}
	return names
}

func (s Selection) wants(t *Tool) bool {
	switch {
	case len(s.Tools) > 0:
		return slices.Contains(s.Tools, t.Name)
	case len(s.Toolsets) > 0:
		return slices.Contains(s.Toolsets, string(t.Toolset))
	}
	return t.Toolset != Library
}

func known(flag, what string, given, valid []string) error {
	for _, g := range given {
		if slices.Contains(valid, g) {
			continue
		}
		hint := ""
		if near := schema.Nearest(g, valid); near != "" {
			hint = fmt.Sprintf(": did you mean %s?", near)
		}
		return fmt.Errorf("%s: unknown %s %q%s; valid: %s", flag, what, g, hint, strings.Join(valid, ", "))
	}
	return nil
}
