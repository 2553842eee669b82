package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-mcp/ollama/ollamatest"
)

// benchModel is loaded, in every fake that must generate.
const benchModel = "bench:latest"

// benchEmbedModel is loaded too.
const benchEmbedModel = "bench-embed:latest"

const generateArguments = `{"model":"` + benchModel + `","prompt":"Once upon a time"}`

// fakeOllama starts a fake with ten models, of which two are loaded.
func fakeOllama(b *testing.B, s ollamatest.Script) (*ollamatest.Fake, direct) {
	b.Helper()
	s.Models = []ollamatest.FakeModel{
		{Name: benchModel, Loaded: true},
		{Name: benchEmbedModel, Loaded: true, Capabilities: []string{"completion", "embedding"}, EmbeddingLength: 768},
	}
	for n := range 8 {
		s.Models = append(s.Models, ollamatest.FakeModel{Name: fmt.Sprintf("other-%d:8b", n)})
	}
	f := ollamatest.NewFake(s)
	b.Cleanup(f.Close)
	t := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	b.Cleanup(t.CloseIdleConnections)
	return f, direct{http: &http.Client{Transport: t}, base: f.URL}
}

func sizes(b *testing.B, p programs) []figure {
	size := func(path string) float64 {
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		return float64(info.Size())
	}
	return []figure{{"stripped binary", size(p.ours), size(p.bare), "bytes", "bare", limit{value: 12e6}}}
}

func starts(b *testing.B, p programs) (figures []figure) {
	const rounds = 40
	up, _ := fakeOllama(b, ollamatest.Script{})
	down, _ := fakeOllama(b, ollamatest.Script{})
	down.Close()
	for _, ollama := range []struct {
		state string
		fake  *ollamatest.Fake
	}{{"up", up}, {"down", down}} {
		run := func(program string) func() time.Duration {
			return func() time.Duration {
				c := start(b, program, ollama.fake.URL)
				c.end()
				return c.started
			}
		}
		m := medians(rounds, run(p.ours), run(p.bare))
		figures = append(figures, figure{"start to initialize, Ollama " + ollama.state,
			ms(m[0]), ms(m[1]), "ms", "bare", limit{value: 2.5, ratio: true}})
	}
	return figures
}

func lists(b *testing.B, p programs) []figure {
	const rounds = 3000
	fake, plain := fakeOllama(b, ollamatest.Script{})
	ours, bare := start(b, p.ours, fake.URL), start(b, p.bare, fake.URL)
	list := func(c *child) func() time.Duration {
		return func() time.Duration { return c.roundTrip("tools/call", toolCall("list_models", "{}", "")) }
	}
	ping := func(c *child) func() time.Duration {
		return func() time.Duration { return c.roundTrip("ping", "{}") }
	}
	oursCPU, bareCPU := ours.cpu(), bare.cpu()
	m := medians(rounds, list(ours), list(bare), func() time.Duration {
		begin := time.Now()
		if _, err := plain.models(b.Context()); err != nil {
			b.Fatal(err)
		}
		return time.Since(begin)
	})
	oursCPU, bareCPU = (ours.cpu()-oursCPU)/(rounds+1), (bare.cpu()-bareCPU)/(rounds+1)
	pings := medians(rounds, ping(ours), ping(bare))
	return []figure{
		{"added to list_models, p50", us(m[0] - m[2]), us(m[1] - m[2]), "µs", "bare", limit{value: 1.5, ratio: true}},
		{"list_models, p50", us(m[0]), us(m[2]), "µs", "direct", limit{}},
		{"processor time of list_models", us(oursCPU), us(bareCPU), "µs", "bare", limit{}},
		{"ping, p50", us(pings[0]), us(pings[1]), "µs", "bare", limit{}},
	}
}

func memories(b *testing.B, p programs) []figure {
	const calls = 1000
	fake, _ := fakeOllama(b, ollamatest.Script{})
	used := func(program string) (now, peak float64) {
		c := start(b, program, fake.URL)
		defer c.end()
		for range calls {
			c.roundTrip("tools/call", toolCall("list_models", "{}", ""))
		}
		return c.memory()
	}
	oursNow, oursPeak := used(p.ours)
	bareNow, barePeak := used(p.bare)
	return []figure{
		{"memory after 1000 list_models", oursNow, bareNow, "MiB", "bare", limit{value: 20}},
		{"the same, peak", oursPeak, barePeak, "MiB", "bare", limit{}},
	}
}

