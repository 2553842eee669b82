package health

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ollama-mcp/ollama"
)

// try is the longest from the start of one try of a host that fails to the next.
const try = maxBackoff * 6 / 5

func TestBreakerWalk(t *testing.T) {
	want := []Breaker{Closed, Open, HalfOpen, Open, HalfOpen, Closed}
	inBubble(t, func(t *testing.T) {
		var told news
		f := &fake{}
		w := settled(t, f.host(), Options{Changed: told.add})
		f.set("", errRefused)
		w.Report(errRefused)
		pass(minBackoff*6/5 + answer) // one try
		f.set("", nil)
		passUntil(t, w, Up)
		if diff := cmp.Diff(want, told.breakers()); diff != "" {
			t.Errorf("the breaker's walk (-want +got):\n%s", diff)
		}
		for i, s := range told {
			if (s.State == Down) != (s.Breaker != Closed) {
				t.Errorf("news %d: the host is %s, its breaker %s", i, s.State, s.Breaker)
			}
		}
	})
}

// TestProbe has calls fail while version, tags and ps are answered.
func TestProbe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var told news
		f := &fake{}
		h := f.host()
		h.Probe = func(ctx context.Context) error { return f.ask(ctx, "probe") }
		w := settled(t, h, Options{Changed: told.add})
		f.set("probe", errBroken)
		for range 3 {
			w.Report(errBroken)
		}
		pass(time.Minute)
		if s := w.Snapshot(); s.State != Down {
			t.Errorf("with a probe that fails the host is %s, want %s", s.State, Down)
		}
		_, probes := f.seen()
		if len(probes) < 10 || len(probes) > 24 {
			t.Errorf("%d probes in a minute, want one in 3.2 to 4.8 s", len(probes))
		}
		f.set("probe", nil)
		if took := passUntil(t, w, Up); took > 5*time.Second {
			t.Errorf("back %v after its return, want 5s at most", took)
		}
		want := []State{Up, Degraded, Down, Up}
		if diff := cmp.Diff(want, told.states()); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
		_, before := f.seen()
		w.Report(errBroken) // the count begins anew
		w.Report(errBroken)
		if s := w.Snapshot(); s.State != Degraded {
			t.Errorf("two failures after a probe went well: %s, want %s", s.State, Degraded)
		}
		pass(time.Second)
		w.Report(nil)
		pass(time.Minute)
		if _, probes := f.seen(); len(probes) != len(before)+1 || w.Snapshot().State != Up {
			t.Errorf("%d probes, then %s; want one after two failures, none of a host that is up", len(probes)-len(before), w.Snapshot().State)
		}
	})
}

// TestProbeThatCannotTell is neither a proof nor a failure: the next failure opens the breaker.
func TestProbeThatCannotTell(t *testing.T) {
	for _, unsure := range []error{errors.New("too much to do"), &ollama.Error{Kind: ollama.LoadFailed, Status: 500}} {
		inBubble(t, func(t *testing.T) {
			f := &fake{}
			h := f.host()
			h.Probe = func(ctx context.Context) error { return f.ask(ctx, "probe") }
			w := settled(t, h, Options{})
			f.set("probe", unsure)
			w.Report(errCut)
			w.Report(errCut)
			pass(time.Second)
			if s := w.Snapshot(); s.State != Up {
				t.Errorf("after two failures and a probe that says %q the host is %s, want %s", unsure, s.State, Up)
			}
			if w.Report(errCut); w.Snapshot().State != Down {
				t.Errorf("after a third failure the host is %s, want %s", w.Snapshot().State, Down)
			}
		})
	}
}

// TestCallsThatFailAgain is a host without a probe whose polls go well: calls are let through to it now and then, ever
// more seldom.
func TestCallsThatFailAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := settled(t, (&fake{}).host(), Options{})
		begin, sent := time.Now(), 0
		for time.Since(begin) < time.Minute {
			if w.Snapshot().State.Usable() {
				sent++
				w.Report(errBroken)
			}
			pass(10 * time.Millisecond)
		}
		if sent < 12 || sent > 25 { // 3 at once, then after 1, 2 and 4 s
			t.Errorf("a minute of failures took %d calls, want about one in 4 s", sent)
		}
		if took := passUntil(t, w, Up); took > 5*time.Second {
			t.Errorf("back %v after its return, want 5s at most", took)
		}
	})
}

