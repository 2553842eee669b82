package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/config"
)

// explain runs the command on a file with a policy.
func explain(t *testing.T, policy string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Parse(append([]string{"--config", path, "explain"}, args...), "v", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = Explain(c, &out)
	return out.String(), err
}

const team = `
policy:
  - name: staff
    groups: [staff]
    limits: {calls_per_minute: 30, max_num_ctx: 8192}
  - callers: [ann]
    models: ["llama3.2"]
    limits: {max_num_ctx: 4096, max_keep_alive: 10m}
  - name: no secrets
    models: ["secret*"]
    effect: deny
`

func TestExplain(t *testing.T) {
	tests := []struct {
		name, policy string
		args         []string
		want         string
	}{
		{"allowed", team, []string{"ann", "generate", "Llama3.2", "--groups", "staff,other"}, `allowed: ann may use generate with llama3.2:latest. Rule "staff" allows it, and none denies it.

rules that match:
  staff   allow  calls_per_minute: 30, max_num_ctx: 8192
  rule 2  allow  max_num_ctx: 4096, max_keep_alive: 10m0s

limits in force: calls_per_minute: 30, max_num_ctx: 4096, max_keep_alive: 10m0s
`},
		{"denied", team, []string{"--groups=staff", "bob", "generate", "secret"}, `denied: bob may not use generate with secret:latest. Rule "no secrets" denies it.

rules that match:
  staff       allow  calls_per_minute: 30, max_num_ctx: 8192
  no secrets  deny   none
`},
		{"no model", team, []string{"ann", "generate"}, `allowed: ann may use generate. Rule "rule 2" allows it with some model at least: name one to be sure.

rules that match:
  rule 2      allow  max_num_ctx: 4096, max_keep_alive: 10m0s
  no secrets  deny   none

limits in force with every model: none
`},
		{"hosts", "policy: [{limits: {hosts: [night, gpu]}}, {models: [m], limits: {priority: low, hosts: [gpu, eu]}}]", []string{"bob", "generate", "m"},
			`allowed: bob may use generate with m:latest. Rule "rule 1" allows it, and none denies it.

rules that match:
  rule 1  allow  hosts: [night, gpu]
  rule 2  allow  priority: low, hosts: [gpu, eu]

limits in force: priority: low, hosts: [eu, gpu, night]
`},
		{"no rule", team, []string{"bob", "generate", "m"}, "denied: bob may not use generate with m:latest. No rule allows it.\n"},
		{"listed only", "policy: [{name: all lists, tools: [list_models]}]", []string{"bob", "list_models", "m"},
			"denied: bob may not use list_models with m:latest. Models are shown to those alone who may use them.\n\nrules that match:\n  all lists  allow  none\n"},
		{"no policy", "", []string{"bob", "generate"}, "allowed: bob may use generate. There is no policy: everything is.\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := explain(t, tt.policy, tt.args...)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("explain %q: %v (-want +got):\n%s", tt.args, err, diff)
			}
		})
	}
}

// TestExplainDocs holds the example in docs/policy.md to the program.
func TestExplainDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	rules, rest, _ := strings.Cut(rest, "```")
	_, rest, _ = strings.Cut(rest, "team.yaml explain ")
	command, rest, _ := strings.Cut(rest, "\n")
	want, _, _ := strings.Cut(rest, "```")
	got, err := explain(t, rules, strings.Fields(command)...)
	if diff := cmp.Diff(want, got); diff != "" || want == "" || err != nil {
		t.Errorf("docs/policy.md on explain %s: %v (-page +program):\n%s", command, err, diff)
	}
}

func TestExplainRefuses(t *testing.T) {
	for _, tt := range []struct {
		policy string
		args   []string
		word   string
	}{
		{team, []string{"ann", "generat"}, "generate, chat"},
		{team, []string{"ann", "chat", "http://x"}, "not the name of a model"},
		{"policy: [{tools: [no]}]", []string{"ann", "chat"}, `rule 1 ("rule 1"): tools: no tool matches "no"`},
	} {
		if out, err := explain(t, tt.policy, tt.args...); err == nil || out != "" || !strings.Contains(err.Error(), tt.word) {
			t.Errorf("explain %q = %q, %v; want an error with %q", tt.args, out, err, tt.word)
		}
	}
}
