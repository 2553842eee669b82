package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ollama-mcp/ollama"
	"ollama-mcp/transport/auth"
)

var toolNames = []string{"generate", "chat", "embed", "list_models", "load", "unload"}

// tools are the tools of the tests.
func tools() []Tool {
	var all []Tool
	for _, name := range toolNames {
		all = append(all, Tool{Name: name, UsesModel: name != "list_models"})
	}
	return all
}

func newPolicy(t testing.TB, rules ...Rule) *Policy {
	t.Helper()
	p, err := New(rules, Options{Tools: tools()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func as(name string, groups ...string) context.Context {
	return auth.NewContext(context.Background(), auth.Caller{Name: name, Groups: groups, Scopes: []string{"ollama.read"}})
}

func TestAllow(t *testing.T) {
	rules := []Rule{
		{Name: "ci", Callers: []string{"ci-*", "spiffe://corp/*"}, Tools: []string{"generate", "list_*"}, Models: []string{"llama3.2:*"}},
		{Groups: []string{"staff"}},
		{Name: "no secrets", Groups: []string{"interns"}, Models: []string{"secret*"}, Effect: Deny},
		{Name: "readers", Scopes: []string{"ollama.*"}, Tools: []string{"list_models"}},
		{Name: "no loading", Callers: []string{"ci-2"}, Tools: []string{"*load"}, Effect: Deny},
		{Name: "only secrets", Callers: []string{"spy"}, Tools: []string{"chat"}, Models: []string{"secret:*"}},
	}
	tests := []struct {
		caller, groups, tool, models string
		rule                         string // that denies; "-" is allowed
	}{
		{"ci-1", "", "generate", "llama3.2:3b", "-"},
		{"ci-1", "", "generate", "llama3.2:3b llama3.2:1b", "-"},
		{"ci-1", "", "generate", "llama3.2:3b other:latest", ""},
		{"spiffe://corp/a/b", "", "generate", "llama3.2:3b", "-"},
		{"ci-1", "", "generate", "", "-"},
		{"ci-1", "", "chat", "llama3.2:3b", ""},
		{"ci-1", "", "", "llama3.2:3b", "-"},
		{"ci-1", "", "", "other:latest", ""},
		{"ci-1", "", "no_such_tool", "", ""},
		{"ci-2", "staff", "load", "llama3.2:3b", "no loading"},
		{"ci-2", "staff", "load", "", "no loading"},
		{"ci-2", "staff", "", "llama3.2:3b", "-"},
		{"ann", "staff", "chat", "secret:latest", "-"},
		{"ann", "staff interns", "chat", "secret:latest", "no secrets"},
		{"ann", "staff interns", "chat", "llama3.2:3b", "-"},
		{"ann", "staff interns", "", "secret:latest", "no secrets"},
		{"ann", "staff interns", "", "secret:latest llama3.2:3b", "no secrets"},
		{"bob", "", "list_models", "", "-"},
		{"bob", "", "chat", "", ""},
		{"spy", "interns", "chat", "", ""}, // all that is allowed is denied
		{"spy", "", "chat", "", "-"},
	}
	p := newPolicy(t, rules...)
	for range 2 { // the second time from the cache
		for _, tt := range tests {
			var models []ollama.Name
			for _, m := range strings.Fields(tt.models) {
				models = append(models, ollama.Name(m))
			}
			err := p.Allow(as(tt.caller, strings.Fields(tt.groups)...), tt.tool, models...)
			got := "-"
			if d := (*Denied)(nil); errors.As(err, &d) {
				got = d.Rule
			}
			if got != tt.rule || (err == nil) != (tt.rule == "-") {
				t.Errorf("Allow(%s in %q, %q, %v) = %v; want denied by %q (- is allowed)", tt.caller, tt.groups, tt.tool, models, err, tt.rule)
			}
		}
	}
}

func TestNoRulesAllowAll(t *testing.T) {
	p := newPolicy(t)
	pass, err := p.Enter(t.Context(), "load")
	limits, useErr := pass.Use(t.Context(), "m:latest")
	pass.Leave()
	if allowed := p.Allow(t.Context(), "load", "m:latest"); p != nil || pass != nil || !cmp.Equal(limits, Limits{}) || errors.Join(err, useErr, allowed) != nil {
		t.Errorf("a policy without rules: %v, Enter %v, %v, Use %v, %v, Allow %v; want nil and no limits", p, pass, err, limits, useErr, allowed)
	}
}

func TestWrongRulesAreNamed(t *testing.T) {
	tests := []struct {
		name  string
		rule  Rule
		words []string
	}{
		{"unknown tool", Rule{Name: "interns", Tools: []string{"chat", "generat"}}, []string{`rule 2 ("interns")`, `"generat"`, "generate, chat, embed"}},
		{"tools of an empty list", Rule{Tools: []string{}}, []string{`rule 2 ("rule 2")`, "tools", "leave it out"}},
		{"callers of an empty list", Rule{Callers: []string{}}, []string{"callers", "leave it out"}},
		{"empty caller", Rule{Callers: []string{""}}, []string{"callers", "write *"}},
		{"class in a group", Rule{Groups: []string{"[ab]"}}, []string{"groups", "[ab]"}},
		{"blank in a scope", Rule{Scopes: []string{"a b"}}, []string{"scopes", `"a b"`}},
		{"default registry", Rule{Models: []string{"library/x"}}, []string{"models", "library/x"}},
		{"effect", Rule{Effect: "forbid"}, []string{`"forbid"`, "allow, deny"}},
		{"deny with limits", Rule{Effect: Deny, Limits: Limits{MaxNumCtx: new(1)}}, []string{"denies"}},
		{"no calls", Rule{Limits: Limits{CallsPerMinute: new(0)}}, []string{"calls_per_minute", "effect: deny"}},
		{"negative", Rule{Limits: Limits{MaxNumPredict: new(-1)}}, []string{"max_num_predict is -1"}},
		{"priority", Rule{Limits: Limits{Priority: "urgent"}}, []string{`"urgent"`, "low, normal, high"}},
		{"deny with hosts", Rule{Effect: Deny, Limits: Limits{Hosts: []string{"gpu"}}}, []string{"denies"}},
		{"hosts of an empty list", Rule{Limits: Limits{Hosts: []string{}}}, []string{"hosts", "leave it out"}},
		{"empty host", Rule{Limits: Limits{Hosts: []string{"gpu", ""}}}, []string{"hosts", `""`}},
		{"pattern for hosts", Rule{Limits: Limits{Hosts: []string{"gpu-*"}}}, []string{"hosts", `"gpu-*"`, "small letters"}},
		{"host twice", Rule{Limits: Limits{Hosts: []string{"gpu", "night", "gpu"}}}, []string{"hosts", `"gpu"`, "twice"}},
		{"same name", Rule{Name: "rule 1"}, []string{"another rule"}},
		{"control character", Rule{Name: "a\x1b"}, []string{"control"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New([]Rule{{}, tt.rule}, Options{Tools: tools()})
			if err == nil {
				t.Fatalf("New(%+v) succeeded", tt.rule)
			}
			for _, w := range tt.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("New(%+v) = %q, which lacks %q", tt.rule, err, w)
				}
			}
		})
	}
}

func TestDeniedNamesTheCommand(t *testing.T) {
	d := &Denied{Caller: auth.Caller{Name: "oidc:$(it's)", Groups: []string{"a", "b"}}, Tool: "chat", Model: "m:latest"}
	if want := `ollama-mcp explain --groups a,b 'oidc:$(it'\''s)' chat m:latest`; d.Command() != want {
		t.Errorf("Command() = %s, want %s", d.Command(), want)
	}
}

// slowAllow is the meaning of rules, one by one, for one tool and one model.
func slowAllow(rules []Rule, c auth.Caller, tool, model string) bool {
	any := func(patterns []string, texts ...string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			return slices.ContainsFunc(texts, func(s string) bool { return slowMatch([]rune(p), []rune(s)) })
		})
	}
	allowed := false
	for _, r := range rules {
		caller := r.Callers == nil && r.Groups == nil && r.Scopes == nil ||
			any(r.Callers, c.Name) || any(r.Groups, c.Groups...) || any(r.Scopes, c.Scopes...)
		untagged, _, _ := strings.Cut(model, ":")
		models := r.Models == nil || any(r.Models, model) ||
			slices.ContainsFunc(r.Models, func(p string) bool { return !strings.Contains(p, ":") && any([]string{p}, untagged) })
		if caller && models && (r.Tools == nil || any(r.Tools, tool)) {
			if r.Effect == Deny {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

// patterns draws a list of patterns over few letters, or none.
func patterns(from ...string) *rapid.Generator[[]string] {
	return rapid.OneOf(rapid.Just([]string(nil)), rapid.SliceOfN(rapid.SampledFrom(from), 1, 3))
}

func drawRules(t *rapid.T) []Rule {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rule {
		return Rule{
			Callers: patterns("a", "b", "a?", "*").Draw(t, "callers"),
			Groups:  patterns("g", "h*").Draw(t, "groups"),
			Scopes:  patterns("s.*", "t").Draw(t, "scopes"),
			Tools:   patterns("chat", "*load", "list_models", "*").Draw(t, "tools"),
			Models:  patterns("m", "m:1", "m*", "*:2", "n?", "x/*", "*").Draw(t, "models"),
			Effect:  rapid.SampledFrom([]Effect{"", Allow, Allow, Deny}).Draw(t, "effect"),
		}
	}), 1, 6).Draw(t, "rules")
}

func TestAllowIsWhatTheRulesSay(t *testing.T) {
	names := []string{"m:1", "m:2", "mm:1", "nn:latest", "x/m:2"}
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules(t)
		p, err := New(rules, Options{Tools: tools()})
		if err != nil {
			t.Fatal(err)
		}
		c := auth.Caller{
			Name:   rapid.SampledFrom([]string{"a", "b", "ab", "c"}).Draw(t, "caller"),
			Groups: rapid.SliceOfN(rapid.SampledFrom([]string{"g", "hh", "i"}), 0, 2).Draw(t, "in"),
			Scopes: rapid.SliceOfN(rapid.SampledFrom([]string{"s.x", "t"}), 0, 2).Draw(t, "with"),
		}
		ctx := auth.NewContext(context.Background(), c)
		for _, m := range names {
			anyTool := slices.ContainsFunc(toolNames, func(tool string) bool { return tool != "list_models" && slowAllow(rules, c, tool, m) })
			for _, tool := range toolNames {
				want := slowAllow(rules, c, tool, m) && (tool != "list_models" || anyTool)
				if got := p.Allow(ctx, tool, ollama.Name(m)); (got == nil) != want {
					t.Fatalf("Allow(%+v, %s, %s) = %v; the rules say %v", c, tool, m, got, want)
				}
				if err := p.Allow(ctx, tool); want && err != nil {
					t.Fatalf("Allow(%+v, %s) = %v; the rules allow it with %s", c, tool, err, m)
				}
				if e := p.Explain(c, tool, ollama.Name(m)); e.Allowed != want {
					t.Fatalf("Explain(%+v, %s, %s) = %+v; the rules say %v", c, tool, m, e, want)
				}
			}
			if got := p.Allow(ctx, "", ollama.Name(m)); (got == nil) != anyTool {
				t.Fatalf("Allow(%+v, any tool, %s) = %v; the rules say %v", c, m, got, anyTool)
			}
		}
	})
}

