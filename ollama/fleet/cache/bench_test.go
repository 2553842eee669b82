package cache

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"ollama-mcp/ollama"
)

// BenchmarkEmbed is what the cache costs for 32 texts of 768 numbers each, beside the least
// that reading Ollama's answer costs.
func BenchmarkEmbed(b *testing.B) {
	body := []byte("[" + strings.TrimSuffix(strings.Repeat("["+strings.TrimSuffix(strings.Repeat("-0.01234567,", 768), ",")+"],", 32), ",") + "]")
	var r ollama.EmbedResponse
	b.Run("reading", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := r.Embeddings.UnmarshalJSON(body); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, length := range []int{16, 400} {
		var sets [512][]string // twice what there is room for
		for i := range sets {
			for n := range 32 {
				sets[i] = append(sets[i], fmt.Sprintf("%-*d", length, i*32+n))
			}
		}
		for hits, of := range map[int]int{0: len(sets), 32: 1} {
			b.Run(fmt.Sprintf("%d bytes, %d hits", length, hits), func(b *testing.B) {
				e := NewEmbeddings(64 << 20)
				ask := func(context.Context, []string) (*ollama.EmbedResponse, error) {
					answer := r
					return &answer, nil
				}
				for i := range sets { // full
					_, _, _ = e.Embed(b.Context(), key, sets[i*of/len(sets)], ask)
				}
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					if _, got, err := e.Embed(b.Context(), key, sets[n%of], ask); err != nil || got != hits {
						b.Fatal(got, err)
					}
				}
			})
		}
	}
}
