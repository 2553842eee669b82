package resources

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/policy"
)

type shownModel struct {
	Name          ollama.Name    `json:"name"`
	Family        string         `json:"family,omitempty"`
	Format        string         `json:"format,omitempty"`
	ParameterSize string         `json:"parameter_size,omitempty"`
	Quantization  string         `json:"quantization_level,omitempty"`
	ContextLength int            `json:"context_length,omitempty"` // at most
	Capabilities  []string       `json:"capabilities,omitempty"`
	Parameters    string         `json:"parameters,omitempty"`
	Template      string         `json:"template,omitempty"`
	System        string         `json:"system,omitempty"`
	Messages      int            `json:"messages,omitempty"` // how many every chat begins with
	License       string         `json:"license,omitempty"`  // its name
	ModifiedAt    time.Time      `json:"modified_at"`
	Remote        bool           `json:"remote,omitempty"`
	Loaded        []runningModel `json:"loaded"`
}

// model is what show tells of an installed model.
func (c *Catalog) model() resource {
	return resource{
		uri: scheme + "models/{+name}", tool: showTool, name: "model", title: "One model",
		description: "What a model of the user's own Ollama is: capabilities, context length, parameters, template, system prompt, license, and where it is loaded. A name may hold : and /, as in hf.co/user/repo:Q4_K_M.",
		absent:      "Read " + scheme + "models for the models that there are",
		read: func(ctx context.Context, pass *policy.Pass, name string) (any, error) {
			n, err := ollama.ParseName(name)
			// Whether a model that the caller may not use is installed must not show: nothing is asked.
			if err != nil || !pass.May(n) {
				return nil, ErrNotFound
			}
			if _, err := pass.Use(ctx, n); err != nil {
				return nil, err
			}
			ctx = c.with(ctx, showTool, n)
			shown, err := c.source.Show(ctx, n, false)
			var nowhere *fleet.PlaceError
			if errors.Is(err, &ollama.Error{Kind: ollama.MissingModel}) || errors.As(err, &nowhere) && nowhere.Kind == ollama.MissingModel {
				return nil, ErrNotFound
			}
			if err != nil {
				return nil, err
			}
			loaded, err := c.loaded(ctx, showTool)
			loaded = slices.DeleteFunc(loaded, func(r runningModel) bool { return !slices.Contains(r.names, n) })
			return describe(n, shown.Shown, loaded), err
		},
	}
}

func describe(n ollama.Name, s *ollama.Shown, loaded []runningModel) shownModel {
	return shownModel{
		Name: n, Family: s.Details.Family, Format: s.Details.Format, ParameterSize: s.Details.ParameterSize,
		Quantization: s.Details.QuantizationLevel, ContextLength: cmp.Or(s.ContextLength(), s.Details.ContextLength),
		Capabilities: s.Capabilities, Parameters: cut(s.Parameters), Template: cut(s.Template), System: cut(s.System), Messages: len(s.Messages),
		License: title(s.License), ModifiedAt: s.ModifiedAt, Remote: s.RemoteHost != "" || fleet.IsCloudName(n), Loaded: loaded,
	}
}

// cut bounds what a model's maker wrote, as the tool show does, and says that it did.
func cut(s string) string {
	const most = 4000
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + fmt.Sprintf("… (%d bytes in all)", len(s))
	}
	return s
}

// title is the first line of a text that has words in it, which in a license is its name.
func title(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return clip(line)
		}
	}
	return ""
}
