package tools

import (
	"context"
	"iter"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type generateInput struct {
	Model  string   `json:"model,omitempty" jsonschema_description:"Default: the operator's, or the only fitting one"`
	Models []string `json:"models,omitempty" jsonschema:"minItems=2,maxItems=4" jsonschema_description:"In place of model: the same prompt on each"`
	Prompt string   `json:"prompt" jsonschema:"minLength=1"`
	System string   `json:"system,omitempty" jsonschema_description:"Replaces the model's system prompt"`
	Suffix string   `json:"suffix,omitempty" jsonschema_description:"Text after the gap, for models with capability insert"`
	Images []string `json:"images,omitempty" jsonschema_description:"Base64 or data URL: PNG, JPEG, WebP, GIF; for vision models"`
	Raw    bool     `json:"raw,omitempty" jsonschema_description:"Send the prompt without the model's template"`
	sampling
	patience
}

type generateOutput struct {
	answerOutput
	Answers []answerOutput `json:"answers,omitempty" jsonschema_description:"with models: one each, in their order"`
}

// generateFunc answers a prompt; see [fleet.Fleet.Generate].
type generateFunc func(context.Context, *ollama.GenerateRequest, fleet.Watch) iter.Seq2[ollama.Chunk, error]

// generate answers one prompt.
func generate(choose chooseFunc, run generateFunc) Tool {
	return define(Tool{
		Name:  "generate",
		Title: "Generate text with a local model",
		Description: "Answer one prompt with a model on the user's own Ollama. Use it to hand off drafting, summarising, " +
			"extraction (with schema), code completion (with suffix) or private text. Not for a conversation or tool use: chat. " +
			"Models named cloud run on ollama.com.",
		Effect:    Reads,
		Toolset:   Inference,
		UsesModel: true,
	}, func(ctx context.Context, in generateInput, c *call) (generateOutput, error) {
		err := in.check()
		if err != nil {
			return generateOutput{}, err
		}
		if in.Images, err = decodeImages("images", in.Images); err != nil {
			return generateOutput{}, err
		}
		if in.Models != nil {
			return sideBySide(ctx, c, choose, run, in)
		}
		model, limits, err := c.model(ctx, choose, in.Model, fleet.Completion)
		if err == nil {
			err = in.within(limits)
		}
		if err != nil {
			return generateOutput{}, err
		}
		out, err := in.answer(c.tool.with(ctx, model), model, run, c.report)
		return generateOutput{answerOutput: out}, err
	})
}

// answer answers the prompt with one model.
func (in generateInput) answer(ctx context.Context, model ollama.Name, run generateFunc, report Report) (answerOutput, error) {
	r := &ollama.GenerateRequest{
		Model: model, Prompt: in.Prompt, Suffix: in.Suffix, System: in.System, Images: in.Images,
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
	}, report)
	return out, err
}
