package resources

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"go.uber.org/goleak"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
	"ollama-mcp/tools"
	"ollama-mcp/transport/auth"
)

var update = flag.Bool("update", false, "write the snapshots in testdata and docs/resources.md anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quant is a model whose name has all that names can have, as people spell it.
const quant = "hf.co/A/b:Q4_K_M"

// start makes a fleet of one fake host, in memory, so that its time can be the bubble's.
func start(t *testing.T, s ollamatest.Script, o fleet.Options) (Source, *fleet.Fleet, *ollamatest.Fake) {
	t.Helper()
	if o.Poll == 0 {
		o.Poll = -1 // what is asked of the host is what the test asks
	}
	fake := ollamatest.NewPipeFake(s)
	host, err := ollama.ParseHost(fake.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := fleet.New([]fleet.Host{{Client: ollama.NewClient(ollama.ClientOptions{Host: host, Dial: fake.Dial}), Address: fake.URL, Origin: "the test"}}, o)
	t.Cleanup(func() { f.Close(); fake.Close() })
	return sourceOf(f), f, fake
}

// sourceOf is a fleet to read, with one job of ann.
func sourceOf(f *fleet.Fleet) Source {
	return Source{
		Models: func(ctx context.Context) ([]fleet.Model, error) { m, _, err := f.Models(ctx); return m, err }, Running: f.Running, Hosts: f.Hosts, HostView: tools.Hosts, Show: f.Show,
		Job: func(ctx context.Context, id string) (any, error) {
			if id != "j1" || auth.FromContext(ctx).Name != "ann" {
				return nil, ErrNotFound
			}
			return map[string]string{"id": id}, nil
		},
		Embedding: func(context.Context, string) (any, error) { return nil, ErrNotFound },
		JobIDs:    func(context.Context) []string { return []string{"j1", "J2", "k3"} },
	}
}

// rules let ann use everything, bob all but the models of hf.co, and the others a few tools.
func rules(t *testing.T) *policy.Policy {
	t.Helper()
	p, err := policy.New([]policy.Rule{
		{Name: "ann", Callers: []string{"ann"}},
		{Name: "bob", Callers: []string{"bob"}},
		{Name: "not bob", Callers: []string{"bob"}, Models: []string{"hf.co/*"}, Effect: policy.Deny},
		{Name: "carl", Callers: []string{"carl"}, Tools: []string{"list_models"}},
		{Name: "dora", Callers: []string{"dora"}, Tools: []string{"list_models", "generate"}},
	}, policy.Options{Tools: tools.ForPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// call is the session of a request, as far as this package uses it.
type call struct {
	server.ClientSession
	code    int
	message string
	data    any
}

func (c *call) SessionID() string { return "s" }
func (c *call) RequestID() string { return "s/1" }
func (c *call) Fail(code int, message string, data any) {
	c.code, c.message, c.data = code, message, data
}

// ask has an MCP server answer a request of a caller.
func ask(t *testing.T, c *Catalog, caller, method, params string) (result json.RawMessage, failed *call) {
	t.Helper()
	s := server.NewMCPServer("test", "0", c.ServerOptions()...)
	c.Register(s)
	failed = &call{}
	ctx := s.WithContext(auth.NewContext(t.Context(), auth.Caller{Name: caller}), failed)
	answer := s.HandleMessage(ctx, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params))
	if e, is := answer.(mcp.JSONRPCError); is {
		if failed.code == 0 {
			t.Errorf("%s %s = %d %s, which this package has not worded", method, params, e.Error.Code, e.Error.Message)
		}
		return nil, failed
	}
	b, err := json.Marshal(answer.(mcp.JSONRPCResponse).Result)
	if err != nil {
		t.Fatal(err)
	}
	return b, nil
}

// content is the text of the one content of a read.
func content(t *testing.T, result json.RawMessage) string {
	t.Helper()
	var r struct{ Contents []mcp.TextResourceContents }
	if err := json.Unmarshal(result, &r); err != nil || len(r.Contents) != 1 || r.Contents[0].MIMEType != "application/json" {
		t.Fatalf("read = %s, %v, want one JSON content", result, err)
	}
	return r.Contents[0].Text
}

func TestRead(t *testing.T) {
	models := append(ollamatest.DefaultModels(), ollamatest.FakeModel{Name: quant, Loaded: true, License: "\n Apache License \n Version 2.0", System: "Be brief."})
	source, _, _ := start(t, ollamatest.Script{Models: models}, fleet.Options{})
	c := New(source, Options{Policy: rules(t)})
	tests := []struct {
		caller, uri string
		want        []string // in the text; none: not found
		not         string
	}{
		{"ann", "ollama://models", []string{`"name":"tiny:latest"`, `"parameter_size":"`, `"quantization_level":"`, `"uri":"ollama://models/hf.co/a/b:q4_k_m"`, `"loaded":true`}, ""},
		{"bob", "ollama://models", []string{`"name":"tiny:latest"`}, "hf.co"},
		{"ann", "ollama://models/" + quant, []string{`"name":"hf.co/a/b:q4_k_m"`, `"license":"Apache License"`, `"system":"Be brief."`, `"context_length":2048`, `"quantization_level":"`, `"expires_at"`}, ""},
		{"ann", "ollama://models/hf.co%2FA%2Fb%3AQ4_K_M", []string{`"name":"hf.co/a/b:q4_k_m"`}, ""},
		{"ann", "ollama://models/TINY", []string{`"name":"tiny:latest"`, `"loaded":[]`}, ""},
		{"bob", "ollama://models/" + quant, nil, ""},
		{"bob", "ollama://models/hf.co/a/none", nil, ""},
		{"ann", "ollama://models/none", nil, ""},
		{"ann", "ollama://models/../x", nil, ""},
		{"ann", "ollama://models/", nil, ""},
		{"ann", "ollama://running", []string{`"name":"hf.co/a/b:q4_k_m"`, `"vram_bytes"`}, ""},
		{"bob", "ollama://running", []string{`{"models":[]}`}, ""},
		{"ann", "ollama://hosts", []string{`"state":"up"`, `"breaker":"closed"`, `"version":"0.34.4"`, `"loaded":[{"model":"hf.co/a/b:q4_k_m"`}, ""},
		{"ann", "ollama://jobs/j1", []string{`{"id":"j1"}`}, ""},
		{"bob", "ollama://jobs/j1", nil, ""},
		{"ann", "ollama://embeddings/x", nil, ""},
		{"ann", "ollama://nothing", nil, ""},
		{"ann", "file:///etc/passwd", nil, ""},
	}
	for _, tt := range tests {
		result, failed := ask(t, c, tt.caller, "resources/read", fmt.Sprintf(`{"uri":%q}`, tt.uri))
		if tt.want == nil {
			if failed == nil || failed.code != mcp.RESOURCE_NOT_FOUND || !strings.Contains(failed.message, tt.uri) {
				t.Errorf("%s reads %s = %s, %+v, want it not found", tt.caller, tt.uri, result, failed)
			}
			continue
		}
		if failed != nil {
			t.Errorf("%s reads %s = %d %s, want %q", tt.caller, tt.uri, failed.code, failed.message, tt.want)
			continue
		}
		text := content(t, result)
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s reads %s = %s, want %s in it", tt.caller, tt.uri, text, want)
			}
		}
		if tt.not != "" && strings.Contains(text, tt.not) {
			t.Errorf("%s reads %s = %s, want no %s in it", tt.caller, tt.uri, text, tt.not)
		}
	}
}

// What a caller may not use is refused in the words for what does not exist, and nothing is
// asked of Ollama.
func TestHiddenIsLikeMissing(t *testing.T) {
	source, _, fake := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{{Name: quant}}}, fleet.Options{})
	c := New(source, Options{Policy: rules(t)})
	_, hidden := ask(t, c, "bob", "resources/read", `{"uri":"ollama://models/hf.co/a/b:q4_k_m"}`)
	_, missing := ask(t, c, "bob", "resources/read", `{"uri":"ollama://models/hf.co/a/b:q9_k_m"}`)
	if hidden.code != missing.code || strings.ReplaceAll(hidden.message, "q4", "q9") != missing.message {
		t.Errorf("hidden = %+v, missing = %+v, want the same", hidden, missing)
	}
	if n := fake.Seen().Requests["/api/show"]; n != 0 {
		t.Errorf("Ollama was asked %d times about models that are hidden, want 0", n)
	}
}

