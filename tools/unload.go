package tools

import (
	"context"
	"fmt"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type unloadInput struct {
	Model string `json:"model"`
}

type unloadOutput struct {
	Note  string            `json:"note"`
	State fleet.UnloadState `json:"state" jsonschema:"enum=unloaded,enum=pending,enum=not_loaded"`
	Model ollama.Name       `json:"model"`
	failure
}

func (o *unloadOutput) words() []string { return []string{o.Note} }

// phases reports what the call waits for.
func (c *call) phases(model ollama.Name) fleet.Watch {
	return fleet.Watch{Phase: func(p fleet.Phase) { c.report(Progress{Phase: string(p), Message: waiting(p, model)}) }}
}

// unload frees the memory of a model.
func unload(run func(ctx context.Context, model ollama.Name, host string, w fleet.Watch) (fleet.UnloadState, []string, error)) Tool {
	return define(Tool{
		Name:  "unload",
		Title: "Unload a local model",
		Description: "Free the memory that a model takes on the user's own Ollama. The model stays installed. " +
			"State pending means that calls still run on it; it goes when they end.",
		Effect:    Writes,
		Toolset:   Models,
		UsesModel: true,
	}, func(ctx context.Context, in unloadInput, c *call) (unloadOutput, error) {
		model, _, err := c.named(ctx, in.Model)
		if err != nil {
			return unloadOutput{}, err
		}
		state, _, err := run(ctx, model, "", c.phases(model))
		if err != nil {
			return unloadOutput{}, err
		}
		note := map[fleet.UnloadState]string{
			fleet.Unloaded:  "%s is unloaded; its memory is free.",
			fleet.Pending:   "%s is still in use; Ollama unloads it when its calls have ended.",
			fleet.NotLoaded: "Ollama does not list %s as loaded.",
		}[state]
		return unloadOutput{Note: fmt.Sprintf(note, short(model)), State: state, Model: model}, nil
	})
}
