package resources

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/transport/auth"
)

// watching runs a watch in a bubble. heard returns what has come since it was last asked;
// end ends the watch and waits for that.
func watching(t *testing.T, w *Watcher) (heard func() []Change, end func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	changes := make(chan Change, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c := range w.Watch(ctx) {
			changes <- c
		}
	}()
	synctest.Wait()
	return func() (all []Change) {
			synctest.Wait()
			for range len(changes) {
				all = append(all, <-changes)
			}
			return all
		}, func() {
			stop()
			<-done
		}
}

func uris(changes []Change) []string {
	var all []string
	for _, c := range changes {
		all = append(all, c.URI)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// lookingOnce has a fleet look at its hosts at its start, and then when there is a reason.
var lookingOnce = fleet.Options{Poll: 1000 * time.Hour}

// TestWatch lets things happen to a host, and looks at what is told one poll and a second
// later.
func TestWatch(t *testing.T) {
	tiny := []string{"ollama://models/tiny:latest"}
	loadOf := append([]string{"ollama://models", "ollama://running"}, tiny...)
	added := []string{"", "ollama://models", "ollama://models/hf.co/a/b:q4_k_m"}
	synctest.Test(t, func(t *testing.T) {
		source, f, fake := start(t, ollamatest.Script{}, lookingOnce)
		synctest.Wait()
		heard, end := watching(t, NewWatcher(New(source, Options{}), WatchOptions{}))
		with := func(edit func(*ollamatest.Script)) func() { return func() { fake.Change(edit) } }
		steps := []struct {
			what string
			do   func()
			want []string
		}{
			{"nothing", func() {}, nil},
			{"a load", func() {
				_, _ = f.Load(t.Context(), fleet.LoadRequest{Model: "tiny:latest", KeepAlive: "1h"}, fleet.Watch{})
			}, loadOf},
			{"an hour less to live", func() {
				_, _ = f.Load(t.Context(), fleet.LoadRequest{Model: "tiny:latest", KeepAlive: "2h"}, fleet.Watch{})
			}, nil},
			{"an unload", func() { _, _, _ = f.Unload(t.Context(), "tiny:latest", "", fleet.Watch{}) }, loadOf},
			{"a new model", with(func(s *ollamatest.Script) { s.Models = append(s.Models, ollamatest.FakeModel{Name: quant}) }), added},
			{"its end", with(func(s *ollamatest.Script) { s.Models = s.Models[:2] }), added},
			{"a model replaced", with(func(s *ollamatest.Script) { s.Models[0].Digest = "new" }), append([]string{"ollama://models"}, tiny...)},
			{"the host down", with(func(s *ollamatest.Script) { s.Faults[""] = ollamatest.Down() }), []string{"ollama://hosts"}},
			{"still down", func() {}, nil},
			{"up again", with(func(s *ollamatest.Script) { delete(s.Faults, "") }), []string{"ollama://hosts"}},
			{"another version", with(func(s *ollamatest.Script) { s.Version = "0.35.0" }), []string{"ollama://hosts"}},
		}
		for _, step := range steps {
			step.do()
			time.Sleep(DefaultPoll + time.Second)
			slices.Sort(step.want)
			if diff := cmp.Diff(step.want, uris(heard())); diff != "" {
				t.Errorf("told after %s (-want +got):\n%s", step.what, diff)
			}
		}
		time.Sleep(time.Hour)
		if got := heard(); got != nil {
			t.Errorf("told in an hour without a change: %v", uris(got))
		}
		end()
		before := fake.Seen().Requests
		time.Sleep(time.Hour)
		if diff := cmp.Diff(before, fake.Seen().Requests); diff != "" {
			t.Errorf("after its end the watch asks Ollama (-before +later):\n%s", diff)
		}
	})
}

// TestWatchLooksAtOnce has the fleet tell of a load.
func TestWatchLooksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		look := make(chan struct{}, 1)
		source, f, _ := start(t, ollamatest.Script{}, fleet.Options{Changed: func() { look <- struct{}{} }})
		heard, end := watching(t, NewWatcher(New(source, Options{}), WatchOptions{Poll: time.Hour, Look: look}))
		defer end()
		before := time.Now()
		if _, err := f.Load(t.Context(), fleet.LoadRequest{Model: "tiny"}, fleet.Watch{}); err != nil {
			t.Fatal(err)
		}
		if got := heard(); len(got) == 0 || time.Since(before) > time.Second {
			t.Errorf("told after a load of ours: %v after %v, want it at once", uris(got), time.Since(before))
		}
	})
}

// TestWatchWithoutOllama begins before Ollama does, and with one that does not answer.
func TestWatchWithoutOllama(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _, fake := start(t, ollamatest.Script{Faults: map[string]ollamatest.Fault{"": ollamatest.Down()}}, fleet.Options{})
		heard, end := watching(t, NewWatcher(New(source, Options{}), WatchOptions{}))
		fake.Change(func(s *ollamatest.Script) { delete(s.Faults, "") })
		time.Sleep(DefaultPoll + time.Second)
		if got := uris(heard()); !slices.Contains(got, "ollama://hosts") || !slices.Contains(got, "ollama://models") {
			t.Errorf("told when Ollama starts: %q, want its models and the host", got)
		}
		end()

		fake.Change(func(s *ollamatest.Script) { s.AnswerDelay = time.Second })
		begun := time.Now()
		heard, end = watching(t, NewWatcher(New(source, Options{}), WatchOptions{}))
		defer end()
		time.Sleep(time.Minute)
		if got := heard(); got != nil {
			t.Errorf("told by a slow Ollama of which nothing changed: %q, since %v", uris(got), time.Since(begun))
		}
	})
}

