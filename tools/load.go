package tools

import (
	"context"
	"fmt"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type loadInput struct {
	Model     string `json:"model"`
	KeepAlive string `json:"keep_alive,omitempty" jsonschema_description:"As 10m; default: Ollama's"`
	Host      string `json:"host,omitempty" jsonschema_description:"Name of a host, as in status; default: where calls would go"`
	NumCtx    *int   `json:"num_ctx,omitempty" jsonschema:"minimum=1" jsonschema_description:"Context in tokens; default: the model's"`
	patience
}

type loadOutput struct {
	Note          string      `json:"note"`
	State         string      `json:"state" jsonschema:"enum=loaded,enum=remote"`
	Model         ollama.Name `json:"model"`
	Host          string      `json:"host"`
	LoadMS        float64     `json:"load_ms"`
	ContextLength int         `json:"context_length,omitempty"`
	VRAMBytes     int64       `json:"vram_bytes"`
	deferrable
}

func (o *loadOutput) words() []string { return []string{o.Note} }

// load puts a model in memory.
func load(run func(context.Context, fleet.LoadRequest, fleet.Watch) (*fleet.Loaded, error), hosts bool) Tool {
	return define(Tool{
		Name:  "load",
		Title: "Load a local model",
		Description: "Put a model into the memory of the user's own Ollama, so that later calls start at once. A load goes on " +
			"even when the call is cancelled. Not needed before generate, chat or embed.",
		Effect:    Writes,
		Toolset:   Models,
		UsesModel: true,
		Outlives:  true,
		without:   noHost(hosts),
	}, func(ctx context.Context, in loadInput, c *call) (loadOutput, error) {
		model, limits, err := c.named(ctx, in.Model)
		if err == nil {
			err = in.check(limits)
		}
		if err != nil {
			return loadOutput{}, err
		}
		request := fleet.LoadRequest{Model: model, KeepAlive: in.KeepAlive, Host: in.Host}
		if in.NumCtx != nil {
			request.Options = &ollama.Options{NumCtx: in.NumCtx}
		}
		l, err := run(c.tool.with(ctx, model), request, waits(c.report, model))
		switch {
		case err != nil:
			return loadOutput{}, err
		case l.Remote:
			return loadOutput{
				Note:  fmt.Sprintf("%s runs on ollama.com: there is nothing to load.", short(model)),
				State: "remote", Model: model, Host: l.Host,
			}, nil
		}
		return loadOutput{
			Note:  fmt.Sprintf("%s is loaded.", short(model)),
			State: "loaded", Model: model, Host: l.Host, LoadMS: ms(l.Took), ContextLength: l.ContextLength, VRAMBytes: l.VRAM,
		}, nil
	})
}

// check refuses a keep_alive of 0 too: with it Ollama takes a load for an unload.
func (in *loadInput) check(l limits) (err error) {
	d, err := time.ParseDuration(in.KeepAlive)
	switch {
	case in.KeepAlive == "":
	case err != nil:
		return notDuration(in.KeepAlive, "")
	case d == 0:
		return &argumentError{fmt.Sprintf("keep_alive %q unloads a model at once", in.KeepAlive), "Leave keep_alive out, or use unload"}
	}
	if err := numCtxWithin("num_ctx", in.NumCtx, l); err != nil {
		return err
	}
	in.KeepAlive, err = keepAliveWithin(in.KeepAlive, l)
	return err
}

// modelArgument reads a model name that must be given.
func modelArgument(s string) (ollama.Name, error) {
	n, err := ollama.ParseName(s)
	if err != nil {
		return "", &argumentError{err.Error(), "list_models shows the installed models"}
	}
	return n, nil
}