// TestPollFromBeforeProvesNothing: the host dies while it is polled, or as the poll begins.
func TestPollFromBeforeProvesNothing(t *testing.T) {
	for _, asked := range []time.Duration{0, time.Millisecond} {
		inBubble(t, func(t *testing.T) {
			w := settled(t, (&fake{}).host(), Options{})
			w.Check()
			pass(minBackoff - answer + asked) // version is being asked, or has been
			w.Report(errRefused)
			pass(answer - asked)
			if s := w.Snapshot(); s.Breaker == Closed {
				t.Errorf("a poll that had run for %v when the call was refused closed the breaker", asked)
			}
			pass(answer)
			if s := w.Snapshot(); s.State != Up {
				t.Errorf("after the next poll the host is %s, want %s", s.State, Up)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	for range 100 {
		b := breaker{state: Closed}
		for i, want := range []time.Duration{250, 500, 1000, 2000, 4000, 4000, 4000} {
			want *= time.Millisecond
			at := time.Now()
			if got := b.fail(errCut, at, 3).Sub(at); got < want*4/5 || got > want*6/5 {
				t.Errorf("after %d failures the host is tried again after %v, want %v ±20 %%", i+1, got, want)
			}
		}
	}
}

// TestFailuresPutOffNoPoll has calls fail all the time, as of a host that must be used because there is no other.
func TestFailuresPutOffNoPoll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &fake{}
		w := settled(t, f.host(), Options{})
		for range 600 {
			w.Report(errCut)
			pass(100 * time.Millisecond)
		}
		polls, _ := f.seen()
		if most := slices.Max(append(gapsOf(polls), time.Since(polls[len(polls)-1]))); most > 6*time.Second {
			t.Errorf("beside calls that fail the host was not polled for %v, want 6s at most", most)
		}
		if s := w.Snapshot(); s.Breaker != Open {
			t.Errorf("its breaker is %s, want %s", s.Breaker, Open)
		}
	})
}

// TestFlapping has a host come and go, in whatever way, with calls at any time.
func TestFlapping(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type phase struct {
			fault error
			calls []error
			pause time.Duration
			lasts time.Duration
		}
		outcome := rapid.SampledFrom([]error{nil, errRefused, errBroken, errCut, errDenied, errOverload})
		phases := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) phase {
			return phase{
				fault: rapid.SampledFrom([]error{nil, errRefused, errHang, errBroken, errDenied, errOverload}).Draw(rt, "fault"),
				calls: rapid.SliceOfN(outcome, 0, 8).Draw(rt, "calls"),
				pause: time.Duration(rapid.IntRange(0, 1000).Draw(rt, "pause")) * time.Millisecond,
				lasts: time.Duration(rapid.IntRange(0, 20000).Draw(rt, "lasts")) * time.Millisecond,
			}
		}), 1, 8).Draw(rt, "phases")
		var problem string
		inBubble(t, func(t *testing.T) {
			var told news
			f := &fake{}
			w := settled(t, f.host(), Options{Changed: told.add})
			for _, p := range phases {
				f.set("", p.fault)
				for _, err := range p.calls {
					w.Report(err)
					pass(p.pause)
				}
				pass(p.lasts)
			}
			f.set("", nil)
			// A hung poll counts as such when the host returns in the middle of it.
			if took := passUntil(t, w, Up); took > 5*time.Second {
				problem = "back " + took.String() + " after its return, want 5s at most"
			}
			legal := map[[2]Breaker]bool{{Closed, Open}: true, {Open, HalfOpen}: true, {HalfOpen, Open}: true, {HalfOpen, Closed}: true}
			walk := told.breakers()
			for i := 1; i < len(walk); i++ {
				if !legal[[2]Breaker{walk[i-1], walk[i]}] {
					problem = "the breaker went from " + string(walk[i-1]) + " to " + string(walk[i])
				}
			}
		})
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func TestJitter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := time.Duration(rapid.Int64Range(5, int64(time.Hour)).Draw(rt, "d"))
		if got := jittered(d); got < d*4/5 || got > d*6/5 {
			rt.Fatalf("jittered(%v) = %v, want 20 %% more or less at most", d, got)
		}
	})
}

func TestPollsAreJittered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &fake{}
		watch(t, f.host(), Options{})
		pass(time.Hour)
		polls, _ := f.seen()
		gaps := gapsOf(polls)
		if least, most := slices.Min(gaps), slices.Max(gaps); least < 4*time.Second || most > 6*time.Second || most-least < time.Second {
			t.Errorf("%d polls came every %v to %v, want spread between 4s and 6s", len(polls), least, most)
		}
	})
}

func gapsOf(times []time.Time) (gaps []time.Duration) {
	for i := 1; i < len(times); i++ {
		gaps = append(gaps, times[i].Sub(times[i-1]))
	}
	return gaps
}
