package tools

import (
	"context"
	"fmt"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// sourceFunc refuses a model of a registry that is not allowed; see [fleet.Fleet.CheckSource].
type sourceFunc func(op string, model ollama.Name) error

type pushInput struct {
	Model string `json:"model" jsonschema_description:"Under the name that the registry knows, as user/model"`
	patience
}

type pushOutput struct {
	moved
	State string `json:"state" jsonschema:"enum=pushed,enum=incomplete,enum=declined,enum=canceled"`
	deferrable
}

func (o *pushOutput) words() []string { return []string{o.Note} }

// push uploads a model.
func push(run func(ctx context.Context, model ollama.Name, watch func(ollama.TransferState)) (*fleet.Moved, error), find findFunc, source sourceFunc) Tool {
	return confirmed(define(Tool{
		Name:  "push",
		Title: "Upload a model to a registry",
		Description: "Upload an installed model from the user's own Ollama to the registry in its name, such as user/model on " +
			"ollama.com, where others may see it. The user is asked first where the client can.",
		Effect:    Destroys, // what the registry had under the name
		Toolset:   Library,
		UsesModel: true,
		OpenWorld: true,
	}, func(ctx context.Context, in pushInput, c *call) (pushOutput, error) {
		model, _, err := c.named(ctx, in.Model)
		if err != nil {
			return pushOutput{}, err
		}
		m, err := run(c.tool.with(ctx, model), model, c.watch(model))
		if err != nil {
			m, state := broken(model, err)
			return pushOutput{moved: m, State: state}, err
		}
		note := fmt.Sprintf("%s is on %s now.", short(model), model.Registry())
		return pushOutput{moved: movedOf(model, m, note), State: "pushed"}, nil
	}), func(ctx context.Context, in pushInput, c *call) (string, error) {
		model, err := c.modelNamed(ctx, in.Model)
		if err == nil {
			err = source("push", model)
		}
		if err != nil {
			return "", err
		}
		m, err := find(c.tool.with(ctx, model), model, "")
		if m == nil {
			return "", err // the call itself says that it is missing
		}
		return fmt.Sprintf("Upload the model %s to %s? Others may be able to see it there.", described(model, m), model.Registry()), nil
	})
}
