package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// big is a model of 3 layers that takes 4 s to pull.
func big(p ollamatest.FakePull) ollamatest.Script {
	p.Model.Name, p.Layers, p.Rate = "big", []int64{20e6, 12e6, 8e6}, 10e6
	return ollamatest.Script{Registry: []ollamatest.FakePull{p}}
}

func unwatched(ollama.TransferState) {}

func TestPullTellsHowFarItIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, big(ollamatest.FakePull{VerifyDelay: time.Minute}), Options{})
		var states []ollama.TransferState
		var at []time.Duration
		begin := time.Now()
		got, err := f.Pull(t.Context(), "BIG", "", func(s ollama.TransferState) {
			if m, err := f.Find(t.Context(), "big:latest", ""); s.Phase == ollama.PhaseDone && (m == nil || err != nil) {
				t.Errorf("done while tags has %v, %v", m, err)
			}
			states, at = append(states, s), append(at, time.Since(begin))
		})
		if err != nil || got.Model.Size != 40e6 || got.State.Done != 40e6 || got.State.Total != 40e6 {
			t.Fatalf("Pull = %+v, %v; want 40 MB of 40 MB", got, err)
		}
		var phases []ollama.Phase
		for i, s := range states {
			if i > 0 && (s.Done < states[i-1].Done || s.Total < states[i-1].Total) {
				t.Errorf("told %+v after %+v, want no less", s, states[i-1])
			}
			if i > 1 && i < len(states)-1 && at[i]-at[i-2] < time.Second {
				t.Errorf("told at %v, want at most twice a second", at[i-2:i+1])
			}
			phases = append(phases, s.Phase)
		}
		want := []ollama.Phase{ollama.PhaseDownloading, ollama.PhaseVerifying, ollama.PhaseDone}
		phases = slices.DeleteFunc(slices.Compact(phases), func(p ollama.Phase) bool {
			return p == ollama.PhaseManifest || p == ollama.PhaseWriting // too quick to be told of for sure
		})
		if !slices.Equal(phases, want) {
			t.Errorf("phases %v, want %v", phases, want)
		}
		if last := states[len(states)-1]; last.Done != last.Total || len(states) < 8 {
			t.Errorf("told %d times, last %+v; want 8 or more, and all bytes", len(states), last)
		}
	})
}

func TestPullsShareOneTransfer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, big(ollamatest.FakePull{}), Options{})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				ctx, want := t.Context(), error(nil)
				if i%2 == 0 { // the first among them
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
					want = context.DeadlineExceeded
				}
				if _, err := f.Pull(ctx, []string{"big", "BIG:latest", "registry.ollama.ai/library/Big"}[i%3], "", unwatched); !errors.Is(err, want) {
					t.Errorf("Pull %d: got %v, want %v", i, err, want)
				}
			})
		}
		wg.Wait()
		if seen := fake.Seen(); seen.Requests["/api/pull"] != 1 || len(seen.Aborts) != 0 {
			t.Errorf("10 pulls at once, of which 5 are given up: %d requests, %d aborted; want 1, 0", seen.Requests["/api/pull"], len(seen.Aborts))
		}
	})
}

func TestPullEndsWithItsLastCaller(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, big(ollamatest.FakePull{}), Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := f.Pull(ctx, "big", "", unwatched)
		var off *TransferError
		if !errors.As(err, &off) || !errors.Is(err, context.DeadlineExceeded) || off.State.Done < 15e6 || off.State.Total < 20e6 {
			t.Fatalf("Pull given up after 2 of 4 s: got %+v, want a TransferError with about half", err)
		}
		synctest.Wait()
		if n := len(fake.Seen().Aborts); n != 1 {
			t.Errorf("the pull that nobody waits for: %d aborts, want 1", n)
		}
		begin := time.Now()
		if _, err := f.Pull(t.Context(), "big", "", unwatched); err != nil || time.Since(begin) > 3*time.Second {
			t.Errorf("Pull again: %v after %v, want it to go on from there", err, time.Since(begin))
		}
	})
}

