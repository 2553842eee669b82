package fleet

import (
	"context"
	"fmt"
	"testing"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/route"
)

// BenchmarkPlace is what it takes to choose a host and to count a call in and out, by the
// number of hosts, each with 100 models of which four are loaded.
func BenchmarkPlace(b *testing.B) {
	for _, hosts := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			const models, loaded = 100, 4
			var all []Host
			for i := range hosts {
				all = append(all, Host{Client: ollama.NewClient(ollama.ClientOptions{Name: fmt.Sprintf("host-%03d", i)})})
			}
			f := New(all, Options{Poll: -1})
			defer f.Close()
			for i, h := range f.members {
				h.mu.Lock()
				h.known.models = map[ollama.Name]route.Model{}
				for m := range models {
					h.known.models[ollama.Name(fmt.Sprintf("model-%d:latest", m))] = route.Model{Digest: fmt.Sprint(m), Size: 1}
				}
				for l := range loaded {
					h.known.running = append(h.known.running, ollama.Running{Digest: fmt.Sprint((i*loaded + l) % models)})
				}
				h.publish()
				h.mu.Unlock()
			}
			n := &need{op: "chat", opening: []string{"You are terse.", "Hello."}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				n.model = ollama.Name(fmt.Sprintf("model-%d:latest", i%models))
				v, err := f.choose(b.Context(), n, nil)
				if err != nil {
					b.Fatal(err)
				}
				v.leave(context.Canceled)
			}
		})
	}
}
