package policy

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"ollama-mcp/ollama"
	"ollama-mcp/transport/auth"
)

// Rule allows or denies calls. It matches a call when its caller, its tool and its model
// match. A list that is nil matches everything; in Callers, Groups and Scopes one match
// is enough, and a rule without all three is for every caller. The patterns are globs: *
// is any run of characters and ? is one.
type Rule struct {
	Name    string   `yaml:"name"` // "" is "rule N", counted from 1
	Callers []string `yaml:"callers"`
	Groups  []string `yaml:"groups"`
	Scopes  []string `yaml:"scopes"`
	Tools   []string `yaml:"tools"`
	Models  []string `yaml:"models"` // over canonical names; without a tag: every tag
	Effect  Effect   `yaml:"effect"`
	Limits  Limits   `yaml:"limits"` // of a rule that allows
}

// Effect is what a rule does with the calls that it matches.
type Effect string

// The effects. The empty one is Allow.
const (
	Allow Effect = "allow"
	Deny  Effect = "deny"
)

// Limits bound what a rule allows. A nil field is no limit; numbers are above 0.
type Limits struct {
	CallsPerMinute *int           `yaml:"calls_per_minute"` // of one caller
	ParallelCalls  *int           `yaml:"parallel_calls"`   // of one caller
	MaxNumCtx      *int           `yaml:"max_num_ctx"`      // tokens
	MaxNumPredict  *int           `yaml:"max_num_predict"`  // tokens
	MaxKeepAlive   *time.Duration `yaml:"max_keep_alive"`
	Priority       Priority       `yaml:"priority"`
	Hosts          []string       `yaml:"hosts"` // tags, or the name, of those that calls go to: all of them
}

// Priority orders calls that wait.
type Priority string

// The priorities. The empty one says nothing.
const (
	Low    Priority = "low"
	Normal Priority = "normal"
	High   Priority = "high"
)

// priorities are the priorities, the tightest last.
var priorities = []Priority{"", High, Normal, Low}

// tighten makes each limit the tighter one of l and o.
func (l *Limits) tighten(o *Limits) {
	tighter(&l.CallsPerMinute, o.CallsPerMinute)
	tighter(&l.ParallelCalls, o.ParallelCalls)
	tighter(&l.MaxNumCtx, o.MaxNumCtx)
	tighter(&l.MaxNumPredict, o.MaxNumPredict)
	tighter(&l.MaxKeepAlive, o.MaxKeepAlive)
	if slices.Index(priorities, o.Priority) > slices.Index(priorities, l.Priority) {
		l.Priority = o.Priority
	}
	if o.Hosts != nil {
		hosts := slices.Concat(l.Hosts, o.Hosts)
		slices.Sort(hosts)
		l.Hosts = slices.Compact(hosts)
	}
}

func tighter[T int | time.Duration](l **T, o *T) {
	if o != nil && (*l == nil || *o < **l) {
		*l = o
	}
}

// counts are the limits that are numbers, with their names in the file.
func (l *Limits) counts() []count {
	return []count{
		{"calls_per_minute", l.CallsPerMinute}, {"parallel_calls", l.ParallelCalls},
		{"max_num_ctx", l.MaxNumCtx}, {"max_num_predict", l.MaxNumPredict},
	}
}

type count struct {
	name string
	most *int
}

// check refuses limits that nothing could meet.
func (l *Limits) check() error {
	for _, c := range l.counts() {
		if c.most != nil && *c.most <= 0 {
			return fmt.Errorf("limits: %s is %d and must be more than 0; to forbid, write effect: deny", c.name, *c.most)
		}
	}
	if d := l.MaxKeepAlive; d != nil && *d <= 0 {
		return fmt.Errorf("limits: max_keep_alive is %s and must be more than 0", *d)
	}
	if !slices.Contains(priorities, l.Priority) {
		return fmt.Errorf("limits: priority %q is not one of low, normal, high", l.Priority)
	}
	return l.checkHosts()
}

// checkHosts refuses words that no host can have for a tag.
func (l *Limits) checkHosts() error {
	if l.Hosts != nil && len(l.Hosts) == 0 {
		return errors.New("limits: hosts is an empty list: leave it out for all")
	}
	for i, tag := range l.Hosts {
		switch {
		case tag == "" || strings.Trim(tag, "abcdefghijklmnopqrstuvwxyz0123456789-_.:") != "":
			return fmt.Errorf("limits: hosts: %q is not made of small letters, digits and -_.: as tags and names of hosts are", tag)
		case slices.Contains(l.Hosts[:i], tag):
			return fmt.Errorf("limits: hosts: %q is there twice", tag)
		}
	}
	return nil
}