func TestViewsAreBoundedAndSafe(t *testing.T) {
	p := newPolicy(t, Rule{Callers: []string{"c*"}}, Rule{Groups: []string{"g"}})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range maxViews {
				name, groups := fmt.Sprint("c", i), []string{}
				if i%2 == w%2 {
					name = fmt.Sprint("d", i)
				}
				if i%3 == w%3 {
					groups = []string{"g"}
				}
				want := name[0] == 'c' || len(groups) > 0
				if err := p.Allow(as(name, groups...), "chat", "m:latest"); (err == nil) != want {
					t.Errorf("Allow(%s in %v) = %v, want allowed: %v", name, groups, err, want)
				}
			}
		})
	}
	wg.Wait()
	if n := len(p.views); n > maxViews {
		t.Errorf("%d views are kept, want at most %d", n, maxViews)
	}
}

// BenchmarkAllow is the worst case: all 50 rules match the caller, the last one decides.
func BenchmarkAllow(b *testing.B) {
	var rules []Rule
	for i := range 49 {
		rules = append(rules, Rule{Callers: []string{"ci-*"}, Models: []string{fmt.Sprintf("model%d:*", i), fmt.Sprintf("hf.co/user%d/*", i)}})
	}
	p := newPolicy(b, append(rules, Rule{Models: []string{"llama3.2:*"}})...)
	ctx := as("ci-1", "staff")
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Allow(ctx, "generate", "llama3.2:latest"); err != nil {
			b.Fatal(err)
		}
	}
}