func TestBrokenPullResumes(t *testing.T) {
	for _, said := range []string{"", "max retries exceeded: unexpected EOF"} {
		inBubble(t, func(t *testing.T) {
			f, _ := start(t, big(ollamatest.FakePull{StopAt: 0.6, Error: said}), Options{})
			_, err := f.Pull(t.Context(), "big", "", unwatched)
			var off *TransferError
			if !errors.As(err, &off) || off.State.Done != 24e6 || off.Op != "pull" {
				t.Fatalf("Pull cut at 60 %% (%q): got %+v, want a TransferError with 24 MB", said, err)
			}
			first := int64(-1)
			got, err := f.Pull(t.Context(), "big", "", func(s ollama.TransferState) {
				if first < 0 && s.Done > 0 {
					first = s.Done
				}
			})
			if err != nil || first < 20e6 || got.State.Done != 40e6 {
				t.Errorf("Pull again: %+v, %v from byte %d; want it to go on and end", got, err, first)
			}
		})
	}
}

// Who asks while Ollama gives up the same transfer for somebody else hears nothing of that.
func TestPullJoinsOneThatIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, big(ollamatest.FakePull{StopAt: 0.6, Error: "context canceled"}), Options{})
		var before ollama.TransferState
		got, err := f.Pull(t.Context(), "big", "", func(s ollama.TransferState) {
			if s.Done < before.Done || s.Total < before.Total {
				t.Errorf("told %+v after %+v, want no less", s, before)
			}
			before = s
		})
		if n := fake.Seen().Requests["/api/pull"]; err != nil || got.State.Done != 40e6 || n != 2 {
			t.Errorf("Pull = %+v, %v after %d requests; want all bytes after 2", got, err, n)
		}
	})
	inBubble(t, func(t *testing.T) {
		always := ollamatest.Status("given up", http.StatusOK, "application/x-ndjson", `{"error":"context canceled"}`, ollama.Busy)
		f, fake := start(t, ollamatest.Script{Faults: map[string]ollamatest.Fault{"/api/pull": always}}, Options{})
		begin := time.Now()
		_, err := f.Pull(t.Context(), "big", "", unwatched)
		if took := time.Since(begin); !isKind(err, ollama.Busy) || took > 10*time.Second {
			t.Errorf("Pull that is given up each time: %v after %s and %d requests; want busy, soon", err, took, fake.Seen().Requests["/api/pull"])
		}
	})
}

func TestPullOfNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{}, Options{NoCloud: true})
		if _, err := f.Pull(t.Context(), "nowhere", "", unwatched); !isKind(err, ollama.MissingModel) {
			t.Errorf("Pull of an unknown model: got %v, want missing_model", err)
		}
		asked := fake.Seen().Requests["/api/pull"]
		var cloud *CloudError
		if _, err := f.Pull(t.Context(), "big:cloud", "", unwatched); !errors.As(err, &cloud) {
			t.Errorf("Pull of a cloud model with NoCloud: got %v, want a CloudError", err)
		}
		var registry *ollama.RegistryError
		if _, err := f.Pull(t.Context(), "10.0.0.1/x/y", "", unwatched); !errors.As(err, &registry) || fake.Seen().Requests["/api/pull"] != asked {
			t.Errorf("Pull from a registry that is not allowed: got %v, want a RegistryError before any request", err)
		}
	})
}

// A success that tags does not bear out is none.
func TestLibraryChecksWhatOllamaSays(t *testing.T) {
	const installed = `{"models":[{"name":"tiny:latest","digest":"d1"}]}`
	host := func(tags string) *Fleet {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answers := map[string]string{"/api/tags": tags, "/api/ps": `{"models":[]}`, "/api/pull": `{"status":"success"}` + "\n", "/api/create": `{"status":"success"}` + "\n"}
			_, _ = w.Write([]byte(answers[r.URL.Path]))
		}))
		t.Cleanup(s.Close)
		h, err := ollama.ParseHost(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		f := New([]Host{{Client: ollama.NewClient(ollama.ClientOptions{Host: h})}}, Options{})
		t.Cleanup(f.Close)
		return f
	}
	f := host(installed)
	done := func(s ollama.TransferState) {
		if s.Phase == ollama.PhaseDone {
			t.Errorf("told that it is done")
		}
	}
	_, pullErr := f.Pull(t.Context(), "other", "", done)
	_, createErr := f.Create(t.Context(), &ollama.CreateRequest{Model: "other:latest", From: "tiny:latest"}, "", done)
	_, deleteErr := f.Delete(t.Context(), "tiny:latest", Watch{})
	for op, err := range map[string]error{"pull": pullErr, "create": createErr, "delete": deleteErr} {
		if !isKind(err, ollama.Failed) {
			t.Errorf("%s on a host that only says so: got %v, want kind failed", op, err)
		}
	}
}

func TestDeleteUnloadsFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "a", Digest: "d1", Loaded: true}, {Name: "b", Digest: "d1"}, {Name: "c"}}}, Options{})
		if _, err := f.Delete(t.Context(), "b:latest", Watch{}); err != nil || fake.Seen().Unloads != 0 {
			t.Errorf("Delete of a copy of what runs: %v after %d unloads, want none", err, fake.Seen().Unloads)
		}
		if _, err := f.Delete(t.Context(), "a:latest", Watch{}); err != nil || fake.Seen().Unloads != 1 {
			t.Errorf("Delete of what runs: %v after %d unloads, want 1", err, fake.Seen().Unloads)
		}
		models, _, err := f.Models(t.Context())
		if err != nil || len(models) != 1 || models[0].Canonical != "c:latest" {
			t.Errorf("Models after two deletes = %+v, %v; want c alone", models, err)
		}
		if _, err := f.Delete(t.Context(), "a:latest", Watch{}); !isKind(err, ollama.MissingModel) {
			t.Errorf("Delete again: got %v, want missing_model", err)
		}
	})
}

// What a name's slots were known to do says nothing of other content under it.
func TestNamesAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "a"}, {Name: "b"}}}, Options{})
		suspect := func() bool {
			f.members[0].mu.Lock()
			defer f.members[0].mu.Unlock()
			return f.members[0].state("b:latest").suspect
		}
		for what, change := range map[string]func() error{
			"copy over it": func() error { _, err := f.Copy(t.Context(), "a:latest", "b:latest"); return err },
			"create over it": func() error {
				_, err := f.Create(t.Context(), &ollama.CreateRequest{Model: "b:latest", From: "a:latest"}, "", unwatched)
				return err
			},
			"pull": func() error { _, err := f.Pull(t.Context(), "b", "", unwatched); return err },
			"delete, and copy again": func() error {
				_, deleted := f.Delete(t.Context(), "b:latest", Watch{})
				forgotten := suspect()
				if _, err := f.Copy(t.Context(), "a:latest", "b:latest"); deleted != nil || err != nil || !forgotten {
					return fmt.Errorf("%v, %v, forgotten %v", deleted, err, forgotten)
				}
				return nil
			},
		} {
			f.members[0].fresh("b:latest")
			if err := change(); err != nil || !suspect() {
				t.Errorf("%s: %v, forgotten %v; want it forgotten", what, err, suspect())
			}
		}
	})
}

func TestDeleteOfModelInUse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		loaded := []ollamatest.FakeModel{{Name: "tiny", Loaded: true}}
		f, fake := start(t, ollamatest.Script{Models: loaded, TokenDelay: time.Second, TokenCount: 60}, Options{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "tiny:latest", Prompt: "x"}); err != nil {
				t.Errorf("Generate: %v", err)
			}
		})
		if err := fake.Await(t.Context(), func(s ollamatest.Seen) bool { return s.Active > 0 }); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Delete(t.Context(), "tiny:latest", Watch{}); !isKind(err, ollama.Busy) || fake.Seen().Requests["/api/delete"] != 0 {
			t.Errorf("Delete of a model that is in use: got %v and %d deletes, want busy and none", err, fake.Seen().Requests["/api/delete"])
		}
		wg.Wait()
		if _, err := f.Delete(t.Context(), "tiny:latest", Watch{}); err != nil {
			t.Errorf("Delete after the call has ended: %v", err)
		}
	})
}

func TestCreatePullsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, fake := start(t, big(ollamatest.FakePull{}), Options{})
		_, err := f.Create(t.Context(), &ollama.CreateRequest{Model: "made:latest", From: "big:latest"}, "", unwatched)
		if !isKind(err, ollama.MissingModel) || fake.Seen().Downloads != 0 || fake.Seen().Requests["/api/create"] != 0 {
			t.Errorf("Create from what is not installed: got %v, %d downloads; want missing_model, none", err, fake.Seen().Downloads)
		}
		got, err := f.Create(t.Context(), &ollama.CreateRequest{Model: "made:latest", From: "tiny:latest", System: "Be brief."}, "", unwatched)
		if err != nil || got.Model == nil {
			t.Fatalf("Create: got %+v, %v", got, err)
		}
		if d, err := f.Show(t.Context(), "made:latest", false); err != nil || d.System != "Be brief." || d.Loaded != nil {
			t.Errorf("Show = %+v, %v; want the system prompt, not loaded", d, err)
		}
	})
}
