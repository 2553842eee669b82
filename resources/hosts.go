package resources

import (
	"context"
	"errors"

	"ollama-mcp/ollama"
	"ollama-mcp/policy"
)

// hosts is the list of the Ollamas behind the server.
func (c *Catalog) hosts() resource {
	return resource{
		uri: scheme + "hosts", tool: statusTool, name: "hosts", title: "Ollama hosts",
		description: "The Ollama servers that models run on: address, version, how each is and since when, what is loaded there, its calls.",
		read: func(ctx context.Context, pass *policy.Pass, _ string) (any, error) {
			return c.source.HostView(c.source.Hosts(ctx), pass.May), ctx.Err()
		},
	}
}

// kind names the sort of an error of a host.
func kind(err error) string {
	var e *ollama.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return string(e.Kind)
	}
	return string(ollama.Stalled) // its time was over
}