func TestReadWithoutOllama(t *testing.T) {
	source, _, fake := start(t, ollamatest.Script{}, fleet.Options{})
	fake.Close()
	c := New(source, Options{Explain: func(err error, id string) (string, any) { return "worded " + id, "data" }})
	for _, uri := range []string{"ollama://models", "ollama://models/tiny", "ollama://running"} {
		_, failed := ask(t, c, "ann", "resources/read", fmt.Sprintf(`{"uri":%q}`, uri))
		if want := (call{code: mcp.INTERNAL_ERROR, message: "worded s/1", data: "data"}); failed == nil || *failed != want {
			t.Errorf("read %s without Ollama = %+v, want %+v", uri, failed, want)
		}
	}
	result, _ := ask(t, c, "ann", "resources/read", `{"uri":"ollama://hosts"}`)
	if text := content(t, result); !strings.Contains(text, `"state":"down"`) {
		t.Errorf("hosts without Ollama = %s, want it unreachable", text)
	}
	result, _ = ask(t, c, "ann", "resources/list", `{}`)
	if n := strings.Count(string(result), `"uri"`); n != 3 {
		t.Errorf("resources/list without Ollama = %s, want the three that are always there", result)
	}
}

func TestList(t *testing.T) {
	source, _, _ := start(t, ollamatest.Script{Models: append(ollamatest.DefaultModels(), ollamatest.FakeModel{Name: quant})}, fleet.Options{})
	c := New(source, Options{Policy: rules(t)})
	for caller, want := range map[string][]string{
		"ann": {"ollama://hosts", "ollama://models", "ollama://running", "ollama://models/hf.co/a/b:q4_k_m", "ollama://models/tiny-embed:latest", "ollama://models/tiny:latest"},
		"bob": {"ollama://hosts", "ollama://models", "ollama://running", "ollama://models/tiny-embed:latest", "ollama://models/tiny:latest"},
	} {
		result, _ := ask(t, c, caller, "resources/list", `{}`)
		var list struct{ Resources []mcp.Resource }
		if err := json.Unmarshal(result, &list); err != nil {
			t.Fatal(err)
		}
		var uris []string
		for _, r := range list.Resources {
			uris = append(uris, r.URI)
			if strings.HasPrefix(r.URI, "ollama://models") && (r.Annotations == nil || r.Annotations.LastModified != "2025-06-01T12:00:00Z") {
				t.Errorf("%s: %s was last modified %+v, want 2025-06-01T12:00:00Z", caller, r.URI, r.Annotations)
			}
			if r.URI == "ollama://models" {
				read, _ := ask(t, c, caller, "resources/read", `{"uri":"ollama://models"}`)
				if n := int64(len(content(t, read))); r.Size == nil || *r.Size != n {
					t.Errorf("%s: size of %s = %v, want %d", caller, r.URI, r.Size, n)
				}
			}
		}
		if diff := cmp.Diff(want, uris); diff != "" {
			t.Errorf("resources/list of %s (-want +got):\n%s", caller, diff)
		}
	}
}

