package fleet

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

func TestRunningAndHosts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var changes atomic.Int32
		f, fake := start(t, ollamatest.Script{}, Options{Changed: func() { changes.Add(1) }})
		if all, err := f.Running(t.Context()); len(all) != 0 || err != nil {
			t.Errorf("Running() before a load = %v, %v, want none", all, err)
		}
		if _, err := f.Load(t.Context(), LoadRequest{Model: "tiny:latest"}, Watch{}); err != nil {
			t.Fatal(err)
		}
		all, err := f.Running(t.Context())
		if len(all) != 1 || err != nil || all[0].Canonical != "tiny:latest" || all[0].Host == "" {
			t.Errorf("Running() after a load = %+v, %v, want tiny:latest", all, err)
		}
		if _, _, err := f.Unload(t.Context(), "tiny:latest", "", Watch{}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Copy(t.Context(), "tiny:latest", "two:latest"); err != nil {
			t.Fatal(err)
		}
		if s, err := f.Show(t.Context(), "tiny:latest", false); err != nil || s.ContextLength() != 2048 {
			t.Errorf("Show(tiny) = %+v, %v, want its context length", s, err)
		}
		if _, err := f.Show(t.Context(), "nowhere:latest", false); !isKind(err, ollama.MissingModel) {
			t.Errorf("Show(nowhere) = %v, want %s", err, ollama.MissingModel)
		}
		synctest.Wait() // the load tells of itself last
		if changes := changes.Load(); changes != 3 {
			t.Errorf("a load, an unload and a copy were told as %d changes, want 3", changes)
		}
		if h := f.Hosts(t.Context()); len(h) != 1 || h[0].Version != "0.34.4" || h[0].Err != nil || h[0].Address != fake.URL {
			t.Errorf("Hosts() = %+v, want one of version 0.34.4", h)
		}
		fake.Close()
		if h := f.Hosts(t.Context()); len(h) != 1 || !isKind(h[0].Err, ollama.Unreachable) {
			t.Errorf("Hosts() of a host that is down = %+v, want it unreachable", h)
		}
	})
}
