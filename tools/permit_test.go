package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/server"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
	"ollama-mcp/transport/auth"
)

// underPolicy is onFake with rules.
func underPolicy(t *testing.T, s ollamatest.Script, o fleet.Options, rules []policy.Rule, test func(b *bench)) {
	t.Helper()
	p, err := policy.New(rules, policy.Options{Tools: ForPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	onFake(t, s, o, func(b *bench) {
		for i := range b.set {
			b.set[i].policy = p
		}
		test(b)
	})
}

func as(name string) context.Context {
	return auth.NewContext(context.Background(), auth.Caller{Name: name})
}

// everything is what a client gets of a result, as one text.
func (r *result) everything() string {
	structured, _ := json.Marshal(r.fields)
	return string(structured) + strings.Join(r.content, "\n")
}

// TestForbiddenModelNeverReachesOllama walks every tool that uses a model: however the
// model is spelt, nothing is asked of Ollama, and the words do not tell whether it is there.
func TestForbiddenModelNeverReachesOllama(t *testing.T) {
	rules := []policy.Rule{{Callers: []string{"ci"}, Models: []string{"tiny*"}, Effect: policy.Deny}, {}}
	for _, spelt := range []string{"tiny", "TINY:latest", "registry.ollama.ai/library/tiny", " tiny "} {
		said := map[string]string{}
		for _, installed := range []bool{true, false} {
			script := ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "other"}}}
			if installed {
				script.Models = append(ollamatest.DefaultModels(), script.Models...)
			}
			underPolicy(t, script, fleet.Options{}, rules, func(b *bench) {
				for _, tool := range b.set {
					args := everyTool[tool.Name]
					if !tool.UsesModel && !strings.Contains(string(tool.Input.JSON()), `"model"`) {
						continue
					}
					if !strings.Contains(args, `"tiny`) {
						t.Fatalf("everyTool has no arguments with a model for %s", tool.Name)
					}
					args = strings.NewReplacer(`"tiny"`, `"`+spelt+`"`, `"tiny-embed"`, `"`+spelt+`"`).Replace(args)
					r := b.call(as("ci"), tool.Name, args)
					if r.error == nil || r.error.Kind != kindForbidden || r.error.Retryable {
						t.Errorf("%s(%s) as ci: %+v, want kind forbidden", tool.Name, args, r.error)
					}
					if before, again := said[tool.Name]; again && before != r.everything() {
						t.Errorf("%s(%s) as ci: installed %q, not installed %q; want the same", tool.Name, args, before, r.everything())
					}
					said[tool.Name] = r.everything()
					for _, w := range []string{"ci may not use " + tool.Name, "tiny:latest", "ollama-mcp explain ci " + tool.Name + " tiny:latest"} {
						if !strings.Contains(r.content[0], w) {
							t.Errorf("%s(%s) as ci: %q lacks %q", tool.Name, args, r.content[0], w)
						}
					}
				}
				if seen := b.fake.Seen().Requests; len(seen) != 0 {
					t.Errorf("after calls with a forbidden model (%s) Ollama has seen %v, want nothing", spelt, seen)
				}
			})
		}
	}
}

// Without a name only models that the caller may use with the tool are considered: neither
// the operator's default nor the only fitting one comes to a caller who may not use it.
func TestForbiddenModelIsNeverChosen(t *testing.T) {
	script := ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "secret", Capabilities: []string{"completion", "embedding"}, Loaded: true}}}
	open := []ollamatest.FakeModel{{Name: "open"}, {Name: "open-embed", Capabilities: []string{"embedding"}}}
	rules := []policy.Rule{{Models: []string{"open*", "chat-only"}}, {Tools: []string{"chat"}, Models: []string{"chat-only"}}, {Tools: []string{"generate", "embed"}, Models: []string{"chat-only"}, Effect: policy.Deny}}
	for _, d := range []string{"", "secret:latest"} {
		for _, some := range []bool{true, false} {
			s := script
			if some {
				s.Models = append(slices.Clone(script.Models), open...)
			}
			underPolicy(t, s, fleet.Options{DefaultModel: ollama.Name(d)}, rules, func(b *bench) {
				for name, args := range map[string]string{"generate": `{"prompt":"x"}`, "chat": `{"messages":[{"role":"user"}]}`, "embed": `{"input":["x"]}`} {
					r := b.call(as("ci"), name, args)
					if some == r.IsError || strings.Contains(r.everything(), "secret") || !some && r.error.Kind != kindNoModel {
						t.Errorf("%s(%s) with an open model %v and default %q: %s; want no word of the secret one", name, args, some, d, r.everything())
					}
				}
				for path, last := range b.fake.Seen().Last {
					if strings.Contains(string(last.Body), "secret") {
						t.Errorf("default %q: %s was asked for the secret model: %s", d, path, last.Body)
					}
				}
			})
		}
	}
}