// TestSurface holds resources and prompts to what a client sees today; -update takes a
// difference, and writes docs/resources.md.
func TestSurface(t *testing.T) {
	source, _, _ := start(t, ollamatest.Script{}, fleet.Options{})
	c := New(source, Options{})
	seen := map[string]bool{}
	var known []string
	for _, t := range tools.ForPolicy() {
		known = append(known, t.Name)
	}
	for _, r := range c.all() {
		if !slices.Contains(known, r.tool) {
			t.Errorf("%s stands for the tool %q, want one of %q", r.uri, r.tool, known)
		}
		if seen[r.name] || r.title == "" || len(r.description) < 40 || r.read == nil {
			t.Errorf("resource %+v: a unique name, a title, a description and a read are needed", r)
		}
		seen[r.name] = true
		var d any = r.definition()
		if r.isTemplate() {
			d = r.template()
		}
		hold(t, filepath.Join("..", "testdata", "resources", r.name+".json"), indent(t, d))
	}
	for _, p := range prompts() {
		for _, tool := range p.uses {
			if !slices.Contains(known, tool) {
				t.Errorf("prompt %s uses the tool %q, want one of %q", p.name, tool, known)
			}
		}
		if seen[p.name] || p.title == "" || len(p.description) < 40 || p.uses == nil || len(p.arguments) == 0 {
			t.Errorf("prompt %+v: a unique name, a title, a description, arguments and what it uses are needed", p)
		}
		seen[p.name] = true
		for _, a := range p.arguments {
			free := slices.Contains([]string{"question", "text", "prompt"}, a.name)
			if len(a.description) < 20 || (a.complete == nil) != free {
				t.Errorf("prompt %s, argument %s: a description and completions are needed, these only for what is not free text", p.name, a.name)
			}
		}
		hold(t, filepath.Join("..", "testdata", "prompts", p.name+".json"), indent(t, p.definition()))
	}
	hold(t, filepath.Join("..", "docs", "resources.md"), []byte(reference(c)))
}

