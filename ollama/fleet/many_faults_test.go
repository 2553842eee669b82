package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// a prompt that is read much more slowly than any before must be answered some time.
func TestRecoversOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onlyOnA(t, fleet.Options{WedgeAfter: 2 * time.Second})
		r.read(6, 75, 100*time.Millisecond)
		r.nodes[0].Change(func(s *ollamatest.Script) { s.FirstDelay = 60 * time.Second })
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		o := r.generate(ctx, model(0), "word word word")
		s := r.nodes[0].Seen()
		t.Logf("took %v, err %v, %d loads, %d unloads, %d places", o.took, o.err, s.Loads, s.Unloads, len(o.places))
		if o.err != nil || s.Unloads > 1 {
			t.Errorf("a call on a model that has become slow: %v after %v and %d unloads; want an answer after one at most", o.err, o.took, s.Unloads)
		}
	})
}

// what ollama.com refuses says nothing of the host.
func TestRemoteFailures(t *testing.T) {
	for _, f := range []ollamatest.Fault{ollamatest.TooManyRequests(), ollamatest.Status("bad gateway", 502, "application/json", `{"error":"upstream"}`, ollama.Failed)} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, 2, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
				serving(2)(i, s, h)
				s.Models = append(s.Models, ollamatest.FakeModel{Name: "big:cloud", RemoteModel: "big", RemoteHost: "https://ollama.com:443"})
			})
			r.settle()
			for _, n := range r.nodes {
				n.fault(&f, "/api/generate")
			}
			for range 3 {
				o := r.generate(t.Context(), "big:cloud", "hi")
				t.Logf("%s: %v", f.Name, o.err)
			}
			for _, n := range r.nodes {
				n.fault(nil)
			}
			for _, h := range r.Hosts(t.Context()) {
				if h.State != "up" {
					t.Errorf("after %s of ollama.com host %s is %s: %s", f.Name, h.Name, h.State, h.Why)
				}
			}
			o := r.generate(t.Context(), model(0), "hi")
			t.Logf("local model: %v", o.err)
			if o.err != nil {
				t.Errorf("a local model after that: %v", o.err)
			}
		})
	}
}

// the first call, of a program that has just started.
func TestFirstCallGoesWhereItIsLoaded(t *testing.T) {
	for _, poll := range []time.Duration{0, -1} {
		for warm := range 3 {
			t.Run(fmt.Sprintf("poll %v, warm on %c", poll, 'a'+warm), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(t, 3, fleet.Options{Poll: poll}, func(i int, s *ollamatest.Script, h *fleet.Host) {
						serving(2)(i, s, h)
						s.AnswerDelay = 5 * time.Millisecond
						s.Models[0].Loaded = i == warm
					})
					o := r.generate(t.Context(), model(0), "hi")
					loads, _, _ := r.loads()
					if o.err != nil || o.host() != string(rune('a'+warm)) || loads > 0 {
						t.Errorf("the first call went to %s: %d loads, first text after %v, %v", o.host(), loads, o.first, o.err)
					}
				})
			})
		}
	}
}

// another program pulls a new version; a batch asks for the old content.
func TestDigestChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		em := ollamatest.FakeModel{Name: "e", Capabilities: []string{"embedding"}, Digest: "sha256:" + strings.Repeat("1", 64)}
		r := newRig(t, 2, fleet.Options{EmbedCache: 1 << 20}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			s.Models = []ollamatest.FakeModel{em}
		})
		r.settle()
		ask := func(text, digest string) (fleet.Place, error) {
			var place fleet.Place
			_, err := r.Embed(t.Context(), &ollama.EmbedRequest{Model: "e:latest", Input: []string{text}}, digest, fleet.Watch{Placed: func(p fleet.Place) { place = p }})
			return place, err
		}
		p, err := ask("one", "")
		t.Log(p.Host, p.Digest[:10], err)
		time.Sleep(2 * time.Second)
		for _, n := range r.nodes {
			if n.name() == p.Host {
				n.Change(func(s *ollamatest.Script) { s.Models[0].Digest = "sha256:" + strings.Repeat("2", 64) })
			}
		}
		was := p
		p, err = ask("two", p.Digest)
		got := ""
		models, _, _ := r.Models(t.Context())
		for _, m := range models {
			for _, h := range m.Hosts {
				if h == p.Host {
					got = m.Digest
				}
			}
		}
		if err == nil && got != p.Digest {
			t.Errorf("asked for %.10s, says that %.10s on %s answered, which has %.10s", was.Digest, p.Digest, p.Host, got)
		}
	})
}