func parallel(b *testing.B, p programs) []figure {
	const rounds, inFlight, calls = 9, 32, 320
	fake, plain := fakeOllama(b, ollamatest.Script{FirstDelay: 50 * time.Millisecond, Slots: inFlight})
	flood := func(c *child) func() time.Duration {
		return func() time.Duration { return c.flood(calls, inFlight, toolCall("generate", generateArguments, "")) }
	}
	m := medians(rounds, flood(start(b, p.ours, fake.URL)), flood(start(b, p.bare, fake.URL)), func() time.Duration {
		begin := time.Now()
		var workers sync.WaitGroup
		for range inFlight {
			workers.Go(func() {
				for range calls / inFlight {
					if _, err := plain.generate(b.Context(), benchModel, "Once upon a time"); err != nil {
						b.Error(err)
					}
				}
			})
		}
		workers.Wait()
		return time.Since(begin)
	})
	rate := func(d time.Duration) float64 { return calls / d.Seconds() }
	return []figure{
		{"32 calls of 50 ms in flight", rate(m[0]), rate(m[2]), "calls/s", "direct", limit{0.9, true, true}},
		{"the same, beside bare", rate(m[0]), rate(m[1]), "calls/s", "bare", limit{}},
	}
}

// benchTokens are the tokens of a long text; a number of them that 10 divides ends whole.
var benchTokens = []string{" the", " quick", " brown", " fox", " jumps", " over", " \"it", " lazy", " naïve", " dog.\n"}

func streams(b *testing.B, p programs) []figure {
	const rounds, few, many = 5, 10_000, 100_000
	fake, _ := fakeOllama(b, ollamatest.Script{Tokens: benchTokens})
	generate := func(c *child, tokens int) (text, deltas string) {
		fake.Change(func(s *ollamatest.Script) { s.TokenCount = tokens })
		c.request("tools/call", toolCall("generate", generateArguments, "stream"))
		r, deltas := c.answer()
		if want := strings.Repeat(strings.Join(benchTokens, ""), tokens/len(benchTokens)); r.Structured.Text != want {
			b.Fatalf("%s answered %d bytes, want %d", c.cmd.Path, len(r.Structured.Text), len(want))
		}
		return r.Structured.Text, deltas
	}
	ours, bare := start(b, p.ours, fake.URL), start(b, p.bare, fake.URL)
	generate(ours, few)
	_, peakFew := ours.memory()
	var peaks []float64
	oursCPU, bareCPU := ours.cpu(), bare.cpu()
	for range rounds {
		if text, deltas := generate(ours, many); deltas != text {
			b.Fatalf("the deltas have %d bytes, want the text's %d", len(deltas), len(text))
		}
		_, peak := ours.memory()
		peaks = append(peaks, peak)
		generate(bare, many)
	}
	perToken := func(d time.Duration) float64 { return us(d) / (rounds * many) }
	return []figure{
		{"processor time of a token of 100,000", perToken(ours.cpu() - oursCPU), perToken(bare.cpu() - bareCPU),
			"µs", "bare, no progress", limit{value: 5}},
		{"peak memory after 100,000 tokens", peaks[0], peakFew, "MiB", "after 10,000", limit{}},
		{"peak memory after 5 times 100,000", peaks[rounds-1], peaks[0], "MiB", "after the first", limit{}},
	}
}

func cancels(b *testing.B, p programs) []figure {
	const rounds = 100
	fake, plain := fakeOllama(b, ollamatest.Script{TokenDelay: time.Millisecond, TokenCount: 1_000_000})
	c := start(b, p.ours, fake.URL)
	aborts := 0
	aborted := func(since time.Time) time.Duration {
		ctx, stop := context.WithTimeout(b.Context(), 10*time.Second)
		defer stop()
		if err := fake.Await(ctx, func(s ollamatest.Seen) bool { return len(s.Aborts) > aborts }); err != nil {
			b.Fatalf("Ollama did not see the cancel: %v", err)
		}
		at := fake.Seen().Aborts[aborts].At
		aborts++
		return at.Sub(since)
	}
	var ours, control []time.Duration
	for range rounds {
		c.request("tools/call", toolCall("generate", generateArguments, "stream"))
		c.generating()
		begin := time.Now()
		c.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, c.lastID))
		ours = append(ours, aborted(begin))

		ctx, cancel := context.WithCancel(b.Context())
		body, err := plain.do(ctx, http.MethodPost, "/api/generate", []byte(generateArguments))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := bufio.NewReader(body).ReadBytes('\n'); err != nil {
			b.Fatal(err)
		}
		begin = time.Now()
		cancel()
		control = append(control, aborted(begin))
		body.Close()
	}
	c.request("ping", "{}")
	c.answer()
	slices.Sort(ours)
	slices.Sort(control)
	return []figure{
		{"cancel until Ollama sees it, slowest of 100", ms(ours[rounds-1]), ms(control[rounds-1]), "ms", "direct", limit{value: 100}},
		{"the same, p50", ms(ours[rounds/2]), ms(control[rounds/2]), "ms", "direct", limit{}},
	}
}
