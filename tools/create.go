package tools

import (
	"context"
	"fmt"

	"ollama-mcp/ollama"
)

type createInput struct {
	Model      string          `json:"model" jsonschema_description:"Name of the new model"`
	From       string          `json:"from" jsonschema_description:"An installed model"`
	System     string          `json:"system,omitempty" jsonschema_description:"System prompt"`
	Template   string          `json:"template,omitempty" jsonschema_description:"Go template of the prompt"`
	Parameters *ollama.Options `json:"parameters,omitempty" jsonschema_description:"Default options"`
	Messages   []createMessage `json:"messages,omitempty" jsonschema_description:"What every chat begins with"`
	Quantize   string          `json:"quantize,omitempty" jsonschema:"example=q4_K_M" jsonschema_description:"Older Ollamas only, of F16 and F32"`
	Host       string          `json:"host,omitempty" jsonschema_description:"Name of a host, as in status, or all; default: where from is"`
	patience
}

type createMessage struct {
	Role    string `json:"role" jsonschema:"enum=system,enum=user,enum=assistant"`
	Content string `json:"content"`
}

type createOutput struct {
	moved
	State string      `json:"state" jsonschema:"enum=created,enum=declined,enum=canceled"`
	From  ollama.Name `json:"from"`
	deferrable
}

func (o *createOutput) words() []string { return []string{o.Note} }

// create makes a model of another.
func create(run transferFunc[*ollama.CreateRequest], find findFunc, source sourceFunc, hosts bool) Tool {
	return confirmed(define(Tool{
		Name:  "create",
		Title: "Create a local model",
		Description: "Make a model of an installed one on the user's own Ollama, with a system prompt, template, default options or " +
			"first messages of its own. A model that has the name is replaced; the user is asked first where the client can.",
		Effect:    Destroys,
		Toolset:   Library,
		UsesModel: true,
		without:   noHost(hosts),
	}, func(ctx context.Context, in createInput, c *call) (createOutput, error) {
		from, err := c.modelNamed(ctx, in.From)
		if err != nil {
			return createOutput{}, err
		}
		model, limits, err := c.named(ctx, in.Model)
		if err == nil && in.Parameters != nil { // with which the model would load by default
			err = numCtxWithin("parameters.num_ctx", in.Parameters.NumCtx, limits)
		}
		if err != nil {
			return createOutput{}, err
		}
		m, err := run(c.tool.with(ctx, from, model), in.request(model, from), in.Host, c.watch(model))
		if err != nil {
			return createOutput{}, err
		}
		note := fmt.Sprintf("%s is made of %s%s.", short(model), short(from), onWhich(hosts, m.Hosts))
		return createOutput{moved: movedOf(model, m, note), State: "created", From: from}, nil
	}), func(ctx context.Context, in createInput, c *call) (string, error) {
		from, err := c.modelNamed(ctx, in.From)
		if err != nil {
			return "", err
		}
		model, err := c.modelNamed(ctx, in.Model)
		if err == nil {
			err = source("create", from)
		}
		if err != nil {
			return "", err
		}
		return c.replaces(c.tool.with(ctx, from, model), find, model, in.Host, fmt.Sprintf("one made of %s", from))
	})
}

func (in *createInput) request(model, from ollama.Name) *ollama.CreateRequest {
	r := &ollama.CreateRequest{Model: model, From: from, System: in.System, Template: in.Template,
		Parameters: in.Parameters, Quantize: in.Quantize}
	for _, m := range in.Messages {
		r.Messages = append(r.Messages, ollama.Message{Role: m.Role, Content: m.Content})
	}
	return r
}
