package fleet_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// Of three hosts with 20 calls that run and wait, one is removed, one has other settings and a fourth is added: no call
// fails, and none goes to the one that was removed.
func TestUpdateUnderLoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 3, fleet.Options{}, serving(4))
		r.settle()
		var wg sync.WaitGroup
		var a tally
		for i := range 20 {
			wg.Go(func() {
				a.call(func() outcome {
					return r.generate(as(t.Context(), fmt.Sprint("caller ", i%4)), model(0), fmt.Sprint("prompt ", i))
				})
			})
		}
		time.Sleep(500 * time.Millisecond)
		for _, n := range r.nodes {
			if n.Seen().Active == 0 {
				t.Errorf("no call runs on %s", n.name())
			}
		}
		d := r.add("d", func(s *ollamatest.Script, h *fleet.Host) { serving(4)(3, s, h) })
		removed, changed := r.nodes[1], r.nodes[2]
		same, other := r.nodes[0].host, changed.host
		same.Client = r.nodes[0].client(t, "a") // as who reads settings again makes it
		other.Settings, other.Weight, other.Client = "other", 2, changed.client(t, "c")
		updated := time.Now()
		r.Update([]fleet.Host{same, other, d.host})
		r.settle()
		for i := range 30 {
			wg.Go(func() {
				a.call(func() outcome {
					return r.generate(as(t.Context(), fmt.Sprint("caller ", i%4)), model(0), fmt.Sprint("prompt ", i))
				})
			})
		}
		wg.Wait()
		r.idle()
		if len(a.failed) > 0 {
			t.Errorf("%d of 50 calls failed, want none: %v", len(a.failed), a.failed)
		}
		if late := removed.newcomers(updated); len(late) > 0 {
			t.Errorf("calls reached b that began after it was removed, want none: %v", late)
		}
		for _, n := range []*node{r.nodes[0], changed, d} {
			if len(n.arrivals(updated, time.Now())) == 0 {
				t.Errorf("no call reached %s after the update", n.name())
			}
			if got := n.Seen().Models[string(model(0))].Most; got > 4 {
				t.Errorf("%d calls at a time on %s, want at most 4", got, n.name())
			}
		}
		if hosts := r.names(t); hosts != "a c d" {
			t.Errorf("hosts after the update: %s, want a c d", hosts)
		}
	})
}

func (r *rig) names(t *testing.T) (names string) {
	for _, h := range r.Hosts(t.Context()) {
		names += " " + h.Name
	}
	return names[min(1, len(names)):]
}

// A host that is removed while it loads, and one that comes back under its name.
func TestRemovedAndBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			serving(1)(i, s, h)
			s.Models[0].Loaded, s.LoadDelay = false, time.Minute
		})
		r.settle()
		var wg sync.WaitGroup
		var a tally
		wg.Go(func() { a.call(func() outcome { return r.generate(t.Context(), model(0), "hi") }) })
		time.Sleep(30 * time.Second)
		loads, stays := r.nodes[0], r.nodes[1]
		if loads.Seen().Waiting == 0 {
			loads, stays = stays, loads
		}
		r.Update([]fleet.Host{stays.host})
		time.Sleep(10 * time.Minute)
		again := loads.host
		again.Client = loads.client(t, loads.name())
		r.Update([]fleet.Host{stays.host, again})
		r.settle()
		for i := range 4 {
			wg.Go(func() {
				a.call(func() outcome { return r.generate(as(t.Context(), fmt.Sprint(i)), model(0), "hi") })
			})
		}
		wg.Wait()
		r.idle()
		if len(a.failed) > 0 || len(a.took) != 5 {
			t.Errorf("%d of 5 calls went well, failed: %v", len(a.took), a.failed)
		}
		if hosts := r.names(t); len(hosts) != len("a b") {
			t.Errorf("hosts in the end: %s, want both", hosts)
		}
	})
}

// What waits in the line of a host that is removed goes to another one.
func TestWaitingOnARemovedHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
			serving(1)(i, s, h)
			s.TokenDelay = 10 * time.Second
		})
		r.settle()
		var wg sync.WaitGroup
		var a tally
		for i := range 6 {
			wg.Go(func() {
				a.call(func() outcome {
					return r.generate(as(t.Context(), fmt.Sprint("caller ", i)), model(0), fmt.Sprint("prompt ", i))
				})
			})
		}
		time.Sleep(5 * time.Second)
		removed := r.nodes[1]
		before := removed.Seen().Models[string(model(0))].Calls
		r.Update([]fleet.Host{r.nodes[0].host})
		wg.Wait()
		r.idle()
		if after := removed.Seen().Models[string(model(0))].Calls; after != before || before == 0 || len(a.failed) > 0 {
			t.Errorf("6 calls on two hosts, of which one is removed: %d calls on it before, %d after, failed: %v; want no more after, and none to fail", before, after, a.failed)
		}
	})
}
