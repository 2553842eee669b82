package tools

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type listModelsInput struct {
	Filter     string `json:"filter,omitempty" jsonschema_description:"Glob over names, such as llama*" jsonschema:"example=llama*"`
	Capability string `json:"capability,omitempty" jsonschema:"enum=completion,enum=embedding,enum=vision,enum=tools,enum=thinking,enum=insert"`
}

type listModelsOutput struct {
	Note   string        `json:"note"`
	Models []listedModel `json:"models"`
	failure
}

type listedModel struct {
	Name          ollama.Name  `json:"name"`
	Family        string       `json:"family,omitempty"`
	ParameterSize string       `json:"parameter_size,omitempty"`
	Quantization  string       `json:"quantization_level,omitempty"`
	SizeBytes     int64        `json:"size_bytes"`
	ContextLength int          `json:"context_length,omitempty" jsonschema_description:"at most"`
	Capabilities  []string     `json:"capabilities,omitempty"`
	Digest        string       `json:"digest"`
	ModifiedAt    time.Time    `json:"modified_at"`
	Remote        bool         `json:"remote,omitempty" jsonschema_description:"runs on ollama.com"`
	Loaded        *loadedModel `json:"loaded,omitempty"`
}

type loadedModel struct {
	ContextLength int       `json:"context_length,omitempty" jsonschema_description:"in force"`
	VRAMBytes     int64     `json:"vram_bytes"`
	ExpiresAt     time.Time `json:"expires_at"`
}

func (o *listModelsOutput) words() []string {
	lines := []string{o.Note}
	for _, m := range o.Models {
		where := size(m.SizeBytes)
		if m.Remote { // what is on the disk is a stub
			where = "runs on ollama.com"
		}
		line := fmt.Sprintf("%s: %s %s, %s, %s", m.Name, m.ParameterSize, m.Quantization, where, strings.Join(m.Capabilities, ", "))
		if m.Loaded != nil {
			line += ", loaded"
		}
		lines = append(lines, line)
	}
	return []string{strings.Join(lines, "\n")}
}

// size is a number of bytes as people say it.
func size(bytes int64) string { return ollama.Bytes(bytes).String() }

// listModels lists the installed models.
func listModels(models func(context.Context) ([]fleet.Model, []fleet.Silent, error)) Tool {
	return define(Tool{
		Name:  "list_models",
		Title: "List local models",
		Description: "List the models installed on the user's own Ollama: size, context length, capabilities, and which are " +
			"loaded. Use it to choose a model or check that one exists.",
		Effect:  Reads,
		Toolset: Models,
	}, func(ctx context.Context, in listModelsInput, c *call) (listModelsOutput, error) {
		filter := strings.ToLower(in.Filter)
		if _, err := path.Match(filter, ""); err != nil {
			return listModelsOutput{}, &argumentError{fmt.Sprintf("filter %q is not a glob", in.Filter), "Use * and ? as in llama*"}
		}
		all, _, err := models(ctx)
		if err != nil {
			return listModelsOutput{}, err
		}
		all = slices.DeleteFunc(all, func(m fleet.Model) bool { return !c.pass.May(m.Canonical) })
		o := listModelsOutput{Models: []listedModel{}}
		loaded := 0
		for _, m := range all {
			if !matches(filter, m.Canonical) || in.Capability != "" && !m.Can(in.Capability) {
				continue
			}
			o.Models = append(o.Models, listed(m))
			if m.Loaded != nil {
				loaded++
			}
		}
		o.Note = listNote(len(all), len(o.Models), loaded)
		if len(all) == 0 && c.pass != nil {
			o.Note = "None of the installed models is one that you may use."
		}
		return o, nil
	})
}

// matches reports whether a name matches a glob, with or without its tag and namespace.
func matches(glob string, name ollama.Name) bool {
	if glob == "" {
		return true
	}
	for _, n := range []string{string(name), short(name), path.Base(string(name))} {
		if ok, _ := path.Match(glob, n); ok {
			return true
		}
	}
	return false
}

func listNote(installed, shown, loaded int) string {
	switch {
	case installed == 0:
		return "No models are installed. The user can install one with `ollama pull llama3.2`."
	case shown == 0:
		return fmt.Sprintf("None of the %d installed models matches.", installed)
	case shown < installed:
		return fmt.Sprintf("%d of %d installed models match, %d of them loaded.", shown, installed, loaded)
	}
	return fmt.Sprintf("%d models installed, %d loaded.", installed, loaded)
}

func listed(m fleet.Model) listedModel {
	l := listedModel{
		Name: m.Canonical, Family: m.Details.Family, ParameterSize: m.Details.ParameterSize,
		Quantization: m.Details.QuantizationLevel, SizeBytes: m.Size, ContextLength: m.ContextLength,
		Capabilities: m.Capabilities, Digest: m.Digest, ModifiedAt: m.ModifiedAt, Remote: m.Remote(),
	}
	if m.Loaded != nil {
		l.Loaded = &loadedModel{m.Loaded.ContextLength, m.Loaded.SizeVRAM, m.Loaded.ExpiresAt}
	}
	return l
}
