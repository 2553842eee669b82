package policy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// enter lets a call in, with a model when one is given, and returns the limit that
// stopped it.
func enter(t *testing.T, p *Policy, ctx context.Context, tool, model string) (*Pass, *LimitError) {
	t.Helper()
	pass, err := p.Enter(ctx, tool)
	if err == nil && model != "" {
		_, err = pass.Use(ctx, "m:latest")
	}
	var limit *LimitError
	if err != nil && !errors.As(err, &limit) {
		t.Fatalf("%s with %q: %v, want a limit or none", tool, model, err)
	}
	return pass, limit
}

func TestCallsPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPolicy(t, Rule{Name: "few", Models: []string{"m"}, Limits: Limits{CallsPerMinute: new(2)}}, Rule{Tools: []string{"list_models"}})
		for i, want := range []time.Duration{0, 0, 30 * time.Second} {
			pass, limit := enter(t, p, as("a"), "chat", "m:latest")
			pass.Leave()
			if got := limit; (got == nil) != (want == 0) || got != nil && (got.Wait != want || got.Rule != "few" || got.Limit != 2 || got.Parallel) {
				t.Errorf("call %d of 2 a minute: %+v, want a wait of %s", i+1, got, want)
			}
		}
		if _, limit := enter(t, p, as("b"), "chat", "m:latest"); limit != nil {
			t.Errorf("another caller: %v, want it let in", limit)
		}
		if _, limit := enter(t, p, as("a"), "list_models", ""); limit != nil {
			t.Errorf("a call without a model under a rule that names models: %v, want it let in", limit)
		}
		time.Sleep(30 * time.Second)
		if _, limit := enter(t, p, as("a"), "chat", "m:latest"); limit != nil {
			t.Errorf("after the wait: %v, want it let in", limit)
		}
	})
}

func TestParallelCalls(t *testing.T) {
	all, some := Rule{Name: "all", Limits: Limits{ParallelCalls: new(2)}}, Rule{Name: "some", Models: []string{"m"}, Limits: Limits{ParallelCalls: new(1)}}
	p := newPolicy(t, all, some)
	first, limit := enter(t, p, as("a"), "chat", "m:latest")
	if limit != nil {
		t.Fatalf("the first call: %v", limit)
	}
	second, limit := enter(t, p, as("a"), "chat", "m:latest")
	if limit == nil || limit.Rule != "some" || !limit.Parallel || limit.Limit != 1 {
		t.Errorf("a second call with the model: %+v, want the limit of some", limit)
	}
	if _, limit := enter(t, p, as("a"), "chat", ""); limit == nil || limit.Rule != "all" {
		t.Errorf("a third call: %+v, want the limit of all", limit)
	}
	if other, limit := enter(t, p, as("b"), "chat", "m:latest"); limit != nil {
		t.Errorf("another caller: %v, want it let in", limit)
	} else {
		other.Leave()
	}
	for _, pass := range []*Pass{first, second, second} {
		pass.Leave()
	}
	if diff := cmp.Diff(map[slot]int{}, p.slots.taken); diff != "" {
		t.Errorf("slots held after all calls have left (-want +got):\n%s", diff)
	}
}

// A call that is refused for calls at once costs none of the minute's.
func TestBusyCostsNoRate(t *testing.T) {
	p := newPolicy(t, Rule{Limits: Limits{ParallelCalls: new(1), CallsPerMinute: new(2)}})
	first, _ := enter(t, p, as("a"), "chat", "")
	for range 5 {
		if _, limit := enter(t, p, as("a"), "chat", ""); limit == nil || !limit.Parallel {
			t.Errorf("a call beside the one allowed: %+v, want the limit of calls at once", limit)
		}
	}
	first.Leave()
	if _, limit := enter(t, p, as("a"), "chat", ""); limit != nil {
		t.Errorf("the second call of two a minute: %v, want it let in", limit)
	}
}

func TestTightestLimitWins(t *testing.T) {
	p := newPolicy(t,
		Rule{Limits: Limits{MaxNumCtx: new(8192), MaxKeepAlive: new(time.Hour), Priority: High, Hosts: []string{"night", "eu"}}},
		Rule{Models: []string{"m"}, Limits: Limits{MaxNumCtx: new(4096), MaxNumPredict: new(512), Priority: Low, Hosts: []string{"gpu", "eu"}}},
		Rule{Callers: []string{"a"}, Limits: Limits{MaxNumCtx: new(6000), MaxKeepAlive: new(time.Minute)}},
		Rule{Callers: []string{"other"}, Limits: Limits{MaxNumCtx: new(1), Hosts: []string{"other"}}},
		Rule{Tools: []string{"embed"}, Limits: Limits{MaxNumCtx: new(2)}},
		Rule{Models: []string{"n"}, Effect: Deny},
	)
	pass, err := p.Enter(as("a"), "chat")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pass.Use(as("a"), "m:latest")
	want := Limits{MaxNumCtx: new(4096), MaxNumPredict: new(512), MaxKeepAlive: new(time.Minute), Priority: Low, Hosts: []string{"eu", "gpu", "night"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("limits of a call that four rules are about: %v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(want, p.Limits(as("a"), "chat", "m:latest")); diff != "" {
		t.Errorf("Limits of the same (-want +got):\n%s", diff)
	}
	want = Limits{MaxNumCtx: new(6000), MaxKeepAlive: new(time.Minute), Priority: High, Hosts: []string{"eu", "night"}}
	if diff := cmp.Diff(want, p.Limits(as("a"), "chat")); diff != "" {
		t.Errorf("Limits of calls with any model (-want +got):\n%s", diff)
	}
	var denied *Denied
	if _, err := pass.Use(as("a"), "n:latest"); !errors.As(err, &denied) || denied.Rule != "rule 6" || pass.May("n:latest") {
		t.Errorf("Use of a model that is denied: %v, May %v; want rule 6 to deny it", err, pass.May("n:latest"))
	}
}

// brokenLimiter is a store that cannot be reached.
type brokenLimiter struct{}

var errStore = errors.New("no store")

func (brokenLimiter) Take(context.Context, string, int, int) (time.Duration, error) {
	return 0, errStore
}

func TestBrokenLimiterLetsNobodyIn(t *testing.T) {
	p, err := New([]Rule{{Limits: Limits{CallsPerMinute: new(1), ParallelCalls: new(1)}}}, Options{Tools: tools(), Limiter: brokenLimiter{}})
	if err != nil {
		t.Fatal(err)
	}
	if pass, err := p.Enter(t.Context(), "chat"); pass != nil || !errors.Is(err, errStore) || len(p.slots.taken) != 0 {
		t.Errorf("Enter with a limiter that fails = %v, %v, holding %v; want its error and nothing held", pass, err, p.slots.taken)
	}
}
