package tools

import (
	"context"
	"fmt"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type deleteInput struct {
	Model string `json:"model"`
}

type deleteOutput struct {
	Note  string      `json:"note"`
	State string      `json:"state" jsonschema:"enum=deleted,enum=declined,enum=canceled"`
	Model ollama.Name `json:"model"`
	onHosts
	failure
}

func (o *deleteOutput) words() []string { return []string{o.Note} }

// deleteModel removes a model.
func deleteModel(run func(context.Context, ollama.Name, fleet.Watch) (fleet.Reached, error), find findFunc) Tool {
	return confirmed(define(Tool{
		Name:  "delete",
		Title: "Delete a local model",
		Description: "Delete a model from the memory and the disk of the user's own Ollama. It cannot be undone; the user is " +
			"asked first where the client can.",
		Effect:    Destroys,
		Toolset:   Library,
		UsesModel: true,
	}, func(ctx context.Context, in deleteInput, c *call) (deleteOutput, error) {
		model, _, err := c.named(ctx, in.Model)
		if err != nil {
			return deleteOutput{}, err
		}
		on, err := run(c.tool.with(ctx, model), model, waits(c.report, model))
		if err != nil {
			return deleteOutput{}, err
		}
		return deleteOutput{Note: fmt.Sprintf("%s is deleted.", short(model)) + outOfReach(on), State: "deleted", Model: model, onHosts: hostsOf(on.Hosts)}, nil
	}), func(ctx context.Context, in deleteInput, c *call) (string, error) {
		model, err := c.modelNamed(ctx, in.Model)
		if err != nil {
			return "", err
		}
		m, err := find(c.tool.with(ctx, model), model, "")
		if m == nil {
			return "", err // the call itself says that it is missing
		}
		return fmt.Sprintf("Delete the model %s? It cannot be brought back.", described(model, m)), nil
	})
}
