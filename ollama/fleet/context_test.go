package fleet

import (
	"errors"
	"strings"
	"testing"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// TestWhatDoesNotFit: what surely does not fit is refused before Ollama works on it or loads
// the model for it; Ollama decides about the rest. Either way the error tells both numbers.
func TestWhatDoesNotFit(t *testing.T) {
	words := strings.Repeat("word ", 3000)
	small := &ollama.Options{NumCtx: new(1000)}
	tests := []struct {
		name   string
		loaded bool
		model  ollamatest.FakeModel
		r      ollama.GenerateRequest
		says   []string // "" is that it fits
		sent   int
	}{
		{"a loaded model", true, ollamatest.FakeModel{}, ollama.GenerateRequest{Prompt: words}, []string{"3000 tokens", "2048 tokens"}, 0},
		{"what the model was made for", false, ollamatest.FakeModel{ContextLength: 2900}, ollama.GenerateRequest{Prompt: words}, []string{"3000 tokens", "2900 tokens"}, 0},
		{"what the model says", false, ollamatest.FakeModel{ContextLength: 9000, Parameters: map[string]any{"num_ctx": 2500}}, ollama.GenerateRequest{Prompt: words}, []string{"3000 tokens", "2500 tokens"}, 0},
		{"num_ctx", false, ollamatest.FakeModel{}, ollama.GenerateRequest{Prompt: words, Options: small}, []string{"3000 tokens", "1000 tokens"}, 0},
		{"the system prompt", true, ollamatest.FakeModel{}, ollama.GenerateRequest{Prompt: "hi", System: words}, []string{"3001 tokens"}, 0},
		{"Ollama counts", true, ollamatest.FakeModel{}, ollama.GenerateRequest{Prompt: strings.Repeat("? ", 2500)}, []string{"in 5000 bytes, by estimate at least 39 tokens, Ollama counted more than its 2048 tokens: ", "exceeds"}, 1},
		{"it fits", false, ollamatest.FakeModel{ContextLength: 9000}, ollama.GenerateRequest{Prompt: words}, nil, 2}, // a load comes first
		{"it may be cut", true, ollamatest.FakeModel{}, ollama.GenerateRequest{Prompt: words, Truncate: new(true)}, nil, 1},
		{"too long to be cut", true, ollamatest.FakeModel{}, ollama.GenerateRequest{Prompt: strings.Repeat(words, 20), Truncate: new(true)}, []string{"at least 60000 tokens, are too long even to be cut to its 2048 tokens in reasonable time"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				tt.model.Name, tt.model.Loaded = "m", tt.loaded
				f, fake := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{tt.model}}, Options{})
				tt.r.Model = "m:latest"
				if tt.r.Truncate == nil {
					tt.r.Truncate = new(false)
				}
				_, err := text(t.Context(), f, &tt.r)
				if isKind(err, ollama.TooLong) != (tt.says != nil) {
					t.Fatalf("Generate with %d bytes: got %v, want it refused: %v", len(tt.r.Prompt), err, tt.says != nil)
				}
				for _, s := range tt.says {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("Generate with %d bytes: got %q, want %q in it", len(tt.r.Prompt), err, s)
					}
				}
				if got := fake.Seen().Requests["/api/generate"]; got != tt.sent {
					t.Errorf("Generate with %d bytes: %d requests, want %d", len(tt.r.Prompt), got, tt.sent)
				}
			})
		})
	}
}

func TestEachTextOfAnEmbedHasTheContextToItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{}, Options{})
		words := strings.Repeat("word ", 1500)
		r := &ollama.EmbedRequest{Model: ollamatest.TinyEmbedModel, Input: []string{words, words}, Truncate: new(false)}
		if _, err := f.Embed(t.Context(), r, "", Watch{}); err != nil {
			t.Errorf("Embed of two texts of 1500 words: %v", err)
		}
		r.Input = append(r.Input, words+words)
		if _, err := f.Embed(t.Context(), r, "", Watch{}); !isKind(err, ollama.TooLong) {
			t.Errorf("Embed with a text of 3000 words: got %v, want %s", err, ollama.TooLong)
		}
	})
}

