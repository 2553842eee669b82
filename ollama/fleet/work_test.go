package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

func TestStatus(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{LoadDelay: time.Second, FirstDelay: 2 * time.Second, Slots: 2}, Options{})
		var done []chan struct{}
		for range 3 {
			d := make(chan struct{})
			done = append(done, d)
			go func() {
				defer close(d)
				if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil {
					t.Error(err)
				}
			}()
		}
		check := func(when string, loaded, loading int, calls map[ollama.Name]Calls) {
			t.Helper()
			s := f.Hosts(t.Context())[0]
			if s.Err != nil {
				t.Fatal(s.Err)
			}
			if s.Version != "0.34.4" || s.Address != fake.URL || len(s.Loaded) != loaded || len(s.Loading) != loading {
				t.Errorf("Status %s: got %+v; want version 0.34.4, %s, %d loaded and %d loading", when, s, fake.URL, loaded, loading)
			}
			if diff := cmp.Diff(calls, s.Calls); diff != "" {
				t.Errorf("Status %s: calls (-want +got):\n%s", when, diff)
			}
		}
		synctest.Wait()
		check("while it loads", 0, 1, map[ollama.Name]Calls{ollamatest.TinyModel: {Waiting: 3}}) // though ps lists it
		time.Sleep(time.Second)
		synctest.Wait()
		check("while it generates", 1, 0, map[ollama.Name]Calls{ollamatest.TinyModel: {Running: 3}})
		for _, d := range done {
			<-d
		}
		check("afterwards", 1, 0, map[ollama.Name]Calls{})
	})
}

func TestStatusWithoutOllama(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{Faults: map[string]ollamatest.Fault{"": ollamatest.Down()}}, Options{})
		if s := f.Hosts(t.Context())[0]; !isKind(s.Err, ollama.Unreachable) || s.Address == "" || s.Loaded != nil {
			t.Errorf("Status of a host that is down: got %+v, %v; want its address and %s", s, s.Err, ollama.Unreachable)
		}
	})
}
