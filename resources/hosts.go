package resources

import (
	"context"
	"errors"

	"ollama-mcp/ollama"
	"ollama-mcp/policy"
)

type hostList struct {
	Hosts []hostStatus `json:"hosts"`
}

type hostStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Up      bool   `json:"up"`
	Version string `json:"version,omitempty"`
	Error   string `json:"error,omitempty"` // the kind of failure
}

// hosts is the list of the Ollamas behind the server.
func (c *Catalog) hosts() resource {
	return resource{
		uri: scheme + "hosts", tool: statusTool, name: "hosts", title: "Ollama hosts",
		description: "The Ollama servers that models run on: address, whether they answer, version.",
		read: func(ctx context.Context, _ *policy.Pass, _ string) (any, error) {
			l := hostList{Hosts: []hostStatus{}}
			for _, h := range c.source.Hosts(ctx) {
				l.Hosts = append(l.Hosts, hostStatus{h.Name, h.Address, h.Err == nil, h.Version, kind(h.Err)})
			}
			return l, ctx.Err()
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
