package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start makes a fleet of one fake host, in memory, so that its time can be the bubble's.
func start(t *testing.T, s ollamatest.Script, o Options) (*Fleet, *ollamatest.Fake) {
	t.Helper()
	fake := ollamatest.NewPipeFake(s)
	host, err := ollama.ParseHost(fake.URL)
	if err != nil {
		t.Fatal(err)
	}
	if o.Poll == 0 {
		o.Poll = -1 // requests are counted here
	}
	f := New([]Host{{
		Client:  ollama.NewClient(ollama.ClientOptions{Host: host, Dial: fake.Dial}),
		Address: fake.URL, Origin: "the test",
	}}, o)
	t.Cleanup(func() { f.Close(); fake.Close() })
	return f, fake
}

// inBubble runs a test in fake time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// text runs a generation to its end.
func text(ctx context.Context, f *Fleet, r *ollama.GenerateRequest) (string, error) {
	var b strings.Builder
	for c, err := range f.Generate(ctx, r, Watch{}) {
		if err != nil {
			return b.String(), err
		}
		b.WriteString(c.Text)
	}
	return b.String(), nil
}

func TestLoadOutlivesCallersWhoGiveUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{LoadDelay: 10 * time.Minute}, Options{})
		var wg sync.WaitGroup
		var gaveUp, loaded int
		var mu sync.Mutex // guards gaveUp and loaded
		for i := range 10 {
			wg.Go(func() {
				ctx := t.Context()
				if i%2 == 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Minute)
					defer cancel()
				}
				_, err := f.Load(ctx, LoadRequest{Model: ollamatest.TinyModel}, Watch{})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					loaded++
				case errors.Is(err, context.DeadlineExceeded):
					gaveUp++
				default:
					t.Errorf("Load: got %v, want success or the caller's deadline", err)
				}
			})
		}
		wg.Wait()
		seen := fake.Seen()
		if gaveUp != 5 || loaded != 5 || seen.Loads != 1 || seen.LoadsAborted != 0 {
			t.Errorf("10 callers, 5 give up: gave up %d, loaded %d, loads %d, aborted %d; want 5, 5, 1, 0",
				gaveUp, loaded, seen.Loads, seen.LoadsAborted)
		}
	})
}

func TestColdCallMadeAgainJoinsTheLoad(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const loads = 570 * time.Second // in the 12th wait of 50 s
		f, fake := start(t, ollamatest.Script{LoadDelay: loads}, Options{})
		r := &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}
		begin := time.Now()
		for attempt := 1; ; attempt++ {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			got, err := text(ctx, f, r)
			cancel()
			if err == nil {
				if got == "" || time.Since(begin) != loads || attempt != 12 {
					t.Errorf("Generate, attempt %d after %s: got %q, want text at the 12th, when the load is over", attempt, time.Since(begin), got)
				}
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) || attempt > 12 {
				t.Fatalf("Generate, attempt %d: got %v, want that its time is over", attempt, err)
			}
		}
		if seen := fake.Seen(); seen.Loads != 1 || seen.LoadsAborted != 0 {
			t.Errorf("loads %d, aborted %d; want 1, 0", seen.Loads, seen.LoadsAborted)
		}
	})
}

func TestFirstTokenAfterFiveMinutes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{FirstDelay: 330 * time.Second}, Options{})
		if got, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil || got == "" {
			t.Errorf("Generate with a first token after 330 s: got %q, %v; want text", got, err)
		}
	})
}

func TestCancelInMidLoadLeavesTheLoad(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{LoadDelay: time.Minute}, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := text(ctx, f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Generate: got %v, want the caller's deadline", err)
		}
		if err := fake.Await(t.Context(), func(s ollamatest.Seen) bool { return s.Loads+s.LoadsAborted > 0 }); err != nil {
			t.Fatal(err)
		}
		if seen := fake.Seen(); seen.Loads != 1 || len(seen.Aborts) != 0 {
			t.Errorf("after a cancel in mid-load: loads %d, aborts %v; want 1 and none", seen.Loads, seen.Aborts)
		}
	})
}