// TestHiddenModelsAreNeverNamed: no list and no error names a model that the caller may
// not use.
func TestHiddenModelsAreNeverNamed(t *testing.T) {
	models := []ollamatest.FakeModel{
		{Name: "one"}, {Name: "two"}, {Name: "secret"}, {Name: "secret-embed", Capabilities: []string{"embedding"}},
		{Name: "listed-only"}, {Name: "unlisted"},
	}
	rules := []policy.Rule{
		{Models: []string{"one", "two"}},
		{Tools: []string{"list_models"}, Models: []string{"listed-only"}},
		{Tools: []string{"chat"}, Models: []string{"unlisted"}},
	}
	tests := []struct{ tool, args, kind, word string }{
		{"list_models", `{}`, "", "2 models installed"},
		{"list_models", `{"filter":"sec*"}`, "", "None of the 2"},
		{"list_models", `{"capability":"embedding"}`, "", "None of the 2"},
		{"generate", `{"prompt":"x"}`, kindNoModel, "one:latest, two:latest"},
		{"embed", `{"input":["x"]}`, kindNoModel, "that you may use"},
		{"generate", `{"model":"ones","prompt":"x"}`, kindForbidden, "ones:latest"},
		{"generate", `{"model":"one:13b","prompt":"x"}`, "missing_model", "Installed: one, two."},
		{"unload", `{"model":"one:13b"}`, "missing_model", "Installed: one, two."},
		{"load", `{"model":"two:0.5b"}`, "missing_model", "Installed: one, two."},
	}
	underPolicy(t, ollamatest.Script{Models: models}, fleet.Options{}, rules, func(b *bench) {
		for _, tt := range tests {
			r := b.call(as("ci"), tt.tool, tt.args)
			all, kind := r.everything(), ""
			if r.error != nil {
				kind = r.error.Kind
			}
			if kind != tt.kind || !strings.Contains(all, tt.word) || strings.Contains(all, "secret") || strings.Contains(all, "listed") {
				t.Errorf("%s(%s) = %s; want kind %q, %q, and no hidden model", tt.tool, tt.args, all, tt.kind, tt.word)
			}
		}
	})
}

func TestNoModelLeftToSee(t *testing.T) {
	underPolicy(t, ollamatest.Script{}, fleet.Options{}, []policy.Rule{{Models: []string{"other"}}}, func(b *bench) {
		for name, args := range map[string]string{"list_models": `{}`, "generate": `{"prompt":"x"}`} {
			if r := b.call(as("ci"), name, args); !strings.Contains(r.everything(), "that you may use") || strings.Contains(r.everything(), "ollama pull") {
				t.Errorf("%s(%s) = %s; want that no model may be used, and no advice to install one", name, args, r.everything())
			}
		}
	})
}

