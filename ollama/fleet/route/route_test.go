package route

import (
	"errors"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
)

const m = ollama.Name("m:latest")

var now = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)

// has is a host that is up and has m, with digest d, and o.
func has(name string, with ...func(*Host)) *Host {
	h := &Host{Name: name, Models: map[ollama.Name]Model{m: {Digest: "d", Size: 5}, "o:latest": {Digest: "o", Size: 5}}}
	for _, w := range with {
		w(h)
	}
	return h
}

func model(x Model) func(*Host)    { return func(h *Host) { h.Models = map[ollama.Name]Model{m: x} } }
func down(h *Host)                 { h.Down, h.Since = "connection refused", now }
func tags(t ...string) func(*Host) { return func(h *Host) { h.Tags = t } }
func prio(p int) func(*Host)       { return func(h *Host) { h.Priority = p } }
func weight(w float64) func(*Host) { return func(h *Host) { h.Weight = w } }
func at(n int) func(*Host)         { return func(h *Host) { h.MaxLoaded = n } }
func evicted(n int) func(*Host)    { return func(h *Host) { h.Evictions = n } }
func space(n int64) func(*Host)    { return func(h *Host) { h.Room = n } }

// holds has a model in memory that has not been wanted for some minutes, with calls in flight.
func holds(digest string, idle, calls int) func(*Host) {
	return func(h *Host) {
		h.Loaded = append(h.Loaded, Loaded{Digest: digest, InFlight: calls, Slots: 4, Before: now.Add(-time.Duration(idle) * time.Minute)})
	}
}

func loading(digest string, calls int) func(*Host) {
	return func(h *Host) {
		h.Loaded = append(h.Loaded, Loaded{Digest: digest, Loading: true, InFlight: calls, Slots: 4})
	}
}

func options(o string) func(*Host) {
	return func(h *Host) { h.Loaded[len(h.Loaded)-1].Options = o }
}