// the settings of a host are read anew: what it was loaded with must not be forgotten.
func TestUpdateKeepsLoadOptions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			serving(2)(i, s, h)
			s.Models[0].Loaded = false
		})
		r.settle()
		batch := 64
		l, err := r.Load(t.Context(), fleet.LoadRequest{Model: model(0), KeepAlive: "24h", Options: &ollama.Options{NumBatch: &batch}}, fleet.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		o := r.generate(t.Context(), model(0), "hi")
		loads, _, _ := r.loads()
		t.Log("loaded on", l.Host, "answered by", o.host(), "loads", loads)
		var hosts []fleet.Host
		for _, n := range r.nodes {
			h := n.host
			h.Client = n.client(t, n.name())
			h.Settings += " anew"
			hosts = append(hosts, h)
		}
		r.Update(hosts)
		o = r.generate(t.Context(), model(0), "hi")
		loads2, _, _ := r.loads()
		if loads2 != loads || o.host() != l.Host {
			t.Errorf("right after Update: %d loads more, on %s (was %s)", loads2-loads, o.host(), l.Host)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
	})
}

// what a host said to one caller is not told to another. Tools tell only the kind of Why, if it is that of Failure.
func TestWordsOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, fleet.Options{}, serving(2))
		r.settle()
		f := ollamatest.Status("503", 503, "application/json", `{"error":"secret-project: too many requests of ann"}`, ollama.Busy)
		for _, n := range r.nodes {
			n.fault(&f, "/api/generate")
		}
		r.generate(as(t.Context(), "ann"), model(0), "hi")
		for _, h := range r.Hosts(t.Context()) {
			if strings.Contains(h.Why, "ann") && (h.Failure == nil || h.Failure.Error() != h.Why) {
				t.Errorf("status of %s to all: %s; its failure: %v", h.Name, h.Why, h.Failure)
			}
		}
	})
}

// the first host is down, and the others answer.
func TestFirstDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 3, fleet.Options{}, serving(2))
		r.settle()
		down := ollamatest.Down()
		r.nodes[0].fault(&down)
		time.Sleep(10 * time.Second)
		missing := &ollama.Error{Kind: ollama.MissingModel}
		if o := r.generate(t.Context(), "typo:latest", "hi"); !errors.Is(o.err, missing) {
			t.Errorf("generate with a model that nobody has: %v", o.err)
		}
		if _, _, err := r.Unload(t.Context(), "typo:latest", "", fleet.Watch{}); !errors.Is(err, missing) {
			t.Errorf("unload of a model that nobody has: %v", err)
		}
		if _, err := r.Delete(t.Context(), "typo:latest", fleet.Watch{}); !errors.Is(err, missing) {
			t.Errorf("delete of a model that nobody has: %v", err)
		}
		if state, on, err := r.Unload(t.Context(), model(0), "", fleet.Watch{}); err != nil {
			t.Errorf("unload: %s on %v, %v; want it unloaded on b and c", state, on, err)
		}
	})
}

// a host goes away, or is removed, while many calls wait in its line: none has been sent, and none is lost.
func TestManyWaitWhenAHostGoes(t *testing.T) {
	for _, how := range []string{"killed", "removed"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 2, fleet.Options{}, serving(2))
				r.settle()
				const calls = 400
				var wg sync.WaitGroup
				var failed, unsent atomic.Int64
				var some atomic.Value
				for i := range calls {
					wg.Go(func() {
						o := r.generate(as(t.Context(), fmt.Sprint("c", i%20)), model(0), "hi")
						if o.err != nil {
							failed.Add(1)
							some.Store(o.err)
							if len(o.places) == 0 {
								unsent.Add(1)
							}
						}
					})
				}
				time.Sleep(3 * time.Second)
				if how == "killed" {
					down := ollamatest.Killed()
					r.nodes[0].fault(&down)
				} else {
					h := r.nodes[1].host
					h.Client = r.nodes[1].client(t, "b")
					r.Update([]fleet.Host{h})
				}
				wg.Wait()
				if e, ok := some.Load().(error); ok {
					t.Logf("an error of %d bytes", len(e.Error()))
				}
				for _, h := range r.Hosts(t.Context()) {
					t.Logf("%s is %s, why %d bytes, failure %v bytes", h.Name, h.State, len(h.Why), len(fmt.Sprint(h.Failure)))
				}
				if n := failed.Load(); n > 2 {
					t.Errorf("%d of %d calls failed, %d of which had never been sent: %v", n, calls, unsent.Load(), some.Load())
				}
			})
		})
	}
}

