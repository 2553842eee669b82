package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// alone measures what a fleet of one host adds to its client: a look at what is loaded, the
// choice of the one host, the line, the watch over a model that could be wedged.
func alone(b *testing.B, _ programs) []figure {
	const rounds = 300
	fake, _ := fakeOllama(b, ollamatest.Script{Slots: 4, FirstDelay: 5 * time.Millisecond, TokenDelay: time.Millisecond, TokenCount: 16})
	host, err := ollama.ParseHost(fake.URL)
	if err != nil {
		b.Fatal(err)
	}
	client := ollama.NewClient(ollama.ClientOptions{Host: host})
	b.Cleanup(client.Close)
	hosts := fleet.New([]fleet.Host{{Client: ollama.NewClient(ollama.ClientOptions{Host: host})}}, fleet.Options{})
	b.Cleanup(hosts.Close)
	generate := &ollama.GenerateRequest{Model: benchModel, Prompt: "Once upon a time"}
	texts := make([]string, 64)
	for i := range texts {
		texts[i] = fmt.Sprint(i, strings.Repeat(" word", 50))
	}
	embed := &ollama.EmbedRequest{Model: benchEmbedModel, Input: texts}
	took := func(do func(context.Context) error) func() time.Duration {
		return func() time.Duration {
			begin := time.Now()
			if err := do(b.Context()); err != nil {
				b.Fatal(err)
			}
			return time.Since(begin)
		}
	}
	g := medians(rounds, took(func(ctx context.Context) error {
		for _, err := range hosts.Generate(ctx, generate, fleet.Watch{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}), took(func(ctx context.Context) error {
		for _, err := range client.Generate(ctx, generate) {
			if err != nil {
				return err
			}
		}
		return nil
	}))
	e := medians(rounds, took(func(ctx context.Context) error { _, err := hosts.Embed(ctx, embed, "", fleet.Watch{}); return err }),
		took(func(ctx context.Context) error { _, err := client.Embed(ctx, embed); return err }))
	limit := limit{value: 1.1, ratio: true}
	return []figure{
		{"generate through a fleet of one, 16 tokens in 21 ms", us(g[0]), us(g[1]), "µs", "client", limit},
		{"embed 64×768 through a fleet of one", us(e[0]), us(e[1]), "µs", "client", limit},
	}
}
