package fleet

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// A host ends its server in mid-call and starts another, which cannot know of the cancel.
func TestModelWedgedBeforeTheStartRecovers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		before, fake := start(t, ollamatest.Script{TokenDelay: time.Second}, Options{})
		cancelOne(t, before)
		if err := fake.Await(t.Context(), func(s ollamatest.Seen) bool { return s.Active == 0 }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the call is counted out before its slot is free
		if fake.Wedge(ollamatest.TinyModel) == 0 {
			t.Fatal("the fake had no slot to lose")
		}
		f := New([]Host{before.members[0].Host}, Options{})
		defer f.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		got, err := text(ctx, f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"})
		if err != nil || got == "" {
			t.Errorf("Generate on a model wedged before the start: got %q, %v; want text after a recovery", got, err)
		}
	})
}

// Another program's long call on the model is no reason to fail.
func TestModelBusyForAnotherProgramIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		other, _ := start(t, ollamatest.Script{TokenDelay: 10 * time.Second, TokenCount: 30}, Options{})
		f := New([]Host{other.members[0].Host}, Options{})
		defer f.Close()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := text(t.Context(), other, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil {
				t.Errorf("the other program's Generate: %v", err)
			}
		})
		time.Sleep(30 * time.Second) // fake time: the other's call runs
		if got, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil || got == "" {
			t.Errorf("Generate behind another program's: got %q, %v; want text", got, err)
		}
		wg.Wait()
	})
}

// A model that was loaded with a context length keeps it for calls that name none, instead
// of being reloaded by the next one.
func TestLoadTimeOptionsStay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{}, Options{})
		n := 512
		if _, err := f.Load(t.Context(), LoadRequest{Model: ollamatest.TinyModel, Options: &ollama.Options{NumCtx: &n}}, Watch{}); err != nil {
			t.Fatal(err)
		}
		predict := 3
		for _, o := range []*ollama.Options{nil, {NumPredict: &predict}, {NumCtx: &n}} {
			if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi", Options: o}); err != nil {
				t.Fatal(err)
			}
			if body := string(fake.Seen().Last["/api/generate"].Body); !strings.Contains(body, `"num_ctx":512`) {
				t.Errorf("Generate with %+v after a load with num_ctx 512: sent %s", o, body)
			}
		}
		if loads := fake.Seen().Loads; loads != 1 {
			t.Errorf("%d loads, want 1", loads)
		}
	})
}

// Nor does a call on a copy of it undo the load, nor one on a load that nobody waited for.
func TestLoadTimeOptionsStayForAll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{LoadDelay: 5 * time.Minute, Models: []ollamatest.FakeModel{
			{Name: "m", Digest: "same"}, {Name: "copy", Digest: "same"},
		}}, Options{})
		n := 512
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := f.Load(ctx, LoadRequest{Model: "m:latest", Options: &ollama.Options{NumCtx: &n}}, Watch{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a load of five minutes: got %v, want that its time is over", err)
		}
		time.Sleep(5 * time.Minute)                                 // fake time: the load ends, and the model has not expired yet
		fake.Change(func(s *ollamatest.Script) { s.LoadDelay = 0 }) // unlike Ollama it loads a copy of its own
		for _, model := range []ollama.Name{"m:latest", "copy:latest"} {
			if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: model, Prompt: "hi"}); err != nil {
				t.Fatal(err)
			}
			if body := string(fake.Seen().Last["/api/generate"].Body); !strings.Contains(body, `"num_ctx":512`) {
				t.Errorf("Generate on %s after a load of m with num_ctx 512: sent %s", model, body)
			}
		}
	})
}

// A call that names no load-time options waits for a load that runs, whatever its options, instead of undoing it.
func TestCallJoinsARunningLoad(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{LoadDelay: 30 * time.Second}, Options{})
		n := 512
		loaded := make(chan error)
		go func() {
			_, err := f.Load(t.Context(), LoadRequest{Model: ollamatest.TinyModel, Options: &ollama.Options{NumCtx: &n}}, Watch{})
			loaded <- err
		}()
		synctest.Wait() // until the load runs
		if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil {
			t.Errorf("Generate while a load runs: %v", err)
		}
		if err := <-loaded; err != nil || fake.Seen().Loads != 1 {
			t.Errorf("Load: %v, and %d loads; want one", err, fake.Seen().Loads)
		}
	})
}

// A model that was just loaded here has all its slots: a slow first prompt is no wedge.
func TestSlowPromptAfterALoadIsLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{FirstDelay: 10 * time.Minute}, Options{})
		if _, err := f.Load(t.Context(), LoadRequest{Model: ollamatest.TinyModel}, Watch{}); err != nil {
			t.Fatal(err)
		}
		if got, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil || got == "" {
			t.Errorf("Generate with a first token after 10 minutes: got %q, %v; want text", got, err)
		}
		if seen := fake.Seen(); seen.Loads != 1 || seen.Unloads != 0 {
			t.Errorf("%d loads, %d unloads; want 1 and none: the model was not wedged", seen.Loads, seen.Unloads)
		}
	})
}