// a call hangs on a host when no other can take it; then one can.
func TestMovesWhenAnotherIsBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, fleet.Options{}, serving(2))
		r.settle()
		down, hang := ollamatest.Down(), ollamatest.Hang()
		r.nodes[1].fault(&down)
		time.Sleep(10 * time.Second)
		var o outcome
		done := make(chan struct{})
		go func() { defer close(done); o = r.generate(t.Context(), model(0), "hi") }()
		time.Sleep(100 * time.Millisecond) // it is sent
		r.nodes[0].fault(&hang)
		time.Sleep(30 * time.Second)
		r.nodes[1].fault(nil)
		time.Sleep(10 * time.Second)
		for _, h := range r.Hosts(t.Context()) {
			t.Log(h.Name, h.State, h.Why)
		}
		back := time.Now()
		<-done
		if time.Since(back) > 10*time.Second || o.err != nil {
			t.Errorf("b had been back for 10 s; the call on a ended %v later, %v", time.Since(back), o.err)
		}
	})
}

// loads that nobody waits for any more, and that Ollama was not asked for, hold nobody up.
func TestLoadsNobodyWaitsFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			h.MaxLoaded = 1
			s.Models, s.LoadDelay = models(9), time.Minute
		})
		r.settle()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() { r.generate(ctx, model(i), "hi") })
		}
		wg.Wait()
		o := r.generate(t.Context(), model(8), "hi")
		loads, _, _ := r.loads()
		if loads > 2 {
			t.Errorf("a call waited %v for %d loads, of which nobody wanted %d", o.first, loads, loads-1)
		}
	})
}

// the settings of one host are read anew, as when its token is another: calls go on to where their model is loaded.
func TestUpdateOfWarmHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			serving(2)(i, s, h)
			s.AnswerDelay = 5 * time.Millisecond
			s.Models[0].Loaded = i == 0
		})
		time.Sleep(10 * time.Second)
		var hosts []fleet.Host
		for i, n := range r.nodes {
			h := n.host
			h.Client = n.client(t, n.name())
			if i == 0 {
				h.Settings += " anew"
			}
			hosts = append(hosts, h)
		}
		r.Update(hosts)
		o := r.generate(t.Context(), model(0), "hi")
		if loads, _, _ := r.loads(); loads > 0 || o.err != nil {
			t.Errorf("the call went to %s: %d loads, first text after %v, %v", o.host(), loads, o.first, o.err)
		}
	})
}

// Where all hosts have asked for a pause, a call is told for how long.
func TestAllHostsRest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 3, fleet.Options{}, serving(2))
		r.settle()
		limited := ollamatest.Status("limited", http.StatusTooManyRequests, "application/json", `{"error":"slow down"}`, ollama.Busy)
		for _, n := range r.nodes {
			n.fault(&limited, "/api/generate")
		}
		for range 3 {
			o := r.generate(t.Context(), model(0), "hi")
			var e *ollama.Error
			if !errors.As(o.err, &e) || e.Kind != ollama.Busy {
				t.Errorf("a call while all hosts say 429: %v, want busy", o.err)
			}
		}
	})
}

// What waits in the line is told as such, and what came first goes first, also after a load.
func TestLineAfterALoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			serving(1)(i, s, h)
			s.Models[0].Loaded = false
		})
		r.settle()
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				o := r.generate(as(t.Context(), "one"), model(0), "hi")
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				if waited := o.places[len(o.places)-1].LineWait; o.err != nil || len(order) > 1 && waited < time.Duration(len(order)-1)*time.Second {
					t.Errorf("call %d, the %dth to be answered: %v, waited %v in the line", i, len(order), o.err, waited)
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		r.idle()
		if !slices.IsSorted(order[1:]) { // of those that waited for the load, one takes the free slot
			t.Errorf("calls that came one after the other during a load were answered as %v", order)
		}
	})
}