// The hash alone prefers c to a to b for digest d, and b to c to a for affinity 5.
func TestChoose(t *testing.T) {
	type hosts = []*Host
	tests := []struct {
		name   string
		hosts  hosts
		call   Call
		want   string
		unload string
		why    string
	}{
		{name: "the only host", hosts: hosts{has("a")}, want: "a", why: "the only host that can take it; to be loaded"},
		{name: "not one that is down", hosts: hosts{has("a"), has("b", down)}, want: "a", why: "the only host that can take it; to be loaded"},
		{name: "not one that may not", hosts: hosts{has("a"), has("b", model(Model{Digest: "d", Barred: true}))}, want: "a", why: "the only host that can take it; to be loaded"},
		{name: "not one without it", hosts: hosts{has("a"), {Name: "b", Models: map[ollama.Name]Model{}}}, want: "a", why: "the only host that can take it; to be loaded"},
		{name: "not one that was tried", hosts: hosts{has("a"), has("b")}, call: Call{Except: []string{"b"}}, want: "a", why: "the only host that can take it; to be loaded"},
		{name: "one with the tag", hosts: hosts{has("a", tags("eu", "gpu")), has("b", tags("gpu"))}, call: Call{Needs: []string{"gpu", "eu"}}, want: "a", why: "the only host that can take it; to be loaded"},
		{name: "a host by name", hosts: hosts{has("a"), has("b")}, call: Call{Needs: []string{"a"}}, want: "a", why: "the only host that can take it; to be loaded"},

		{name: "the version that most have", hosts: hosts{has("a"), has("b", model(Model{Digest: "x"}), holds("x", 0, 0)), has("c")},
			want: "c", why: "of 3 hosts 2 with the version that most hosts have, 1 by the hash of the model; to be loaded"},
		{name: "hosts that are down vote", hosts: hosts{has("a"), has("b", model(Model{Digest: "x"})), has("c", model(Model{Digest: "x"}), down)},
			want: "b", why: "of 2 hosts 1 with the version that most hosts have; to be loaded"},
		{name: "hosts that were tried vote", hosts: hosts{has("a"), has("b", model(Model{Digest: "x"})), has("c", model(Model{Digest: "x"}))}, call: Call{Except: []string{"c"}},
			want: "b", why: "of 2 hosts 1 with the version that most hosts have; to be loaded"},
		{name: "a tie of versions", hosts: hosts{has("a"), has("b", model(Model{Digest: "x"}))},
			want: "a", why: "of 2 hosts 1 with the version that most hosts have; to be loaded"},
		{name: "another version rather than none", hosts: hosts{has("a", model(Model{Digest: "x"})), has("b", down), has("c", down)},
			want: "a", why: "the only host that can take it; to be loaded; another version than most hosts have"},
		{name: "the version asked for", hosts: hosts{has("a", model(Model{Digest: "x"})), has("b"), has("c")}, call: Call{Digest: "x"},
			want: "a", why: "the only host that can take it; to be loaded"},

		{name: "where it is loaded, full or not", hosts: hosts{has("a", holds("d", 0, 9)), has("b"), has("c")},
			want: "a", why: "of 3 hosts 1 with it loaded as the call wants"},
		{name: "loaded rather than loading", hosts: hosts{has("a", holds("d", 0, 3)), has("b", loading("d", 1)), has("c")},
			want: "a", why: "of 3 hosts 1 with it loaded as the call wants"},
		{name: "loading rather than not", hosts: hosts{has("a", loading("d", 9)), has("b"), has("c")},
			want: "a", why: "of 3 hosts 1 loading it already; being loaded"},
		{name: "with the same options", hosts: hosts{has("a", holds("d", 0, 3), options("{8192}")), has("b", holds("d", 0, 0), options("{4096}"))}, call: Call{Options: "{8192}"},
			want: "a", why: "of 2 hosts 1 with it loaded as the call wants"},
		{name: "with any options", hosts: hosts{has("a", holds("d", 0, 0), options("{8192}")), has("b", holds("d", 0, 1), options("{4096}"))},
			want: "a", why: "of 2 hosts 1 with the fewest calls for its weight"},
		{name: "remote models are not loaded", hosts: hosts{has("a", model(Model{Digest: "d", Remote: true}), at(1), holds("o", 0, 0))},
			want: "a", why: "the only host that can take it"},

		{name: "a free slot before affinity", hosts: hosts{has("a", holds("d", 0, 3)), has("b", holds("d", 0, 4)), has("c", holds("d", 0, 4))}, call: Call{Affinity: 5},
			want: "a", why: "of 3 hosts 1 with a free slot"},
		{name: "no slot free anywhere", hosts: hosts{has("a", holds("d", 0, 5)), has("b", holds("d", 0, 4)), has("c", holds("d", 0, 6))},
			want: "b", why: "of 3 hosts 1 with the fewest calls for its weight"},
		{name: "affinity before priority, weight and calls", hosts: hosts{has("a", holds("d", 0, 0), prio(1), weight(1.01)), has("b", holds("d", 0, 1)), has("c", holds("d", 0, 0))}, call: Call{Affinity: 5},
			want: "b", why: "of 3 hosts 1 by prefix affinity"},
		{name: "affinity within bounds", hosts: hosts{has("a", holds("d", 0, 0)), has("b", holds("d", 0, 2)), has("c", holds("d", 0, 0))}, call: Call{Affinity: 5},
			want: "c", why: "of 3 hosts 2 without more than twice its share of calls, 1 by prefix affinity"},
		{name: "priority before weight and calls", hosts: hosts{has("a", holds("d", 0, 3), prio(1)), has("b", holds("d", 0, 0), weight(9))},
			want: "a", why: "of 2 hosts 1 by priority"},
		{name: "fewest calls of any model", hosts: hosts{has("a", holds("d", 0, 1)), has("b", holds("d", 0, 0), holds("o", 0, 2))},
			want: "a", why: "of 2 hosts 1 with the fewest calls for its weight"},
		{name: "calls by weight", hosts: hosts{has("a", holds("d", 0, 3), weight(4.5)), has("b", holds("d", 0, 0))},
			want: "a", why: "of 2 hosts 1 with the fewest calls for its weight"},
		{name: "a tie of all", hosts: hosts{has("a", holds("d", 0, 1)), has("b", holds("d", 0, 1)), has("c", holds("d", 0, 1))},
			want: "c", why: "of 3 hosts 1 by the hash of the model"},

		{name: "room by max_loaded", hosts: hosts{has("a", at(2), holds("o", 0, 1)), has("b", at(1), holds("o", 9, 0)), has("c", at(1), holds("o", 9, 0))},
			want: "a", why: "of 3 hosts 1 with the most room; to be loaded"},
		{name: "room by memory", hosts: hosts{has("a", space(5), holds("o", 0, 0)), has("b", space(4), holds("o", 9, 0)), has("c", space(-1))},
			want: "a", why: "of 3 hosts 1 with the most room; to be loaded"},
		{name: "room by recent evictions", hosts: hosts{has("a", holds("o", 0, 0)), has("b", evicted(1), holds("o", 9, 0)), has("c", at(1), holds("o", 9, 0))},
			want: "a", why: "of 3 hosts 1 with the most room; to be loaded"},
		{name: "an empty host has room, whatever was evicted", hosts: hosts{has("a", evicted(3)), has("b", evicted(1), holds("o", 9, 0))},
			want: "a", why: "of 2 hosts 1 with the most room; to be loaded"},
		{name: "room, and no busy models", hosts: hosts{has("a", at(2), holds("o", 0, 0)), has("b", at(2), holds("o", 0, 1)), has("c", at(2), loading("o", 0))},
			want: "a", why: "of 3 hosts 1 with the fewest calls in the way; to be loaded"},
		{name: "not the one whose model is busy", hosts: hosts{has("a", at(1), holds("o", 0, 0)), has("b", at(1), holds("o", 9, 1)), has("c", at(1), loading("o", 0))},
			want: "a", unload: "o", why: "of 3 hosts 1 with the fewest calls in the way; to be loaded"},
		{name: "all busy: one with an idle model", hosts: hosts{has("a", at(2), holds("o", 0, 2), holds("p", 0, 0)), has("b", at(2), holds("o", 9, 1), holds("p", 9, 1))},
			want: "a", unload: "p", why: "of 2 hosts 1 with the fewest calls in the way; to be loaded"},
		{name: "all busy and full", hosts: hosts{has("a", at(1), holds("o", 0, 1)), has("b", at(1), holds("o", 9, 2))},
			want: "a", why: "of 2 hosts 1 with the fewest calls in the way; to be loaded"},
		{name: "a model that was not wanted for long", hosts: hosts{has("a", at(1), holds("o", 9, 0)), has("b", at(1), holds("o", 4, 0)), has("c", at(1), holds("o", 4, 0))},
			want: "a", unload: "o", why: "of 3 hosts 1 with a model to unload that was not wanted for long; to be loaded"},
		{name: "of much the same age: the hash", hosts: hosts{has("a", at(1), holds("o", 5, 0)), has("b", at(1), holds("o", 9, 0)), has("c", at(1), holds("o", 4, 0))},
			want: "a", unload: "o", why: "of 3 hosts 2 with a model to unload that was not wanted for long, 1 by the hash of the model; to be loaded"},
		{name: "the one to unload of several", hosts: hosts{has("a", at(4), holds("o", 4, 0), holds("p", 9, 0), holds("q", 99, 1), loading("r", 0))},
			want: "a", unload: "p", why: "the only host that can take it; to be loaded"},
		{name: "of several not wanted for as long, the first", hosts: hosts{has("a", at(2), holds("p", 9, 0), holds("o", 9, 0))},
			want: "a", unload: "o", why: "the only host that can take it; to be loaded"},
		{name: "nothing is unloaded where it may fit", hosts: hosts{has("a", evicted(1), holds("o", 9, 0))},
			want: "a", why: "the only host that can take it; to be loaded"},
		{name: "what was not wanted for long before priority", hosts: hosts{has("a", at(1), holds("o", 9, 0)), has("b", at(1), holds("o", 4, 0), prio(1))},
			want: "a", unload: "o", why: "of 2 hosts 1 with a model to unload that was not wanted for long; to be loaded"},
		{name: "elsewhere rather than loaded anew", hosts: hosts{has("a"), has("b", holds("d", 9, 0), options("{4096}"))}, call: Call{Options: "{8192}"},
			want: "a", why: "of 2 hosts 1 with the most room; to be loaded"},
		{name: "loaded anew", hosts: hosts{has("a", at(3), holds("o", 9, 0), holds("d", 2, 0), options("{4096}"))}, call: Call{Options: "{8192}"},
			want: "a", unload: "d", why: "the only host that can take it; to be loaded"},
		{name: "loaded anew when its calls have ended", hosts: hosts{has("a", at(3), holds("o", 9, 0), holds("d", 2, 1), options("{4096}"))}, call: Call{Options: "{8192}"},
			want: "a", why: "the only host that can take it; to be loaded"},
		{name: "cold: priority before the hash", hosts: hosts{has("a", prio(1)), has("b"), has("c")},
			want: "a", why: "of 3 hosts 1 by priority; to be loaded"},
		{name: "cold: the hash, whatever the affinity", hosts: hosts{has("a"), has("b"), has("c")}, call: Call{Affinity: 5},
			want: "c", why: "of 3 hosts 1 by the hash of the model; to be loaded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.call.Model = m
			got, err := Choose(tt.hosts, tt.call, now)
			if err != nil {
				t.Fatalf("Choose: %v", err)
			}
			if got.Host.Name != tt.want || got.Unload != tt.unload || got.Why() != tt.why {
				t.Errorf("Choose:\n got %s, unload %q: %s\nwant %s, unload %q: %s", got.Host.Name, got.Unload, got.Why(), tt.want, tt.unload, tt.why)
			}
		})
	}
}

