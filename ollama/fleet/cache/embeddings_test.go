package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
)

var errBroken = errors.New("the host is broken")

// vector is what the fake host makes of a text.
func vector(k Key, text string) string {
	if strings.HasPrefix(text, "zero") {
		return "[0,-0.0e5]"
	}
	h := sha256.Sum256([]byte(fmt.Sprint(k, text)))
	return fmt.Sprintf("[0.%d,-%d]", h[0], h[1])
}

func vectors(k Key, texts []string) string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = vector(k, text)
	}
	return "[" + strings.Join(all, ",") + "]"
}

// host is a fake that embeds, and remembers what it was asked.
type host struct {
	takes time.Duration
	fault error // of every answer
	make  func(Key, []string) string

	mu    sync.Mutex // guards asked
	asked []string   // the texts of each question
}

func (h *host) ask(k Key) Ask {
	return func(ctx context.Context, texts []string) (*ollama.EmbedResponse, error) {
		h.mu.Lock()
		h.asked = append(h.asked, strings.Join(texts, " "))
		h.mu.Unlock()
		select {
		case <-time.After(h.takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if h.fault != nil {
			return nil, h.fault
		}
		of := vectors
		if h.make != nil {
			of = h.make
		}
		r := &ollama.EmbedResponse{TotalDuration: h.takes, PromptEvalCount: len(texts)}
		return r, r.Embeddings.UnmarshalJSON([]byte(of(k, texts)))
	}
}

// outcome is how a call of Embed ended.
type outcome struct {
	Vectors string
	Hits    int
	Tokens  int
	Err     error
	Took    time.Duration
}

// embed makes a call for texts between blanks.
func (h *host) embed(ctx context.Context, e *Embeddings, k Key, texts string) (o outcome) {
	start := time.Now()
	var r *ollama.EmbedResponse
	if r, o.Hits, o.Err = e.Embed(ctx, k, strings.Fields(texts), h.ask(k)); o.Err == nil {
		o.Vectors, o.Tokens = string(r.Embeddings.JSON()), r.PromptEvalCount
	}
	o.Took = time.Since(start)
	return o
}

// all is an outcome with the vectors of texts.
func all(k Key, texts string, hits, tokens int, took time.Duration) outcome {
	return outcome{Vectors: vectors(k, strings.Fields(texts)), Hits: hits, Tokens: tokens, Took: took}
}

func check(t *testing.T, call string, got, want outcome) {
	t.Helper()
	if !errors.Is(got.Err, want.Err) {
		t.Errorf("%s: error %v, want %v", call, got.Err, want.Err)
	}
	got.Err, want.Err = nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", call, diff)
	}
}

func (h *host) checkAsked(t *testing.T, want ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if diff := cmp.Diff(want, h.asked); diff != "" {
		t.Errorf("asked of the host (-want +got):\n%s", diff)
	}
}

var key = Key{Caller: "ann", Digest: "d", Truncate: true}

// TestEmbed makes calls one after the other; each names the texts that it may ask for.
func TestEmbed(t *testing.T) {
	e, h := NewEmbeddings(1<<20), &host{}
	for _, tt := range []struct{ texts, asked string }{
		{"a b", "a b"},
		{"a", ""},
		{"c b d", "c d"},
		{"e f e e", "e f"},
		{"f e d c b a", ""},
		{"a x a", "x"},
		{"zero", "zero"},
		{"a zero zero", "zero"}, // one of zeros is not kept
		{"a b", ""},
	} {
		h.asked = nil
		n, asked := len(strings.Fields(tt.texts)), len(strings.Fields(tt.asked))
		got := h.embed(t.Context(), e, key, tt.texts)
		check(t, "Embed("+tt.texts+")", got, all(key, tt.texts, n-asked, asked, got.Took))
		if got := strings.Join(h.asked, "; "); got != tt.asked {
			t.Errorf("Embed(%s) asked for %q, want %q", tt.texts, got, tt.asked)
		}
	}
}

// TestEmbedCopiesNothing has an answer of which all was asked for, and of which all is kept.
func TestEmbedCopiesNothing(t *testing.T) {
	e, h := NewEmbeddings(1<<20), &host{}
	var came *byte
	for range 2 {
		r, _, err := e.Embed(t.Context(), key, []string{"a", "b"}, func(ctx context.Context, texts []string) (*ollama.EmbedResponse, error) {
			r, err := h.ask(key)(ctx, texts)
			came = &r.Embeddings.JSON()[0]
			return r, err
		})
		if err != nil || &r.Embeddings.JSON()[0] != came {
			t.Errorf("Embed = another array than came from the host, %v", err)
		}
	}
}

func TestKeys(t *testing.T) {
	e, h := NewEmbeddings(1<<20), &host{}
	for _, tt := range []struct {
		key   Key
		known bool
	}{
		{Key{Caller: "ann", Digest: "d", Truncate: true, NumCtx: 8}, false},
		{Key{Caller: "ann", Digest: "d", Truncate: true, NumCtx: 8}, true},
		{Key{Caller: "bob", Digest: "d", Truncate: true, NumCtx: 8}, false},
		{Key{Digest: "d", Truncate: true, NumCtx: 8}, false},
		{Key{Caller: `ann" "d`, Truncate: true, NumCtx: 8}, false},
		{Key{Caller: "ann", Digest: "d2", Truncate: true, NumCtx: 8}, false},
		{Key{Caller: "ann", Digest: "d", Truncate: true, NumCtx: 9}, false},
		{Key{Caller: "ann", Digest: "d", Truncate: true, NumCtx: 8, Dimensions: 8}, false},
		{Key{Caller: "ann", Digest: "d", NumCtx: 8}, false},
		{Key{Caller: "ann", Digest: "d", NumCtx: 9}, true}, // what is not cut is the same in any context
		{Key{Caller: "ann"}, false},
		{Key{Caller: "ann"}, false}, // a model that nobody knows
	} {
		if got := h.embed(t.Context(), e, tt.key, "a"); got.Err != nil || (got.Hits == 1) != tt.known {
			t.Errorf("Embed(%+v) = %d hits, %v, want it known: %t", tt.key, got.Hits, got.Err, tt.known)
		}
	}
}

// TestEmbedNothing has no cache, no room and no inputs.
func TestEmbedNothing(t *testing.T) {
	h := &host{}
	for _, e := range []*Embeddings{nil, NewEmbeddings(0), NewEmbeddings(-1), NewEmbeddings(1)} {
		for range 2 {
			got := h.embed(t.Context(), e, key, "a b")
			check(t, "Embed", got, all(key, "a b", 0, 2, got.Took))
		}
		if got := e.Stats(); got.Bytes != 0 || got.Entries != 0 {
			t.Errorf("Stats = %+v, want nothing", got)
		}
	}
	e := NewEmbeddings(1 << 20)
	got := h.embed(t.Context(), e, key, "")
	check(t, "Embed()", got, all(key, "", 0, 0, got.Took))
	if n := len(h.asked); n != 4*2+1 {
		t.Errorf("asked %d times, want each time: 9", n)
	}
}

// TestNewLength has a host whose vectors change their length.
func TestNewLength(t *testing.T) {
	e, h := NewEmbeddings(1<<20), &host{}
	h.embed(t.Context(), e, key, "a")
	h.make = func(_ Key, texts []string) string { return "[[1]" + strings.Repeat(",[1]", len(texts)-1) + "]" }
	for _, want := range []outcome{{Vectors: "[[1],[1]]", Tokens: 2}, {Vectors: "[[1],[1]]", Hits: 2}} {
		got := h.embed(t.Context(), e, key, "a b")
		want.Took = got.Took
		check(t, "Embed(a b)", got, want)
	}
	h.checkAsked(t, "a", "b", "a b")
}

// TestUseKeeps has room for two answers of two texts: of those, what is used stays.
func TestUseKeeps(t *testing.T) {
	h := &host{}
	probe := NewEmbeddings(1 << 20)
	h.embed(t.Context(), probe, key, "a b")
	e := NewEmbeddings(probe.Stats().Bytes * 9 / 4)
	for _, tt := range []struct {
		texts string
		hits  int
	}{{"a b", 0}, {"c d", 0}, {"b a", 2}, {"e f", 0}, {"a b", 2}, {"c d", 0}} {
		if got := h.embed(t.Context(), e, key, tt.texts); got.Hits != tt.hits {
			t.Errorf("Embed(%s) = %d hits, want %d", tt.texts, got.Hits, tt.hits)
		}
		if got := e.Stats(); got.Bytes > got.Max || got.Entries == 0 {
			t.Errorf("Stats after Embed(%s) = %+v, want no more bytes than its max", tt.texts, got)
		}
	}
}

// together makes calls that begin a moment after each other, with contexts of their own.
func (h *host) together(e *Embeddings, k Key, calls ...visit) []outcome {
	got := make([]outcome, len(calls))
	var wg sync.WaitGroup
	for i, c := range calls {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if c.leaves > 0 {
				time.AfterFunc(c.leaves, cancel)
			}
			got[i] = h.embed(ctx, e, k, c.texts)
		})
		synctest.Wait()
	}
	wg.Wait()
	return got
}