func TestOtherContextLengthReloadsDetached(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "m", Loaded: true}}}, Options{})
		n := 512
		var place Place
		watch := Watch{Placed: func(p Place) { place = p }}
		for range 2 { // the second call finds it loaded as it wants it
			for _, err := range f.Generate(t.Context(), &ollama.GenerateRequest{Model: "m:latest", Prompt: "hi", Options: &ollama.Options{NumCtx: &n}}, watch) {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if seen := fake.Seen(); seen.Loads != 1 || place.ContextLength != n {
			t.Errorf("two calls with num_ctx %d: loads %d, context %d; want 1 load and that context", n, seen.Loads, place.ContextLength)
		}
	})
}

func TestUnload(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{
			Models: []ollamatest.FakeModel{{Name: "idle", Loaded: true}, {Name: "cold"}, {Name: "busy", Loaded: true}}, TokenDelay: time.Second, TokenCount: 60,
		}, Options{})
		running := make(chan error)
		go func() {
			_, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "busy:latest", Prompt: "hi"})
			running <- err
		}()
		if err := fake.Await(t.Context(), func(s ollamatest.Seen) bool { return s.Active == 1 }); err != nil {
			t.Fatal(err)
		}
		for model, want := range map[ollama.Name]UnloadState{"idle:latest": Unloaded, "cold:latest": NotLoaded, "busy:latest": Pending} {
			if got, _, err := f.Unload(t.Context(), model, "", Watch{}); err != nil || got != want {
				t.Errorf("Unload(%s) = %q, %v; want %q", model, got, err, want)
			}
		}
		if _, _, err := f.Unload(t.Context(), "gone:latest", "", Watch{}); !errors.Is(err, &ollama.Error{Kind: ollama.MissingModel}) {
			t.Errorf("Unload of a model that is not installed: got %v, want missing_model", err)
		}
		if err := <-running; err != nil {
			t.Errorf("a call that ran during its model's unload: got %v, want success", err)
		}
	})
}

func TestModelsOfOlderOllamas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{Version: "0.17.4", Models: []ollamatest.FakeModel{
			{Name: "b", Loaded: true}, {Name: "a", Capabilities: []string{Embedding}}, {Name: "c"},
		}}, Options{})
		for range 3 {
			models, _, err := f.Models(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []ollama.Name
			for _, m := range models {
				got = append(got, m.Canonical)
			}
			if want := []ollama.Name{"a:latest", "b:latest", "c:latest"}; !slices.Equal(got, want) {
				t.Errorf("Models: got %v, want %v", got, want)
			}
			if models[0].Can(Completion) || !models[0].Can(Embedding) || !models[1].Can(Completion) || models[1].ContextLength == 0 {
				t.Errorf("Models: capabilities %v and %v, want those of show", models[0].Capabilities, models[1].Capabilities)
			}
			if models[0].Loaded != nil || models[1].Loaded == nil {
				t.Errorf("Models: loaded %v and %v, want b alone", models[0].Loaded, models[1].Loaded)
			}
		}
		if shows := fake.Seen().Requests["/api/show"]; shows != 3 {
			t.Errorf("3 lists of 3 models: %d shows, want 3", shows)
		}
	})
}

