package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"ollama-mcp/ollama/ollamatest"
)

// work is a call over HTTP, and the request to Ollama that it stands for.
type work struct {
	name, tool, arguments string
	path, body            string // of the request; no body is a GET
	want                  string // in both answers
	calls                 int    // in a round
	most                  float64
	script                ollamatest.Script
}

// overHTTP compares a call with the request to Ollama that it stands for, through a
// reverse proxy to the same fake. Ours also asks what is loaded before each generate and
// embed, and for list_models beside what is installed; calls in flight share the answers.
// What that comes to is a figure too.
func overHTTP(b *testing.B, p programs) (figures []figure) {
	streaming := ollamatest.Script{Slots: 2 * floodWidth, TokenDelay: 2 * time.Millisecond}
	quick := ollamatest.Script{Slots: 2 * floodWidth}
	for _, w := range []work{
		{"list_models", "list_models", "{}", "api/tags", "", benchModel, 3200, 1.25, quick},
		{"generate, 16 tokens, one in 2 ms", "generate", generateArguments, "api/generate", generateArguments, "brown", 800, 1.25, streaming},
		{"generate, 16 tokens at once", "generate", generateArguments, "api/generate", generateArguments, "brown", 3200, 1.25, quick},
		{"embed, 64×768", "embed", embedArguments(true), "api/embed", embedArguments(false), `"embeddings":[[`, 320, 1.5, quick},
	} {
		figures = append(figures, w.measure(b, p)...)
	}
	return figures
}

func (w work) measure(b *testing.B, p programs) []figure {
	const rounds = 5
	fake, _ := fakeOllama(b, w.script)
	ours, proxy := serveOurs(b, p, fake.URL), daemon(b, fake.URL, p.proxy)
	var cpu [2][]time.Duration
	flood := func(i int, s *served, ask func(int) *http.Request) func() time.Duration {
		return func() time.Duration {
			before := s.cpu()
			took := s.flood(w.calls, ask, w.want)
			cpu[i] = append(cpu[i], s.cpu()-before)
			return took
		}
	}
	method := http.MethodPost
	if w.body == "" {
		method = http.MethodGet
	}
	relay := func(int) *http.Request { return proxy.request(method, w.path, http.Header{}, w.body) }
	before := fake.Seen().Requests
	m := medians(rounds, flood(0, ours.served, ours.call(w.tool, w.arguments)), flood(1, proxy, relay))
	asked := -(rounds + 1) * w.calls // by the proxy
	for path, n := range fake.Seen().Requests {
		asked += n - before[path]
	}
	calls := float64(w.calls)
	each := func(i int) float64 { // the first round does not count
		return us(slices.Sorted(slices.Values(cpu[i][1:]))[rounds/2]) / calls
	}
	return []figure{
		{"over HTTP: " + w.name, each(0), each(1), "µs of processor", "proxy", limit{value: w.most, ratio: true}},
		{"the same, rate", calls / m[0].Seconds(), calls / m[1].Seconds(), "calls/s", "proxy", limit{0.9, true, true}},
		{"the same, asked of Ollama", float64(asked) / ((rounds + 1) * calls), 1, "requests a call", "proxy", limit{}},
	}
}

// embedArguments asks for 64 vectors; only our tool knows inline.
func embedArguments(inline bool) string {
	arguments := map[string]any{"model": benchEmbedModel}
	if inline {
		arguments["inline"] = true
	}
	var texts []string
	for n := range 64 {
		texts = append(texts, fmt.Sprintf("text %d", n))
	}
	arguments["input"] = texts
	b, _ := json.Marshal(arguments) // plain words: cannot fail
	return string(b)
}

// crowd measures calls of which a thousand are in flight on one HTTP/2 connection, alone
// and beside one whose answer nobody reads.
func crowd(b *testing.B, p programs) []figure {
	const inFlight, rounds = 1000, 4
	fake, _ := fakeOllama(b, ollamatest.Script{Slots: inFlight, FirstDelay: 50 * time.Millisecond})
	ours := serveOurs(b, p, fake.URL, "--max-calls-per-caller", strconv.Itoa(inFlight+1))
	ours.useHTTP2()
	ours.together(inFlight) // does not count
	var alone, beside []time.Duration
	for range rounds {
		alone = append(alone, ours.together(inFlight)...)
		stalled, err := ours.client.Do(ours.call("embed", embedArguments(true))(inFlight))
		if err != nil {
			b.Fatal(err)
		}
		beside = append(beside, ours.together(inFlight)...)
		if answer, err := io.ReadAll(stalled.Body); err != nil || !bytes.HasSuffix(answer, []byte("}}")) {
			b.Errorf("the stalled call ended with %d bytes, %v, want a whole answer", len(answer), err)
		}
		stalled.Body.Close()
	}
	slices.Sort(alone)
	slices.Sort(beside)
	at := func(took []time.Duration, percent int) float64 { return ms(took[len(took)*percent/100]) }
	return []figure{
		{"1,000 calls of 50 ms on one HTTP/2 connection beside a stalled one, p50", at(beside, 50), at(alone, 50), "ms", "none stalled", limit{}},
		{"the same, p99", at(beside, 99), at(alone, 99), "ms", "none stalled", limit{}},
	}
}

// together makes so many calls at once, and returns how long each took.
func (m *mcpServer) together(n int) []time.Duration {
	m.b.Helper()
	took := make([]time.Duration, n)
	call := m.call("generate", generateArguments)
	var callers sync.WaitGroup
	for i := range took {
		callers.Go(func() {
			var body bytes.Buffer
			begin := time.Now()
			if err := m.exchange(call(i), &body); err != nil || !bytes.Contains(body.Bytes(), []byte("brown")) {
				m.b.Errorf("call %d: %v, %.300q, want a text", i, err, body.Bytes())
			}
			took[i] = time.Since(begin)
		})
	}
	callers.Wait()
	return took
}
