package ollamatest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"ollama-mcp/ollama"
)

// answer is what a model says.
type answer struct {
	thinking pieces
	thoughts int // how many pieces of thinking
	text     pieces
	words    int // how many pieces of text
	tools    []ollama.ToolCall
	reason   string // done_reason
}

func (a *answer) tokens() int { return max(a.thoughts+a.words, 1) }

// pieces are tokens. Who wants more than there are starts again with the first.
type pieces []string

func (p pieces) join(count int) string {
	var b strings.Builder
	for n := range count {
		b.WriteString(p[n%len(p)])
	}
	return b.String()
}

const defaultTokenCount = 16

func defaultTokens() pieces {
	return pieces{" the", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", " and", " naps."}
}

// answerTo plans the answer to a generate or chat.
func (s *Script) answerTo(i *inference) answer {
	a := answer{reason: "stop"}
	if i.model.can("thinking") && !i.refusesThought() {
		a.thinking, a.thoughts = s.Thinking, len(s.Thinking)
	}
	switch {
	case len(i.Tools) > 0 && len(s.ToolCalls) > 0:
		a.tools = s.ToolCalls
	case i.wantsFormat():
		a.text = split(i.fake.formatted(i.Format))
		a.words = len(a.text)
	default:
		a.text, a.words = s.plainText()
	}
	a.limit(i.option("num_predict", -1))
	return a
}

func (s *Script) plainText() (text pieces, count int) {
	text, count = s.Tokens, s.TokenCount
	if len(text) == 0 {
		text = defaultTokens()
		if count == 0 {
			count = defaultTokenCount
		}
	}
	if count == 0 {
		count = len(text)
	}
	return text, count
}

// limit ends the answer after num_predict tokens, thinking included. What would have ended just there has not said so
// yet: that takes a token too.
func (a *answer) limit(tokens int) {
	if tokens <= 0 || tokens > a.thoughts+a.words {
		return
	}
	a.reason = "length"
	a.thoughts = min(a.thoughts, tokens)
	a.words = tokens - a.thoughts
	a.tools = nil
}

// formatted is the script's next answer with a format, or one that fits the format.
func (f *Fake) formatted(format json.RawMessage) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	answers := f.script.Answers
	if len(answers) == 0 {
		return string(encode(instance(format)))
	}
	f.formats++
	return answers[min(f.formats, len(answers))-1]
}

// split cuts a text into pieces about as long as tokens, between runes.
func split(text string) pieces {
	const runes = 4
	var p pieces
	for chunk := range slices.Chunk([]rune(text), runes) {
		p = append(p, string(chunk))
	}
	return p
}

// instance is the simplest value that fits a JSON Schema made of the plain keywords; "json" is any object.
func instance(schema json.RawMessage) any {
	var s struct {
		Type       any                        `json:"type"`
		Enum       []any                      `json:"enum"`
		Const      any                        `json:"const"`
		Properties map[string]json.RawMessage `json:"properties"`
		Items      json.RawMessage            `json:"items"`
		MinItems   int                        `json:"minItems"`
		Minimum    float64                    `json:"minimum"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return map[string]any{"answer": "yes"}
	}
	if types, ok := s.Type.([]any); ok && len(types) > 0 {
		s.Type = types[0]
	}
	switch {
	case s.Const != nil:
		return s.Const
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Properties != nil:
		object := map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
			object[key] = instance(s.Properties[key])
		}
		return object
	}
	switch s.Type {
	case "string":
		return "word"
	case "integer", "number":
		return s.Minimum
	case "boolean":
		return true
	case "null":
		return nil
	case "array":
		list := []any{}
		for range max(s.MinItems, 1) {
			list = append(list, instance(s.Items))
		}
		return list
	}
	return map[string]any{}
}
