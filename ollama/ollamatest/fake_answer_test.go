package ollamatest

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"ollama-mcp/ollama"
)

func TestInstance(t *testing.T) {
	for schema, want := range map[string]string{
		`"json"`: `{"answer":"yes"}`,
		`{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer","minimum":3},"c":{"enum":["x","y"]}}}`: `{"a":"word","b":3,"c":"x"}`,
		`{"type":"array","items":{"type":"boolean"},"minItems":2}`:                                                         `[true,true]`,
		`{"type":["null","string"]}`: `null`,
		`{"const":7}`:                `7`,
	} {
		if got := string(encode(instance(json.RawMessage(schema)))); got != want {
			t.Errorf("instance(%s): got %s, want %s", schema, got, want)
		}
	}
}

// What a script puts in the model's mouth.
func TestFakeAnswers(t *testing.T) {
	nan := float32(math.NaN())
	b := browse(t, NewFake(Script{
		Models: []FakeModel{{Name: "m"}, {Name: "r", RemoteModel: "r", RemoteHost: "https://ollama.com:443"}},
		ToolCalls: []ollama.ToolCall{
			{Function: ollama.ToolCallFunction{Name: "f", Arguments: json.RawMessage(`{"x":1}`)}},
		},
		Vector: func(input string) []float32 {
			return map[string][]float32{"nan": {nan, 1}, "zero": {0, 0}, "long": {3, 4}}[input]
		},
	}))
	for _, test := range []struct{ name, path, body, want string }{
		{"tool call", "/api/chat", `{"model":"m","tools":[{}],"messages":[{"role":"user","content":"x"}]}`,
			`"tool_calls":[{"id":"call_0000000a","function":{"index":0,"name":"f","arguments":{"x":1}}}]},"done":false}`},
		{"no tools, no call", "/api/chat", `{"model":"m","messages":[{"role":"user","content":"x"}]}`, `"content":" the"`},
		{"remote", "/api/generate", `{"model":"r","prompt":"x"}`, `"remote_model":"r","remote_host":"https://ollama.com:443"`},
		{"not a number", "/api/embed", `{"model":"m","input":["long","nan"]}`, `{"error":"embedding contains NaN or Inf values"}`},
		{"zeros", "/api/embed", `{"model":"m","input":["zero"]}`, `"embeddings":[[0,0]]`},
		{"normalised", "/api/embed", `{"model":"m","input":"long"}`, `"embeddings":[[0.6,0.8]]`},
	} {
		if _, _, got := b.do(t, "POST", test.path, test.body); !strings.Contains(got, test.want) {
			t.Errorf("%s: %s %s: got %s, want %s in it", test.name, test.path, test.body, got, test.want)
		}
	}
}
