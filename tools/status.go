package tools

import (
	"context"
	"fmt"
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
	Note    string     `json:"note"`
	Version string     `json:"version,omitempty" jsonschema_description:"of this server"`
	Hosts   []hostView `json:"hosts"`
	Jobs    *jobCounts `json:"jobs,omitempty"`
	Limits  Limits     `json:"limits"`
	failure
}

// status tells what goes on.
func status(ask func(context.Context) []fleet.HostStatus, list func(owner string, states ...jobs.State) []jobs.Status, about About) Tool {
	return define(Tool{
		Name:  "status",
		Title: "Status of Ollama",
		Description: "Show the user's own Ollama: hosts and how they are, which models are loaded and until when, calls and jobs in " +
			"progress, limits. Use it when a call is slow, busy or fails.",
		Effect:  Reads,
		Toolset: Models,
	}, func(ctx context.Context, _ statusInput, c *call) (statusOutput, error) {
		all := ask(ctx)
		o := statusOutput{Version: about.Version, Hosts: viewsOf(all, c.pass.May), Limits: about.Limits}
		if !c.pass.May(o.Limits.DefaultModel) {
			o.Limits.DefaultModel = ""
		}
		running := len(list(owner(ctx), jobs.Running))
		if ended := len(list(owner(ctx))) - running; running+ended > 0 {
			o.Jobs = &jobCounts{running, ended}
		}
		o.Note = o.note()
		return o, silence(all)
	})
}

// silence is the error of the first host when none has answered.
func silence(all []fleet.HostStatus) error {
	if len(all) == 0 {
		return &fleet.PlaceError{Kind: ollama.Unreachable}
	}
	for i := range all {
		if all[i].Err == nil {
			return nil
		}
	}
	return all[0].Err
}

func (o *statusOutput) note() string {
	notes := []string{o.who() + ": " + o.work()}
	for i := range o.Hosts {
		notes = append(notes, o.Hosts[i].trouble())
	}
	if o.Jobs != nil {
		notes = append(notes, fmt.Sprintf("%s running, %d ended.", count(o.Jobs.Running, "job"), o.Jobs.Ended))
	}
	return strings.Join(slices.DeleteFunc(notes, func(n string) bool { return n == "" }), " ")
}

// who names the host, or counts those there are.
func (o *statusOutput) who() string {
	if len(o.Hosts) == 1 {
		return strings.TrimSpace("Ollama "+o.Hosts[0].Version) + " at " + o.Hosts[0].Address
	}
	answer := 0
	for i := range o.Hosts {
		if o.Hosts[i].Error == "" {
			answer++
		}
	}
	return fmt.Sprintf("%d of %s answer", answer, count(len(o.Hosts), "host"))
}

// work counts what the hosts do.
func (o *statusOutput) work() string {
	loaded, loading, running, waiting, known := 0, 0, 0, 0, false
	for i := range o.Hosts {
		h := &o.Hosts[i]
		loaded, loading, known = loaded+len(h.Loaded), loading+len(h.Loading), known || h.Loaded != nil
		for _, c := range h.Calls {
			running += c.Running
			waiting += c.Waiting
		}
	}
	what := count(loaded, "model") + " loaded"
	if !known {
		what = "which models are loaded is not known"
	}
	return fmt.Sprintf("%s, %d loading; %s running, %d waiting.", what, loading, count(running, "call"), waiting)
}

func (o *statusOutput) words() []string {
	lines := []string{o.Note}
	for i := range o.Hosts {
		h, on := &o.Hosts[i], ""
		if len(o.Hosts) > 1 {
			on = h.Name + ": "
			lines = append(lines, on+h.line())
		}
		for _, m := range h.Loaded {
			lines = append(lines, fmt.Sprintf("%s%s: %s in memory, context %d, until %s", on, m.Model, size(m.Size), m.ContextLength, m.ExpiresAt.Format(time.RFC3339)))
		}
		for _, c := range h.Calls {
			lines = append(lines, fmt.Sprintf("%s%s: %s running, %d waiting", on, c.Model, count(c.Running, "call"), c.Waiting))
		}
	}
	return []string{strings.Join(lines, "\n")}
}
