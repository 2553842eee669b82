package fleet

import (
	"context"
	"iter"

	"ollama-mcp/ollama"
)

// Generate streams an answer to a prompt; the model is loaded first, see [Fleet.Load].
// Errors are *[Error], *[LoadingError], *[CloudError] or the context's.
func (f *Fleet) Generate(ctx context.Context, r *ollama.GenerateRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := LoadRequest{Model: r.Model, KeepAlive: r.KeepAlive, Options: r.Options}
	return f.stream(ctx, need, w, func() iter.Seq2[ollama.Chunk, error] { return f.host.Client.Generate(ctx, r) })
}

// Chat streams the next message of a chat, as Generate does.
func (f *Fleet) Chat(ctx context.Context, r *ollama.ChatRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := LoadRequest{Model: r.Model, KeepAlive: r.KeepAlive, Options: r.Options}
	return f.stream(ctx, need, w, func() iter.Seq2[ollama.Chunk, error] { return f.host.Client.Chat(ctx, r) })
}

func (f *Fleet) stream(ctx context.Context, need LoadRequest, w Watch, run func() iter.Seq2[ollama.Chunk, error]) iter.Seq2[ollama.Chunk, error] {
	return func(yield func(ollama.Chunk, error) bool) {
		if err := f.place(ctx, need, w); err != nil {
			yield(ollama.Chunk{}, err)
			return
		}
		for c, err := range run() {
			if err != nil {
				err = f.fail(ctx, need.Model, err)
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// Embed embeds the inputs, in order; the model is loaded first. Errors as in Generate.
func (f *Fleet) Embed(ctx context.Context, r *ollama.EmbedRequest, w Watch) (*ollama.EmbedResponse, error) {
	if err := f.place(ctx, LoadRequest{Model: r.Model, KeepAlive: r.KeepAlive, Options: r.Options}, w); err != nil {
		return nil, err
	}
	resp, err := f.host.Client.Embed(ctx, r)
	if err != nil {
		return nil, f.fail(ctx, r.Model, err)
	}
	return resp, nil
}

// place makes the model ready and tells where the call will run.
func (f *Fleet) place(ctx context.Context, need LoadRequest, w Watch) error {
	p, err := f.ready(ctx, need, w)
	if err != nil {
		return err
	}
	w.placed(p)
	w.phase(Prompt)
	return nil
}