type visit struct {
	texts  string
	leaves time.Duration // after so long; 0: it stays
}

// TestFlights has calls at the same time. A question takes a minute.
func TestFlights(t *testing.T) {
	const m, s = time.Minute, time.Second
	for name, tt := range map[string]struct {
		calls []visit
		want  []outcome
		asked []string
	}{
		"what is on its way is waited for": {
			[]visit{{"a b", 0}, {"b a", 0}, {"b c b", 0}},
			[]outcome{all(key, "a b", 0, 2, m), all(key, "b a", 2, 0, m), all(key, "b c b", 2, 1, m)},
			[]string{"a b", "c"},
		},
		"two who wait for each other": {
			[]visit{{"a b", 0}, {"b c a", 0}, {"c a", 0}},
			[]outcome{all(key, "a b", 0, 2, m), all(key, "b c a", 2, 1, m), all(key, "c a", 2, 0, m)},
			[]string{"a b", "c"},
		},
		"who waits leaves at once": {
			[]visit{{"a b", 0}, {"b", s}, {"a", 0}},
			[]outcome{all(key, "a b", 0, 2, m), {Err: context.Canceled, Took: s}, all(key, "a", 1, 0, m)},
			[]string{"a b"},
		},
		"of those who waited for one who left, one asks": {
			[]visit{{"a b", s}, {"a b", 0}, {"b a", 0}, {"a b", 0}},
			[]outcome{{Err: context.Canceled, Took: s}, {Vectors: "any"}, {Vectors: "any"}, {Vectors: "any"}},
			[]string{"a b", "either"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, h := NewEmbeddings(1<<20), &host{takes: m}
				got := h.together(e, key, tt.calls...)
				hits := 0
				for i, want := range tt.want {
					if want.Vectors == "any" { // who comes first is not settled
						hits += got[i].Hits
						want = all(key, tt.calls[i].texts, got[i].Hits, got[i].Tokens, m+s)
					}
					check(t, fmt.Sprintf("call %d, Embed(%s)", i, tt.calls[i].texts), got[i], want)
				}
				if n := len(tt.asked); tt.asked[n-1] == "either" {
					if tt.asked[n-1] = h.asked[min(n, len(h.asked))-1]; hits != 4 {
						t.Errorf("%d hits, want 4: two of three calls asked nothing", hits)
					}
				}
				h.checkAsked(t, tt.asked...)
				if len(e.flying) != 0 {
					t.Errorf("%d texts are still on their way", len(e.flying))
				}
			})
		})
	}
}