// TestLimitsOnArguments: what is above a limit is refused by name, what is left out is set.
func TestLimitsOnArguments(t *testing.T) {
	limits := policy.Limits{MaxNumCtx: new(1024), MaxNumPredict: new(50), MaxKeepAlive: new(10 * time.Minute)}
	short := policy.Limits{MaxKeepAlive: new(time.Minute)}
	tests := []struct {
		tool, args string // of the arguments: what comes beside the model and the input
		limits     policy.Limits
		refused    string // a part of the words
		sent       string // keep_alive and options as Ollama got them
	}{
		{"generate", ``, policy.Limits{}, "", `null null`},
		{"generate", ``, limits, "", `"5m0s" {"num_predict":50}`},
		{"chat", ``, short, "", `"1m0s" null`},
		{"embed", ``, limits, "", `"5m0s" null`},
		{"load", ``, short, "", `"1m0s" null`},
		{"generate", `,"options":{"num_predict":20,"num_ctx":1024,"seed":1},"keep_alive":"10m"`, limits, "", `"10m" {"num_predict":20,"num_ctx":1024,"seed":1}`},
		{"generate", `,"options":{"seed":1},"keep_alive":"0"`, limits, "", `"0" {"num_predict":50,"seed":1}`},
		{"chat", `,"options":{"num_predict":51}`, limits, "options.num_predict 51 is above the limit of 50", ""},
		{"chat", `,"options":{"num_predict":-1}`, limits, "options.num_predict -1", ""},
		{"chat", `,"options":{"num_predict":0}`, limits, "options.num_predict 0", ""},
		{"generate", `,"options":{"num_ctx":1025}`, limits, "options.num_ctx 1025 is above the limit of 1024", ""},
		{"load", `,"num_ctx":1025`, limits, "num_ctx 1025", ""},
		{"generate", `,"keep_alive":"11m"`, limits, "keep_alive 11m is above the limit of 10m0s", ""},
		{"chat", `,"keep_alive":"-1s"`, limits, "keep_alive -1s, which is for ever, is above the limit of 10m0s", ""},
		{"embed", `,"keep_alive":"2m"`, short, "keep_alive 2m", ""},
		{"load", `,"keep_alive":"2m"`, short, "keep_alive 2m", ""},
	}
	input := map[string]string{"generate": `,"prompt":"x"`, "chat": `,"messages":[{"role":"user"}]`, "embed": `,"input":["x"]`}
	paths := map[string]string{"generate": "/api/generate", "chat": "/api/chat", "embed": "/api/embed", "load": "/api/generate"}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.tool, tt.args), func(t *testing.T) {
			models := []ollamatest.FakeModel{{Name: "m", Capabilities: []string{"completion", "embedding"}}}
			underPolicy(t, ollamatest.Script{Models: models}, fleet.Options{}, []policy.Rule{{Limits: tt.limits}}, func(b *bench) {
				args := `{"model":"m"` + input[tt.tool] + tt.args + `}`
				r := b.call(as("ci"), tt.tool, args)
				if tt.refused != "" {
					if r.error == nil || r.error.Kind != InvalidArguments || !strings.Contains(r.error.Message, tt.refused) || len(b.fake.Seen().Requests) != 0 {
						t.Errorf("%s(%s) = %+v after %v; want it refused with %q and nothing sent", tt.tool, args, r.error, b.fake.Seen().Requests, tt.refused)
					}
					return
				}
				var sent struct {
					KeepAlive json.RawMessage `json:"keep_alive"`
					Options   json.RawMessage `json:"options"`
				}
				if err := json.Unmarshal(b.fake.Seen().Last[paths[tt.tool]].Body, &sent); err != nil || r.IsError {
					t.Fatalf("%s(%s) = %+v, sent %v", tt.tool, args, r.error, err)
				}
				if diff := cmp.Diff(tt.sent, orNull(sent.KeepAlive)+" "+orNull(sent.Options)); diff != "" {
					t.Errorf("%s(%s) under %+v, as Ollama got it (-want +got):\n%s", tt.tool, args, tt.limits, diff)
				}
			})
		})
	}
}

func orNull(m json.RawMessage) string {
	if m == nil {
		return "null"
	}
	return string(m)
}

