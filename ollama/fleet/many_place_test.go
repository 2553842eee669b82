package fleet_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// oneAtATime is a host that holds one model, of so many that it has. loaded is the one that is loaded, -1 for none.
func oneAtATime(s *ollamatest.Script, h *fleet.Host, installed, loaded int) {
	h.Parallel, h.MaxLoaded = 4, 1
	*s = ollamatest.Script{
		Models: models(installed), MaxLoaded: 1, Slots: 4,
		LoadDelay: 3 * time.Second, FirstDelay: 100 * time.Millisecond, TokenDelay: 10 * time.Millisecond,
	}
	if loaded >= 0 {
		s.Models[loaded].Loaded = true
	}
}

// play makes calls for models, by so many callers at a time.
func (r *rig) play(sequence []int, callers int) {
	r.t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for m := range next {
				if o := r.generate(r.t.Context(), model(m), "hi"); o.err != nil {
					r.t.Errorf("a call for %s: %v", model(m), o.err)
				}
			}
		})
	}
	for _, m := range sequence {
		next <- m
	}
	close(next)
	wg.Wait()
	r.idle()
}

// mixed is calls for so many models, by lot.
func mixed(seed uint64, calls, models int) []int {
	r := rand.New(rand.NewPCG(seed, 0))
	sequence := make([]int, calls)
	for i := range sequence {
		sequence[i] = r.IntN(models)
	}
	return sequence
}

// A model that is loaded on B runs on B.
func TestLoadedOnB(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 3, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			loaded := -1
			if i == 1 {
				loaded = 0
			}
			oneAtATime(s, h, 2, loaded)
		})
		r.settle()
		r.play(make([]int, 40), 4)
		loads, _, _ := r.loads()
		if got := r.nodes[1].Seen().Models[string(model(0))].Calls; got != 40 || loads != 0 {
			t.Errorf("40 calls for a model that is loaded on b: %d on b, %d loads; want all there, and none", got, loads)
		}
	})
}

// Three models that are loaded on three hosts stay, and three that are not are loaded once.
func TestThreeModelsOnThreeHosts(t *testing.T) {
	for _, test := range []struct {
		name    string
		warm    bool
		callers int
		want    int
	}{
		{"warm", true, 1, 0},
		{"warm, many at a time", true, 10, 0},
		{"cold", false, 1, 3},
		{"cold, many at a time", false, 10, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 3, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
					loaded := -1
					if test.warm {
						loaded = (i + 1) % 3
					}
					oneAtATime(s, h, 3, loaded)
				})
				r.settle()
				r.play(mixed(1, 100, 3), test.callers)
				if loads, aborted, evictions := r.loads(); loads != test.want || aborted != 0 || evictions != 0 {
					t.Errorf("100 calls for 3 models: %d loads, %d aborted, %d evictions; want %d, 0, 0", loads, aborted, evictions, test.want)
				}
			})
		})
	}
}

// Four models on three hosts that hold one each: the loads are those that who knows the future needs, or half as many
// more. A single sequence may be unlucky, hence several.
func TestOneModelMoreThanHosts(t *testing.T) {
	const calls, runs = 100, 3
	popular := []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3} // Zipf: 1, 1/2, 1/3, 1/4
	for name, order := range map[string]func(seed uint64) []int{
		"in turn": func(seed uint64) []int {
			return slices.Repeat(rand.New(rand.NewPCG(seed, 0)).Perm(4), calls/4)
		},
		"by popularity": func(seed uint64) []int {
			sequence := mixed(seed, calls, len(popular))
			for i, n := range sequence {
				sequence[i] = popular[n]
			}
			return sequence
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, best := 0, 0
			for seed := range uint64(runs) {
				sequence := order(seed)
				best += fewestLoads(sequence, 3)
				bubble(t, func(t *testing.T) {
					r := newRig(t, 3, fleet.Options{}, func(_ int, s *ollamatest.Script, h *fleet.Host) { oneAtATime(s, h, 4, -1) })
					r.settle()
					r.play(sequence, 1)
					loads, _, _ := r.loads()
					got += loads
				})
			}
			t.Logf("%d loads, the fewest are %d", got, best)
			if float64(got) > 1.5*float64(best) {
				t.Errorf("%d loads, want at most 1.5 times the fewest, which are %d", got, best)
			}
		})
	}
}

// Two models take turns on a host that holds one, while calls with a keep_alive of their own come for both: it is never
// Ollama that makes one go, which would wait for ever (https://github.com/ollama/ollama/issues/17408), and no model is
// loaded for each call.
func TestModelsTakeTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, fleet.Options{}, func(_ int, s *ollamatest.Script, h *fleet.Host) { oneAtATime(s, h, 2, 0) })
		r.settle()
		const calls = 200
		r.play(mixed(1, calls, 2), 8)
		if loads, aborted, evictions := r.loads(); loads < 2 || loads > calls/8 || aborted != 0 || evictions != 0 {
			t.Errorf("%d calls for two models on a host that holds one: %d loads, %d aborted, %d evictions by Ollama; want 2 to %d, 0, 0",
				calls, loads, aborted, evictions, calls/8)
		}
	})
}

// A model is reloaded with another context length while calls come for it as it is.
func TestReloadUnderLoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, fleet.Options{}, func(_ int, s *ollamatest.Script, h *fleet.Host) { oneAtATime(s, h, 1, 0) })
		r.settle()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for range 20 {
					var o outcome
					if i == 0 {
						n := 512
						q := &ollama.GenerateRequest{Model: model(0), Prompt: "hi", KeepAlive: "24h", Options: &ollama.Options{NumCtx: &n}}
						o = r.request(t.Context(), q)
					} else {
						o = r.generate(t.Context(), model(0), "hi")
					}
					if o.err != nil {
						t.Error(o.err)
					}
				}
			})
		}
		wg.Wait()
		r.idle()
		if loads, aborted, _ := r.loads(); loads == 0 || aborted != 0 {
			t.Errorf("a model that is wanted with another context: %d loads, %d aborted; want some, 0", loads, aborted)
		}
	})
}

// fewestLoads is how many loads who knows the future needs: what is wanted again last has to go (Belady, A Study of
// Replacement Algorithms for a Virtual-Storage Computer, 1966).
func fewestLoads(sequence []int, room int) (loads int) {
	held := map[int]bool{}
	for i, m := range sequence {
		if held[m] {
			continue
		}
		if loads++; len(held) == room {
			delete(held, wantedLast(held, sequence[i:]))
		}
		held[m] = true
	}
	return loads
}

func wantedLast(held map[int]bool, future []int) (last int) {
	at := -1
	for m := range held {
		next := slices.Index(future, m)
		if next < 0 {
			return m
		}
		if next > at {
			last, at = m, next
		}
	}
	return last
}

func TestFewestLoads(t *testing.T) {
	for _, test := range []struct {
		sequence []int
		room     int
		want     int
	}{
		{[]int{0, 1, 2, 3, 0, 1, 2, 3, 0, 1}, 3, 6},
		{[]int{0, 1, 0, 2, 0, 1}, 2, 4},
		{[]int{0, 0, 0}, 1, 1},
		{nil, 3, 0},
	} {
		if got := fewestLoads(test.sequence, test.room); got != test.want {
			t.Errorf("fewestLoads(%v, %d) = %d, want %d", test.sequence, test.room, got, test.want)
		}
	}
}