func TestChoose(t *testing.T) {
	const remote = "https://ollama.com:443"
	chat, embedder := ollamatest.FakeModel{Name: "chat"}, ollamatest.FakeModel{Name: "embedder", Capabilities: []string{Embedding}}
	other, cloud := ollamatest.FakeModel{Name: "other"}, ollamatest.FakeModel{Name: "big:cloud", RemoteHost: remote, RemoteModel: "big"}
	loaded := other
	loaded.Loaded = true
	tests := []struct {
		name       string
		models     []ollamatest.FakeModel
		options    Options
		named      ollama.Name
		capability string
		hidden     ollama.Name // that the caller may not use
		want       ollama.Name
		candidates int // of the ChoiceError, when want is empty
	}{
		{name: "named", models: []ollamatest.FakeModel{chat}, named: "x:latest", capability: Completion, want: "x:latest"},
		{name: "default", models: []ollamatest.FakeModel{chat, other}, options: Options{DefaultModel: "other:latest"}, capability: Completion, want: "other:latest"},
		{name: "default that cannot", models: []ollamatest.FakeModel{chat, embedder}, options: Options{DefaultModel: "chat:latest"}, capability: Embedding, want: "embedder:latest"},
		{name: "default that is missing", models: []ollamatest.FakeModel{chat}, options: Options{DefaultModel: "gone:latest"}, capability: Completion, want: "gone:latest"},
		{name: "only one able", models: []ollamatest.FakeModel{chat, embedder}, capability: Completion, want: "chat:latest"},
		{name: "only one loaded", models: []ollamatest.FakeModel{chat, loaded}, capability: Completion, want: "other:latest"},
		{name: "two", models: []ollamatest.FakeModel{chat, other, embedder}, capability: Completion, candidates: 2},
		{name: "none able", models: []ollamatest.FakeModel{chat}, capability: Embedding},
		{name: "none", models: []ollamatest.FakeModel{}, capability: Completion},
		{name: "cloud refused", models: []ollamatest.FakeModel{chat, cloud}, options: Options{NoCloud: true}, capability: Completion, want: "chat:latest"},
		{name: "one of two usable", models: []ollamatest.FakeModel{chat, loaded}, hidden: "other:latest", capability: Completion, want: "chat:latest"},
		{name: "default not usable", models: []ollamatest.FakeModel{chat, other}, options: Options{DefaultModel: "other:latest"}, hidden: "other:latest", capability: Completion, want: "chat:latest"},
		{name: "missing default not usable", models: []ollamatest.FakeModel{chat}, options: Options{DefaultModel: "gone:latest"}, hidden: "gone:latest", capability: Completion, want: "chat:latest"},
		{name: "none usable", models: []ollamatest.FakeModel{chat}, hidden: "chat:latest", capability: Completion},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f, _ := start(t, ollamatest.Script{Models: tt.models}, tt.options)
				var may func(ollama.Name) bool
				installed := len(tt.models)
				if tt.hidden != "" {
					may = func(n ollama.Name) bool { return n != tt.hidden }
					installed--
				}
				got, err := f.Choose(t.Context(), tt.named, tt.capability, may)
				var choice *ChoiceError
				switch {
				case tt.want != "" && (err != nil || got != tt.want):
					t.Errorf("Choose(%q, %s) = %q, %v; want %q", tt.named, tt.capability, got, err, tt.want)
				case tt.want == "" && (!errors.As(err, &choice) || len(choice.Candidates) != tt.candidates || choice.Installed != installed || choice.Restricted != (may != nil)):
					t.Errorf("Choose(%q, %s) = %q, %v; want a ChoiceError with %d candidates", tt.named, tt.capability, got, err, tt.candidates)
				}
			})
		})
	}
}

func TestNoCloudRefusesRemoteModels(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{
			{Name: "big:cloud", RemoteHost: "https://ollama.com:443", RemoteModel: "big"},
			{Name: "renamed", RemoteHost: "https://ollama.com:443", RemoteModel: "big"},
		}}, Options{NoCloud: true})
		for _, model := range []ollama.Name{"big:cloud", "renamed:latest"} {
			_, err := text(t.Context(), f, &ollama.GenerateRequest{Model: model, Prompt: "secret"})
			var cloud *CloudError
			if !errors.As(err, &cloud) {
				t.Errorf("Generate(%s): got %v, want a CloudError", model, err)
			}
		}
		if n := fake.Seen().Requests["/api/generate"]; n != 0 {
			t.Errorf("%d prompts were sent, want none", n)
		}
	})
}

func TestMissingModelCarriesWhatIsInstalled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{}, Options{})
		_, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "tinny:latest", Prompt: "hi"})
		var fe *Error
		if !errors.As(err, &fe) || fe.Address != fake.URL || fe.Origin != "the test" || len(fe.Installed) != 2 {
			t.Errorf("Generate of a missing model: got %#v, want an Error with address, origin and 2 installed models", err)
		}
	})
}

func TestPhasesInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{LoadDelay: time.Second}, Options{})
		for _, want := range [][]Phase{{Queued, Loading, Prompt}, {Queued, Prompt}} {
			var got []Phase
			for _, err := range f.Generate(t.Context(), &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"},
				Watch{Phase: func(p Phase) { got = append(got, p) }}) {
				if err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("phases: got %v, want %v", got, want)
			}
		}
	})
}

// cancelOne gives up a generation in its middle, which may wedge a model.
func cancelOne(t *testing.T, f *Fleet) {
	t.Helper()
	for _, err := range f.Generate(t.Context(), &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}, Watch{}) {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}

func TestWedgedModelRecovers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{TokenDelay: time.Second}, Options{})
		wedge(t, f, fake)
		var places []Place
		var phases []Phase
		begin, got := time.Now(), ""
		for c, err := range f.Generate(t.Context(), &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}, Watch{
			Placed: func(p Place) { places = append(places, p) },
			Phase:  func(p Phase) { phases = append(phases, p) },
		}) {
			if err != nil {
				t.Fatalf("Generate on a wedged model: %v", err)
			}
			got += c.Text
		}
		if got == "" || len(places) != 2 || places[0].Recovered || !places[1].Recovered || time.Since(begin) < DefaultWedgeAfter {
			t.Errorf("Generate on a wedged model: got %q after %s, places %+v; want text after a recovery", got, time.Since(begin), places)
		}
		if want := []Phase{Queued, Prompt, Recovering, Loading, Prompt}; !slices.Equal(phases, want) {
			t.Errorf("phases: got %v, want %v", phases, want)
		}
		if state := f.members[0].traffic[ollamatest.TinyModel]; len(state.calls) != 0 || state.suspect {
			t.Errorf("after all calls ended: %+v, want none and nothing suspect", state)
		}
	})
}

func TestSlowPromptAfterACancelIsLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{TokenDelay: time.Second}, Options{})
		cancelOne(t, f)
		fake.Change(func(s *ollamatest.Script) { s.FirstDelay = 60 * time.Second })
		if got, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil || got == "" {
			t.Errorf("Generate with a first token after 60 s: got %q, %v; want text", got, err)
		}
		if n := fake.Seen().Loads; n != 1 {
			t.Errorf("%d loads, want 1: the model was not wedged", n)
		}
	})
}

func TestQueueBehindOwnCallIsNoWedge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{TokenDelay: 10 * time.Second, TokenCount: 30}, Options{})
		cancelOne(t, f)
		var wg sync.WaitGroup
		for range 2 { // the second waits five minutes for the one slot
			wg.Go(func() {
				if got, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil || got == "" {
					t.Errorf("Generate: got %q, %v; want text", got, err)
				}
			})
		}
		wg.Wait()
		if n := fake.Seen().Loads; n != 1 {
			t.Errorf("%d loads, want 1: the model was not wedged", n)
		}
	})
}

// wedge cancels a call and takes the model's slot away, as Ollama may do then.
func wedge(t *testing.T, f *Fleet, fake *ollamatest.Fake) {
	t.Helper()
	cancelOne(t, f)
	if err := fake.Await(t.Context(), func(s ollamatest.Seen) bool { return s.Active == 0 }); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // the call is counted out before its slot is free
	if fake.Wedge(ollamatest.TinyModel) == 0 {
		t.Fatal("the fake had no slot to lose")
	}
}

func TestCallsThatWaitTogetherRecoverTogether(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{TokenDelay: time.Second}, Options{})
		wedge(t, f, fake)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if got, err := text(ctx, f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil || got == "" {
					t.Errorf("Generate on a wedged model: got %q, %v; want text", got, err)
				}
			})
		}
		wg.Wait()
		if seen := fake.Seen(); seen.Loads != 2 || seen.Unloads != 1 {
			t.Errorf("3 calls on a wedged model: %d loads, %d unloads; want 2 and 1", seen.Loads, seen.Unloads)
		}
	})
}

