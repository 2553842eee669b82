package tools

import (
	"context"
	"fmt"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type unloadInput struct {
	Model string `json:"model"`
	Host  string `json:"host,omitempty" jsonschema_description:"Name of a host, as in status; default: all"`
}

type unloadOutput struct {
	Note  string            `json:"note"`
	State fleet.UnloadState `json:"state" jsonschema:"enum=unloaded,enum=pending,enum=not_loaded"`
	Model ollama.Name       `json:"model"`
	onHosts
	failure
}

func (o *unloadOutput) words() []string { return []string{o.Note} }

// unload frees the memory of a model.
func unload(run func(ctx context.Context, model ollama.Name, host string, w fleet.Watch) (fleet.UnloadState, fleet.Reached, error), hosts bool) Tool {
	return define(Tool{
		Name:  "unload",
		Title: "Unload a local model",
		Description: "Free the memory that a model takes on the user's own Ollama. The model stays installed. " +
			"State pending means that calls still run on it; it goes when they end.",
		Effect:    Writes,
		Toolset:   Models,
		UsesModel: true,
		without:   noHost(hosts),
	}, func(ctx context.Context, in unloadInput, c *call) (unloadOutput, error) {
		model, _, err := c.named(ctx, in.Model)
		if err != nil {
			return unloadOutput{}, err
		}
		state, on, err := run(c.tool.with(ctx, model), model, in.Host, waits(c.report, model))
		if err != nil {
			return unloadOutput{}, err
		}
		o := unloadOutput{State: state, Model: model, onHosts: hostsOf(on.Hosts)}
		o.Note = fmt.Sprintf(map[fleet.UnloadState]string{
			fleet.Unloaded:  "%s is unloaded%s; its memory is free.",
			fleet.Pending:   "%s is still in use%s; Ollama unloads it when its calls have ended.",
			fleet.NotLoaded: "Ollama does not list %s as loaded%s.",
		}[state], short(model), onWhich(hosts, on.Hosts)) + outOfReach(on)
		return o, nil
	})
}
