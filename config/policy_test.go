package config

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/policy"
	"ollama-mcp/transport/auth"
)

func policyTools() []policy.Tool {
	return []policy.Tool{{Name: "generate", UsesModel: true}, {Name: "chat", UsesModel: true}, {Name: "list_models"}}
}

const wholeRule = `
max-wait: 40s
policy:
  - name: interns
    callers: ["ci-*", "spiffe://corp/*"]
    groups: [interns]
    scopes: [ollama.read]
    tools: [generate, chat, list_models]
    models: &open ["llama3.2:*", "hf.co/*"]
    limits: {calls_per_minute: 30, parallel_calls: 2, max_num_ctx: 8192, max_num_predict: 512, max_keep_alive: 10m, priority: low, hosts: [night, gpu-1]}
  - models: *open
    effect: deny
`

func TestPolicySection(t *testing.T) {
	unset(t)
	c, _, err := Parse([]string{"--config", writeFile(t, wholeRule)}, "v", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	open := []string{"llama3.2:*", "hf.co/*"}
	want := []policy.Rule{{
		Name: "interns", Callers: []string{"ci-*", "spiffe://corp/*"}, Groups: []string{"interns"}, Scopes: []string{"ollama.read"},
		Tools: []string{"generate", "chat", "list_models"}, Models: open,
		Limits: policy.Limits{
			CallsPerMinute: new(30), ParallelCalls: new(2), MaxNumCtx: new(8192), MaxNumPredict: new(512),
			MaxKeepAlive: new(10 * time.Minute), Priority: policy.Low, Hosts: []string{"night", "gpu-1"},
		},
	}, {Models: open, Effect: policy.Deny}}
	if diff := cmp.Diff(want, c.Policy.Rules); diff != "" {
		t.Errorf("the rules of the file (-want +got):\n%s", diff)
	}
	if c.Models.MaxWait != 40*time.Second {
		t.Errorf("max-wait beside a policy is %s, want 40s", c.Models.MaxWait)
	}
	if p, err := c.Policy.New(policyTools); p == nil || err != nil {
		t.Errorf("New = %v, %v; want a policy", p, err)
	}
}

func TestWrongPolicyIsNamed(t *testing.T) {
	tests := []struct {
		name, file string
		words      []string
	}{
		{"no list", "policy: allow", []string{"list of rules"}},
		{"nothing", "policy:", []string{"list of rules"}},
		{"empty list", "policy: []", []string{"list of rules"}},
		{"not a rule", "policy: [all]", []string{"rule 1", "line 1", "callers, groups"}},
		{"unknown key", "policy:\n- {}\n- name: a\n  modles: [x]", []string{`rule 2`, "line 4", `"modles"`, "models"}},
		{"unknown limit", "policy:\n- limits: {calls: 3}", []string{"rule 1", `"calls"`, "calls_per_minute"}},
		{"case of a key", "policy:\n- Models: [x]", []string{`"Models"`, "models"}},
		{"list commented out", "policy:\n- callers:\n  # - bob\n  tools: [chat]", []string{"line 2", "value is missing"}},
		{"null in a list", "policy:\n- callers: [~]", []string{"value is missing"}},
		{"null behind a merge", "policy:\n- limits: {<<: {max_num_ctx: null}}", []string{"value is missing"}},
		{"no time", "policy:\n- limits: {max_keep_alive: 5}", []string{"line 2", "max_keep_alive", `"5"`, "10m"}},
		{"no number", "policy:\n- limits: {calls_per_minute: many}", []string{"line 2", "calls_per_minute", "many", "whole number"}},
		{"a text for limits", "policy:\n- limits: low", []string{"line 2", "calls_per_minute, parallel_calls"}},
		{"a list for limits", "policy:\n- limits: [low]", []string{"line 2", "calls_per_minute, parallel_calls"}},
		{"a text for a list", "policy:\n- tools: chat", []string{"line 2", `tools: ["chat"]`}},
		{"key twice", "policy:\n- tools: [chat]\n  tools: [generate]", []string{"line 3", "tools"}},
		{"section twice", "policy: [{}]\npolicy: [{}]", []string{"policy"}},
		{"second document", "max-wait: 1s\n---\npolicy: [{}]", []string{"after the end"}},
		{"misspelt section", "polcy: [{}]", []string{"polcy", "policy"}},
		{"unknown tool", "policy:\n- name: ci\n  tools: [lod]", []string{`"ci"`, `"lod"`, "generate, chat, list_models"}},
		{"limit of zero", "policy:\n- limits: {parallel_calls: 0}", []string{"rule 1", "parallel_calls"}},
		{"an alias in itself", "policy:\n- &a {limits: *a}", []string{"policy"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unset(t)
			path := writeFile(t, tt.file)
			c, _, err := Parse([]string{"--config", path}, "v", io.Discard)
			if err == nil {
				_, err = c.Policy.New(policyTools)
			}
			if err == nil {
				t.Fatalf("%q is taken as %+v", tt.file, c.Policy.Rules)
			}
			for _, w := range append(tt.words, "--config", path) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q: error %q lacks %q", tt.file, err, w)
				}
			}
		})
	}
}

// FuzzPolicy: no file makes the program panic, and what explain says of a policy that is
// taken is what a call meets.
func FuzzPolicy(f *testing.F) {
	f.Add(wholeRule, "ci-1", "interns", "generate", "llama3.2")
	f.Add("policy: [{}]", "a", "", "chat", "m:1b")
	f.Add("policy:\n- &a {limits: *a}\n- <<: *a", "", "", "", "")
	f.Add("policy:\n- {callers: ['*?*'], models: ['?', 'x/*']}\n- {effect: deny, models: [x/y]}", "é", "g", "list_models", "x/y")
	path := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, file, caller, group, tool, model string) {
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		c := defaults()
		if _, err := c.readFile([]string{"--config", path}); err != nil {
			return
		}
		p, err := c.Policy.New(policyTools)
		if err != nil {
			return
		}
		name, err := ollama.ParseName(model)
		if err != nil || tool == "" {
			return
		}
		who := auth.Caller{Name: caller, Groups: []string{group}}
		ctx := auth.NewContext(context.Background(), who)
		said := p.Explain(who, tool, name)
		if err := p.Allow(ctx, tool, name); (err == nil) != said.Allowed {
			t.Errorf("%q: Allow(%q, %q, %s) = %v, Explain = %+v", file, caller, tool, name, err, said)
		}
		pass, err := p.Enter(ctx, tool)
		defer pass.Leave()
		if err == nil {
			limits, err := pass.Use(ctx, name)
			if diff := cmp.Diff(said.Limits, limits); (err == nil) != said.Allowed || err == nil && diff != "" {
				t.Errorf("%q: Use(%s) = %v, Explain = %+v, limits (-explain +use):\n%s", file, name, err, said, diff)
			}
		} else if said.Allowed {
			t.Errorf("%q: Enter(%q, %q) = %v, Explain = %+v", file, caller, tool, err, said)
		}
	})
}
