package fleet

import (
	"context"
	"errors"

	"ollama-mcp/ollama"
)

// errNothingToTry says that no probe can tell how a host is.
var errNothingToTry = errors.New("no model is loaded there that is idle")

// probe has a model that is loaded, and on which no call of ours is, answer with one token: on
// a host where models fail, ps, tags and version may all be well.
func (h *member) probe(ctx context.Context) error {
	r := h.idle()
	if r == nil {
		return errNothingToTry
	}
	model, one := canonical(r.Name), 1
	shown, err := h.show(ctx, model, r.Digest)
	if err != nil {
		return err
	}
	o, _ := h.fitting(&need{options: &ollama.Options{NumPredict: &one}}, r)
	if isEmbedding(shown.Capabilities) {
		_, err := h.Client.Embed(ctx, &ollama.EmbedRequest{Model: model, Input: []string{"text"}, Options: o})
		return err
	}
	for _, err := range h.Client.Generate(ctx, &ollama.GenerateRequest{Model: model, Prompt: "text", Options: o}) {
		if err != nil {
			return err
		}
	}
	return nil
}

// idle is a loaded model that no call is placed on, of those that the host may run, or nil.
func (h *member) idle() *ollama.Running {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.known.running {
		r := &h.known.running[i]
		if h.known.visits[r.Digest] == nil && (h.May == nil || h.May(canonical(r.Name))) {
			return r
		}
	}
	return nil
}
