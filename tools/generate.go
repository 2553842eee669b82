package tools

import (
	"context"
	"iter"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type generateInput struct {
	Model  string   `json:"model,omitempty" jsonschema_description:"Default: the operator's, or the only fitting one"`
	Prompt string   `json:"prompt" jsonschema:"minLength=1"`
	System string   `json:"system,omitempty" jsonschema_description:"Replaces the model's system prompt"`
	Suffix string   `json:"suffix,omitempty" jsonschema_description:"Text after the gap, for models with capability insert"`
	Images []string `json:"images,omitempty" jsonschema_description:"Base64 or data URL: PNG, JPEG, WebP, GIF; for vision models"`
	Raw    bool     `json:"raw,omitempty" jsonschema_description:"Send the prompt without the model's template"`
	sampling
}

type generateOutput = answerOutput

// generate answers one prompt.
func generate(choose chooseFunc, run func(context.Context, *ollama.GenerateRequest, fleet.Watch) iter.Seq2[ollama.Chunk, error]) Tool {
	return define(Tool{
		Name:  "generate",
		Title: "Generate text with a local model",
		Description: "Answer one prompt with a model on the user's own Ollama. Use it to hand off drafting, summarising, " +
			"extraction (with schema), code completion (with suffix) or private text. Not for a conversation or tool use: chat. " +
			"Models named cloud run on ollama.com.",
		Effect:    Reads,
		UsesModel: true,
	}, func(ctx context.Context, in generateInput, c *call) (generateOutput, error) {
		if err := in.check(); err != nil {
			return generateOutput{}, err
		}
		images, err := decodeImages("images", in.Images)
		if err != nil {
			return generateOutput{}, err
		}
		model, limits, err := c.model(ctx, choose, in.Model, fleet.Completion)
		if err == nil {
			err = in.within(limits)
		}
		if err != nil {
			return generateOutput{}, err
		}
		r := &ollama.GenerateRequest{
			Model: model, Prompt: in.Prompt, Suffix: in.Suffix, System: in.System, Images: images,
			Format: in.format(), Think: in.think(), KeepAlive: in.KeepAlive, Options: in.Options,
			Raw: in.Raw,
		}
		out, _, err := answer(ctx, asking{
			sampling: &in.sampling,
			model:    model,
			ask: func(ctx context.Context, truncate bool, w fleet.Watch) iter.Seq2[ollama.Chunk, error] {
				r.Truncate = &truncate
				return run(ctx, r, w)
			},
			again: func(answer, complaint string) {
				r.Prompt = in.Prompt + "\n\nYour answer was:\n" + answer + "\n\n" + complaint
			},
		}, c.report)
		return out, err
	})
}
