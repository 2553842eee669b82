package tools

import (
	"cmp"
	"context"
	"fmt"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// findFunc looks an installed model up; see [fleet.Fleet.Find].
type findFunc func(ctx context.Context, model ollama.Name, host string) (*fleet.Model, error)

type copyInput struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
}

type copyOutput struct {
	Note        string      `json:"note"`
	State       string      `json:"state" jsonschema:"enum=copied,enum=declined,enum=canceled"`
	Source      ollama.Name `json:"source"`
	Destination ollama.Name `json:"destination"`
	onHosts
	failure
}

func (o *copyOutput) words() []string { return []string{o.Note} }

// copyModel gives a model a second name.
func copyModel(run func(ctx context.Context, source, destination ollama.Name) (fleet.Reached, error), find findFunc) Tool {
	return confirmed(define(Tool{
		Name:  "copy",
		Title: "Copy a local model",
		Description: "Give an installed model of the user's own Ollama a second name, at no cost in space. A model that has the " +
			"name is replaced; the user is asked first where the client can.",
		Effect:    Destroys,
		Toolset:   Library,
		UsesModel: true,
	}, func(ctx context.Context, in copyInput, c *call) (copyOutput, error) {
		source, destination, err := in.names()
		if err == nil {
			err = cmp.Or(c.allow(ctx, source), c.allow(ctx, destination))
		}
		if err != nil {
			return copyOutput{}, err
		}
		if _, err := c.pass.Use(ctx, source); err != nil {
			return copyOutput{}, err
		}
		ctx = c.tool.with(ctx, source, destination)
		before, err := find(ctx, destination, "")
		if err != nil {
			return copyOutput{}, err
		}
		on, err := run(ctx, source, destination)
		if err != nil {
			return copyOutput{}, err
		}
		note := fmt.Sprintf("%s is %s too now.", short(source), short(destination))
		if before != nil {
			note += fmt.Sprintf(" It replaced the model that had the name (%s, %.12s).", size(before.Size), before.Digest)
		}
		return copyOutput{
			Note:  note + outOfReach(on),
			State: "copied", Source: source, Destination: destination, onHosts: hostsOf(on.Hosts),
		}, nil
	}), func(ctx context.Context, in copyInput, c *call) (string, error) {
		source, destination, err := in.names()
		if err == nil {
			err = c.allow(ctx, source)
		}
		if err != nil {
			return "", err
		}
		return c.replaces(c.tool.with(ctx, source, destination), find, destination, "", fmt.Sprintf("a copy of %s", source))
	})
}

func (in *copyInput) names() (source, destination ollama.Name, err error) {
	if source, err = modelArgument(in.Source); err != nil {
		return "", "", err
	}
	if destination, err = modelArgument(in.Destination); err != nil {
		return "", "", err
	}
	if source == destination {
		err = &argumentError{fmt.Sprintf("source and destination are the same model, %s", source), "Give the copy a name of its own"}
	}
	return source, destination, err
}

// replaces is the question whether a model that has a name on a host may be replaced, "" when
// none has it. Of host "" and all any counts.
func (c *call) replaces(ctx context.Context, find findFunc, name ollama.Name, host, by string) (string, error) {
	if err := c.allow(ctx, name); err != nil {
		return "", err
	}
	if host == fleet.AllHosts {
		host = ""
	}
	m, err := find(ctx, name, host)
	if m == nil {
		return "", err
	}
	return fmt.Sprintf("Replace the installed model %s by %s? It cannot be brought back.", described(name, m), by), nil
}

// described names a model and its content, so that a question is about just that.
func described(name ollama.Name, m *fleet.Model) string {
	return fmt.Sprintf("%s (%s, %.12s)", name, size(m.Size), m.Digest)
}