// TestOthersFailure has calls wait for one that fails: they ask at once, all of them, because
// a host that hangs would take as long for each in turn.
func TestOthersFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, good, bad := NewEmbeddings(1<<20), &host{takes: time.Minute}, &host{takes: time.Second, fault: errBroken}
		var wg sync.WaitGroup
		wg.Go(func() {
			check(t, "the first", bad.embed(t.Context(), e, key, "a b"), outcome{Err: errBroken, Took: time.Second})
		})
		synctest.Wait()
		for range 3 {
			wg.Go(func() {
				check(t, "a call that waited", good.embed(t.Context(), e, key, "b a"), all(key, "b a", 0, 2, time.Minute+time.Second))
			})
		}
		time.Sleep(2 * time.Second)
		good.checkAsked(t, "b a", "b a", "b a")
		check(t, "a call after that", good.embed(t.Context(), e, key, "a"), all(key, "a", 1, 0, 59*time.Second))
		wg.Wait()
		if len(e.flying) != 0 {
			t.Errorf("%d texts are still on their way", len(e.flying))
		}
	})
}

// TestPanic has a question that panics while another call waits for its answer.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := NewEmbeddings(1<<20), &host{}
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() { _ = recover() }()
			_, _, _ = e.Embed(t.Context(), key, []string{"a"}, func(context.Context, []string) (*ollama.EmbedResponse, error) {
				time.Sleep(time.Second)
				panic("a fault")
			})
		})
		synctest.Wait()
		check(t, "Embed(a)", h.embed(t.Context(), e, key, "a"), all(key, "a", 0, 1, time.Second))
		wg.Wait()
	})
}

// TestCallersAreApart has two callers ask the same at the same time.
func TestCallersAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := NewEmbeddings(1<<20), &host{takes: time.Second}
		var wg sync.WaitGroup
		for _, caller := range []string{"ann", "bob"} {
			k := Key{Caller: caller, Digest: "d"}
			wg.Go(func() { check(t, caller, h.embed(t.Context(), e, k, "a"), all(k, "a", 0, 1, time.Second)) })
		}
		wg.Wait()
		if !slices.Equal(h.asked, []string{"a", "a"}) {
			t.Errorf("asked %q, want a for each", h.asked)
		}
	})
}
