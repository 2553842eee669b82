package tools

import (
	"testing"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

func TestNoteOnACutPromptNamesOnlyAKnownContext(t *testing.T) {
	for _, tt := range []struct {
		context int
		want    string
	}{
		{0, "the prompt was cut to fit the context: the model read 2048 tokens of it"},
		{4096, "the prompt was cut to fit the context of 4096 tokens: the model read 2048 tokens of it"},
	} {
		r := &run{place: fleet.Place{ContextLength: tt.context}, done: &ollama.Done{PromptEvalCount: 2048}}
		if got := r.promptNote("yes"); got != tt.want {
			t.Errorf("promptNote with a context of %d:\n got %q\nwant %q", tt.context, got, tt.want)
		}
	}
}