func TestRateAndParallelCalls(t *testing.T) {
	rules := []policy.Rule{{Limits: policy.Limits{CallsPerMinute: new(3), ParallelCalls: new(1)}}}
	underPolicy(t, ollamatest.Script{LoadDelay: 10 * time.Second}, fleet.Options{}, rules, func(b *bench) {
		done := make(chan result)
		go func() { done <- b.call(as("ci"), "load", `{"model":"tiny"}`) }()
		if err := b.fake.Await(b.t.Context(), func(s ollamatest.Seen) bool { return s.Requests["/api/generate"] == 1 }); err != nil {
			t.Fatal(err)
		}
		r := b.call(as("ci"), "list_models", `{}`)
		if r.error == nil || r.error.Kind != kindBusy || !r.error.Retryable || !strings.Contains(r.content[0], "1 call") {
			t.Errorf("a second call beside the one that is allowed: %+v, want kind busy", r.error)
		}
		if r := b.call(as("ci"), "jobs", `{}`); r.IsError {
			t.Errorf("jobs beside the one call that is allowed: %+v, want it let in: it sees to that call", r.error)
		}
		if r := <-done; r.IsError {
			t.Errorf("the call that runs: %+v", r.error)
		}
		for i := range 3 {
			r = b.call(as("ci"), "list_models", `{}`)
			if limited := i == 2; r.IsError != limited {
				t.Errorf("call %d of 3 a minute: %+v, want it refused: %v", i+2, r.error, limited)
			}
		}
		if r.error.Kind != kindRateLimited || !r.error.Retryable || !strings.Contains(r.content[0], "3 calls a minute") || !strings.Contains(r.content[0], "in 11s") {
			t.Errorf("a call above the rate: %+v, want kind rate_limited and when to come back", r.error)
		}
		if r := b.call(as("ci"), "jobs", `{}`); r.IsError {
			t.Errorf("jobs above the rate: %+v, want it let in", r.error)
		}
		time.Sleep(11 * time.Second)
		if r := b.call(as("ci"), "list_models", `{}`); r.IsError {
			t.Errorf("after the time that was told: %+v", r.error)
		}
	})
}

