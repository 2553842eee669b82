package tools

import (
	"encoding/json"
	"strings"
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

// What a result weighs in the table of jobs has all that is large in it.
func TestWeight(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	a := answerOutput{Text: "x", Thinking: large}
	for name, o := range map[string]output{
		"text":         &answerOutput{Text: large},
		"thinking":     &a,
		"side by side": &generateOutput{Answers: []answerOutput{{Text: "x"}, a}},
		"a chat":       &chatOutput{answerOutput: a},
		"tool calls":   &chatOutput{Message: &replyMessage{ToolCalls: []chatToolCall{{Function: chatFunctionCall{Arguments: json.RawMessage(`"` + large + `"`)}}}}},
		"vectors":      &embedOutput{Embeddings: json.RawMessage(large)},
	} {
		if n := weight(toResult(o)); n < 1<<20 || n > 3<<20 {
			t.Errorf("a result with 1 MiB of %s weighs %d bytes", name, n)
		}
	}
}
