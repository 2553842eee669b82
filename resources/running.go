package resources

import (
	"context"
	"slices"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/policy"
)

type runningList struct {
	Models []runningModel `json:"models"`
}

type runningModel struct {
	Name          ollama.Name `json:"name"`
	Host          string      `json:"host"`
	ContextLength int         `json:"context_length,omitempty"` // in force
	SizeBytes     int64       `json:"size_bytes"`               // of all memories
	VRAMBytes     int64       `json:"vram_bytes"`
	ExpiresAt     time.Time   `json:"expires_at"`

	names []ollama.Name // all that run as this one, that the caller may know of
}

// running is the list of the loaded models.
func (c *Catalog) running() resource {
	return resource{
		uri: scheme + "running", tool: listTool, name: "running", title: "Loaded models",
		description: "The models in the memory of the user's own Ollama: where, how much memory they take, the context in force, and until when.",
		read: func(ctx context.Context, _ *policy.Pass, _ string) (any, error) {
			all, err := c.loaded(ctx, listTool)
			return runningList{all}, err
		},
	}
}

// loaded lists the loaded models that the caller may use a tool with. Of copies that run as
// one, Ollama lists one; the caller sees the first that it may.
func (c *Catalog) loaded(ctx context.Context, tool string) ([]runningModel, error) {
	running, err := c.source.Running(ctx)
	if err != nil || len(running) == 0 {
		return []runningModel{}, err
	}
	installed, err := c.source.Models(ctx)
	if err != nil {
		return nil, err
	}
	list := []runningModel{}
	for _, r := range running {
		names := slices.DeleteFunc(namesOf(r, installed), func(n ollama.Name) bool { return !c.may(ctx, tool, n) })
		if len(names) > 0 {
			list = append(list, runningModel{names[0], r.Host, r.ContextLength, r.Size, r.SizeVRAM, r.ExpiresAt, names})
		}
	}
	return list, nil
}

// namesOf is the name that Ollama lists for a loaded model, then those of its copies.
func namesOf(r fleet.Running, installed []fleet.Model) []ollama.Name {
	names := []ollama.Name{r.Canonical}
	for _, m := range installed {
		if m.Digest == r.Digest && m.Canonical != r.Canonical {
			names = append(names, m.Canonical)
		}
	}
	return names
}