func TestForbiddenToolsAreHiddenAndSayWhy(t *testing.T) {
	p, err := policy.New([]policy.Rule{{Callers: []string{"ci"}, Tools: []string{"chat", "list_models"}}}, policy.Options{Tools: ForPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	f := idle()
	defer f.Close()
	set, err := All(f, Options{Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	hooks := &server.Hooks{}
	hooks.AddAfterListTools(Visible(p))
	serve := func(set []Tool) *server.MCPServer {
		s := server.NewMCPServer("test", "0", server.WithToolCapabilities(true), server.WithHooks(hooks))
		Register(s, set)
		return s
	}
	s := serve(set)
	ask := func(caller, message string) string {
		answer, err := json.Marshal(s.HandleMessage(as(caller), json.RawMessage(message)))
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	for caller, want := range map[string][]string{"ci": {"chat", "list_models"}, "eve": nil} {
		var list struct {
			Result struct{ Tools []struct{ Name string } }
		}
		if err := json.Unmarshal([]byte(ask(caller, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)), &list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, tool := range list.Result.Tools {
			got = append(got, tool.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("tools/list as %s: %v, want %v", caller, got, want)
		}
	}
	s = serve(set[:1]) // the only tool that there is
	if answer := ask("eve", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); !strings.Contains(answer, `"tools":[]`) {
		t.Errorf("tools/list as eve with %s alone = %s, want none", set[0].Name, answer)
	}
	answer := ask("ci", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"generate","arguments":{}}}`)
	for _, w := range []string{`"kind":"forbidden"`, "ci may not use generate.", "ollama-mcp explain ci generate`"} {
		if !strings.Contains(answer, w) {
			t.Errorf("tools/call of a tool that is forbidden: %s lacks %s", answer, w)
		}
	}
}

// A pinned keep_alive is that of calls which name none, whatever their caller's limit; what a
// call asks for is held to the limit, pinned or not.
func TestPinnedKeepAlive(t *testing.T) {
	pins := map[ollama.Name]fleet.Pin{"m:latest": {KeepAlive: "2h"}}
	rules := []policy.Rule{{Limits: policy.Limits{MaxKeepAlive: new(24 * time.Hour)}}}
	models := []ollamatest.FakeModel{{Name: "m", Capabilities: []string{"completion", "embedding"}}, {Name: "free", Capabilities: []string{"completion", "embedding"}}}
	tests := []struct{ tool, path, args string }{
		{"generate", "/api/generate", `"prompt":"x"`},
		{"chat", "/api/chat", `"messages":[{"role":"user"}]`},
		{"embed", "/api/embed", `"input":["x"]`},
		{"rank", "/api/embed", `"query":"x","documents":["x"]`},
		{"load", "/api/generate", ``},
	}
	for _, tt := range tests {
		underPolicy(t, ollamatest.Script{Models: models}, fleet.Options{Pins: pins}, rules, func(b *bench) {
			for model, want := range map[string]string{"m": `"2h"`, "free": `"5m0s"`} {
				args := strings.TrimSuffix(fmt.Sprintf(`{"model":%q,%s`, model, tt.args), ",") + "}"
				r := b.call(as("ci"), tt.tool, args)
				var sent struct {
					KeepAlive json.RawMessage `json:"keep_alive"`
				}
				if err := json.Unmarshal(b.fake.Seen().Last[tt.path].Body, &sent); err != nil || r.IsError || string(sent.KeepAlive) != want {
					t.Errorf("%s(%s) sent keep_alive %s (%+v, %v), want %s", tt.tool, args, sent.KeepAlive, r.error, err, want)
				}
			}
			if args := `{"model":"m","prompt":"x","keep_alive":"25h"}`; tt.tool == "generate" {
				if r := b.call(as("ci"), "generate", args); r.error == nil || r.error.Kind != InvalidArguments {
					t.Errorf("generate(%s) above the limit of 24h: %+v, want kind %s", args, r.error, InvalidArguments)
				}
			}
		})
	}
}

// TestMaxKeepAlive: the operator's limit holds for all callers, beside those of the policy,
// and for nobody who names no keep_alive.
func TestMaxKeepAlive(t *testing.T) {
	tests := []struct {
		asked  string
		most   time.Duration
		policy *time.Duration
		want   string
		limit  string // in the words of an error
	}{
		{"", time.Hour, nil, "", ""},
		{"1h", time.Hour, nil, "1h", ""},
		{"61m", time.Hour, nil, "", "1h0m0s"},
		{"-1s", time.Hour, nil, "", "1h0m0s"},
		{"0", time.Hour, nil, "0", ""},
		{"-1s", 0, nil, "-1s", ""},
		{"", time.Minute, new(10 * time.Minute), "1m0s", ""},
		{"", time.Hour, new(10 * time.Minute), "5m0s", ""},
		{"20m", time.Hour, new(10 * time.Minute), "", "10m0s"},
		{"5m", time.Minute, new(10 * time.Minute), "", "1m0s"},
		{"5m", 0, new(10 * time.Minute), "5m", ""},
	}
	for _, tt := range tests {
		got, err := keepAliveWithin(tt.asked, limits{Limits: policy.Limits{MaxKeepAlive: tt.policy}, keepAlive: tt.most})
		if got != tt.want || (err != nil) != (tt.limit != "") || err != nil && !strings.Contains(err.Error(), tt.limit) {
			t.Errorf("keepAliveWithin(%q) with limits %s and %v = %q, %v; want %q and %q in an error", tt.asked, tt.most, tt.policy, got, err, tt.want, tt.limit)
		}
	}
	onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
		for i := range b.set {
			b.set[i].most = time.Hour
		}
		for _, tool := range []string{"generate", "chat", "embed", "load"} {
			args := strings.TrimSuffix(everyTool[tool], "}") + `,"keep_alive":"2h"}`
			if r := b.call(b.t.Context(), tool, args); r.error == nil || r.error.Kind != InvalidArguments || !strings.Contains(r.error.Message, "1h0m0s") {
				t.Errorf("%s(%s): %+v, want kind %s and the limit", tool, args, r.error, InvalidArguments)
			}
		}
	})
}
