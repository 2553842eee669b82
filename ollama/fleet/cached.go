package fleet

import (
	"context"
	"iter"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/cache"
	"ollama-mcp/ollama/fleet/route"
)

// Embed embeds the inputs, in order; the model is loaded first. It goes to a host that has
// the content of that digest; "" is what most hosts have. Texts of which the vectors are kept,
// or which another call is having embedded, are not asked again. Errors as in Generate.
func (f *Fleet) Embed(ctx context.Context, r *ollama.EmbedRequest, digest string, w Watch) (*ollama.EmbedResponse, error) {
	key := cache.Key{Dimensions: r.Dimensions, Truncate: cuts(r.Truncate)}
	if f.vectors != nil {
		if key.Digest = f.localDigest(ctx, r.Model, digest); key.Digest != "" {
			digest = key.Digest
		}
		if !f.opts.ShareVectors {
			key.Caller = callerOf(ctx).Name
		}
		if o, err := f.opts.pinned(r.Model, r.Options); err == nil && o != nil && o.NumCtx != nil {
			key.NumCtx = *o.NumCtx
		}
	}
	resp, hits, err := f.vectors.Embed(ctx, key, r.Input, func(ctx context.Context, texts []string) (*ollama.EmbedResponse, error) {
		q := *r
		q.Input = texts
		return f.embed(ctx, &q, digest, w)
	})
	w.cached(hits, key.Digest)
	return resp, err
}

// answer is stream, by way of the answers that are kept.
func (f *Fleet) answer(ctx context.Context, n need, w Watch, key func(caller, digest string, o *ollama.Options) cache.AnswerKey, ask askFunc) iter.Seq2[ollama.Chunk, error] {
	if f.answers == nil {
		return f.stream(ctx, n, w, ask)
	}
	o, err := f.opts.pinned(n.model, n.options)
	digest := f.localDigest(ctx, n.model, "")
	if err != nil || digest == "" || !cache.Cacheable(o) {
		return f.stream(ctx, n, w, ask)
	}
	n.digest = digest // the answer must be of the content that it is kept for
	k := key(callerOf(ctx).Name, digest, o)
	if c, ok := f.answers.Find(k); ok {
		return func(yield func(ollama.Chunk, error) bool) {
			w.cached(1, digest)
			yield(c, nil)
		}
	}
	return f.answers.Keep(k, f.stream(ctx, n, w, ask))
}

// localDigest is the content of a model that calls in ctx would find, if the caller does not
// know it; "" when nobody does, and for one that ollama.com runs.
func (f *Fleet) localDigest(ctx context.Context, model ollama.Name, digest string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := route.Choose(f.facts(), route.Call{Model: model, Digest: digest, Needs: callerOf(ctx).Tags}, time.Now())
	if err != nil || c.Model.Remote {
		return ""
	}
	return c.Model.Digest
}
