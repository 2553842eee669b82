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
	Hosts         []string     `json:"hosts,omitempty"`
	LoadedOn      []string     `json:"loaded_on,omitempty"`
}

type loadedModel struct {
	ContextLength int       `json:"context_length,omitempty" jsonschema_description:"in force"`
	VRAMBytes     int64     `json:"vram_bytes"`
	ExpiresAt     time.Time `json:"expires_at"`
}

func (o *listModelsOutput) words() []string {
	lines := []string{o.Note}
	for i, m := range o.Models {
		where := size(m.SizeBytes)
		if m.Remote { // what is on the disk is a stub
			where = "runs on ollama.com"
		}
		line := fmt.Sprintf("%s: %s %s, %s, %s", m.Name, m.ParameterSize, m.Quantization, where, strings.Join(m.Capabilities, ", "))
		if m.Hosts != nil {
			line += ", on " + list(m.Hosts)
		}
		if i > 0 && o.Models[i-1].Name == m.Name || i+1 < len(o.Models) && o.Models[i+1].Name == m.Name {
			line += fmt.Sprintf(", with digest %.12s", m.Digest)
		}
		if m.Loaded != nil {
			line += ", loaded" + onWhich(true, m.LoadedOn)
		}
		lines = append(lines, line)
	}
	return []string{strings.Join(lines, "\n")}
}

// size is a number of bytes as people say it.
func size(bytes int64) string { return ollama.Bytes(bytes).String() }

// listModels lists the installed models.
func listModels(models func(context.Context) ([]fleet.Model, []fleet.Silent, error), hosts bool) Tool {
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
		all, silent, err := models(ctx)
		if err != nil {
			return listModelsOutput{}, err
		}
		all = slices.DeleteFunc(all, func(m fleet.Model) bool { return !c.pass.May(m.Canonical) })
		o := listModelsOutput{Models: []listedModel{}}
		var shown []fleet.Model
		for _, m := range all {
			if matches(filter, m.Canonical) && (in.Capability == "" || m.Can(in.Capability)) {
				shown = append(shown, m)
				o.Models = append(o.Models, listed(m, hosts))
			}
		}
		o.Note = listNote(all, shown)
		if len(all) == 0 && c.pass != nil {
			o.Note = "None of the installed models is one that you may use."
		}
		o.Note += versionsNote(shown) + silentNote(silent)
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

func listNote(all, shown []fleet.Model) string {
	installed, matching := distinct(all), distinct(shown)
	loaded := distinct(slices.DeleteFunc(slices.Clone(shown), func(m fleet.Model) bool { return m.Loaded == nil }))
	switch {
	case installed == 0:
		return "No models are installed. The user can install one with `ollama pull llama3.2`."
	case matching == 0:
		return fmt.Sprintf("None of the %d installed models matches.", installed)
	case matching < installed:
		return fmt.Sprintf("%d of %d installed models match, %d of them loaded.", matching, installed, loaded)
	}
	return fmt.Sprintf("%d models installed, %d loaded.", installed, loaded)
}

// distinct is how many names models have that are sorted by them.
func distinct(models []fleet.Model) (n int) {
	for i := range models {
		if i == 0 || models[i].Canonical != models[i-1].Canonical {
			n++
		}
	}
	return n
}

// versionsNote names the models that are not the same on all hosts: they are listed once for
// each content.
func versionsNote(models []fleet.Model) string {
	var differ []string
	for i := range models {
		name := short(models[i].Canonical)
		if i > 0 && models[i].Canonical == models[i-1].Canonical && !slices.Contains(differ, name) {
			differ = append(differ, name)
		}
	}
	switch len(differ) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(" %s is not the same on all hosts: see its digests.", differ[0])
	}
	return fmt.Sprintf(" %s are not the same on all hosts: see their digests.", list(differ))
}

// silentNote names the hosts that may have more models.
func silentNote(silent []fleet.Silent) string {
	var names []string
	for _, s := range silent {
		names = append(names, s.Host)
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(" %s does not answer; its models are not listed.", names[0])
	}
	return fmt.Sprintf(" %s do not answer; their models are not listed.", list(names))
}

// listed is a model as the tool shows it, with its hosts where there may be several.
func listed(m fleet.Model, hosts bool) listedModel {
	l := listedModel{
		Name: m.Canonical, Family: m.Details.Family, ParameterSize: m.Details.ParameterSize,
		Quantization: m.Details.QuantizationLevel, SizeBytes: m.Size, ContextLength: m.ContextLength,
		Capabilities: m.Capabilities, Digest: m.Digest, ModifiedAt: m.ModifiedAt, Remote: m.Remote(),
	}
	if m.Loaded != nil {
		l.Loaded = &loadedModel{m.Loaded.ContextLength, m.Loaded.SizeVRAM, m.Loaded.ExpiresAt}
	}
	if hosts {
		l.Hosts, l.LoadedOn = m.Hosts, m.LoadedOn
	}
	return l
}
