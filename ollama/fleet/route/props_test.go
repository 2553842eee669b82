package route

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ollama-mcp/ollama"
)

var (
	names   = rapid.SampledFrom([]ollama.Name{"m:latest", "n:latest"})
	digests = rapid.SampledFrom([]string{"d", "e", "f"})
	wants   = rapid.SampledFrom([]string{"", "{4096}", "{8192}"})
)

func genHost(name string) *rapid.Generator[*Host] {
	return rapid.Custom(func(t *rapid.T) *Host {
		h := &Host{
			Name:      name,
			Down:      rapid.SampledFrom([]string{"", "", "", "timeout"}).Draw(t, "down"),
			Tags:      rapid.SampledFrom([][]string{nil, {"gpu"}, {"eu", "gpu"}}).Draw(t, "tags"),
			Priority:  rapid.IntRange(-1, 1).Draw(t, "priority"),
			Weight:    rapid.SampledFrom([]float64{-1, 0, 1, 2.5}).Draw(t, "weight"),
			MaxLoaded: rapid.IntRange(0, 3).Draw(t, "max loaded"),
			Evictions: rapid.IntRange(0, 1).Draw(t, "evictions"),
			Room:      rapid.Int64Range(-1, 2).Draw(t, "room"),
		}
		h.Models = rapid.MapOfN(names, rapid.Custom(func(t *rapid.T) Model {
			return Model{
				Digest: digests.Draw(t, "digest"), Size: rapid.Int64Range(0, 2).Draw(t, "size"),
				Remote: rapid.IntRange(0, 9).Draw(t, "remote") == 0, Barred: rapid.IntRange(0, 4).Draw(t, "barred") == 0,
			}
		}), 0, 2).Draw(t, "models")
		if rapid.IntRange(0, 9).Draw(t, "unknown") == 0 {
			h.Models = nil
		}
		h.Loaded = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Loaded {
			return Loaded{
				Digest: digests.Draw(t, "digest"), Loading: rapid.Bool().Draw(t, "loading"), Options: wants.Draw(t, "options"),
				InFlight: rapid.IntRange(0, 3).Draw(t, "in flight"), Slots: rapid.IntRange(0, 3).Draw(t, "slots"),
				Before: now.Add(-time.Duration(rapid.IntRange(0, 9).Draw(t, "idle")) * time.Minute),
			}
		}), 0, 3, func(l Loaded) string { return l.Digest }).Draw(t, "loaded")
		return h
	})
}

func genHosts(t *rapid.T) []*Host {
	hosts := make([]*Host, rapid.IntRange(0, 7).Draw(t, "n"))
	for i := range hosts {
		hosts[i] = genHost(fmt.Sprint("h", i)).Draw(t, "host")
	}
	return hosts
}

var genCall = rapid.Custom(func(t *rapid.T) Call {
	return Call{
		Model: names.Draw(t, "model"), Digest: rapid.SampledFrom([]string{"", "", "", "d"}).Draw(t, "digest"), Options: wants.Draw(t, "options"),
		Affinity: rapid.Uint64Range(0, 3).Draw(t, "affinity"), Needs: rapid.SampledFrom([][]string{nil, nil, {"gpu"}, {"h1"}}).Draw(t, "needs"),
		Except: rapid.SampledFrom([][]string{nil, nil, {"h0"}, {"h0", "h2"}}).Draw(t, "except"),
	}
})

// may is said anew here, from the words: who may take a call.
func may(h *Host, c Call) bool {
	m, has := h.Models[c.Model]
	fit := !slices.ContainsFunc(c.Needs, func(need string) bool { return h.Name != need && !slices.Contains(h.Tags, need) })
	return has && fit && !m.Barred && h.Down == "" && (c.Digest == "" || m.Digest == c.Digest) && !slices.Contains(c.Except, h.Name)
}

// ready reports whether a call can run on a host without a load.
func ready(h *Host, c Call) bool {
	m := h.Models[c.Model]
	return m.Remote || slices.ContainsFunc(h.Loaded, func(l Loaded) bool {
		return l.Digest == m.Digest && !l.Loading && (c.Options == "" || c.Options == l.Options)
	})
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts, call := genHosts(t), genCall.Draw(t, "call")
		var able []*Host
		for _, h := range hosts {
			if may(h, call) {
				able = append(able, h)
			}
		}
		got, err := Choose(hosts, call, now)
		if (err == nil) != (len(able) > 0) {
			t.Fatalf("Choose: %v, and %d hosts may take the call", err, len(able))
		}
		again, errAgain := Choose(rapid.Permutation(hosts).Draw(t, "permutation"), call, now)
		if err != nil {
			if err.Error() != errAgain.Error() {
				t.Fatalf("Choose of the permuted hosts: %v, want %v", errAgain, err)
			}
			return
		}
		if again.Host != got.Host || again.Unload != got.Unload || again.Why() != got.Why() {
			t.Fatalf("Choose of the permuted hosts: %s: %s, want %s: %s", again.Host.Name, again.Why(), got.Host.Name, got.Why())
		}
		if !slices.Contains(able, got.Host) {
			t.Fatalf("Choose: %s, which may not take the call", got.Host.Name)
		}
		if got.Model != got.Host.Models[call.Model] {
			t.Fatalf("Choose: model %+v, and %s has %+v", got.Model, got.Host.Name, got.Host.Models[call.Model])
		}
		same := func(h *Host) bool { return h.Models[call.Model].Digest == got.Model.Digest }
		if !ready(got.Host, call) && slices.ContainsFunc(able, func(h *Host) bool { return same(h) && ready(h, call) }) {
			t.Fatalf("Choose: %s, where it must be loaded; it is loaded elsewhere", got.Host.Name)
		}
		i := slices.IndexFunc(got.Host.Loaded, func(l Loaded) bool { return l.Digest == got.Unload })
		if got.Unload != "" && (got.Loaded != nil || i < 0 || got.Host.Loaded[i].InFlight > 0 || got.Host.Loaded[i].Loading) {
			t.Fatalf("Choose: unload %s, which is not idle, or not in the way", got.Unload)
		}
	})
}

