package cache

import (
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
)

var greedy = &ollama.Options{Temperature: new(float64)}

// say is an answer in some chunks; an error ends it.
func say(err error, chunks ...ollama.Chunk) iter.Seq2[ollama.Chunk, error] {
	return func(yield func(ollama.Chunk, error) bool) {
		for _, c := range chunks {
			if !yield(c, nil) {
				return
			}
		}
		if err != nil {
			yield(ollama.Chunk{}, err)
		}
	}
}

func done(reason string) ollama.Chunk {
	return ollama.Chunk{Tokens: 1, Done: &ollama.Done{Reason: reason, TotalDuration: time.Minute, LoadDuration: 1, PromptEvalDuration: 2, EvalDuration: 3, PromptEvalCount: 7, EvalCount: 9}}
}

func tool(name string) []ollama.ToolCall {
	return []ollama.ToolCall{{Function: ollama.ToolCallFunction{Name: name, Arguments: json.RawMessage(`{"a":1}`)}}}
}

// hear takes up to most chunks of an answer.
func hear(answer iter.Seq2[ollama.Chunk, error], most int) (chunks []ollama.Chunk, err error) {
	for c, err := range answer {
		if err != nil {
			return chunks, err
		}
		if chunks = append(chunks, c); len(chunks) == most {
			break
		}
	}
	return chunks, nil
}

func TestAnswers(t *testing.T) {
	a := NewAnswers(1 << 20)
	k := ChatKey("ann", "d", &ollama.ChatRequest{Options: greedy})
	if c, ok := a.Find(k); ok {
		t.Fatalf("Find = %+v of an empty cache", c)
	}
	said := []ollama.Chunk{{Text: "on", Thinking: "h", Tokens: 2}, {ToolCalls: tool("x"), Tokens: 1}, {Text: "e", Thinking: "m", ToolCalls: tool("y"), Tokens: 3}, done("stop")}
	heard, err := hear(a.Keep(k, say(nil, said...)), 99)
	if diff := cmp.Diff(said, heard); err != nil || diff != "" {
		t.Errorf("Keep passed on, with %v (-want +got):\n%s", err, diff)
	}
	want := ollama.Chunk{Text: "one", Thinking: "hm", ToolCalls: append(tool("x"), tool("y")...), Tokens: 7,
		Done: &ollama.Done{Reason: "stop", PromptEvalCount: 7, EvalCount: 9}}
	for range 2 {
		got, ok := a.Find(k)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Fatalf("Find = %t (-want +got):\n%s", ok, diff)
		}
		got.Done.Reason, got.Text = "", "" // is the caller's own
	}
	if c, ok := a.Find(AnswerKey{}); ok {
		t.Errorf("Find of no key = %+v", c)
	}
	if got := a.Stats(); got.Entries != 1 || got.Bytes < int64(len("onehmx{}y{}")) {
		t.Errorf("Stats = %+v, want the one answer", got)
	}
}

// TestAnswersKeep lists what is no answer to be kept.
func TestAnswersKeep(t *testing.T) {
	text := ollama.Chunk{Text: "one", Tokens: 1}
	cloud := done("stop")
	cloud.Done.RemoteHost = "https://ollama.com"
	for _, tt := range []struct {
		name   string
		answer iter.Seq2[ollama.Chunk, error]
		most   int
		kept   bool
	}{
		{"whole", say(nil, text, done("stop")), 99, true},
		{"as long as it may be", say(nil, text, done("length")), 99, true},
		{"empty", say(nil, done("stop")), 99, true},
		{"failed", say(errors.New("broken"), text), 99, false},
		{"failed at its end", say(errors.New("broken"), text, done("stop")), 99, false},
		{"without an end", say(nil, text), 99, false},
		{"given up", say(nil, text, done("stop")), 1, false},
		{"taken to its end and no further", say(nil, text, done("stop")), 2, true},
		{"a load", say(nil, done("load")), 99, false},
		{"an unload", say(nil, done("unload")), 99, false},
		{"the runner went away", say(nil, text, done("")), 99, false},
		{"of ollama.com", say(nil, text, cloud), 99, false},
		{"too large", say(nil, ollama.Chunk{Text: strings.Repeat("x", 5000)}, text, done("stop")), 99, false},
		{"too large at its end", say(nil, ollama.Chunk{Text: strings.Repeat("x", 3950)}, done("stop")), 99, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, k := NewAnswers(4096), ChatKey("ann", "d", &ollama.ChatRequest{Options: greedy})
			_, _ = hear(a.Keep(k, tt.answer), tt.most)
			if c, ok := a.Find(k); ok != tt.kept {
				t.Errorf("Find = %+v, %t, want %t", c, ok, tt.kept)
			}
		})
	}
}

// TestRecordIsBounded has an answer that is too large to be kept: nothing of it is.
func TestRecordIsBounded(t *testing.T) {
	var r record
	for range 10 {
		r.add(ollama.Chunk{Text: "more", Thinking: "more"}, nil, 20)
	}
	if n := r.text.Cap() + r.thinking.Cap(); n > 0 || r.whole() != nil {
		t.Errorf("the record of 80 bytes has room for %d, want 0 when only 20 may be kept", n)
	}
}