// A context length above what the model can hold is clamped by Ollama; that is no reason to load it anew each time.
func TestClampedContextLengthLoadsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{}, Options{})
		n := 99999
		for range 3 {
			if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi", Options: &ollama.Options{NumCtx: &n}}); err != nil {
				t.Fatal(err)
			}
		}
		if shows := fake.Seen().Requests["/api/show"]; shows != 1 {
			t.Errorf("3 calls with num_ctx 99999: %d shows, want 1, of the one load", shows)
		}
	})
}

// Ollama runs a copy of a model in the same runner, and lists one name of the two.
func TestCopyOfALoadedModel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{
			{Name: "m", Digest: "same", Loaded: true}, {Name: "copy", Digest: "same"}, {Name: "other", Digest: "other"},
		}}, Options{})
		for model, want := range map[ollama.Name]bool{"m:latest": true, "copy:latest": true, "other:latest": false} {
			if got, err := f.members[0].running(t.Context(), model); err != nil || (got != nil) != want {
				t.Errorf("running(%s) = %v, %v; want loaded: %v", model, got, err, want)
			}
		}
		models, _, err := f.Models(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range models {
			if (m.Loaded != nil) != (m.Digest == "same") {
				t.Errorf("Models: %s loaded: %v", m.Canonical, m.Loaded != nil)
			}
		}
	})
}

func TestRefusedBeforeOllamaWorksOnIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{
			{Name: "blind", Loaded: true}, {Name: "seeing", Capabilities: []string{Completion, Vision}},
		}}, Options{})
		huge := strings.Repeat("x", 10<<20)
		image := []string{"aGk="}
		for _, tt := range []struct {
			name string
			r    ollama.GenerateRequest
			want ollama.Kind
		}{
			{"10 MB for 2048 tokens", ollama.GenerateRequest{Model: "blind:latest", Prompt: huge}, ollama.TooLong},
			{"an image", ollama.GenerateRequest{Model: "blind:latest", Prompt: "x", Images: image}, ollama.Unsupported},
		} {
			if _, err := text(t.Context(), f, &tt.r); !isKind(err, tt.want) {
				t.Errorf("Generate with %s: got %v, want %s", tt.name, err, tt.want)
			}
		}
		if n := fake.Seen().Requests["/api/generate"]; n != 0 {
			t.Errorf("%d requests were sent, want none", n)
		}
		if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "seeing:latest", Prompt: "x", Images: image}); err != nil {
			t.Errorf("Generate with an image on a model that can see: %v", err)
		}
	})
}

func TestSlowRemoteModelIsAskedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{FirstDelay: 10 * time.Minute, Models: []ollamatest.FakeModel{
			{Name: "big:cloud", RemoteModel: "big", RemoteHost: "https://ollama.com:443"},
		}}, Options{})
		if got, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "big:cloud", Prompt: "hi"}); err != nil || got == "" {
			t.Errorf("Generate on a remote model that takes 10 minutes: got %q, %v; want text", got, err)
		}
		if n := fake.Seen().Requests["/api/generate"]; n != 1 {
			t.Errorf("the prompt was sent %d times, want once", n)
		}
	})
}

// Transports cancel with causes of their own; what comes back is the context's error, by
// which callers tell a cancel.
func TestCancelWithACauseIsACancel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{LoadDelay: time.Hour}, Options{})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.New("the server is shutting down")) })
		if _, err := f.Load(ctx, LoadRequest{Model: ollamatest.TinyModel}, Watch{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Load that is cancelled with a cause: got %v, want context.Canceled", err)
		}
	})
}

// Only the first of the calls that begin while a model answers asks how it is loaded, and
// all give the context length.
func TestModelInUseIsNotAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{TokenDelay: 100 * time.Millisecond, TokenCount: 30, Slots: 8}, Options{})
		if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil {
			t.Fatal(err) // loads it
		}
		call := func() {
			var length int
			w := Watch{Placed: func(p Place) { length = p.ContextLength }}
			for _, err := range f.Generate(t.Context(), &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}, w) {
				if err != nil {
					t.Errorf("Generate: %v", err)
				}
			}
			if length == 0 {
				t.Error("a call on the loaded model was placed with no context length")
			}
		}
		asked := func() int { return fake.Seen().Requests["/api/ps"] }
		before := asked()
		var calls sync.WaitGroup
		calls.Go(call)
		time.Sleep(500 * time.Millisecond) // it is being answered
		for range 5 {
			calls.Go(call)
		}
		synctest.Wait()
		if got := asked() - before; got != 1 {
			t.Errorf("6 calls asked for what is loaded %d times, want 1", got)
		}
		time.Sleep(recent)
		calls.Go(call)
		synctest.Wait()
		if got := asked() - before; got != 2 {
			t.Errorf("a call %v later asked for what is loaded %d times, want 1", recent, got-1)
		}
		calls.Wait()
		calls.Go(call)
		calls.Wait()
		if got := asked() - before; got != 3 {
			t.Errorf("a call after all of them asked for what is loaded %d times, want 1", got-2)
		}
	})
}

// A model that has just answered may have been unloaded since: the next call asks.
func TestModelNoLongerInUseIsAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{}, Options{})
		for range 3 {
			before := fake.Seen().Requests["/api/ps"]
			if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil {
				t.Fatal(err)
			}
			if fake.Seen().Requests["/api/ps"] == before {
				t.Error("a call after another did not ask for what is loaded")
			}
		}
	})
}
