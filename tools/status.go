package tools

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// About is what status tells of the server itself. The zero value tells nothing.
type About struct {
	Version string
	Limits  Limits
}

// Limits are the operator's. What is 0 is not told.
type Limits struct {
	MaxWait           float64     `json:"max_wait_s,omitempty" jsonschema_description:"before a call becomes a job"`
	MaxKeepAlive      string      `json:"max_keep_alive,omitempty"`
	MaxCalls          int         `json:"max_calls,omitempty" jsonschema_description:"in flight, of all callers"`
	MaxCallsPerCaller int         `json:"max_calls_per_caller,omitempty"`
	MaxMessage        int64       `json:"max_message_bytes,omitempty"`
	DefaultModel      ollama.Name `json:"default_model,omitempty"`
	NoCloud           bool        `json:"no_cloud,omitempty" jsonschema_description:"models that run on ollama.com are refused"`
}

// jobCounts are how many jobs the caller has.
type jobCounts struct {
	Running int `json:"running"`
	Ended   int `json:"ended"`
}

type statusInput struct{}

type statusOutput struct {
	Note    string         `json:"note"`
	Version string         `json:"version,omitempty" jsonschema_description:"of this server"`
	Ollama  ollamaStatus   `json:"ollama"`
	Loaded  []statusLoaded `json:"loaded,omitzero" jsonschema_description:"not there when Ollama does not say"`
	Loading []ollama.Name  `json:"loading,omitempty"`
	Calls   []modelCalls   `json:"calls" jsonschema_description:"in progress through this server"`
	Jobs    *jobCounts     `json:"jobs,omitempty"`
	Limits  Limits         `json:"limits"`
	failure
}

type ollamaStatus struct {
	Host    string `json:"host"`
	Address string `json:"address"`
	Version string `json:"version,omitempty"`
}

type statusLoaded struct {
	Model ollama.Name `json:"model"`
	Size  int64       `json:"size_bytes"`
	loadedModel
}

type modelCalls struct {
	Model   ollama.Name `json:"model"`
	Running int         `json:"running" jsonschema_description:"sent; Ollama may hold some back until a slot is free"`
	Waiting int         `json:"waiting" jsonschema_description:"for the model to load"`
}

// status tells what goes on.
func status(ask func(context.Context) []fleet.HostStatus, list func(owner string, states ...jobs.State) []jobs.Status, about About) Tool {
	return define(Tool{
		Name:  "status",
		Title: "Status of Ollama",
		Description: "Show the user's own Ollama: address and version, which models are loaded and until when, calls and jobs in " +
			"progress, limits. Use it when a call is slow, busy or fails.",
		Effect:  Reads,
		Toolset: Models,
	}, func(ctx context.Context, _ statusInput, c *call) (statusOutput, error) {
		s := ask(ctx)[0]
		o := statusOutput{
			Version: about.Version, Ollama: ollamaStatus{s.Name, s.Address, s.Version},
			Calls: []modelCalls{}, Limits: about.Limits,
		}
		if s.Loaded != nil {
			o.Loaded = []statusLoaded{}
		}
		for _, m := range s.Loaded {
			if c.pass.May(m.Canonical) {
				o.Loaded = append(o.Loaded, statusLoaded{m.Canonical, m.Size, loadedModel{m.ContextLength, m.SizeVRAM, m.ExpiresAt}})
			}
		}
		for _, m := range s.Loading {
			if c.pass.May(m) {
				o.Loading = append(o.Loading, m)
			}
		}
		for _, m := range slices.Sorted(maps.Keys(s.Calls)) {
			if c.pass.May(m) {
				o.Calls = append(o.Calls, modelCalls{m, s.Calls[m].Running, s.Calls[m].Waiting})
			}
		}
		if !c.pass.May(o.Limits.DefaultModel) {
			o.Limits.DefaultModel = ""
		}
		running := len(list(owner(ctx), jobs.Running))
		if ended := len(list(owner(ctx))) - running; running+ended > 0 {
			o.Jobs = &jobCounts{running, ended}
		}
		o.Note = o.note()
		return o, s.Err
	})
}

func (o *statusOutput) note() string {
	running, waiting := 0, 0
	for _, c := range o.Calls {
		running += c.Running
		waiting += c.Waiting
	}
	loaded := count(len(o.Loaded), "model") + " loaded"
	if o.Loaded == nil {
		loaded = "Which models are loaded is not known"
	}
	note := fmt.Sprintf("%s, %d loading; %s running, %d waiting.", loaded, len(o.Loading), count(running, "call"), waiting)
	if o.Ollama.Version != "" {
		note = fmt.Sprintf("Ollama %s at %s: %s", o.Ollama.Version, o.Ollama.Address, note)
	}
	if o.Jobs != nil {
		note += fmt.Sprintf(" %s running, %d ended.", count(o.Jobs.Running, "job"), o.Jobs.Ended)
	}
	return note
}

func (o *statusOutput) words() []string {
	lines := []string{o.Note}
	for _, m := range o.Loaded {
		lines = append(lines, fmt.Sprintf("%s: %s in memory, context %d, until %s", m.Model, size(m.Size), m.ContextLength, m.ExpiresAt.Format(time.RFC3339)))
	}
	for _, c := range o.Calls {
		lines = append(lines, fmt.Sprintf("%s: %s running, %d waiting", c.Model, count(c.Running, "call"), c.Waiting))
	}
	return []string{strings.Join(lines, "\n")}
}
