package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama/ollamatest"
)

// The tests below are the program over its pipes, each in front of a real Ollama of its own.

func TestListLoadUnload(t *testing.T) {
	s := serve(t, ollamatest.NewReal(t).URL)
	for _, model := range []string{ollamatest.TinyModel, ollamatest.TinyEmbedModel} {
		args := fmt.Sprintf(`{"model":%q}`, model)
		for _, step := range []struct {
			tool, state string
			loaded      bool
		}{{"load", "loaded", true}, {"unload", "unloaded", false}, {"unload", "not_loaded", false}} {
			if got := s.must(step.tool, args).Structured.State; got != step.state {
				t.Errorf("%s %s = state %q, want %q", step.tool, args, got, step.state)
			}
			if got := loaded(s, model); got != step.loaded {
				t.Errorf("list_models after %s %s = loaded %v, want %v", step.tool, args, got, step.loaded)
			}
		}
	}
}

// loaded asks list_models whether a model is loaded.
func loaded(s *session, model string) bool {
	s.t.Helper()
	for _, m := range s.must("list_models", `{}`).Structured.Models {
		if m.Name == model {
			return m.Loaded != nil
		}
	}
	s.t.Fatalf("list_models does not list %s", model)
	return false
}

func TestGenerate(t *testing.T) {
	const tokens = 1500
	s := serve(t, ollamatest.NewReal(t).URL, "--progress-interval", "10ms")
	r, progress := s.call("generate", fmt.Sprintf(`{"model":"tiny","prompt":"the sea","options":{"num_predict":%d,"seed":1}}`, tokens))
	if o := r.Structured; r.IsError || o.Usage.OutputTokens != tokens || o.DoneReason != "length" || o.Text == "" {
		t.Fatalf("generate = %+v, want %d tokens, done_reason length, a text", r, tokens)
	}
	if diff := cmp.Diff(r.Structured.Text, deltas(progress)); diff != "" {
		t.Errorf("the deltas joined are not the text (-text +deltas):\n%s", diff)
	}
	if len(progress) < 5 {
		t.Errorf("generate of %d tokens reported progress %d times, want it to stream", tokens, len(progress))
	}
	last := -1.0
	for i, p := range progress {
		if p.Params.Progress <= last || p.Params.Meta.Seq != i+1 || p.Params.Message == "" {
			t.Errorf("progress %d = %+v after %v, want more, the number %d and a message", i, p.Params, last, i+1)
		}
		last = p.Params.Progress
	}
	if rest, code := s.end(); len(rest) != 0 || code != 0 {
		t.Errorf("after the answer came %+v, exit code %d; want nothing, 0", rest, code)
	}
}

func TestChat(t *testing.T) {
	s := serve(t, ollamatest.NewReal(t).URL)
	r := s.must("chat", `{"model":"tiny","messages":[{"role":"user","content":"the sea"}],"options":{"num_predict":8}}`)
	if m := r.Structured.Message; m.Role != "assistant" || m.Content == "" || m.Content != r.Structured.Text {
		t.Errorf("chat = %+v, want a message of the assistant with the text", r.Structured)
	}
}

func TestStructuredOutput(t *testing.T) {
	s := serve(t, ollamatest.NewReal(t).URL)
	r := s.must("generate", `{"model":"tiny","prompt":"a place","options":{"num_predict":400,"seed":1},"schema":
		{"type":"object","properties":{"name":{"type":"string"},"kind":{"type":"string","enum":["sea","land"]}},"required":["name","kind"]}}`)
	var place struct{ Name, Kind string }
	if err := json.Unmarshal(r.Structured.Structured, &place); err != nil || r.Structured.Valid == nil || !*r.Structured.Valid {
		t.Fatalf("generate = %+v (%v), want valid JSON", r.Structured, err)
	}
	if place.Name == "" || place.Kind != "sea" && place.Kind != "land" {
		t.Errorf("generate = %s, want a name and a kind of the enum", r.Structured.Structured)
	}
}

func TestEmbed(t *testing.T) {
	s := serve(t, ollamatest.NewReal(t).URL)
	o := s.must("embed", `{"model":"tiny-embed","input":["the sea","the land","the sky"]}`).Structured
	if o.Count != 3 || o.Dimensions != ollamatest.EmbeddingLength || o.Note != "3 vectors of 64" || len(o.Embeddings) != 3 {
		t.Fatalf("embed = %+v, want 3 vectors of %d", o, ollamatest.EmbeddingLength)
	}
	if cmp.Equal(o.Embeddings[0], o.Embeddings[1]) || len(o.Embeddings[2]) != o.Dimensions {
		t.Errorf("embed = %v, want three different vectors of %d", o.Embeddings, o.Dimensions)
	}
}

