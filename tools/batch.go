package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// embedFunc embeds texts; see [fleet.Fleet.Embed].
type embedFunc func(ctx context.Context, r *ollama.EmbedRequest, digest string, w fleet.Watch) (*ollama.EmbedResponse, error)

// Ollama embeds a request's texts one after the other, and fails all when one is bad: see
// https://github.com/ollama/ollama/issues/9639 and 6262. A request for more than chunkSize
// saves little, and says nothing of how far it is.
const (
	chunkSize = 32
	maxWhole  = 64 // texts that go in one request: two cost a third more than they gain
	maxAtOnce = 4  // requests of one batch
	maxSpread = 16 // of one that may be spread over several hosts
)

// batch embeds any number of texts. One that Ollama refuses is found and left out.
type batch struct {
	run     embedFunc
	request ollama.EmbedRequest // but for its Input
	texts   string              // the argument that they stand in
	spread  bool                // there may be several hosts
	report  Report
	safely  func(func() error) error

	// take takes the vectors of the texts from at on, also those of errs. Calls for
	// different texts may come at the same time.
	take func(at int, v ollama.Vectors) error
	errs []error // by text: why it has no vector that is of use

	mu        sync.Mutex // guards what follows, and the order of the reports
	asked     bool
	digest    string // of the model: vectors of other content cannot be compared; "" is not known yet
	hosts     []string
	cached    int // texts that no host was asked for
	all, done int // texts
	lost      int // since one was embedded, or a harmless one was
	dim       int
	load      time.Duration // the longest
	tokens    int
}

// embed embeds all texts. The error is one that concerns more than single texts, or that of
// the first when there is none without.
func (b *batch) embed(ctx context.Context, texts []string) error {
	b.all, b.errs = len(texts), make([]error, len(texts))
	if err := b.chunks(ctx, texts); err != nil {
		return err
	}
	if b.failed() == len(texts) {
		return b.errs[0]
	}
	return nil
}

func (b *batch) chunks(ctx context.Context, texts []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first error
	var once sync.Once
	var wg sync.WaitGroup
	atOnce := maxAtOnce
	if b.spread {
		atOnce = maxSpread
	}
	room := make(chan struct{}, atOnce)
	size := chunkSize
	if len(texts) <= maxWhole {
		size = maxWhole
	}
	for at := 0; at < len(texts) && ctx.Err() == nil; at += size {
		chunk := texts[at:min(at+size, len(texts))]
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := b.safely(func() error { return b.part(ctx, at, chunk) }); err != nil {
				once.Do(func() { first = err })
				cancel()
			}
		})
		if b.spread && b.content() == "" {
			wg.Wait() // its host says which content the others must have
		}
	}
	wg.Wait()
	if first != nil {
		return first
	}
	return ctx.Err()
}

// part embeds the texts from at on, and halves them until those that fail are alone.
func (b *batch) part(ctx context.Context, at int, texts []string) error {
	resp, err := b.ask(ctx, texts)
	switch {
	case err == nil:
		return b.took(at, resp.Embeddings)
	case !ofText(err):
		return err
	case len(texts) == 1:
		return b.lose(ctx, at, err)
	}
	half := len(texts) / 2
	if err := b.part(ctx, at, texts[:half]); err != nil {
		return err
	}
	return b.part(ctx, at+half, texts[half:])
}

// ofText reports whether a request may have failed because of one of its texts. NaN comes
// with status 400 or 500, by Ollama's version.
func ofText(err error) bool {
	var e *ollama.Error
	return errors.As(err, &e) && slices.Contains([]ollama.Kind{ollama.Invalid, ollama.TooLong, ollama.Failed}, e.Kind)
}

// ask makes one request. Only of the first is told how it goes.
func (b *batch) ask(ctx context.Context, texts []string) (*ollama.EmbedResponse, error) {
	q := b.request
	q.Input = texts
	var place fleet.Place
	var cached int
	var w fleet.Watch
	b.mu.Lock()
	if !b.asked {
		w = waits(b.tell, q.Model)
	}
	b.asked = true
	digest := b.digest
	b.mu.Unlock()
	w.Placed = func(p fleet.Place) { place = p }
	w.Cached = func(texts int, digest string) { cached, place.Digest = texts, digest }
	resp, err := b.run(ctx, &q, digest, w)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.digest = cmp.Or(b.digest, place.Digest)
	if place.Host != "" && !slices.Contains(b.hosts, place.Host) {
		b.hosts = append(b.hosts, place.Host)
	}
	b.cached += cached
	b.load = max(b.load, place.LoadWait+resp.LoadDuration)
	b.tokens += resp.PromptEvalCount
	return resp, nil
}