func TestAnswersBound(t *testing.T) {
	a := NewAnswers(4096)
	var keys []AnswerKey
	for _, prompt := range []string{"a", "b", "c", "d", "e"} {
		k := GenerateKey("ann", "d", &ollama.GenerateRequest{Prompt: prompt, Options: greedy})
		keys = append(keys, k)
		_, _ = hear(a.Keep(k, say(nil, ollama.Chunk{Text: strings.Repeat(prompt, 500)}, done("stop"))), 99)
		a.Find(keys[0])
	}
	for i, want := range []bool{true, false, false, true, true} {
		if _, got := a.Find(keys[i]); got != want {
			t.Errorf("Find of answer %d = %t, want %t", i, got, want)
		}
	}
	if got := a.Stats(); got.Bytes > got.Max || got.Entries != 3 {
		t.Errorf("Stats = %+v, want three answers", got)
	}
}

// TestAnswersNothing has no cache, and no key.
func TestAnswersNothing(t *testing.T) {
	k := ChatKey("ann", "d", &ollama.ChatRequest{Options: greedy})
	for _, tt := range []struct {
		a *Answers
		k AnswerKey
	}{{nil, k}, {NewAnswers(0), k}, {NewAnswers(1 << 20), AnswerKey{}}} {
		heard, err := hear(tt.a.Keep(tt.k, say(nil, done("stop"))), 99)
		if len(heard) != 1 || err != nil {
			t.Errorf("Keep passed on %v, %v, want one chunk", heard, err)
		}
		if c, ok := tt.a.Find(tt.k); ok {
			t.Errorf("Find = %+v, want nothing", c)
		}
		if got := tt.a.Stats(); got.Bytes != 0 {
			t.Errorf("Stats = %+v, want nothing", got)
		}
	}
}

func TestCacheable(t *testing.T) {
	for _, tt := range []struct {
		options string
		want    bool
	}{
		{`null`, false},
		{`{}`, false},
		{`{"temperature":0}`, true},
		{`{"temperature":0,"seed":-1}`, true},
		{`{"temperature":0.1}`, false},
		{`{"seed":0}`, true},
		{`{"seed":42,"temperature":1}`, true},
		{`{"seed":-2}`, true},
		{`{"seed":-1}`, false},
		{`{"seed":4294967295}`, false},
		{`{"num_predict":0,"top_k":1}`, false},
	} {
		var o *ollama.Options
		if err := json.Unmarshal([]byte(tt.options), &o); err != nil {
			t.Fatal(err)
		}
		if got := Cacheable(o); got != tt.want {
			t.Errorf("Cacheable(%s) = %t, want %t", tt.options, got, tt.want)
		}
		if got := ChatKey("", "d", &ollama.ChatRequest{Options: o}) != (AnswerKey{}); got != tt.want {
			t.Errorf("ChatKey with %s is one: %t, want %t", tt.options, got, tt.want)
		}
	}
}

// TestAnswerKeys has requests of which each but the marked ones has another answer.
func TestAnswerKeys(t *testing.T) {
	with := func(options string) *ollama.Options {
		o := *greedy
		if err := json.Unmarshal([]byte(options), &o); err != nil {
			t.Fatal(err)
		}
		return &o
	}
	generate := func(caller, digest string, r ollama.GenerateRequest) AnswerKey {
		return GenerateKey(caller, digest, &r)
	}
	chat := func(caller, digest string, r ollama.ChatRequest) AnswerKey { return ChatKey(caller, digest, &r) }
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	seen := map[AnswerKey]int{}
	for i, tt := range []struct {
		key  AnswerKey
		same int // as which one before, -1 for none
	}{
		0:  {generate("ann", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: greedy}), -1},
		1:  {generate("ann", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: with(`{}`), KeepAlive: "5m"}), 0},
		2:  {generate("bob", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: greedy}), -1},
		3:  {generate("ann", "d2", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: greedy}), -1},
		4:  {generate("ann", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", System: "p", Options: greedy}), -1},
		5:  {generate("ann", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: with(`{"num_ctx":4096}`)}), -1},
		6:  {generate("ann", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: with(`{"seed":1}`)}), -1},
		7:  {generate("ann", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: greedy, Think: false}), -1},
		8:  {generate("ann", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: greedy, Format: raw(`{"a":1,"b":2}`)}), -1},
		9:  {generate("ann", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: greedy, Format: raw(`{ "a": 1, "b": 2 }`)}), 8},
		10: {generate("ann", "d", ollama.GenerateRequest{Model: "m", Prompt: "p", Options: greedy, Format: raw(`{"b":2,"a":1}`)}), -1},
		11: {chat("ann", "d", ollama.ChatRequest{Model: "m", Options: greedy}), -1},
		12: {generate("ann", "d", ollama.GenerateRequest{Model: "m", Options: greedy}), -1},
		13: {chat("ann", "d", ollama.ChatRequest{Model: "m", Options: greedy, KeepAlive: "1h"}), 11},
		14: {chat("ann", "d", ollama.ChatRequest{Model: "m", Options: greedy, Messages: []ollama.Message{{Content: "p"}}}), -1},
	} {
		was, ok := seen[tt.key]
		if !ok {
			was = -1
			seen[tt.key] = i
		}
		if was != tt.same || tt.key == (AnswerKey{}) {
			t.Errorf("key %d is that of %d, want %d", i, was, tt.same)
		}
	}
	for what, k := range map[string]AnswerKey{
		"an unknown model": generate("ann", "", ollama.GenerateRequest{Options: greedy}),
		"chance":           generate("ann", "d", ollama.GenerateRequest{}),
		"what is no JSON":  generate("ann", "d", ollama.GenerateRequest{Options: greedy, Format: raw(`{`)}),
	} {
		if k != (AnswerKey{}) {
			t.Errorf("%s has a key, want none", what)
		}
	}
}
