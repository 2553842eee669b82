package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// circle gives texts "N …" vectors N thousandths of a right angle from that of a query,
// "poison" none that is of numbers, and "nothing" zeros.
func circle(text string) []float32 {
	var n int
	switch {
	case strings.HasPrefix(text, "poison"):
		return []float32{float32(math.NaN()), 1}
	case strings.HasPrefix(text, "nothing"):
		return []float32{0, 0}
	}
	fmt.Sscanf(text, "%d", &n) // 0 for a query
	sin, cos := math.Sincos(float64(n) / 1000 * math.Pi / 2)
	return []float32{float32(cos), float32(sin)}
}

func arguments(t *testing.T, fields map[string]any) string {
	t.Helper()
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// numbered makes texts "N …", the nearest last.
func numbered(n, size int) (texts []string) {
	for i := range n {
		text := fmt.Sprintf("%d ", n-i)
		texts = append(texts, text+strings.Repeat("word ", max(0, size-len(text))/5))
	}
	return texts
}

// indices are those of a list of the result.
func (r *result) indices(field string) string {
	var all []string
	list, _ := r.fields[field].([]any)
	for _, item := range list {
		all = append(all, fmt.Sprint(item.(map[string]any)["index"]))
	}
	return strings.Join(all, " ")
}

// embedder is an [embedFunc] that takes a second, and counts.
type embedder struct {
	answer func(texts []string) error

	mu              sync.Mutex // guards what follows
	running, atOnce int
	requests        int
	texts           []string
}

func (e *embedder) embed(ctx context.Context, r *ollama.EmbedRequest, _ string, w fleet.Watch) (*ollama.EmbedResponse, error) {
	e.mu.Lock()
	e.requests++
	e.running++
	e.atOnce = max(e.atOnce, e.running)
	e.texts = append(e.texts, r.Input...)
	e.mu.Unlock()
	time.Sleep(time.Second) // fake time
	e.mu.Lock()
	e.running--
	e.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if e.answer != nil {
		if err := e.answer(r.Input); err != nil {
			return nil, err
		}
	}
	var resp ollama.EmbedResponse
	vectors := strings.TrimSuffix(strings.Repeat("[1,2],", len(r.Input)), ",")
	return &resp, resp.Embeddings.UnmarshalJSON([]byte("[" + vectors + "]"))
}

// named is a choice of the model that is named.
func named(_ context.Context, n ollama.Name, _ string, _ func(ollama.Name) bool) (ollama.Name, error) {
	return n, nil
}

// However many texts are bad, an answer lists a hundred of them and counts the others.
func TestManyBadTexts(t *testing.T) {
	texts := numbered(160, 0)
	for i := range 150 {
		texts[i] = "nothing"
	}
	for _, tt := range []struct {
		tool, note string
		args       map[string]any
	}{
		{
			"embed", "10 vectors of 2; 150 inputs failed, at 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 140 more (the vector of input[0] is useless: it has zeros alone); errors has the first 100",
			map[string]any{"input": texts},
		},
		{
			"rank", "The best 10 of 10 documents ranked, as index and score. 150 documents failed, at 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 140 more (the vector of documents[0] is useless: it has zeros alone); errors has the first 100.",
			map[string]any{"query": "q", "documents": texts},
		},
	} {
		onFake(t, ollamatest.Script{Vector: circle}, fleet.Options{}, func(b *bench) {
			r := b.call(b.t.Context(), tt.tool, arguments(t, tt.args))
			note, _ := r.fields["note"].(string)
			if n := len(strings.Fields(r.indices("errors"))); n != 100 || !strings.HasPrefix(note, tt.note) {
				t.Errorf("%s of 160, 150 bad: %d errors, %q; want 100, %q", tt.tool, n, note, tt.note)
			}
		})
	}
}

func TestMostTexts(t *testing.T) {
	for n, want := range map[int]string{20_000: "", 20_001: InvalidArguments} {
		many := make([]string, n)
		for _, tt := range []struct {
			tool Tool
			args map[string]any
		}{
			{embed(named, (&embedder{}).embed, nil, false), map[string]any{"model": "m", "input": many, "inline": true}},
			{rank(named, (&embedder{}).embed, false), map[string]any{"model": "m", "query": "q", "documents": many}},
		} {
			synctest.Test(t, func(t *testing.T) {
				kind := ""
				if p := ProblemOf(tt.tool.Call(t.Context(), json.RawMessage(arguments(t, tt.args)), "r", nil)); p != nil {
					kind = p.Kind
				}
				if kind != want {
					t.Errorf("%s of %d texts: kind %q, want %q", tt.tool.Name, n, kind, want)
				}
			})
		}
	}
}

// Several requests are under way at once, but never more than a few; an error that is not
// that of a text ends them all.
func TestChunksAtOnce(t *testing.T) {
	fail := func(k ollama.Kind) func([]string) error {
		return func([]string) error { return &ollama.Error{Kind: k} }
	}
	tests := []struct {
		name           string
		answer         func([]string) error
		requests, most int
		took           time.Duration
		kind           string
	}{
		{"all well", nil, 32, 32, 8 * time.Second, ""},
		{"busy", fail(ollama.Busy), 1, 8, 0, string(ollama.Busy)},
		{"lost", fail(ollama.Unreachable), 1, 8, 0, string(ollama.Unreachable)},
		{"a wrong argument", fail(ollama.Invalid), 1, 100, 0, string(ollama.Invalid)},
		{"a block of bad texts", func(texts []string) error {
			for _, text := range texts {
				if n, _ := strconv.Atoi(strings.TrimSpace(text)); n > 840 { // the first 160
					return &ollama.Error{Kind: ollama.Invalid}
				}
			}
			return nil
		}, 342, 352, 0, ""}, // 63 for each of 5 chunks, 27 others, and some harmless
		{"all too long", fail(ollama.TooLong), 1968, 1968, 0, string(ollama.TooLong)}, // 2 × 1000 texts − 32 chunks
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &embedder{answer: tt.answer}
				tool := embed(named, e.embed, nil, false)
				start := time.Now()
				r := tool.Call(t.Context(), json.RawMessage(arguments(t, map[string]any{"model": "m", "input": numbered(1000, 0), "inline": true})), "r", nil)
				kind := ""
				if p := ProblemOf(r); p != nil {
					kind = p.Kind
				}
				if e.atOnce != maxAtOnce || e.requests < tt.requests || e.requests > tt.most || kind != tt.kind {
					t.Errorf("embed of 1,000: %d requests, %d at once, kind %q; want %d to %d, %d, %q", e.requests, e.atOnce, kind, tt.requests, tt.most, maxAtOnce, tt.kind)
				}
				if took := time.Since(start); tt.took > 0 && took != tt.took {
					t.Errorf("embed of 1,000 took %v, want %v", took, tt.took)
				}
			})
		})
	}
}