// TestChooseNone has a host for each reason.
func TestChooseNone(t *testing.T) {
	hosts := []*Host{
		has("g", down),
		{Name: "f", Down: "HTTP 502", Since: now.Add(time.Minute)},
		has("e"),
		has("d", model(Model{Digest: "d", Barred: true}), down),
		{Name: "c", Models: map[ollama.Name]Model{}},
		{Name: "b"},
		has("a", tags("eu")),
		has("h", model(Model{Digest: "x"})),
	}
	for _, h := range hosts {
		if h.Name != "a" {
			h.Tags = []string{"us"}
		}
	}
	call := Call{Model: m, Digest: "d", Needs: []string{"us"}, Except: []string{"e"}}
	_, err := Choose(hosts, call, now)
	var none *Error
	if !errors.As(err, &none) {
		t.Fatalf("Choose: got %v, want an *Error", err)
	}
	const want = "no host for m:latest: a is not a host for this call; b has not yet told which models it has; c does not have it; " +
		"d has it and may not run it; e has it and was tried; f may have it, and takes no calls since 2026-01-02T15:01:00Z: HTTP 502; " +
		"g has it, and takes no calls since 2026-01-02T15:00:00Z: connection refused; h has another version of it"
	if err.Error() != want {
		t.Errorf("Choose:\n got %v\nwant %v", err, want)
	}
	type row struct {
		Name   string
		Reason Reason
		Has    bool
	}
	var got []row
	for _, r := range none.Hosts {
		got = append(got, row{r.Host.Name, r.Reason, r.Has})
	}
	rows := []row{{"a", Unfit, true}, {"b", Unknown, false}, {"c", Missing, false}, {"d", Barred, true}, {"e", Tried, true}, {"f", Down, false}, {"g", Down, true}, {"h", Other, true}}
	if d := gocmp.Diff(rows, got); d != "" {
		t.Errorf("Error.Hosts (-want +got):\n%s", d)
	}
}

