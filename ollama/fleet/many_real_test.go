package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// A thousand calls are given up on two real Ollamas, waiting or running. Ollama loses slots over that
// (https://github.com/ollama/ollama/issues/17131): whatever it lost is back when the next calls come.
func TestThousandCancelsOfRealOllamas(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var hosts []fleet.Host
	for i, real := range ollamatest.NewReals(t, 2) {
		host, err := ollama.ParseHost(real.URL)
		if err != nil {
			t.Fatal(err)
		}
		name := string(rune('a' + i))
		hosts = append(hosts, fleet.Host{Client: ollama.NewClient(ollama.ClientOptions{Host: host, Name: name}), Address: real.URL, Parallel: 1})
	}
	f := fleet.New(hosts, fleet.Options{
		WedgeAfter: 2 * time.Second,
		Pins:       map[ollama.Name]fleet.Pin{ollamatest.TinyModel: {Preload: len(hosts)}},
	})
	defer f.Close()
	generate := func(ctx context.Context, caller, tokens int) error {
		ctx = fleet.WithCaller(ctx, fleet.Caller{Name: fmt.Sprint("caller ", caller)})
		r := &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: fmt.Sprint("the sea ", caller), Options: &ollama.Options{NumPredict: &tokens}}
		for _, err := range f.Generate(ctx, r, fleet.Watch{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	const callers, each = 20, 50
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), 0))
			for range each {
				given, giveUp := context.WithCancel(ctx) // without a deadline, which the line would look at
				timer := time.AfterFunc(time.Duration(random.Int64N(60e6)), giveUp)
				if err := generate(given, caller, 100_000); !errors.Is(err, context.Canceled) {
					t.Errorf("a call that is given up: %v, want its context's end", err)
				}
				timer.Stop()
			}
		})
	}
	wg.Wait()
	for caller := range 2 * len(hosts) {
		wg.Go(func() {
			if err := generate(ctx, caller, 5); err != nil {
				t.Errorf("a call after all of them: %v", err)
			}
		})
	}
	wg.Wait()
	for _, h := range f.Hosts(ctx) {
		if h.Err != nil || len(h.Calls)+len(h.Loading) != 0 {
			t.Errorf("in the end: %+v, want a host that is well and has nothing to do", h)
		}
	}
}