// TestTellJob passes on what others found, while somebody watches.
func TestTellJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _, _ := start(t, ollamatest.Script{}, fleet.Options{})
		w := NewWatcher(New(source, Options{Policy: rules(t)}), WatchOptions{})
		w.TellJob("ann", "stale", 1)
		heard, end := watching(t, w)
		w.TellJob("ann", "1", 7)
		got := heard()
		if len(got) != 1 || got[0].URI != "ollama://jobs/1" || got[0].Seq != 7 {
			t.Fatalf("told = %+v, want the change of the job alone", got)
		}
		for caller, want := range map[string]bool{"ann": true, "bob": false} {
			if may := got[0].May(auth.NewContext(t.Context(), auth.Caller{Name: caller})); may != want {
				t.Errorf("%s may hear of ann's job: %v, want %v", caller, may, want)
			}
		}
		w.TellJob("carl", "2", 1)
		if got := heard(); len(got) != 1 || got[0].May(auth.NewContext(t.Context(), auth.Caller{Name: "carl"})) {
			t.Errorf("told = %+v, want a change that carl, who may not use jobs, may not hear of", got)
		}
		end()
		w.TellJob("ann", "1", 8)
		if w.told != nil {
			t.Errorf("kept while nobody watches: %v, want nothing", w.told)
		}
	})
}

// TestSlowWatch has a loop that is held up while many jobs change all the time: of each it
// is told the latest, and none is lost.
func TestSlowWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _, _ := start(t, ollamatest.Script{}, fleet.Options{})
		w := NewWatcher(New(source, Options{}), WatchOptions{})
		ctx, stop := context.WithCancel(t.Context())
		free := make(chan struct{})
		done := make(chan struct{})
		told := map[string][]int{}
		go func() {
			defer close(done)
			for c := range w.Watch(ctx) {
				told[c.URI] = append(told[c.URI], c.Seq)
				<-free
			}
		}()
		synctest.Wait()
		w.TellJob("ann", "first", 1)
		synctest.Wait() // the loop is held up by it
		const jobs, last = 2000, 5
		want := map[string][]int{JobURI("first"): {1}}
		for n := range jobs {
			id := fmt.Sprint(n)
			want[JobURI(id)] = []int{last}
			for _, seq := range []int{1, 2, 3, last, last - 1} { // the end overtakes the phase before it
				w.TellJob("ann", id, seq)
			}
		}
		close(free)
		synctest.Wait()
		stop()
		<-done
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("told of %d jobs that changed during one news (-want +got):\n%s", jobs, diff)
		}
	})
}

// TestWatchPolicy has models change that a caller may know of, and others.
func TestWatchPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, f, fake := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{{Name: quant}, {Name: "tiny"}}}, lookingOnce)
		synctest.Wait()
		heard, end := watching(t, NewWatcher(New(source, Options{Policy: rules(t)}), WatchOptions{}))
		defer end()
		may := func(caller string, c Change) bool {
			return c.May == nil || c.May(auth.NewContext(t.Context(), auth.Caller{Name: caller}))
		}
		if _, err := f.Load(t.Context(), fleet.LoadRequest{Model: "hf.co/a/b:q4_k_m"}, fleet.Watch{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(DefaultPoll + time.Second)
		all := heard()
		for _, c := range all {
			isModel := strings.HasPrefix(c.URI, "ollama://models/") // for which dora would have to use show
			if !may("ann", c) || may("bob", c) || may("dora", c) == isModel {
				t.Errorf("change of %s after a load: ann may hear: %v, bob: %v, dora: %v, want ann, not bob, and dora of lists", c.URI, may("ann", c), may("bob", c), may("dora", c))
			}
		}
		fake.Change(func(s *ollamatest.Script) { s.Models = nil })
		time.Sleep(DefaultPoll + time.Second)
		listed := 0
		for _, c := range heard() {
			if c.URI == "" {
				listed++
				if !may("ann", c) || !may("bob", c) || may("dora", c) {
					t.Errorf("list_changed after the end of all models: ann may hear: %v, bob: %v, dora: %v, want ann and bob", may("ann", c), may("bob", c), may("dora", c))
				}
			}
		}
		if len(all) == 0 || listed != 1 {
			t.Errorf("told of %d changes after a load and %d list_changed, want some and 1", len(all), listed)
		}
		fake.Change(func(s *ollamatest.Script) { s.Version = "0.35.0" })
		time.Sleep(DefaultPoll + time.Second)
		all = heard()
		hosts := slices.IndexFunc(all, func(c Change) bool { return c.URI == "ollama://hosts" })
		if hosts < 0 || !may("ann", all[hosts]) || may("dora", all[hosts]) {
			t.Errorf("told after another version: %+v, want a change of the hosts that ann may hear of and dora may not", all)
		}
	})
}

func TestCanonical(t *testing.T) {
	for uri, want := range map[string]string{
		"ollama://models/" + quant:                        "ollama://models/hf.co/a/b:q4_k_m",
		"ollama://models/hf.co%2FA%2Fb%3AQ4_K_M":          "ollama://models/hf.co/a/b:q4_k_m",
		"ollama://models/Tiny":                            "ollama://models/tiny:latest",
		"ollama://models/registry.ollama.ai/library/tiny": "ollama://models/tiny:latest",
		"ollama://models/":                                "ollama://models/",
		"ollama://models/a b":                             "ollama://models/a b",
		"ollama://running":                                "ollama://running",
	} {
		if got := Canonical(uri); got != want {
			t.Errorf("Canonical(%q) = %q, want %q", uri, got, want)
		}
	}
}