func TestOrder(t *testing.T) {
	hosts := []*Host{has("a"), has("b", down), has("c", holds("d", 0, 0)), has("e", at(1), holds("o", 9, 0)), has("f", holds("d", 0, 5))}
	except := append(make([]string, 0, 9), "x", "y")
	order, refused := Order(hosts, Call{Model: m, Except: except[:1]}, now)
	if except[1] != "y" {
		t.Errorf("Order wrote %q into the caller's Except", except[1])
	}
	var got []string
	for _, c := range order {
		got = append(got, c.Host.Name+": "+c.Why())
	}
	for _, r := range refused {
		got = append(got, r.String())
	}
	want := []string{
		"c: of 4 hosts 2 with it loaded as the call wants, 1 with a free slot",
		"f: of 3 hosts 1 with it loaded as the call wants",
		"a: of 2 hosts 1 with the most room; to be loaded",
		"e: the only host that can take it; to be loaded",
		"b has it, and takes no calls since 2026-01-02T15:00:00Z: connection refused",
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("Order (-want +got):\n%s", d)
	}
}

// TestAffinity also holds the key to its value: replicas and versions should agree on it.
func TestAffinity(t *testing.T) {
	const want = 0x56762dd24b20e446
	if got := Affinity("ann", m, "be brief", "hello"); got != want {
		t.Errorf("Affinity: got %#x, want %#x", got, uint64(want))
	}
	for _, other := range []uint64{
		Affinity("bob", m, "be brief", "hello"),
		Affinity("ann", "o:latest", "be brief", "hello"),
		Affinity("ann", m, "be long", "hello"),
		Affinity("ann", m, "be brief", "hello!"),
		Affinity("ann", m, "be briefh", "ello"),
	} {
		if other == want {
			t.Error("Affinity: another call has the same key")
		}
	}
}
