package fleet

import (
	"context"
	"iter"

	"ollama-mcp/ollama"
)

// Generate streams an answer to a prompt; the model is loaded first, see [Fleet.Load].
// Errors are *[Error], *[CloudError] or the context's.
func (f *Fleet) Generate(ctx context.Context, r *ollama.GenerateRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := need{op: "generate", model: r.Model, options: r.Options, images: len(r.Images), cut: cuts(r.Truncate)}
	need.texts = []string{r.Prompt, r.System, r.Suffix}
	return f.stream(ctx, need, w, func(ctx context.Context, o *ollama.Options) iter.Seq2[ollama.Chunk, error] {
		q := *r
		q.Options, q.KeepAlive = o, f.keepAlive(r.Model, r.KeepAlive)
		return f.host.Client.Generate(ctx, &q)
	})
}

// Chat streams the next message of a chat, as Generate does.
func (f *Fleet) Chat(ctx context.Context, r *ollama.ChatRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := need{op: "chat", model: r.Model, options: r.Options, cut: cuts(r.Truncate)}
	for _, m := range r.Messages {
		need.texts = append(need.texts, m.Content)
		need.images += len(m.Images)
	}
	return f.stream(ctx, need, w, func(ctx context.Context, o *ollama.Options) iter.Seq2[ollama.Chunk, error] {
		q := *r
		q.Options, q.KeepAlive = o, f.keepAlive(r.Model, r.KeepAlive)
		return f.host.Client.Chat(ctx, &q)
	})
}

// Embed embeds the inputs, in order; the model is loaded first. Errors as in Generate.
func (f *Fleet) Embed(ctx context.Context, r *ollama.EmbedRequest, w Watch) (*ollama.EmbedResponse, error) {
	need := need{op: "embed", model: r.Model, options: r.Options, texts: r.Input, apart: true, cut: cuts(r.Truncate)}
	var resp *ollama.EmbedResponse
	err := f.run(ctx, need, w, func(ctx context.Context, o *ollama.Options, _ func() bool) (err error) {
		q := *r
		q.Options, q.KeepAlive = o, f.keepAlive(r.Model, r.KeepAlive)
		resp, err = f.host.Client.Embed(ctx, &q)
		return err
	})
	return resp, err
}

// cuts reports whether Ollama cuts what does not fit: it does unless told not to.
func cuts(truncate *bool) bool { return truncate == nil || *truncate }

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
	var err error
	if n.options, err = f.pinned(n.model, n.options); err != nil {
		return err
	}
	f.count(n.model, 0, 1)
	defer f.count(n.model, 0, -1)
	for recovered := false; ; {
		p, options, err := f.ready(ctx, n, w)
		if err != nil {
			return err
		}
		p.Recovered = recovered
		w.placed(p)
		if err := f.check(ctx, &n, p); err != nil {
			return err
		}
		w.phase(Prompt)
		send := func(ctx context.Context, alive func() bool) error {
			f.count(n.model, 1, -1)
			defer f.count(n.model, -1, 1)
			return call(ctx, options, alive)
		}
		if p.Remote { // ollama.com's slots are not ours to bring back
			return f.failRun(ctx, &n, n.sized(send(ctx, func() bool { return true }), p.ContextLength), p.ContextLength)
		}
		r, err := f.guard(ctx, n.model, send)
		if r == nil {
			return f.failRun(ctx, &n, n.sized(err, p.ContextLength), p.ContextLength)
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
