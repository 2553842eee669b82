package fleet

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/health"
	"ollama-mcp/ollama/ollamatest"
)

// A host on which models fail, though its lists are well, is tried by a model of its own: it is
// taken for well again when that answers, and not before.
func TestProbe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "m", Loaded: true}}}
		f, fakes := pair(t, s, s)
		if _, _, err := f.Models(t.Context()); err != nil { // it knows its hosts
			t.Fatal(err)
		}
		fakes[0].Change(func(s *ollamatest.Script) {
			s.Faults = map[string]ollamatest.Fault{"/api/generate": ollamatest.Status("failed", http.StatusInternalServerError, "application/json", `{"error":"boom"}`)}
		})
		for range 5 {
			if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "m:latest", Prompt: "hi"}); err != nil {
				t.Fatal(err)
			}
		}
		a := f.members[0].watcher
		asked := fakes[0].Seen().Requests["/api/generate"]
		time.Sleep(time.Minute)
		if state, probes := a.Snapshot().State, fakes[0].Seen().Requests["/api/generate"]-asked; state != health.Down || probes < 10 {
			t.Errorf("a host on which models fail, a minute later: %s after %d probes, want %s and some", state, probes, health.Down)
		}
		fakes[0].Change(func(s *ollamatest.Script) { s.Faults = nil })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := a.Snapshot(); got.State != health.Up || got.Breaker != health.Closed {
			t.Errorf("5 s after its models are well: %s, breaker %s; want %s, %s", got.State, got.Breaker, health.Up, health.Closed)
		}
	})
}
