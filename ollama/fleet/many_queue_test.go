package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/fleet/queue"
	"ollama-mcp/ollama/ollamatest"
)

// serving is a host that answers one model, so many calls at a time, in a second each.
func serving(parallel int) func(int, *ollamatest.Script, *fleet.Host) {
	return func(_ int, s *ollamatest.Script, h *fleet.Host) {
		h.Parallel, h.MaxLoaded = parallel, 1
		*s = ollamatest.Script{
			Models: []ollamatest.FakeModel{{Name: string(model(0)), Loaded: true}}, Slots: parallel, TokenCount: 9,
			LoadDelay: 3 * time.Second, FirstDelay: 200 * time.Millisecond, TokenDelay: 100 * time.Millisecond,
		}
	}
}

// as makes the calls of a context a caller's.
func as(ctx context.Context, caller string) context.Context {
	return fleet.WithCaller(ctx, fleet.Caller{Name: caller, Priority: queue.Normal})
}

// tally is what became of somebody's calls.
type tally struct {
	mu      sync.Mutex // guards what follows
	took    []time.Duration
	failed  []error
	open    int // calls that wait or run
	mostOne int // the largest open
}

func (a *tally) call(call func() outcome) {
	a.mu.Lock()
	a.open++
	a.mostOne = max(a.mostOne, a.open)
	a.mu.Unlock()
	o := call()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if o.err != nil {
		a.failed = append(a.failed, o.err)
		return
	}
	a.took = append(a.took, o.took)
}

// p95 is what 95 of 100 calls that went well took at most.
func (a *tally) p95() time.Duration {
	slices.Sort(a.took)
	return a.took[len(a.took)*95/100]
}

// polite makes a call every two seconds for each of nine callers, until ctx ends.
func (r *rig) polite(ctx context.Context, wg *sync.WaitGroup) *tally {
	a := &tally{}
	for i := range 9 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			for ctx.Err() == nil {
				time.Sleep(time.Duration(random.Int64N(int64(2 * time.Second))))
				a.call(func() outcome {
					return r.generate(as(context.WithoutCancel(ctx), fmt.Sprint("polite ", i)), model(0), "hi")
				})
			}
		})
	}
	return a
}

// greedy makes so many calls a second, whether they are answered or not, until ctx ends.
func (r *rig) greedy(ctx context.Context, wg *sync.WaitGroup, rate int) *tally {
	a := &tally{}
	wg.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				wg.Go(func() {
					a.call(func() outcome { return r.generate(as(ctx, "greedy"), model(0), "hi") })
				})
			}
		}
	})
	return a
}

// Nine callers who ask for little hardly notice one who asks for five times what the hosts can do, and what that one
// has waiting is bounded.
func TestGreedyCaller(t *testing.T) {
	const hosts, parallel, seconds = 3, 4, 40
	bubble(t, func(t *testing.T) {
		r := newRig(t, hosts, fleet.Options{}, serving(parallel))
		r.settle()
		var wg sync.WaitGroup
		run := func(begin func(context.Context)) {
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(seconds*time.Second, cancel).Stop()
			defer cancel()
			begin(ctx)
			wg.Wait()
			r.idle()
		}
		var unloaded, polite, greedy *tally
		run(func(ctx context.Context) { unloaded = r.polite(ctx, &wg) })
		run(func(ctx context.Context) {
			greedy = r.greedy(ctx, &wg, 5*hosts*parallel)
			polite = r.polite(ctx, &wg)
		})
		if len(unloaded.failed) > 0 || len(unloaded.took) < 100 {
			t.Fatalf("polite callers alone: %d calls went well, failed: %v", len(unloaded.took), unloaded.failed)
		}
		if n, failed := len(polite.took), len(polite.failed); n < 100 || failed*100 > n+failed {
			t.Errorf("polite callers beside a greedy one: %d calls went well and %d failed, want 99 of 100 to go well: %v", n, failed, polite.failed)
		}
		if got, most := polite.p95(), 2*unloaded.p95(); got > most {
			t.Errorf("95 of 100 polite calls took up to %v, want at most %v, twice what they take alone", got, most)
		}
		// What is left of the hosts is the greedy caller's: twelve calls a second less the polite ones.
		if n := len(greedy.took); n < 4*seconds {
			t.Errorf("%d calls of the greedy caller went well in %d s, want the hosts to be used", n, seconds)
		}
		// One more is on its way to be refused.
		if most := hosts*(queue.DefaultMax/4+parallel) + 1; greedy.mostOne > most {
			t.Errorf("the greedy caller had %d calls waiting and running, want at most %d", greedy.mostOne, most)
		}
		r.onlyFull(greedy.failed)
	})
}