// A host that is out of reach keeps nobody from what the others do, and is named.
func TestOutOfReach(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 3, fleet.Options{}, serving(2))
		r.settle()
		hang := ollamatest.Hang()
		r.nodes[1].fault(&hang)
		time.Sleep(20 * time.Second) // it is known as down
		begun := time.Now()
		state, on, err := r.Unload(t.Context(), model(0), "", fleet.Watch{})
		if err != nil || state != fleet.Unloaded || !slices.Equal(on.Hosts, []string{"a", "c"}) || !slices.Equal(on.Silent, []string{"b"}) {
			t.Errorf("unload with b out of reach = %s, %+v, %v; want unloaded on a and c, and b silent", state, on, err)
		}
		on, err = r.Delete(t.Context(), model(0), fleet.Watch{})
		if err != nil || !slices.Equal(on.Hosts, []string{"a", "c"}) || !slices.Equal(on.Silent, []string{"b"}) {
			t.Errorf("delete with b out of reach = %+v, %v; want a and c, and b silent", on, err)
		}
		var none *fleet.PlaceError
		if _, _, err := r.Unload(t.Context(), model(0), "b", fleet.Watch{}); !errors.As(err, &none) || none.Kind != ollama.Unreachable || len(none.Hosts) != 1 {
			t.Errorf("unload on b, which is out of reach = %v, want that it takes no calls", err)
		}
		if r.Hosts(t.Context()); time.Since(begun) > 6*time.Second {
			t.Errorf("all that took %v, want no wait for b that it is known to need", time.Since(begun))
		}
	})
}

// A host that says 503 to new calls keeps those that it is answering, also when another is back.
func TestBusyHostKeepsItsCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			serving(2)(i, s, h)
			s.FirstDelay = 20 * time.Second
		})
		r.settle()
		down := ollamatest.Down()
		r.nodes[1].fault(&down)
		time.Sleep(10 * time.Second)
		var wg sync.WaitGroup
		wg.Go(func() {
			if o := r.generate(t.Context(), model(0), "long"); o.err != nil || len(o.places) != 1 || o.host() != "a" {
				t.Errorf("a call that a is answering: %v, places %+v; want it to stay", o.err, o.places)
			}
		})
		time.Sleep(10 * time.Second)
		busy := ollamatest.Status("busy", http.StatusServiceUnavailable, "application/json", `{"error":"server busy"}`, ollama.Busy)
		r.nodes[0].fault(&busy, "/api/generate")
		wg.Go(func() { r.generate(t.Context(), model(0), "other") }) // which finds out that a is busy
		time.Sleep(time.Second / 2)
		r.nodes[0].fault(nil)
		r.nodes[1].fault(nil)
		wg.Wait()
	})
}

// A model that only a host has which is down is not said to be missing.
func TestModelOfAHostThatIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			serving(2)(i, s, h)
			if i == 1 {
				s.Models = append(s.Models, ollamatest.FakeModel{Name: "own"})
			}
		})
		r.settle()
		down := ollamatest.Down()
		r.nodes[1].fault(&down)
		time.Sleep(10 * time.Second)
		for name, do := range map[string]func() error{
			"unload": func() error { _, _, err := r.Unload(t.Context(), "own:latest", "", fleet.Watch{}); return err },
			"delete": func() error { _, err := r.Delete(t.Context(), "own:latest", fleet.Watch{}); return err },
			"copy":   func() error { _, err := r.Copy(t.Context(), "own:latest", "two:latest"); return err },
		} {
			var none *fleet.PlaceError
			if err := do(); !errors.As(err, &none) || none.Kind != ollama.Unreachable {
				t.Errorf("%s of a model on b, which is down: %v, want that b has it", name, err)
			}
		}
		if _, _, err := r.Unload(t.Context(), "typo:latest", "", fleet.Watch{}); !errors.Is(err, &ollama.Error{Kind: ollama.MissingModel}) {
			t.Errorf("unload of a model that nobody has: %v, want missing", err)
		}
	})
}