// String is the limits as the file has them, "none" when there are none.
func (l Limits) String() string {
	var words []string
	for _, c := range l.counts() {
		if c.most != nil {
			words = append(words, fmt.Sprintf("%s: %d", c.name, *c.most))
		}
	}
	if l.MaxKeepAlive != nil {
		words = append(words, fmt.Sprintf("max_keep_alive: %s", *l.MaxKeepAlive))
	}
	if l.Priority != "" {
		words = append(words, "priority: "+string(l.Priority))
	}
	if l.Hosts != nil {
		words = append(words, "hosts: ["+strings.Join(l.Hosts, ", ")+"]")
	}
	return cmp.Or(strings.Join(words, ", "), "none")
}

// toolSet is a set of tools: bit i is the i-th of those that the policy was made with.
type toolSet uint64

const maxTools = 64

// rule is a checked rule.
type rule struct {
	name    string
	allows  bool
	anybody bool // no caller, group or scope is named
	callers []glob
	groups  []glob
	scopes  []glob
	tools   toolSet
	models  []glob // nil is all
	limits  Limits
}

// compile checks the rule at index i.
func compile(i int, r Rule, tools []Tool) (*rule, error) {
	c := &rule{
		name: r.Name, allows: r.Effect != Deny, limits: r.Limits,
		anybody: r.Callers == nil && r.Groups == nil && r.Scopes == nil,
	}
	if c.name == "" {
		c.name = fmt.Sprintf("rule %d", i+1)
	}
	var errs [6]error
	c.callers, errs[0] = compileList("callers", r.Callers, oneGlob)
	c.groups, errs[1] = compileList("groups", r.Groups, oneGlob)
	c.scopes, errs[2] = compileList("scopes", r.Scopes, oneGlob)
	c.tools, errs[3] = compileTools(r.Tools, tools)
	c.models, errs[4] = compileList("models", r.Models, parseModelGlob)
	if slices.Contains(c.models, anything) {
		c.models = nil
	}
	switch {
	case strings.ContainsFunc(r.Name, unicode.IsControl):
		errs[5] = errors.New("name holds a control character")
	case r.Effect != "" && r.Effect != Allow && r.Effect != Deny:
		errs[5] = fmt.Errorf("effect %q is not one of allow, deny", r.Effect)
	case r.Effect == Deny && !reflect.ValueOf(r.Limits).IsZero():
		errs[5] = errors.New("limits: a rule that denies has none")
	default:
		errs[5] = r.Limits.check()
	}
	if err := cmp.Or(errs[:]...); err != nil {
		return nil, fmt.Errorf("rule %d (%q): %w", i+1, c.name, err)
	}
	return c, nil
}

func oneGlob(s string) ([]glob, error) {
	g, err := parseGlob(s)
	return []glob{g}, err
}

// compileList checks a list of patterns. One that is empty and not nil would match
// nothing, which nobody means.
func compileList(what string, patterns []string, parse func(string) ([]glob, error)) ([]glob, error) {
	if patterns != nil && len(patterns) == 0 {
		return nil, fmt.Errorf("%s is an empty list: leave it out for all", what)
	}
	var globs []glob
	for _, s := range patterns {
		g, err := parse(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		globs = append(globs, g...)
	}
	return globs, nil
}

// compileTools is the set of the tools that the patterns match. A pattern that matches
// none is a slip.
func compileTools(patterns []string, tools []Tool) (toolSet, error) {
	globs, err := compileList("tools", patterns, oneGlob)
	if globs == nil {
		return ^toolSet(0), err
	}
	var set toolSet
	for _, g := range globs {
		matched := g.toolsOf(tools)
		if matched == 0 {
			var names []string
			for _, t := range tools {
				names = append(names, t.Name)
			}
			return 0, fmt.Errorf("tools: no tool matches %q; valid: %s", g, strings.Join(names, ", "))
		}
		set |= matched
	}
	return set, nil
}

func (g glob) toolsOf(tools []Tool) (set toolSet) {
	for i, t := range tools {
		if g.match(t.Name) {
			set |= 1 << i
		}
	}
	return set
}

func (r *rule) matchesCaller(c *auth.Caller) bool {
	return r.anybody || matchAny(r.callers, c.Name) ||
		slices.ContainsFunc(c.Groups, func(g string) bool { return matchAny(r.groups, g) }) ||
		slices.ContainsFunc(c.Scopes, func(s string) bool { return matchAny(r.scopes, s) })
}

func (r *rule) matchesModel(n ollama.Name) bool {
	return r.models == nil || matchAny(r.models, string(n))
}

func (r *rule) effect() Effect {
	if r.allows {
		return Allow
	}
	return Deny
}