// onlyFull checks that calls failed for no other reason than a full queue, or the caller's leaving.
func (r *rig) onlyFull(errs []error) {
	r.t.Helper()
	full := 0
	for _, err := range errs {
		var e *queue.FullError
		switch {
		case errors.As(err, &e):
			full++
		case !errors.Is(err, context.Canceled):
			r.t.Errorf("a call of the greedy caller: %v, want a full queue", err)
		}
	}
	if full == 0 {
		r.t.Error("no call of the greedy caller was refused, want a full queue")
	}
}

// A thousand calls are given up, waiting or running: no slot is lost and nothing is left.
func TestThousandCancels(t *testing.T) {
	const hosts, parallel = 3, 2
	bubble(t, func(t *testing.T) {
		r := newRig(t, hosts, fleet.Options{}, serving(parallel))
		r.settle()
		random := rand.New(rand.NewPCG(1, 2))
		var wg sync.WaitGroup
		var a tally
		for i := range 1000 {
			begin, patience := time.Duration(random.Int64N(60e9)), time.Duration(random.Int64N(3e9))
			wg.Go(func() {
				time.Sleep(begin)
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(patience, cancel).Stop()
				defer cancel()
				a.call(func() outcome { return r.generate(as(ctx, fmt.Sprint("caller ", i%10)), model(0), "hi") })
			})
		}
		wg.Wait()
		r.idle()
		ran := 0
		for _, n := range r.nodes {
			ran += len(n.Seen().Aborts)
		}
		if len(a.failed) < 500 || ran < 100 || len(a.failed)-ran < 100 {
			t.Errorf("%d calls were given up, %d of them at a host, want many of both", len(a.failed), ran)
		}
		for _, err := range a.failed {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a call that was given up: %v, want the cancel", err)
			}
		}
		r.allSlots(hosts * parallel)
	})
}

// allSlots checks that so many calls run at a time, which take a second when none has to wait.
func (r *rig) allSlots(n int) {
	r.t.Helper()
	var wg sync.WaitGroup
	var a tally
	for i := range n {
		wg.Go(func() {
			a.call(func() outcome { return r.generate(as(r.t.Context(), fmt.Sprint("last ", i)), model(0), "hi") })
		})
	}
	wg.Wait()
	slices.Sort(a.took)
	if len(a.failed) > 0 || a.took[n-1] > 1200*time.Millisecond {
		r.t.Errorf("%d calls on as many slots: took %v, failed %v; want a second each", n, a.took, a.failed)
	}
}

// Ten callers ask for a model that nobody has loaded, and five give up: it is loaded once, and five are answered.
func TestColdModelForTen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 3, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			serving(8)(i, s, h)
			s.Models[0].Loaded, s.LoadDelay = false, 10*time.Minute
		})
		r.settle()
		var wg sync.WaitGroup
		var a tally
		for i := range 10 {
			wg.Go(func() {
				ctx := as(t.Context(), fmt.Sprint("caller ", i))
				if i%2 == 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Minute)
					defer cancel()
				}
				a.call(func() outcome { return r.generate(ctx, model(0), "hi") })
			})
		}
		wg.Wait()
		r.idle()
		asked := 0
		for _, n := range r.nodes {
			asked += n.Seen().Requests["/api/generate"]
		}
		if loads, aborted, _ := r.loads(); loads != 1 || aborted != 0 || len(a.took) != 5 || asked != 6 {
			t.Errorf("ten callers, of whom five give up: %d loads, %d aborted, %d answers, %d requests; want 1, 0, 5, 6: %v", loads, aborted, len(a.took), asked, a.failed)
		}
		for _, err := range a.failed {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a caller who gives up: %v, want the deadline", err)
			}
		}
	})
}