func hold(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("-%s +code (`go test ./resources -update` takes it):\n%s", path, diff)
	}
}

func indent(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func reference(c *Catalog) string {
	var b strings.Builder
	b.WriteString("# Resources, completions and prompts\n\n<!-- generated from the code by `go test ./resources -update` -->\n\n")
	b.WriteString("Each resource stands for a tool: it is offered, listed, completed, read and subscribed to only where that tool is offered\n(`--tools`, `--toolsets`) and the policy allows it to the caller, with that model; to read it counts as a call of the tool.\nTo others it does not exist: reading it is the error for a resource that is not there (-32002, since 2026-07-28 -32602).\nA prompt is there where the tools are that it has the model use. All content is `application/json`.\n\n")
	b.WriteString("| resource | tool | what it is |\n|---|---|---|\n")
	for _, r := range c.all() {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", r.uri, r.tool, r.description)
	}
	b.WriteString("\nEach installed model that the caller may show is in `resources/list` too.\n\n## Changes\n\n" +
		"Subscribe to a resource (`resources/subscribe`, or the filter of `subscriptions/listen` since 2026-07-28). While\n" +
		"somebody is subscribed the server looks every `--poll`, and at once after what it changed itself:\n\n" +
		"| what happened | `updated` for | |\n|---|---|---|\n" +
		"| a model was loaded, unloaded, or takes other memory | `ollama://running`, `ollama://models`, `ollama://models/{+name}` | |\n" +
		"| a model was installed, removed | `ollama://models`, `ollama://models/{+name}` | `list_changed` |\n" +
		"| a model was replaced | `ollama://models`, `ollama://models/{+name}` | |\n" +
		"| a host is in another state: it went down, came back, loads a model …; or has another version | `ollama://hosts` | |\n" +
		"| a job entered another phase, or ended | `ollama://jobs/{id}`, to its owner | `_meta` has `ollama-mcp/seq` |\n\n" +
		"`ollama-mcp/seq` counts a job's changes from 1 and never goes back; a gap means that the changes between are in this one.\n" +
		"That a call puts off the expiry of a loaded model is no change. A model's name may be spelt as people spell\nit (`ollama://models/hf.co/a/b:Q4_K_M`, `ollama://models/llama3.2`): the news comes in the spelling of the subscription.\n")
	b.WriteString("\n## Prompts\n")
	for _, p := range prompts() {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n| argument | | |\n|---|---|---|\n", p.name, p.description)
		for _, a := range p.arguments {
			required := ""
			if a.required {
				required = "required"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", a.name, required, strings.ReplaceAll(a.description, "|", "\\|"))
		}
	}
	b.WriteString("\n## Completions\n\nNames of models, in use first, then the latest installed; after a colon that is their tags. Ids of jobs. Usual values of `length`, `schema`, `task` and `memory`.\n")
	return b.String()
}
