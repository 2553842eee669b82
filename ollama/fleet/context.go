package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ollama-mcp/ollama"
)

// need is what a call needs of a host.
type need struct {
	op      string
	model   ollama.Name
	digest  string // only this content; "": any
	host    string // only there; "": anywhere
	options *ollama.Options
	opening []string // system prompt and first message, by which a host may have the call in its cache; nil: none has
	texts   []string // that must fit the context
	apart   bool     // each text has the context to itself
	images  int      // the model must be able to see them
	cut     bool     // Ollama may cut what does not fit
}

// tokens is how many the call takes at the least. An image is one: some models look at it
// beside the context, others spend from 64 to some thousands of tokens on it.
func (n *need) tokens() int { return n.sum(leastTokens) + n.images }

func (n *need) bytes() int { return n.sum(func(text string) int { return len(text) }) }

func (n *need) sum(measure func(string) int) int {
	sum := 0
	for _, text := range n.texts {
		if n.apart {
			sum = max(sum, measure(text))
			continue
		}
		sum += measure(text)
	}
	return sum
}

// maxCut and maxBytesPerToken bound what Ollama is given to cut: it splits the whole text
// into tokens first, and other calls wait for that. Measured with 0.17.4 and a vocabulary of
// the SentencePiece kind: 15 ms for 3 kB, 7 s for 140 kB. About 4 bytes a token are usual.
const (
	maxCut           = 256 << 10
	maxBytesPerToken = 64
)

// fits refuses what surely does not fit a context with room for that many tokens, 0 when
// nobody knows.
func (h *member) fits(ctx context.Context, n *need, room int) error {
	bytes := n.bytes()
	switch {
	case room == 0, bytes+n.images <= room:
		return nil
	case n.cut && (bytes <= maxCut || bytes/maxBytesPerToken <= room):
		return nil
	case !n.cut && n.tokens() <= room:
		return nil
	}
	words := "%d bytes, by estimate at least %d tokens, are more than its %d tokens"
	if n.cut {
		words = "%d bytes, by estimate at least %d tokens, are too long even to be cut to its %d tokens in reasonable time"
	}
	return h.failRun(ctx, n, &ollama.Error{Op: n.op, Host: h.Client.Name(), Kind: ollama.TooLong,
		Message: fmt.Sprintf(words, n.bytes(), n.tokens(), room)}, room)
}

// Remedy is what can help a call that does not fit the context, beside shortening it.
type Remedy struct {
	Cut   bool // to have it cut, which it did not ask for
	Raise bool // a higher num_ctx: it is the call's to set, and not known to be all that the model can
}

// failRun is fail for a call's run, in a context with room for that many tokens.
func (h *member) failRun(ctx context.Context, n *need, err error, room int) error {
	err = h.fail(ctx, n.model, err)
	var fe *Error
	if isKind(err, ollama.TooLong) && errors.As(err, &fe) {
		fe.Remedy = &Remedy{Cut: !n.cut, Raise: h.raises(ctx, n, room)}
	}
	return err
}

// raises reports whether the call can have a longer context than that of room. Like
// installed, it gives up soon and never fails.
func (h *member) raises(ctx context.Context, n *need, room int) bool {
	pin := h.opts.Pins[n.model].Options
	if n.op == "embed" || pin != nil && pin.NumCtx != nil && !h.opts.AllowNumCtx {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	shown, err := h.Client.Show(ctx, n.model)
	if err != nil {
		return true
	}
	most := shown.ContextLength()
	return shown.RemoteHost == "" && (most == 0 || room < most)
}

// sized adds both numbers, what the call takes and the context, to Ollama's word that
// something does not fit. Other errors pass unchanged.
func (n *need) sized(err error, room int) error {
	var oe *ollama.Error
	if room == 0 || !errors.As(err, &oe) || oe.Kind != ollama.TooLong {
		return err
	}
	words := "%d bytes, by estimate at least %d tokens, are more than its %d tokens"
	if n.tokens() <= room {
		words = "in %d bytes, by estimate at least %d tokens, Ollama counted more than its %d tokens"
	}
	with := *oe
	with.Err = err
	with.Message = fmt.Sprintf(words, n.bytes(), n.tokens(), room)
	if oe.Message != "" {
		with.Message += ": " + oe.Message
	}
	return &with
}

// contextOf is the most tokens that a model which is not loaded can hold once it is, 0 when
// nobody knows: num_ctx of the call, else of the model, else what the model was made for.
// Ollama's own default, which it does not tell, may be less.
func contextOf(o *ollama.Options, shown *ollama.Shown) int {
	if o != nil && o.NumCtx != nil {
		return *o.NumCtx
	}
	for line := range strings.Lines(shown.Parameters) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "num_ctx" {
			n, _ := strconv.Atoi(strings.TrimSpace(value))
			return cmp.Or(max(n, 0), shown.ContextLength())
		}
	}
	return shown.ContextLength()
}

// check refuses what the model at a place cannot do before Ollama works on it.
func (h *member) check(ctx context.Context, n *need, p Place) error {
	if err := h.fits(ctx, n, p.ContextLength); err != nil || n.images == 0 {
		return err
	}
	shown, err := h.describe(ctx, n.model)
	if err == nil && !can(shown.Capabilities, Vision) {
		err = h.fail(ctx, n.model, &ollama.Error{Op: n.op, Host: p.Host, Kind: ollama.Unsupported, Message: "it does not take images"})
	}
	return err
}
