package tools

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/schema"
)

// TestArgumentsReachOllama: each argument that is for Ollama arrives there as Ollama spells it.
func TestArgumentsReachOllama(t *testing.T) {
	able := ollamatest.Script{Models: []ollamatest.FakeModel{
		{Name: "m", Loaded: true, Capabilities: []string{"completion", "tools", "thinking", "insert", "vision"}},
		{Name: "e", Loaded: true, Capabilities: []string{"embedding"}},
	}}
	const shared = `"format":{"type":"object"},"think":"low","keep_alive":"10m","options":{"temperature":0,"stop":["."]}`
	const given = `"schema":{"type":"object"},"think":"low","keep_alive":"10m","options":{"temperature":0,"stop":["."]}`
	tests := []struct{ name, tool, args, path, want string }{
		{"generate", "generate", `{"model":"m","prompt":"p","suffix":"s","system":"y","raw":true,` + given + `}`, "/api/generate",
			`{"model":"m:latest","prompt":"p","suffix":"s","system":"y","raw":true,"truncate":false,"stream":true,` + shared + `}`},
		{"json and thinking off", "generate", `{"model":"m","prompt":"p","json":true,"think":"off"}`, "/api/generate",
			`{"model":"m:latest","prompt":"p","format":"json","think":false,"truncate":false,"stream":true}`},
		{"thinking on", "generate", `{"model":"m","prompt":"p","think":"on"}`, "/api/generate",
			`{"model":"m:latest","prompt":"p","think":true,"truncate":false,"stream":true}`},
		{"chat", "chat", `{"model":"m","messages":[{"role":"user","content":"u"},
				{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},{"role":"tool","content":"c","tool_name":"f"}],
				"tools":[{"function":{"name":"f","description":"d","parameters":{"type":"object"}}}],` + given + `}`, "/api/chat",
			`{"model":"m:latest","messages":[{"role":"user","content":"u"},
				{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},{"role":"tool","content":"c","tool_name":"f"}],
				"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}],"truncate":false,"stream":true,` + shared + `}`},
		{"embed", "embed", `{"model":"e","input":"a","dimensions":3,"truncate":true,"keep_alive":"10m"}`, "/api/embed",
			`{"model":"e:latest","input":["a"],"dimensions":3,"truncate":true,"keep_alive":"10m"}`},
		{"load", "load", `{"model":"m","num_ctx":512,"keep_alive":"10m"}`, "/api/generate",
			`{"model":"m:latest","options":{"num_ctx":512},"keep_alive":"10m","stream":true}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := able
			s.Answers = []string{`{}`}
			onFake(t, s, fleet.Options{}, func(b *bench) {
				if r := b.call(b.t.Context(), tt.tool, tt.args); r.IsError {
					t.Fatalf("%s(%s): %+v", tt.tool, tt.args, r.error)
				}
				var got, want any
				if err := errors.Join(json.Unmarshal(b.fake.Seen().Last[tt.path].Body, &got), json.Unmarshal([]byte(tt.want), &want)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s(%s) asked Ollama (-want +got):\n%s", tt.tool, tt.args, diff)
				}
			})
		})
	}
}

func TestWebP(t *testing.T) {
	for data, ok := range map[string]bool{"RIFF\x10\x00\x00\x00WEBPVP8 ": true, "RIFF\x10\x00\x00\x00WAVEfmt ": false, "RIFF": false} {
		if _, err := decodeImage(base64.StdEncoding.EncodeToString([]byte(data))); (err == nil) != ok {
			t.Errorf("decodeImage(%q) = %v, want it taken: %v", data, err, ok)
		}
	}
	if _, err := decodeImage(strings.Repeat("A", maxImage/3*4+8)); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("decodeImage of more than %d bytes = %v, want it refused for its size", maxImage, err)
	}
}

// TestEveryToolIsTried holds the table that the tests of faults go through to the tools.
func TestEveryToolIsTried(t *testing.T) {
	f := idle()
	defer f.Close()
	set := toolSet(t, f)
	for _, tool := range set {
		if everyTool[tool.Name] == "" {
			t.Errorf("everyTool has no arguments for %s", tool.Name)
		}
	}
	if len(everyTool) != len(set) {
		t.Errorf("everyTool has %d tools, there are %d", len(everyTool), len(set))
	}
}

// Before Ollama 0.6.4 show tells no capabilities: such a model may be able to do anything.
func TestListModelsOfUnknownCapabilities(t *testing.T) {
	tool := listModels(func(context.Context) ([]fleet.Model, []fleet.Silent, error) {
		return []fleet.Model{{Canonical: "old:latest"}}, nil, nil
	}, false)
	r := tool.Call(t.Context(), json.RawMessage(`{"capability":"completion"}`), "r1", nil)
	structured, err := json.Marshal(r.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	if problems := schema.Validate(tool.Output, structured); problems != nil || !strings.Contains(string(structured), "old:latest") {
		t.Errorf("list_models of a model of unknown capabilities: got %s (%v), want it listed, and to fit the schema", structured, problems)
	}
}
