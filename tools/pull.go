package tools

import (
	"context"
	"fmt"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// transferFunc moves a model and tells how far it is; see [fleet.Fleet.Pull].
type transferFunc[Of any] func(ctx context.Context, of Of, host string, watch func(ollama.TransferState)) (*fleet.Moved, error)

const pullName = "pull"

// hubForm is how a model of Hugging Face is named. Source: https://huggingface.co/docs/hub/ollama
const hubForm = "hf.co/user/repo:quant, as hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"

type pullInput struct {
	Model string `json:"model" jsonschema:"example=llama3.2:3b"`
	Host  string `json:"host,omitempty" jsonschema_description:"Name of a host, as in status, or all; default: the server chooses"`
	patience
}

type pullOutput struct {
	moved
	State string `json:"state" jsonschema:"enum=pulled,enum=incomplete"`
	deferrable
}

func (o *pullOutput) words() []string { return []string{o.Note} }

// pull installs a model.
func pull(run transferFunc[string], hosts bool) Tool {
	return define(Tool{
		Name:  pullName,
		Title: "Download a model",
		Description: "Download a model from ollama.com or hf.co (hf.co/user/repo:quant) to the user's own Ollama, or update it. " +
			"May take minutes and gigabytes. It goes on even when the call is cancelled; cancel_job stops it. Called again, " +
			"it goes on from where it broke off.",
		Effect:    Writes,
		Toolset:   Models,
		UsesModel: true,
		OpenWorld: true,
		Outlives:  true,
		without:   noHost(hosts),
	}, func(ctx context.Context, in pullInput, c *call) (pullOutput, error) {
		if _, err := ollama.ParseName(in.Model); err != nil {
			return pullOutput{}, &argumentError{err.Error(), "https://ollama.com/library lists models; one of Hugging Face is " + hubForm}
		}
		model, _, err := c.named(ctx, in.Model)
		if err != nil {
			return pullOutput{}, err
		}
		m, err := run(c.tool.with(ctx, model), in.Model, in.Host, c.watch(model)) // as it is spelt: a registry may tell upper case from lower
		if err != nil {
			m, state := broken(model, err)
			return pullOutput{moved: m, State: state}, err
		}
		note := fmt.Sprintf("%s is installed%s, %s.", short(model), onWhich(hosts, m.Hosts), size(m.Model.Size))
		return pullOutput{moved: movedOf(model, m, note), State: "pulled"}, nil
	})
}
