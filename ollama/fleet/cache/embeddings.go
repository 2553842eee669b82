package cache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"ollama-mcp/ollama"
)

// Embeddings keeps the vectors of texts, and shares those that are on their way: of calls at
// the same time for the same text one asks. Nil keeps and shares nothing. It is safe for
// concurrent use; it must be made by [NewEmbeddings].
//
// An answer is kept as it came, without a copy. A text belongs to the last answer that had
// it, so that what goes first was not used for the longest time.
type Embeddings struct {
	kept *lru

	mu     sync.Mutex // guards flying; its holder may take that of kept
	flying map[sum]seat
}

// NewEmbeddings makes a cache of up to max bytes; nil if that is not above 0.
func NewEmbeddings(max int64) *Embeddings {
	if max <= 0 {
		return nil
	}
	return &Embeddings{kept: newLRU(max), flying: map[sum]seat{}}
}

// Stats tells how full the cache is.
func (e *Embeddings) Stats() Stats {
	if e == nil {
		return Stats{}
	}
	return e.kept.stats()
}

// Key is what a vector depends on beside its text, and who may have it.
type Key struct {
	Caller     string // who asks; "" for callers who share
	Digest     string // of the model; "" when it is unknown: nothing is kept or shared
	Dimensions int    // as in the request
	Truncate   bool   // a text that does not fit is cut, which is Ollama's default
	NumCtx     int    // tokens of the context, to which it is cut; of no matter without Truncate
}

// sums returns those of texts.
func (k Key) sums(texts []string) []sum {
	if !k.Truncate {
		k.NumCtx = 0
	}
	head := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %t %d", k.Caller, k.Digest, k.Dimensions, k.Truncate, k.NumCtx))
	sums, b := make([]sum, len(texts)), head[:]
	for i, text := range texts {
		b = append(b[:len(head)], text...)
		sums[i] = sha256.Sum256(b)
	}
	return sums
}

// Ask has Ollama embed texts, in order, and gives as many vectors or an error.
type Ask func(ctx context.Context, texts []string) (*ollama.EmbedResponse, error)

// Embed embeds inputs, in order, and asks for those that are neither kept nor on their way
// for another call with that key. Hits are the inputs that were not sent, also those that
// stand in inputs twice. Durations and counts are those of what was.
//
// Errors are those of ask, called with ctx, and those of ctx. When a call for which this one
// waits goes wrong, this one asks: by turns if the other one was cancelled, at once if it
// failed.
func (e *Embeddings) Embed(ctx context.Context, key Key, inputs []string, ask Ask) (resp *ollama.EmbedResponse, hits int, err error) {
	if e == nil || key.Digest == "" || len(inputs) == 0 {
		resp, err = ask(ctx, inputs)
		return resp, 0, err
	}
	c := call{cache: e, ask: ask, texts: inputs, sums: key.sums(inputs), have: make([]ollama.Vector, len(inputs))}
	if err := c.gather(ctx); err != nil {
		return nil, 0, err
	}
	var ok bool
	if c.resp.Embeddings, ok = ollama.JoinVectors(c.have); !ok {
		// Ollama's vectors no longer have the length that they had.
		if resp, err = ask(ctx, inputs); err == nil {
			e.keep(c.sums, &resp.Embeddings)
		}
		return resp, 0, err
	}
	if c.sent < len(inputs) {
		e.keep(c.sums, &c.resp.Embeddings)
	}
	return &c.resp, len(inputs) - c.sent, nil
}

// keep keeps vectors, but for those of zeros only: such a model is broken, and may be healed.
// NaN is no JSON, and has not come so far.
func (e *Embeddings) keep(sums []sum, v *ollama.Vectors) {
	places := make([]place, 0, len(sums))
	for i, s := range sums {
		if !v.Zero(i) {
			places = append(places, place{sum: s, i: i})
		}
	}
	e.kept.put(v, int64(cap(v.JSON())), places)
}

// flight is one question to Ollama.
type flight struct {
	texts []string
	sums  []sum

	done    chan struct{}   // closed when what follows is final
	vectors *ollama.Vectors // nil when none came
	left    bool            // none came because the call that asked was cancelled
}

// seat is a text's in a flight.
type seat struct {
	*flight
	i int
}

// call is one call of Embed.
type call struct {
	cache *Embeddings
	ask   Ask
	texts []string
	sums  []sum
	have  []ollama.Vector // by text; the zero value when it is missing
	resp  ollama.EmbedResponse
	sent  int // texts
}

// gather gets all vectors. It asks before it waits for others: so nobody waits in a circle.
func (c *call) gather(ctx context.Context) error {
	for alone, again := false, true; again; {
		own, seats := c.board(alone)
		if err := c.fly(ctx, own); err != nil {
			return err
		}
		again = false
		for i, s := range seats {
			if s.flight == nil {
				continue
			}
			select {
			case <-s.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if s.vectors == nil {
				again, alone = true, alone || !s.left
				continue
			}
			c.have[i] = ollama.Vector{Of: s.vectors, At: s.i}
		}
	}
	return nil
}

// board finds what is kept, and gives the other texts that are missing a seat: in a flight on
// its way, unless this call wants to be alone, or in its own.
func (c *call) board(alone bool) (own *flight, seats []seat) {
	own, seats = &flight{done: make(chan struct{})}, make([]seat, len(c.texts))
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	for i, of := range c.sums {
		if c.have[i].Of != nil {
			continue
		}
		if v, at, ok := c.cache.kept.find(of); ok {
			c.have[i] = ollama.Vector{Of: v.(*ollama.Vectors), At: at}
			continue
		}
		s, ok := c.cache.flying[of]
		if !ok || alone && s.flight != own {
			if own.texts == nil {
				own.texts, own.sums = make([]string, 0, len(c.texts)-i), make([]sum, 0, len(c.texts)-i)
			}
			s = seat{own, len(own.texts)}
			own.texts, own.sums = append(own.texts, c.texts[i]), append(own.sums, of)
			c.cache.flying[of] = s
		}
		seats[i] = s
	}
	return own, seats
}

// fly asks.
func (c *call) fly(ctx context.Context, f *flight) error {
	if len(f.texts) == 0 {
		return nil
	}
	defer c.cache.land(f) // also when ask panics
	resp, err := c.ask(ctx, f.texts)
	if err != nil {
		f.left = ctx.Err() != nil
		return err
	}
	f.vectors = &resp.Embeddings
	c.sent += len(f.texts)
	c.resp.TotalDuration += resp.TotalDuration
	c.resp.LoadDuration += resp.LoadDuration
	c.resp.PromptEvalCount += resp.PromptEvalCount
	return nil
}

func (e *Embeddings) land(f *flight) {
	e.mu.Lock()
	for _, s := range f.sums {
		delete(e.flying, s) // it may be that of a call that went alone, which then nobody joins any more
	}
	if f.vectors != nil {
		e.keep(f.sums, f.vectors)
	}
	e.mu.Unlock()
	close(f.done)
}
