package fleet

import (
	"context"
	"iter"

	"ollama-mcp/ollama"
)

// Generate streams an answer to a prompt; the model is loaded first, see [Fleet.Load].
// Errors are *[Error], *[LoadingError], *[CloudError] or the context's.
func (f *Fleet) Generate(ctx context.Context, r *ollama.GenerateRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := LoadRequest{Model: r.Model, Options: r.Options}
	return f.stream(ctx, need, w, func(ctx context.Context) iter.Seq2[ollama.Chunk, error] { return f.host.Client.Generate(ctx, r) })
}

// Chat streams the next message of a chat, as Generate does.
func (f *Fleet) Chat(ctx context.Context, r *ollama.ChatRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := LoadRequest{Model: r.Model, Options: r.Options}
	return f.stream(ctx, need, w, func(ctx context.Context) iter.Seq2[ollama.Chunk, error] { return f.host.Client.Chat(ctx, r) })
}

// Embed embeds the inputs, in order; the model is loaded first. Errors as in Generate.
func (f *Fleet) Embed(ctx context.Context, r *ollama.EmbedRequest, w Watch) (*ollama.EmbedResponse, error) {
	need := LoadRequest{Model: r.Model, Options: r.Options}
	var resp *ollama.EmbedResponse
	err := f.run(ctx, need, w, func(ctx context.Context, _ func() bool) (err error) {
		resp, err = f.host.Client.Embed(ctx, r)
		return err
	})
	return resp, err
}

// stream is run for what streams.
func (f *Fleet) stream(ctx context.Context, need LoadRequest, w Watch, ask func(context.Context) iter.Seq2[ollama.Chunk, error]) iter.Seq2[ollama.Chunk, error] {
	return func(yield func(ollama.Chunk, error) bool) {
		left := false
		err := f.run(ctx, need, w, func(ctx context.Context, alive func() bool) error {
			for c, err := range ask(ctx) {
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

// run makes the model ready and runs a call on it. A call that was ended because the model
// is wedged is made again when it has recovered.
func (f *Fleet) run(ctx context.Context, need LoadRequest, w Watch, call func(ctx context.Context, alive func() bool) error) error {
	for recovered := false; ; recovered = true {
		p, err := f.ready(ctx, need, w)
		if err != nil {
			return err
		}
		p.Recovered = recovered
		w.placed(p)
		w.phase(Prompt)
		r, err := f.guard(ctx, need.Model, call)
		if r == nil {
			return f.fail(ctx, need.Model, err)
		}
		w.phase(Recovering)
		select {
		case <-r.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if r.err != nil {
			return r.err
		}
	}
}