// A queue is of one host and model: what waits for one does not hold up another.
func TestQueuesAreApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 3, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			serving(1)(i, s, h)
			h.MaxLoaded = 2
			s.Models = append(s.Models, ollamatest.FakeModel{Name: string(model(1)), Loaded: i == 0})
		})
		r.settle()
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				if o := r.generate(as(t.Context(), "many"), model(0), fmt.Sprint("prompt ", i)); o.err != nil {
					t.Error(o.err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		if o := r.generate(as(t.Context(), "one"), model(1), "hi"); o.err != nil || o.host() != "a" || o.took > 1200*time.Millisecond {
			t.Errorf("a call for a model that nobody else wants: on %s in %v, %v; want a second on a", o.host(), o.took, o.err)
		}
		wg.Wait()
		for _, n := range r.nodes {
			if got := n.Seen().Models[string(model(0))]; got.Calls == 0 || got.Most != 1 {
				t.Errorf("30 calls on 3 hosts, one at a time each: %d on %s, up to %d at a time; want some, 1", got.Calls, n.name(), got.Most)
			}
		}
	})
}

// How many calls a host answers at a time is learnt from what Ollama says of its waits.
func TestParallelIsLearnt(t *testing.T) {
	for _, slots := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 1, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
					serving(slots)(i, s, h)
					h.Parallel = 0
				})
				r.settle()
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() {
						for ctx.Err() == nil {
							if o := r.generate(as(context.WithoutCancel(ctx), fmt.Sprint("caller ", i)), model(0), "hi"); o.err != nil {
								t.Error(o.err)
								return
							}
						}
					})
				}
				time.Sleep(2 * time.Minute)
				got := r.Hosts(t.Context())[0].Lines
				least, most := slots*3/4, slots*3/2+1 // it never ceases to try
				if len(got) != 1 || got[0].Parallel < least || got[0].Parallel > most {
					t.Errorf("after two minutes of load on %d slots: %+v, want %d to %d calls at a time", slots, got, least, most)
				}
				stop()
				wg.Wait()
			})
		})
	}
}

// A conversation stays on the host that has it in its prompt cache, and conversations spread.
func TestConversationsStay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 3, fleet.Options{}, serving(8))
		r.settle()
		hosts := map[string]bool{}
		for c := range 12 {
			first := ""
			for range 4 {
				o := r.chat(as(t.Context(), "caller"), model(0), fmt.Sprint("conversation ", c))
				if o.err != nil || first != "" && o.host() != first {
					t.Errorf("conversation %d: on %s, %v; want it on %s", c, o.host(), o.err, first)
				}
				first = o.host()
			}
			hosts[first] = true
		}
		if len(hosts) != 3 {
			t.Errorf("12 conversations are on %d hosts, want all 3", len(hosts))
		}
	})
}

// A call whose turn would come after its deadline is told at once.
func TestTooLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, fleet.Options{}, serving(1))
		r.settle()
		r.generate(t.Context(), model(0), "so that it is known how long one takes")
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { r.generate(t.Context(), model(0), "hi") })
		}
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var late *queue.TooLateError
		if o := r.generate(ctx, model(0), "hi"); !errors.As(o.err, &late) || o.took > 0 {
			t.Errorf("a call with 3 s that would wait for 9 s: %v after %v, want a TooLateError at once", o.err, o.took)
		}
		wg.Wait()
	})
}