func TestMissingModel(t *testing.T) {
	s := serve(t, ollamatest.NewReal(t).URL)
	r, _ := s.call("generate", `{"model":"tinny","prompt":"the sea"}`)
	e := r.Structured.Error
	if !r.IsError || e.Kind != "missing_model" || !strings.Contains(e.Message, "did you mean tiny?") || !strings.Contains(e.Hint, "ollama pull tinny") {
		t.Errorf("generate = %+v, want missing_model that names tiny and ollama pull", e)
	}
}

// TestCancel cancels a generation in its middle: Ollama loses its client, and the next
// call gets the model's one slot.
func TestCancel(t *testing.T) {
	address, aborted := watched(t, ollamatest.NewReal(t).URL)
	s := serve(t, address, wedgeSoon...)
	cancelled := s.begin("generate", `{"model":"tiny","prompt":"the sea","options":{"num_predict":-1}}`)
	for s.next().Params.Meta.Phase != "generating" {
	}
	s.notify("notifications/cancelled", map[string]any{"requestId": cancelled})
	select {
	case path := <-aborted:
		if path != "/api/generate" {
			t.Errorf("the cancel aborted %s, want /api/generate", path)
		}
	case <-s.ctx.Done():
		t.Fatal("the cancel did not reach Ollama")
	}
	s.begin("generate", `{"model":"tiny","prompt":"the land","options":{"num_predict":2}}`)
	m := s.next()
	for m.Result == nil {
		m = s.next()
	}
	if string(m.ID) != fmt.Sprint(s.lastID) || m.Result.IsError || m.Result.Structured.Usage.OutputTokens != 2 {
		t.Errorf("after the cancel of %d came the answer to %s, %+v; want the one to %d, of 2 tokens", cancelled, m.ID, m.Result, s.lastID)
	}
	if rest, code := s.end(); len(rest) != 0 || code != 0 {
		t.Errorf("after the answer came %+v, exit code %d; want nothing, 0", rest, code)
	}
}

// watched puts a proxy in front of an Ollama. It tells the path of each request whose
// client leaves before the answer ends.
func watched(t *testing.T, address string) (proxy string, aborted <-chan string) {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	paths := make(chan string, 16)
	forward := httputil.NewSingleHostReverseProxy(target)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if r.Context().Err() != nil {
				paths <- r.URL.Path
			}
		}()
		// Ollama may answer before the proxy has seen the end of a body that it passes on as it comes, and then
		// the server closes the body, for which the transport gives up the answer too.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has left
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, paths
}

// TestEndOfInput pipes in calls as a shell does: all at once, and then the end.
func TestEndOfInput(t *testing.T) {
	const calls = 50
	s := serve(t, ollamatest.NewReal(t).URL)
	for range calls {
		s.request("tools/call", map[string]any{"name": "list_models", "arguments": map[string]any{}})
	}
	rest, code := s.end()
	answers := map[string]bool{}
	for _, m := range rest {
		if m.Result == nil || m.Result.IsError || len(m.Result.Structured.Models) < 2 {
			t.Errorf("the server sent %+v, want an answer with the models", m)
		}
		answers[string(m.ID)] = true
	}
	if len(answers) != calls || code != 0 {
		t.Errorf("%d calls and the end of input gave %d answers, exit code %d; want all, 0", calls, len(answers), code)
	}
}

func TestTerminate(t *testing.T) {
	tests := []struct {
		name, drain, predict string
		isError              bool
	}{
		{"drains", "30s", "2000", false},
		{"cancels what does not end", "100ms", "-1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, ollamatest.NewReal(t).URL, "--drain", tt.drain)
			s.begin("generate", `{"model":"tiny","prompt":"the sea","options":{"num_predict":`+tt.predict+`}}`)
			for s.next().Params.Meta.Phase != "generating" {
			}
			if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			r, _ := s.answer()
			if r.IsError != tt.isError || r.Structured.Text == "" {
				t.Errorf("generate = %+v, want isError %v and a text", r, tt.isError)
			}
			if rest, code := s.end(); len(rest) != 0 || code != 0 {
				t.Errorf("after the answer came %+v, exit code %d; want nothing, 0", rest, code)
			}
		})
	}
}
