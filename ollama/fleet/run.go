package fleet

import (
	"context"
	"fmt"
	"iter"

	"ollama-mcp/ollama"
)

// Generate streams an answer to a prompt; the model is loaded first, see [Fleet.Load].
// Errors are *[Error], *[LoadingError], *[CloudError] or the context's.
func (f *Fleet) Generate(ctx context.Context, r *ollama.GenerateRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := need{op: "generate", model: r.Model, options: r.Options, bytes: len(r.Prompt) + len(r.System) + len(r.Suffix)}
	need.images = len(r.Images) > 0
	return f.stream(ctx, need, w, func(ctx context.Context, o *ollama.Options) iter.Seq2[ollama.Chunk, error] {
		q := *r
		q.Options = o
		return f.host.Client.Generate(ctx, &q)
	})
}

// Chat streams the next message of a chat, as Generate does.
func (f *Fleet) Chat(ctx context.Context, r *ollama.ChatRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := need{op: "chat", model: r.Model, options: r.Options}
	for _, m := range r.Messages {
		need.bytes += len(m.Content)
		need.images = need.images || len(m.Images) > 0
	}
	return f.stream(ctx, need, w, func(ctx context.Context, o *ollama.Options) iter.Seq2[ollama.Chunk, error] {
		q := *r
		q.Options = o
		return f.host.Client.Chat(ctx, &q)
	})
}

// Embed embeds the inputs, in order; the model is loaded first. Errors as in Generate.
func (f *Fleet) Embed(ctx context.Context, r *ollama.EmbedRequest, w Watch) (*ollama.EmbedResponse, error) {
	need := need{op: "embed", model: r.Model, options: r.Options}
	for _, text := range r.Input { // each has the context to itself
		need.bytes = max(need.bytes, len(text))
	}
	var resp *ollama.EmbedResponse
	err := f.run(ctx, need, w, func(ctx context.Context, o *ollama.Options, _ func() bool) (err error) {
		q := *r
		q.Options = o
		resp, err = f.host.Client.Embed(ctx, &q)
		return err
	})
	return resp, err
}

// need is what a call needs of a host.
type need struct {
	op      string
	model   ollama.Name
	options *ollama.Options
	images  bool // the model must be able to see
	bytes   int  // of text that must fit the context
}

// maxBytesPerToken bounds how much text a token can stand for, with room to spare: about 4
// bytes are usual, and vocabularies have no token of 64 but for runs of blanks. Ollama's
// tokenizer works on a text that cannot fit for minutes, and other calls wait for it.
const maxBytesPerToken = 64

// check refuses what the model at a place cannot do before Ollama works on it.
func (f *Fleet) check(ctx context.Context, n need, p Place) error {
	refuse := func(k ollama.Kind, format string, args ...any) error {
		return f.fail(ctx, n.model, &ollama.Error{Op: n.op, Host: p.Host, Kind: k, Message: fmt.Sprintf(format, args...)})
	}
	if p.ContextLength > 0 && n.bytes/maxBytesPerToken > p.ContextLength {
		return refuse(ollama.TooLong, "%d bytes of text are far more than a context of %d tokens can hold", n.bytes, p.ContextLength)
	}
	if !n.images {
		return nil
	}
	shown, err := f.describe(ctx, n.model)
	if err == nil && !can(shown.Capabilities, Vision) {
		err = refuse(ollama.Unsupported, "it does not take images")
	}
	return err
}

// stream is run for what streams.
func (f *Fleet) stream(ctx context.Context, n need, w Watch, ask func(context.Context, *ollama.Options) iter.Seq2[ollama.Chunk, error]) iter.Seq2[ollama.Chunk, error] {
	return func(yield func(ollama.Chunk, error) bool) {
		left := false
		err := f.run(ctx, n, w, func(ctx context.Context, o *ollama.Options, alive func() bool) error {
			for c, err := range ask(ctx, o) {
				if err != nil {
					return err
				}
				if !alive() {
					return context.Canceled
				}
				if left = !yield(c, nil); left {
					return context.Canceled
				}
			}
			return nil
		})
		if err != nil && !left {
			yield(ollama.Chunk{}, err)
		}
	}
}

// run makes the model ready and runs a call on it, with the options that the model is
// loaded with. A call that was ended because the model is wedged is made again after the
// recovery.
func (f *Fleet) run(ctx context.Context, n need, w Watch, call func(ctx context.Context, o *ollama.Options, alive func() bool) error) error {
	for recovered := false; ; {
		p, options, err := f.ready(ctx, n, w)
		if err != nil {
			return err
		}
		p.Recovered = recovered
		w.placed(p)
		if err := f.check(ctx, n, p); err != nil {
			return err
		}
		w.phase(Prompt)
		if p.Remote { // ollama.com's slots are not ours to bring back
			return f.fail(ctx, n.model, call(ctx, options, func() bool { return true }))
		}
		r, err := f.guard(ctx, n.model, func(ctx context.Context, alive func() bool) error { return call(ctx, options, alive) })
		if r == nil {
			return f.fail(ctx, n.model, err)
		}
		w.phase(Recovering)
		select {
		case <-r.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if r.err != nil {
			return r.err
		}
		recovered = recovered || r.unloaded
	}
}
