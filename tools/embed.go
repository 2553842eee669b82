package tools

import (
	"context"
	"encoding/json"
	"fmt"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type embedInput struct {
	Model      string   `json:"model,omitempty" jsonschema_description:"Default: the operator's, or the only fitting one"`
	Input      []string `json:"input" jsonschema:"minItems=1" jsonschema_description:"Texts, one vector each"`
	Dimensions int      `json:"dimensions,omitempty" jsonschema:"minimum=1" jsonschema_description:"Shorter vectors, for models that can"`
	Truncate   bool     `json:"truncate,omitempty" jsonschema_description:"Cut a text that does not fit; default: fail"`
	Encoding   string   `json:"encoding,omitempty" jsonschema:"enum=float,enum=base64,default=float" jsonschema_description:"base64: little-endian float32"`
	Inline     bool     `json:"inline,omitempty" jsonschema_description:"Allow more than 16 vectors in the answer"`
	KeepAlive  string   `json:"keep_alive,omitempty" jsonschema_description:"As 10m; default: Ollama's"`
	patience
}

type embedOutput struct {
	Note       string          `json:"note"`
	Model      ollama.Name     `json:"model"`
	Host       string          `json:"host"`
	Count      int             `json:"count"`
	Dimensions int             `json:"dimensions"`
	Embeddings json.RawMessage `json:"embeddings" jsonschema:"type=array" jsonschema_description:"in the order of input"`
	Usage      *embedUsage     `json:"usage,omitempty"`
	Timing     *embedTiming    `json:"timing,omitempty"`
	deferrable
}

type embedUsage struct {
	PromptTokens int `json:"prompt_tokens"`
}

type embedTiming struct {
	LoadMS  float64 `json:"load_ms"`
	TotalMS float64 `json:"total_ms"`
}

func (o *embedOutput) words() []string { return []string{o.Note} }
func (o *embedOutput) bytes() int      { return len(o.Embeddings) }

// maxInline is how many vectors go into an answer unasked: a model cannot read vectors,
// and 17 of 768 numbers already take the room of a long text.
const maxInline = 16

// embed turns texts into vectors.
func embed(choose chooseFunc, run func(context.Context, *ollama.EmbedRequest, fleet.Watch) (*ollama.EmbedResponse, error)) Tool {
	return define(Tool{
		Name:  "embed",
		Title: "Embed texts with a local model",
		Description: "Turn texts into vectors with an embedding model on the user's own Ollama, for a program that searches, " +
			"clusters or compares. The vectors stand in structuredContent.embeddings; do not read them as text.",
		Effect:    Reads,
		Toolset:   Inference,
		UsesModel: true,
	}, func(ctx context.Context, in embedInput, c *call) (embedOutput, error) {
		if err := in.check(); err != nil {
			return embedOutput{}, err
		}
		model, limits, err := c.model(ctx, choose, in.Model, fleet.Embedding)
		if err == nil {
			in.KeepAlive, err = keepAliveWithin(in.KeepAlive, limits)
		}
		if err != nil {
			return embedOutput{}, err
		}
		var place fleet.Place
		resp, err := run(ctx, &ollama.EmbedRequest{
			Model: model, Input: in.Input, Truncate: &in.Truncate, Dimensions: in.Dimensions, KeepAlive: in.KeepAlive,
		}, fleet.Watch{
			Placed: func(p fleet.Place) { place = p },
			Phase:  func(p fleet.Phase) { c.report(Progress{Phase: string(p), Message: waiting(p, model)}) },
		})
		if err != nil {
			return embedOutput{}, err
		}
		return in.output(model, place, resp)
	})
}

func (in *embedInput) check() error {
	if len(in.Input) > maxInline && !in.Inline {
		return &argumentError{
			fmt.Sprintf("%d inputs make more than %d vectors, too many to return unasked", len(in.Input), maxInline),
			"Set inline to true to have them all in the answer, or send fewer inputs",
		}
	}
	return checkKeepAlive(in.KeepAlive)
}
