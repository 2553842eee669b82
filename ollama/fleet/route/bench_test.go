package route

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"ollama-mcp/ollama"
)

// crowd is n hosts with 100 models each, 3 of them loaded; model-0 is loaded on a third of
// the hosts, model-1 nowhere, and of model-2 there are two versions.
func crowd(n int) []*Host {
	hosts := make([]*Host, n)
	for i := range hosts {
		models := map[ollama.Name]Model{}
		for j := range 100 {
			models[nameOf(j)] = Model{Digest: fmt.Sprintf("%064d", j), Size: 1}
		}
		models[nameOf(2)] = Model{Digest: fmt.Sprintf("%064d", -i%2)}
		h := &Host{Name: fmt.Sprintf("gpu-%03d.example.org", i), Models: models, MaxLoaded: 3, Weight: 2}
		for j := range 3 {
			h.Loaded = append(h.Loaded, Loaded{Digest: models[nameOf(10+j)].Digest, InFlight: i % 3, Slots: 4, Before: now.Add(-time.Duration(i%7) * time.Second)})
		}
		if i%3 == 0 {
			h.Loaded[2].Digest = models[nameOf(0)].Digest
		}
		hosts[i] = h
	}
	return hosts
}

var calls = []struct {
	name string
	call Call
}{
	{"loaded", Call{Model: nameOf(0), Affinity: 7}},
	{"cold", Call{Model: nameOf(1), Affinity: 7}},
	{"versions", Call{Model: nameOf(2)}},
	{"missing", Call{Model: "x:latest"}},
}

func BenchmarkChoose(b *testing.B) {
	for _, c := range calls {
		for _, n := range []int{1, 10, 100, 1000} {
			hosts := crowd(n)
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Choose(hosts, c.call, now)
				}
			})
		}
	}
}

// BenchmarkSnapshot is what a fleet of 100 hosts pays for its books: a call that begins or
// ends replaces one host, and a choice reads all the pointers.
func BenchmarkSnapshot(b *testing.B) {
	hosts := make([]atomic.Pointer[Host], 100)
	for i, h := range crowd(len(hosts)) {
		hosts[i].Store(h)
	}
	b.Run("change", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h := *hosts[7].Load()
			h.Loaded = slices.Clone(h.Loaded)
			h.Loaded[1].InFlight++
			hosts[7].Store(&h)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			all := make([]*Host, len(hosts))
			for i := range hosts {
				all[i] = hosts[i].Load()
			}
		}
	})
}

func BenchmarkAffinity(b *testing.B) {
	text := string(make([]byte, 100<<10))
	for b.Loop() {
		Affinity("ann", m, text, text)
	}
}

// TestChooseAllocates the candidates and nothing else, however many hosts there are.
func TestChooseAllocates(t *testing.T) {
	for _, c := range calls[:2] {
		for _, n := range []int{1, 100} {
			hosts := crowd(n)
			if got := testing.AllocsPerRun(100, func() { Choose(hosts, c.call, now) }); got > 1 {
				t.Errorf("Choose of %d hosts, %s: %.0f allocations, want 1", n, c.name, got)
			}
		}
	}
}
