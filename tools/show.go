package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type showInput struct {
	Model   string `json:"model"`
	Verbose bool   `json:"verbose,omitempty" jsonschema_description:"Full license and texts, metadata, tensors"`
}

type showOutput struct {
	Note          string       `json:"note"`
	Model         ollama.Name  `json:"model"`
	Host          string       `json:"host"`
	Capabilities  []string     `json:"capabilities,omitempty"`
	ContextLength int          `json:"context_length,omitempty" jsonschema_description:"at most"`
	Family        string       `json:"family,omitempty"`
	ParameterSize string       `json:"parameter_size,omitempty"`
	Quantization  string       `json:"quantization_level,omitempty"`
	Parameters    []string     `json:"parameters,omitempty" jsonschema_description:"default options"`
	System        string       `json:"system,omitempty"`
	Template      string       `json:"template,omitempty"`
	Messages      int          `json:"messages,omitempty" jsonschema_description:"that every chat begins with"`
	License       string       `json:"license,omitempty"`
	ModifiedAt    time.Time    `json:"modified_at,omitzero"`
	Remote        bool         `json:"remote,omitempty" jsonschema_description:"runs on ollama.com"`
	Loaded        *loadedModel `json:"loaded,omitempty"`
	Info          []string     `json:"info,omitempty" jsonschema_description:"metadata, for verbose"`
	Tensors       []string     `json:"tensors,omitempty" jsonschema_description:"for verbose"`
	failure
}

func (o *showOutput) words() []string {
	b, _ := json.MarshalIndent(struct { // all but what stands in the note
		System     string   `json:"system,omitempty"`
		Template   string   `json:"template,omitempty"`
		Parameters []string `json:"parameters,omitempty"`
		License    string   `json:"license,omitempty"`
		Info       []string `json:"info,omitempty"`
		Tensors    []string `json:"tensors,omitempty"`
	}{o.System, o.Template, o.Parameters, o.License, o.Info, o.Tensors}, "", " ")
	if o.Note == "" || string(b) == "{}" {
		return []string{o.Note}
	}
	return []string{o.Note + "\n" + string(b)}
}

// show describes a model.
func show(run func(ctx context.Context, model ollama.Name, full bool) (*fleet.Description, error)) Tool {
	return define(Tool{
		Name:  "show",
		Title: "Show a local model",
		Description: "Show one model of the user's own Ollama: capabilities, context length, default options, template, system prompt, " +
			"quantization, license, and whether it is loaded.",
		Effect:  Reads,
		Toolset: Models,
	}, func(ctx context.Context, in showInput, c *call) (showOutput, error) {
		model, _, err := c.named(ctx, in.Model)
		if err != nil {
			return showOutput{}, err
		}
		d, err := run(c.tool.with(ctx, model), model, in.Verbose)
		if err != nil {
			return showOutput{}, err
		}
		o := shown(model, d)
		o.trim(d, in.Verbose)
		return o, nil
	})
}

func shown(model ollama.Name, d *fleet.Description) showOutput {
	o := showOutput{
		Model: model, Host: d.Host, Capabilities: d.Capabilities, ContextLength: d.ContextLength(),
		Family: d.Details.Family, ParameterSize: d.Details.ParameterSize, Quantization: d.Details.QuantizationLevel,
		Messages: len(d.Messages), ModifiedAt: d.ModifiedAt, Remote: d.RemoteHost != "" || fleet.IsCloudName(model),
	}
	for line := range strings.Lines(d.Shown.Parameters) {
		o.Parameters = append(o.Parameters, strings.Join(strings.Fields(line), " "))
	}
	if d.Loaded != nil {
		o.Loaded = &loadedModel{d.Loaded.ContextLength, d.Loaded.SizeVRAM, d.Loaded.ExpiresAt}
	}
	o.Note = o.note()
	return o
}

func (o *showOutput) note() string {
	parts := []string{strings.TrimSpace(o.ParameterSize + " " + o.Quantization), strings.Join(o.Capabilities, ", ")}
	if o.ContextLength > 0 {
		parts = append(parts, fmt.Sprintf("context of at most %s", count(o.ContextLength, "token")))
	}
	switch {
	case o.Remote:
		parts = append(parts, "runs on ollama.com")
	case o.Loaded != nil:
		parts = append(parts, "loaded on "+o.Host)
	default:
		parts = append(parts, "not loaded")
	}
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	return fmt.Sprintf("%s: %s.", short(o.Model), strings.Join(parts, "; "))
}

// How much of what a model's maker wrote, in characters, and of its tensors show shows.
const (
	maxText, maxTextVerbose = 4000, 64000
	maxLicenseName          = 100
	maxInfo                 = 200
	maxTensors              = 500
)

// trim fills in what can be long, as far as it was asked for.
func (o *showOutput) trim(d *fleet.Description, verbose bool) {
	most := maxText
	if verbose {
		most = maxTextVerbose
		o.Info, o.Tensors = info(d.ModelInfo), tensors(d.Shown.Tensors)
		o.License = cutText(d.Shown.License, most)
	} else {
		name, _, _ := strings.Cut(strings.TrimSpace(d.Shown.License), "\n")
		o.License = cutText(strings.TrimSpace(name), maxLicenseName)
	}
	o.System, o.Template = cutText(d.Shown.System, most), cutText(d.Shown.Template, most)
	for i := range o.Parameters {
		o.Parameters[i] = cutText(o.Parameters[i], maxInfo)
	}
}

// cutText shortens a text to so many bytes and says that it did.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + fmt.Sprintf("… (%d bytes in all)", len(s))
}

// info is a line for each entry of a model's metadata that is not a list.
func info(all map[string]json.RawMessage) []string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := string(all[key])
		if value == "null" {
			continue
		}
		if strings.HasPrefix(value, "[") {
			var list []json.RawMessage
			_ = json.Unmarshal(all[key], &list) // came as JSON
			value = fmt.Sprintf("a list of %d", len(list))
		}
		lines = append(lines, key+": "+cutText(value, maxInfo))
	}
	return lines
}

func tensors(all []ollama.Tensor) []string {
	var lines []string
	for i, t := range all {
		if i == maxTensors {
			return append(lines, fmt.Sprintf("and %d more", len(all)-maxTensors))
		}
		lines = append(lines, fmt.Sprintf("%s %s %v", t.Name, t.Type, t.Shape))
	}
	return lines
}