// The answer may begin in the very moment in which the model is given up: what came of it
// must not stand before the answer of the second attempt.
func TestAnswerThatBeginsAsPatienceEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{}, Options{})
		cancelOne(t, f)
		asked := 0
		ask := func(ctx context.Context, _ *visit, _ *ollama.Options) iter.Seq2[ollama.Chunk, error] {
			return func(yield func(ollama.Chunk, error) bool) {
				if asked++; asked == 1 {
					<-ctx.Done()
				}
				yield(ollama.Chunk{Text: fmt.Sprint("answer ", asked)}, nil)
			}
		}
		got := ""
		for c, err := range f.stream(t.Context(), need{model: ollamatest.TinyModel}, Watch{}, ask) {
			if err != nil {
				t.Fatal(err)
			}
			got += c.Text
		}
		if got != "answer 2" {
			t.Errorf("an answer that begins as its call is ended: got %q, want answer 2 alone", got)
		}
	})
}

func TestModelThatDoesNotRecoverStaysSuspect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{TokenDelay: time.Second}, Options{})
		wedge(t, f, fake)
		r := &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}
		time.AfterFunc(DefaultWedgeAfter/2, func() {
			fake.Change(func(s *ollamatest.Script) { s.Faults = map[string]ollamatest.Fault{"/api/ps": ollamatest.Down()} })
		})
		if _, err := text(t.Context(), f, r); !isKind(err, ollama.Unreachable) {
			t.Errorf("Generate on a wedged model whose host goes down: got %v, want unreachable", err)
		}
		fake.Change(func(s *ollamatest.Script) { s.Faults = nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if got, err := text(ctx, f, r); err != nil || got == "" {
			t.Errorf("Generate when the host is back: got %q, %v; want text", got, err)
		}
	})
}

func TestPanicOfTheConsumerEndsItsCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{}, Options{})
		func() {
			defer func() { _ = recover() }()
			for range f.Generate(t.Context(), &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}, Watch{}) {
				panic("consumer")
			}
		}()
		if n := len(f.members[0].traffic[ollamatest.TinyModel].calls); n != 0 {
			t.Errorf("%d calls are on the model after a panic, want none", n)
		}
	})
}

func TestLoadJoinedByOneWithKeepAlive(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{LoadDelay: time.Minute}, Options{})
		var wg sync.WaitGroup
		for _, keepAlive := range []string{"", "10h"} {
			wg.Go(func() {
				if _, err := f.Load(t.Context(), LoadRequest{Model: ollamatest.TinyModel, KeepAlive: keepAlive}, Watch{}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		running, err := f.members[0].running(t.Context(), ollamatest.TinyModel)
		if err != nil || time.Until(running.ExpiresAt) < 9*time.Hour || fake.Seen().Loads != 1 {
			t.Errorf("a load with keep_alive 10h that finds another under way: %+v, %v, %d loads; want it kept, and 1 load", running, err, fake.Seen().Loads)
		}
	})
}

// With keep_alive 0 Ollama takes an empty prompt for an unload.
func TestColdCallWithKeepAliveZeroLoadsDetached(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{LoadDelay: time.Minute}, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		_, err := text(ctx, f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi", KeepAlive: "0s"})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Generate on a cold model with keep_alive 0: got %v, want that its time is over", err)
		}
		if err := fake.Await(t.Context(), func(s ollamatest.Seen) bool { return s.Loads+s.LoadsAborted > 0 }); err != nil || fake.Seen().LoadsAborted != 0 {
			t.Errorf("the load after that: %v, %d aborted; want it to go on", err, fake.Seen().LoadsAborted)
		}
	})
}

func TestOneBrokenModelIsListedWithTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		missing := ollamatest.Status("missing", http.StatusNotFound, "application/json", `{"error":"model 'tiny' not found"}`)
		f, _ := start(t, ollamatest.Script{Version: "0.17.4", Faults: map[string]ollamatest.Fault{"/api/show": missing}}, Options{})
		if models, _, err := f.Models(t.Context()); err != nil || len(models) != 2 {
			t.Errorf("Models where show fails: got %d, %v; want both, of unknown capabilities", len(models), err)
		}
	})
}
