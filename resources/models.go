package resources

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/policy"
)

type modelList struct {
	Models []listedModel `json:"models"`
}

type listedModel struct {
	URI           string      `json:"uri"`
	Name          ollama.Name `json:"name"`
	Family        string      `json:"family,omitempty"`
	ParameterSize string      `json:"parameter_size,omitempty"`
	Quantization  string      `json:"quantization_level,omitempty"`
	SizeBytes     int64       `json:"size_bytes"`
	ContextLength int         `json:"context_length,omitempty"` // at most
	Capabilities  []string    `json:"capabilities,omitempty"`
	Digest        string      `json:"digest"`
	ModifiedAt    time.Time   `json:"modified_at"`
	Remote        bool        `json:"remote,omitempty"`
	Loaded        bool        `json:"loaded"`
	Hosts         []string    `json:"hosts,omitempty"` // that have it
}

// models is the list of the installed models.
func (c *Catalog) models() resource {
	return resource{
		uri: scheme + "models", tool: listTool, name: "models", title: "Installed models",
		description: "The models installed on the user's own Ollama: size, context length, capabilities, whether loaded.",
		read: func(ctx context.Context, _ *policy.Pass, _ string) (any, error) {
			all, err := c.seen(ctx, listTool)
			return listModels(all), err
		},
	}
}

// seen lists the installed models that the caller may use a tool with. Ollama is not asked
// when there can be none.
func (c *Catalog) seen(ctx context.Context, tool string) ([]fleet.Model, error) {
	if !c.may(ctx, tool) {
		return nil, nil
	}
	all, err := c.source.Models(c.with(ctx, tool))
	return slices.DeleteFunc(slices.Clone(all), func(m fleet.Model) bool { return !c.may(ctx, tool, m.Canonical) }), err
}

func listModels(all []fleet.Model) modelList {
	l := modelList{Models: []listedModel{}}
	for _, m := range all {
		l.Models = append(l.Models, listedModel{
			URI: modelURI(m.Canonical), Name: m.Canonical, Family: m.Details.Family, ParameterSize: m.Details.ParameterSize,
			Quantization: m.Details.QuantizationLevel, SizeBytes: m.Size, ContextLength: m.ContextLength, Capabilities: m.Capabilities,
			Digest: m.Digest, ModifiedAt: m.ModifiedAt, Remote: m.Remote(), Loaded: m.Loaded != nil, Hosts: m.Hosts,
		})
	}
	return l
}

// takes says what room a model takes on the disk. One on ollama.com has only a stub there.
func takes(m *fleet.Model, where string) string {
	if m.Remote() {
		return "runs on ollama.com"
	}
	return ollama.Bytes(m.Size).String() + where
}

func modelURI[S ~string](name S) string { return scheme + "models/" + string(name) }

// listPatience bounds how long a list of resources waits for Ollama.
const listPatience = 5 * time.Second

// list makes the answer of resources/list that of the caller, with a resource for each model
// and what is known of the lists themselves. Without Ollama these are missing.
func (c *Catalog) list(ctx context.Context, _ any, _ *mcp.ListResourcesRequest, result *mcp.ListResourcesResult) {
	result.Resources = slices.DeleteFunc(slices.Clone(result.Resources), func(r mcp.Resource) bool { return !c.has(ctx, r.URI) })
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	listed, err := c.seen(ctx, listTool)
	shown, err2 := c.seen(ctx, showTool) // which may be on other hosts
	if err = cmp.Or(err, err2); err != nil {
		c.o.Log.Debug().Err(err).Msg("listing resources without the models")
		return
	}
	for i, r := range result.Resources {
		if r.URI == scheme+"models" {
			result.Resources[i] = c.measured(r, listed)
		}
	}
	for i, m := range shown {
		if i > 0 && result.Resources[len(result.Resources)-1].Name == string(m.Canonical) {
			continue // of other hosts, with other content
		}
		r := mcp.Resource{
			URI: modelURI(m.Canonical), Name: string(m.Canonical), Title: string(m.Canonical), MIMEType: mimeType,
			Description: fmt.Sprintf("%s %s, %s", m.Details.ParameterSize, m.Details.QuantizationLevel, takes(&m, " on disk")),
		}
		r.Annotations = modified(m.ModifiedAt)
		result.Resources = append(result.Resources, r)
	}
}

// listTemplates leaves in the answer of resources/templates/list what is there for the caller.
func (c *Catalog) listTemplates(ctx context.Context, _ any, _ *mcp.ListResourceTemplatesRequest, result *mcp.ListResourceTemplatesResult) {
	result.ResourceTemplates = slices.DeleteFunc(slices.Clone(result.ResourceTemplates), func(t mcp.ResourceTemplate) bool {
		return !c.has(ctx, t.URITemplate.Raw())
	})
}

// measured is the resource of the list of models with its size, that of its JSON, and when
// it was last modified.
func (c *Catalog) measured(r mcp.Resource, all []fleet.Model) mcp.Resource {
	if text, err := encode(listModels(all), nil); err == nil {
		size := int64(len(text))
		r.Size = &size
	}
	if len(all) > 0 {
		latest := slices.MaxFunc(all, func(a, b fleet.Model) int { return a.ModifiedAt.Compare(b.ModifiedAt) })
		r.Annotations = modified(latest.ModifiedAt)
	}
	return r
}

func modified(t time.Time) *mcp.Annotations {
	if t.IsZero() {
		return nil
	}
	return &mcp.Annotations{LastModified: t.UTC().Format(time.RFC3339)}
}

// recent sorts models by when they were used, as far as that is known, then by when they
// were installed: one that is loaded was used, and its expiry counts from its last call.
func recent(all []fleet.Model) []fleet.Model {
	used := func(m *fleet.Model) time.Time {
		if m.Loaded == nil {
			return time.Time{}
		}
		return m.Loaded.ExpiresAt
	}
	sort.SliceStable(all, func(i, j int) bool { // slices.SortStableFunc would take 8 kB for this type
		a, b := &all[i], &all[j]
		if loaded := a.Loaded != nil; loaded != (b.Loaded != nil) {
			return loaded
		}
		return cmp.Or(used(b).Compare(used(a)), b.ModifiedAt.Compare(a.ModifiedAt)) < 0
	})
	return all
}