// content is the digest of the model, "" before a host has said which.
func (b *batch) content() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.digest
}

// tell tells how the first request goes, until another one is done.
func (b *batch) tell(p Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done == 0 {
		b.report(p)
	}
}

// where names the hosts that took part. It is for when all requests are over.
func (b *batch) where() onHosts {
	slices.Sort(b.hosts)
	return hostsOf(b.hosts)
}

func (b *batch) took(at int, v ollama.Vectors) error {
	if err := b.same(v.Dim()); err != nil {
		return err
	}
	for i := range v.Len() {
		if v.Zero(i) {
			b.bad(at+i, allZeros)
		}
	}
	if err := b.take(at, v); err != nil {
		return err
	}
	b.progress(v.Len(), 0)
	return nil
}

// same reports an error if vectors are not as long as those before.
func (b *batch) same(dim int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dim != 0 && b.dim != dim {
		return &ollama.Error{Op: "embed", Host: strings.Join(b.hosts, ", "), Kind: ollama.Failed,
			Message: fmt.Sprintf("it sent a vector of %d numbers after one of %d", dim, b.dim)}
	}
	b.dim = dim
	return nil
}

// bad notes that a vector is of no use.
func (b *batch) bad(i int, what string) {
	b.errs[i] = &vectorError{fmt.Sprintf("%s[%d]", b.texts, i), what}
}

// harmless is a text that every embedding model can embed.
const harmless = "text"

// lose notes that a text cannot be embedded. After many in a row the texts may not be what is
// wrong: it gives up if a harmless one cannot be embedded either.
func (b *batch) lose(ctx context.Context, at int, err error) error {
	b.errs[at] = err
	if doubtful := b.progress(1, 1); !doubtful || errors.Is(err, &ollama.Error{Kind: ollama.TooLong}) {
		return nil
	}
	_, err = b.ask(ctx, []string{harmless})
	return err
}

// progress counts texts that are done, and of them lost. It reports, once for all that were
// lost in a row, whether they are many.
func (b *batch) progress(done, lost int) (doubtful bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += done
	if b.lost += lost; lost == 0 || b.lost >= chunkSize {
		doubtful, b.lost = lost > 0, 0
	}
	now, all := b.done, b.all
	b.report(Progress{Phase: "embedding", Done: float64(now), Total: float64(all), Message: func() string {
		return fmt.Sprintf("embedded %d of %s", now, count(all, "text"))
	}})
	return doubtful
}

func (b *batch) failed() (n int) {
	for _, err := range b.errs {
		if err != nil {
			n++
		}
	}
	return n
}

func (b *batch) timing(start time.Time) *embedTiming {
	return &embedTiming{LoadMS: ms(b.load), TotalMS: ms(time.Since(start))}
}

// itemError is why one of several texts is not in the answer.
type itemError struct {
	Index   int    `json:"index"`
	Message string `json:"message"`
}

// maxItemErrors bounds how many of them an answer lists.
const maxItemErrors = 100

func (b *batch) itemErrors() (list []itemError) {
	for i, err := range b.errs {
		if err != nil && len(list) < maxItemErrors {
			list = append(list, itemError{i, problem(err, "", nil).Message})
		}
	}
	return list
}

// badOnes says how many texts failed and which, with the reason of the first that is listed.
func (b *batch) badOnes(what string, listed []itemError) string {
	if len(listed) == 0 {
		return ""
	}
	var which []string
	for i, err := range b.errs {
		if err != nil {
			which = append(which, fmt.Sprint(i))
		}
	}
	said := fmt.Sprintf("%s failed, at %s (%s)", count(len(which), what), list(which), listed[0].Message)
	if len(which) > len(listed) {
		said += fmt.Sprintf("; errors has the first %d", len(listed))
	}
	return said
}