func TestPins(t *testing.T) {
	pins := map[ollama.Name]Pin{"tiny:latest": {Options: &ollama.Options{NumCtx: new(1024), NumThread: new(2)}, KeepAlive: "1h"}}
	tests := []struct {
		name    string
		allow   bool
		r       ollama.GenerateRequest
		pinned  bool // the call is refused
		sent    []string
		notSent string
	}{
		{"a call that names nothing", false, ollama.GenerateRequest{}, false, []string{`"num_ctx":1024`, `"num_thread":2`, `"keep_alive":"1h"`}, ""},
		{"the pinned num_ctx", false, ollama.GenerateRequest{Options: &ollama.Options{NumCtx: new(1024)}}, false, []string{`"num_ctx":1024`, `"num_thread":2`}, ""},
		{"other options", false, ollama.GenerateRequest{Options: &ollama.Options{Seed: new(7)}}, false, []string{`"num_ctx":1024`, `"seed":7`}, ""},
		{"another num_ctx", false, ollama.GenerateRequest{Options: &ollama.Options{NumCtx: new(512)}}, true, nil, ""},
		{"another num_ctx that is allowed", true, ollama.GenerateRequest{Options: &ollama.Options{NumCtx: new(512)}}, false, []string{`"num_ctx":512`, `"num_thread":2`}, ""},
		{"another keep_alive", false, ollama.GenerateRequest{KeepAlive: "5m"}, false, []string{`"keep_alive":"5m"`}, ""},
		{"another model", false, ollama.GenerateRequest{Model: "other:latest"}, false, nil, "num_ctx"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				models := []ollamatest.FakeModel{{Name: "tiny"}, {Name: "other"}}
				f, fake := start(t, ollamatest.Script{Models: models}, Options{Pins: pins, AllowNumCtx: tt.allow})
				if tt.r.Prompt = "hi"; tt.r.Model == "" {
					tt.r.Model = "tiny:latest"
				}
				for range 2 { // the second finds the model loaded
					_, err := text(t.Context(), f, &tt.r)
					pinned, _ := errors.AsType[*PinnedError](err)
					if (pinned != nil) != tt.pinned || pinned == nil && err != nil || pinned != nil && pinned.Pinned != 1024 {
						t.Fatalf("Generate: got %v, want a PinnedError of 1024: %v", err, tt.pinned)
					}
				}
				seen := fake.Seen()
				body := string(seen.Last["/api/generate"].Body)
				for _, s := range tt.sent {
					if !strings.Contains(body, s) {
						t.Errorf("Generate: sent %s, want %s in it", body, s)
					}
				}
				if tt.notSent != "" && strings.Contains(body, tt.notSent) {
					t.Errorf("Generate: sent %s, want no %s in it", body, tt.notSent)
				}
				if want := map[bool]int{false: 1, true: 0}[tt.pinned]; seen.Loads != want {
					t.Errorf("Generate twice: %d loads, want %d", seen.Loads, want)
				}
			})
		})
	}
}

func TestLoadIsPinned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		pins := map[ollama.Name]Pin{ollamatest.TinyModel: {Options: &ollama.Options{NumCtx: new(1024)}}}
		f, _ := start(t, ollamatest.Script{}, Options{Pins: pins})
		l, err := f.Load(t.Context(), LoadRequest{Model: ollamatest.TinyModel}, Watch{})
		if err != nil || l.ContextLength != 1024 {
			t.Errorf("Load of a model pinned to 1024: got %+v, %v", l, err)
		}
		_, err = f.Load(t.Context(), LoadRequest{Model: ollamatest.TinyModel, Options: &ollama.Options{NumCtx: new(2048)}}, Watch{})
		if _, ok := errors.AsType[*PinnedError](err); !ok {
			t.Errorf("Load with num_ctx 2048 of a model pinned to 1024: got %v, want a PinnedError", err)
		}
	})
}