// TestOrderIsComplete: every host is in the order or refused, and the input stays as it was.
func TestOrderIsComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts, call := genHosts(t), genCall.Draw(t, "call")
		before := make([]Host, len(hosts))
		for i, h := range hosts {
			before[i] = *h
			before[i].Loaded = slices.Clone(h.Loaded)
		}
		order, refused := Order(hosts, call, now)
		var seen []string
		for _, c := range order {
			seen = append(seen, c.Host.Name)
		}
		for _, r := range refused {
			seen = append(seen, r.Host.Name)
		}
		slices.Sort(seen)
		if len(seen) != len(hosts) || len(slices.Compact(seen)) != len(hosts) {
			t.Fatalf("Order: %v, want each of %d hosts once", seen, len(hosts))
		}
		if first, err := Choose(hosts, call, now); err == nil && first.Host != order[0].Host {
			t.Fatalf("Order begins with %s, Choose gives %s", order[0].Host.Name, first.Host.Name)
		}
		for i, h := range hosts {
			if d := gocmp.Diff(before[i], *h); d != "" {
				t.Fatalf("the snapshot was changed:\n%s", d)
			}
		}
	})
}

// idleHosts have m, loaded when warm is set, and nothing else to do.
func idleHosts(n int, warm bool) []*Host {
	hosts := make([]*Host, n)
	for i := range hosts {
		hosts[i] = has(fmt.Sprint("host-", i))
		if warm {
			hosts[i] = has(fmt.Sprint("host-", i), holds("d", 0, 0))
		}
	}
	return hosts
}

func choose(t rapid.TB, hosts []*Host, c Call) *Host {
	t.Helper()
	got, err := Choose(hosts, c, now)
	if err != nil {
		t.Fatalf("Choose: %v", err)
	}
	return got.Host
}

// TestAddHost: what moves moves to the new host, and it gets its share of the keys by weight.
func TestAddHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const keys = 300
		hosts := idleHosts(rapid.IntRange(2, 12).Draw(t, "n"), true)
		sum := 0.0
		for _, h := range hosts {
			h.Weight = rapid.Float64Range(0.5, 2).Draw(t, "weight")
			sum += h.Weight
		}
		added, moved := hosts[len(hosts)-1], 0
		from := rapid.Uint64().Draw(t, "keys")
		for i := range uint64(keys) {
			call := Call{Model: m, Affinity: mix(from+i) | 1}
			was, is := choose(t, hosts[:len(hosts)-1], call), choose(t, hosts, call)
			switch {
			case is == added:
				moved++
			case is != was:
				t.Fatalf("key %x moved from %s to %s", call.Affinity, was.Name, is.Name)
			}
		}
		share := added.Weight / sum
		if off := math.Abs(float64(moved) - keys*share); off > 6*math.Sqrt(keys*share*(1-share)) {
			t.Fatalf("%d of %d keys moved, want about %.0f", moved, keys, keys*share)
		}
	})
}

// TestColdModelsSpread: models that are loaded nowhere spread evenly, and one more host
// takes its share from the others.
func TestColdModelsSpread(t *testing.T) {
	const models, n = 2000, 5
	hosts := idleHosts(n+1, false)
	count := map[*Host]int{}
	for i := range models {
		name, digest := ollama.Name(fmt.Sprint("model-", i)), fmt.Sprint("sha256:", i)
		for _, h := range hosts {
			h.Models = map[ollama.Name]Model{name: {Digest: digest}}
		}
		was, is := choose(t, hosts[:n], Call{Model: name}), choose(t, hosts, Call{Model: name})
		if count[is]++; is != was && is != hosts[n] {
			t.Fatalf("%s moved from %s to %s", name, was.Name, is.Name)
		}
	}
	for _, h := range hosts {
		if share := models / (n + 1); count[h] < share*3/4 || count[h] > share*5/4 {
			t.Errorf("%s has %d models, want about %d", h.Name, count[h], share)
		}
	}
}

// TestBoundedLoad: a prompt that everybody sends cannot take more than twice the fair share
// of a host, and stays on few hosts while it can.
func TestBoundedLoad(t *testing.T) {
	const calls, n = 90, 3
	hosts := idleHosts(n, true)
	for _, h := range hosts {
		h.Loaded[0].Slots = calls
	}
	for i := range calls {
		h := choose(t, hosts, Call{Model: m, Affinity: 7})
		h.Loaded[0].InFlight++
		if most := int(math.Ceil(2 * float64(i+1) / n)); h.Loaded[0].InFlight > most {
			t.Fatalf("%d calls on %s of %d in all, want at most %d", h.Loaded[0].InFlight, h.Name, i+1, most)
		}
	}
	var got []int
	for _, h := range hosts {
		got = append(got, h.Loaded[0].InFlight)
	}
	if slices.Sort(got); got[2] != 2*calls/n {
		t.Errorf("calls on the hosts: %v, want the first to have %d", got, 2*calls/n)
	}
}
