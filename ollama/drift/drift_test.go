// Package drift compares the wire types of package ollama with Ollama's own. It is a
// module of its own so that no binary depends on Ollama's.
package drift

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/ollama/ollama/api"

	"ollama-mcp/ollama"
)

// TestTags: each JSON field that we send or read is one of Ollama's, spelt as Ollama
// spells it. A field that Ollama renames would otherwise be ignored in silence.
func TestTags(t *testing.T) {
	tests := []struct {
		name         string
		ours, theirs any
	}{
		{"generate request", ollama.GenerateRequest{}, api.GenerateRequest{}},
		{"chat request", ollama.ChatRequest{}, api.ChatRequest{}},
		{"options", ollama.Options{}, api.Options{}},
		{"message", ollama.Message{}, api.Message{}},
		{"tool call", ollama.ToolCall{}, api.ToolCall{}},
		{"tool call function", ollama.ToolCallFunction{}, api.ToolCallFunction{}},
		{"tool", ollama.Tool{}, api.Tool{}},
		{"tool function", ollama.ToolFunction{}, api.ToolFunction{}},
		{"last line of generate", ollama.Done{}, api.GenerateResponse{}},
		{"last line of chat", ollama.Done{}, api.ChatResponse{}},
		{"text of generate", struct {
			Response  string            `json:"response"`
			Thinking  string            `json:"thinking"`
			ToolCalls []ollama.ToolCall `json:"tool_calls"`
			Done      bool              `json:"done"`
		}{}, api.GenerateResponse{}},
		{"text of chat", struct {
			Message ollama.Message `json:"message"`
			Done    bool           `json:"done"`
		}{}, api.ChatResponse{}},
		{"embed request", ollama.EmbedRequest{}, api.EmbedRequest{}},
		{"embed response", ollama.EmbedResponse{}, api.EmbedResponse{}},
		{"model", ollama.Model{}, api.ListModelResponse{}},
		{"details", ollama.Details{}, api.ModelDetails{}},
		{"running model", ollama.Running{}, api.ProcessModelResponse{}},
		{"shown model", ollama.Shown{}, api.ShowResponse{}},
		{"tensor", ollama.Tensor{}, api.Tensor{}},
		{"show request", struct {
			Model   string `json:"model"`
			Verbose bool   `json:"verbose"`
		}{}, api.ShowRequest{}},
		{"pull request", transfer{}, api.PullRequest{}},
		{"push request", transfer{}, api.PushRequest{}},
		{"create request", ollama.CreateRequest{}, api.CreateRequest{}},
		{"progress", ollama.Progress{}, api.ProgressResponse{}},
		{"copy request", struct {
			Source      string `json:"source"`
			Destination string `json:"destination"`
		}{}, api.CopyRequest{}},
		{"delete request", struct {
			Model string `json:"model"`
		}{}, api.DeleteRequest{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			theirs := tags(reflect.TypeOf(tt.theirs))
			for tag := range tags(reflect.TypeOf(tt.ours)) {
				if !theirs[tag] {
					t.Errorf("%T has no field %q", tt.theirs, tag)
				}
			}
		})
	}
}

// transfer is what package ollama sends to pull and push.
type transfer struct {
	Model    string `json:"model"`
	Insecure bool   `json:"insecure"`
	Stream   bool   `json:"stream"`
}

// TestFieldOrder: Ollama writes a token's line in the order in which the scanner of
// package ollama takes it. Another order would cost speed, not correctness.
func TestFieldOrder(t *testing.T) {
	for _, v := range []any{api.GenerateResponse{}, api.ChatResponse{}} {
		var order []string
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			tag, option, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if tag != "" && (!strings.Contains(option, "omitempty") || tag == "thinking") {
				order = append(order, tag)
			}
		}
		got := strings.Join(order, " ")
		want := map[string]string{
			"GenerateResponse": "model created_at response thinking done",
			"ChatResponse":     "model created_at message done",
		}[typ.Name()]
		if got != want {
			t.Errorf("%s writes %s, the scanner expects %s", typ.Name(), got, want)
		}
	}
}

// tags are the JSON names of a struct's fields, as encoding/json sees them.
func tags(t reflect.Type) map[string]bool {
	all := map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag != "" && tag != "-":
			all[tag] = true
		case f.Anonymous:
			maps.Copy(all, tags(f.Type))
		}
	}
	return all
}
