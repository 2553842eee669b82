package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/ollama"
)

// caller is one call of a random crowd.
type caller struct {
	n      int
	key    Key
	texts  []string
	begins time.Duration
	leaves time.Duration // after it began; 0: it stays
	takes  time.Duration // each of its questions
	fails  bool          // its questions
}

func callers(calm bool) *rapid.Generator[[]caller] {
	text := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "zero"})
	ms := func(most int) *rapid.Generator[time.Duration] {
		return rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(t, "ms")) * time.Millisecond
		})
	}
	one := rapid.Custom(func(t *rapid.T) caller {
		c := caller{
			key:    Key{Caller: rapid.SampledFrom([]string{"ann", "ann", "ann", "bob"}).Draw(t, "caller"), Digest: "d"},
			texts:  rapid.SliceOfN(text, 1, 6).Draw(t, "texts"),
			begins: ms(20).Draw(t, "begins"),
			takes:  ms(10).Draw(t, "takes"),
		}
		if !calm {
			c.fails = rapid.IntRange(0, 3).Draw(t, "fails") == 0
			c.leaves = max(0, ms(24).Draw(t, "leaves")-12*time.Millisecond)
		}
		return c
	})
	return rapid.SliceOfN(one, 1, 12)
}

// crowd is what happened to callers.
type crowd struct {
	cache *Embeddings
	mu    sync.Mutex // guards what follows
	sent  map[string]int
	asks  int
	wrong []string
}

func (c *crowd) problem(format string, a ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, a...))
}

// faultOf is the failure of a call's own question.
type faultOf int

func (f faultOf) Error() string { return fmt.Sprintf("of call %d", int(f)) }

func (c *crowd) run(callers []caller) {
	var wg sync.WaitGroup
	for i, one := range callers {
		one.n = i
		wg.Go(func() {
			time.Sleep(one.begins)
			c.call(one)
		})
	}
	wg.Wait()
}

// call embeds and checks what must be true of each call: it has the vectors of its inputs, or
// an error of its own.
func (c *crowd) call(one caller) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if one.leaves > 0 {
		defer time.AfterFunc(one.leaves, cancel).Stop()
	}
	start, sent, again := time.Now(), 0, map[string]bool{}
	r, hits, err := c.cache.Embed(ctx, one.key, one.texts, func(ctx context.Context, texts []string) (*ollama.EmbedResponse, error) {
		sent += len(texts)
		for _, text := range texts {
			if again[text] {
				c.problem("call %d sent %s again", one.n, text)
			}
			again[text] = true
		}
		c.asked(one.key, texts)
		select {
		case <-time.After(one.takes):
		case <-ctx.Done():
			return nil, fmt.Errorf("asking: %w", ctx.Err())
		}
		if one.fails {
			return nil, faultOf(one.n)
		}
		r := &ollama.EmbedResponse{PromptEvalCount: len(texts)}
		return r, r.Embeddings.UnmarshalJSON([]byte(vectors(one.key, texts)))
	})
	switch took := time.Since(start); {
	case errors.Is(err, context.Canceled) && (one.leaves == 0 || took != one.leaves):
		c.problem("call %d ended with %v after %v, and leaves after %v", one.n, err, took, one.leaves)
	case err != nil && !errors.Is(err, context.Canceled) && (!one.fails || !errors.Is(err, faultOf(one.n))):
		c.problem("call %d: an error that is not its own: %v", one.n, err)
	case err == nil && string(r.Embeddings.JSON()) != vectors(one.key, one.texts):
		c.problem("call %d: Embed(%v) = %s, want %s", one.n, one.texts, r.Embeddings.JSON(), vectors(one.key, one.texts))
	case err == nil && (hits != len(one.texts)-sent || r.PromptEvalCount != sent):
		c.problem("call %d: %d hits and a count of %d of %d texts, %d of them sent", one.n, hits, r.PromptEvalCount, len(one.texts), sent)
	}
	if s := c.cache.Stats(); s.Bytes > s.Max {
		c.problem("%d bytes, more than %d", s.Bytes, s.Max)
	}
}

func (c *crowd) asked(k Key, texts []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asks++
	for _, text := range texts {
		c.sent[k.Caller+" "+text]++
	}
}

func (c *crowd) check(t *rapid.T) {
	if len(c.wrong) > 0 {
		t.Fatal(strings.Join(c.wrong, "\n"))
	}
	if n := len(c.cache.flying); n > 0 {
		t.Fatalf("%d texts are still on their way", n)
	}
}

// TestCrowd has calls of any kind at any time, with little room or much.
func TestCrowd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		max := rapid.SampledFrom([]int64{1, 3 * placeBytes, 8 * placeBytes, 1 << 20}).Draw(rt, "max")
		c, of := crowd{cache: NewEmbeddings(max), sent: map[string]int{}}, callers(false).Draw(rt, "callers")
		synctest.Test(t, func(*testing.T) { c.run(of) })
		c.check(rt)
	})
}

// TestCalmCrowd has neither failures nor cancels: no text is asked for twice, but for that
// which is not kept, and nobody asks twice.
func TestCalmCrowd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c, of := crowd{cache: NewEmbeddings(1 << 20), sent: map[string]int{}}, callers(true).Draw(rt, "callers")
		synctest.Test(t, func(*testing.T) { c.run(of) })
		c.check(rt)
		for text, n := range c.sent {
			if n > 1 && !strings.HasSuffix(text, "zero") {
				rt.Fatalf("%s was sent %d times, want once", text, n)
			}
		}
		if c.asks > len(of) {
			rt.Fatalf("%d questions for %d calls", c.asks, len(of))
		}
	})
}
