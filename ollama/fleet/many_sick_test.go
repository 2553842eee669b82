package fleet_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/fleet/health"
	"ollama-mcp/ollama/ollamatest"
)

// onlyOnA is a model on the first of three hosts.
func onlyOnA(t *testing.T, o fleet.Options) *rig {
	r := newRig(t, 3, o, func(i int, s *ollamatest.Script, h *fleet.Host) {
		serving(2)(i, s, h)
		s.LoadDelay = time.Second
		if i > 0 {
			s.Models[0].Name = "another"
		}
	})
	r.settle()
	return r
}

// read makes so many calls whose prompt takes so long to read.
func (r *rig) read(calls, words int, takes time.Duration) (last outcome) {
	r.t.Helper()
	r.nodes[0].Change(func(s *ollamatest.Script) { s.FirstDelay = takes })
	for range calls {
		if last = r.generate(r.t.Context(), model(0), strings.Repeat("word ", words)); last.err != nil {
			r.t.Fatalf("a prompt of %d words: %v", words, last.err)
		}
	}
	return last
}

// A model that is wedged is freed within 5 s, and the call that found it so is answered.
func TestWedgedModelOfMany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onlyOnA(t, fleet.Options{WedgeAfter: 2 * time.Second})
		r.read(6, 5, 100*time.Millisecond)
		r.giveUp()
		if r.nodes[0].Wedge(string(model(0))) != 2 {
			t.Fatal("the fake had not both slots to lose")
		}
		o := r.generate(t.Context(), model(0), "word word word word word")
		if o.err != nil || o.text == "" || o.first > 5*time.Second || !o.places[len(o.places)-1].Recovered {
			t.Errorf("a call on a wedged model: %q, %v, first text after %v, places %+v; want text within 5 s, recovered", o.text, o.err, o.first, o.places)
		}
		r.idle()
		if s := r.nodes[0].Seen(); s.Loads != 1 || s.Unloads != 1 {
			t.Errorf("a wedged model: %d loads, %d unloads; want 1 of each", s.Loads, s.Unloads)
		}
		r.allSlots(2)
	})
}

// giveUp has a caller leave in mid-answer, as one does who wedges a model.
func (r *rig) giveUp() {
	r.t.Helper()
	ctx, cancel := r.mark(r.t.Context())
	defer cancel()
	for _, err := range r.Generate(ctx, &ollama.GenerateRequest{Model: model(0), Prompt: "hi"}, fleet.Watch{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		break
	}
	r.idle()
}

// A prompt that takes a minute is no wedge where others were read not much faster.
func TestSlowPromptOfMany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onlyOnA(t, fleet.Options{WedgeAfter: 2 * time.Second})
		r.read(6, 75, 500*time.Millisecond)
		r.giveUp()
		o := r.read(1, 1500, time.Minute)
		if s := r.nodes[0].Seen(); s.Loads != 0 || s.Unloads != 0 || o.places[len(o.places)-1].Recovered || len(o.places) != 1 {
			t.Errorf("a prompt that takes a minute: %d loads, %d unloads, places %+v; want it left alone", s.Loads, s.Unloads, o.places)
		}
	})
}

// Before five calls it is not known how fast a host reads.
func TestSlowFirstPromptOfMany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onlyOnA(t, fleet.Options{WedgeAfter: 2 * time.Second})
		if o := r.read(1, 1500, time.Minute); len(o.places) != 1 || o.places[0].Recovered || r.nodes[0].Seen().Unloads != 0 {
			t.Errorf("a first prompt that takes a minute: places %+v, %d unloads; want it left alone", o.places, r.nodes[0].Seen().Unloads)
		}
	})
}

// walk notes the states of a host's breaker, and of the host, as Hosts tells them. It does not wait for the host.
func (r *rig) walk(name string, breakers *[]health.Breaker, states *[]health.State) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Millisecond)
	defer cancel()
	for _, h := range r.Hosts(ctx) {
		if h.Name != name {
			continue
		}
		if n := len(*breakers); n == 0 || (*breakers)[n-1] != h.Breaker {
			*breakers = append(*breakers, h.Breaker)
		}
		if n := len(*states); n == 0 || (*states)[n-1] != h.State {
			*states = append(*states, h.State)
		}
	}
}

// A host that refuses connections, slowly, and is there again when it is tried for the second time: all that its breaker
// does can be seen.
func TestBreakerIsSeen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 3, fleet.Options{}, serving(2))
		r.settle()
		var breakers []health.Breaker
		var states []health.State
		r.walk("b", &breakers, &states)
		down := ollamatest.Down()
		r.nodes[1].fault(&down)
		r.nodes[1].lag.Store(int64(100 * time.Millisecond))
		for range 2000 {
			r.walk("b", &breakers, &states)
			switch n := len(breakers); {
			case n == 5:
				r.nodes[1].fault(nil)
			case n > 5:
				r.nodes[1].lag.Store(0)
			}
			if n := len(breakers); n > 1 && breakers[n-1] == health.Closed {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		want := []health.Breaker{health.Closed, health.Open, health.HalfOpen, health.Open, health.HalfOpen, health.Closed}
		if !slices.Equal(breakers, want) {
			t.Errorf("the breaker of a host that is down for a while: %v, want %v", breakers, want)
		}
		if want := []health.State{health.Up, health.Down, health.Up}; !slices.Equal(states, want) {
			t.Errorf("the states of a host that is down for a while: %v, want %v", states, want)
		}
	})
}
