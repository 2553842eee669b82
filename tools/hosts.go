package tools

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// onHosts is embedded in the outputs of tools that name where something was done: host, or
// hosts in its place when they were several.
type onHosts struct {
	Host  string   `json:"host,omitempty"`
	Hosts []string `json:"hosts,omitempty"`
}

func hostsOf(names []string) onHosts {
	if len(names) == 1 {
		return onHosts{Host: names[0]}
	}
	return onHosts{Hosts: names}
}

// noHost leaves the argument host out of a tool's input on a server that has one host.
func noHost(several bool) []string {
	if several {
		return nil
	}
	return []string{"host"}
}

// onWhich says where something was done, on a server that may have several hosts.
func onWhich(several bool, names []string) string {
	if !several || len(names) == 0 {
		return ""
	}
	return " on " + list(names)
}

// hostView is a host as a caller sees it.
type hostView struct {
	Name    string         `json:"name"`
	Address string         `json:"address"`
	Version string         `json:"version,omitempty"`
	Tags    []string       `json:"tags,omitempty"`
	State   string         `json:"state"`
	Since   *time.Time     `json:"since,omitempty"`
	Why     string         `json:"why,omitempty"`
	Breaker string         `json:"breaker,omitempty" jsonschema_description:"calls are sent when it is closed"`
	Failure string         `json:"failure,omitempty" jsonschema_description:"kind of the latest"`
	Error   string         `json:"error,omitempty" jsonschema_description:"kind, when it does not answer now"`
	Loaded  []statusLoaded `json:"loaded,omitzero" jsonschema_description:"not there when the host does not say"`
	Loading []ollama.Name  `json:"loading,omitempty"`
	Calls   []modelCalls   `json:"calls" jsonschema_description:"of this server"`
}

type statusLoaded struct {
	Model ollama.Name `json:"model"`
	Size  int64       `json:"size_bytes"`
	loadedModel
}

type modelCalls struct {
	Model    ollama.Name `json:"model"`
	Running  int         `json:"running"`
	Waiting  int         `json:"waiting" jsonschema_description:"for the model, or for their turn"`
	Parallel int         `json:"parallel,omitempty" jsonschema_description:"at a time"`
	WaitS    float64     `json:"wait_s,omitempty" jsonschema_description:"about, of the last"`
}

// Hosts returns, for JSON, hosts as status shows them to a caller who may see these models.
func Hosts(all []fleet.HostStatus, may func(ollama.Name) bool) any {
	return struct {
		Hosts []hostView `json:"hosts"`
	}{viewsOf(all, may)}
}

func viewsOf(all []fleet.HostStatus, may func(ollama.Name) bool) []hostView {
	views := []hostView{}
	for i := range all {
		views = append(views, viewOf(&all[i], may))
	}
	return views
}

func viewOf(s *fleet.HostStatus, may func(ollama.Name) bool) hostView {
	v := hostView{
		Name: s.Name, Address: s.Address, Version: s.Version, Tags: s.Tags, State: string(s.State), Why: whyOf(s),
		Breaker: string(s.Breaker), Failure: kindOf(s.Failure), Error: kindOf(s.Err), Calls: []modelCalls{},
	}
	if !s.Since.IsZero() {
		v.Since = &s.Since
	}
	if s.Loaded != nil {
		v.Loaded = []statusLoaded{}
	}
	for _, m := range s.Loaded {
		if may(m.Canonical) {
			v.Loaded = append(v.Loaded, statusLoaded{m.Canonical, m.Size, loadedModel{m.ContextLength, m.SizeVRAM, m.ExpiresAt}})
		}
	}
	for _, m := range s.Loading {
		if may(m) {
			v.Loading = append(v.Loading, m)
		}
	}
	for _, m := range slices.Sorted(maps.Keys(s.Calls)) {
		if may(m) {
			v.Calls = append(v.Calls, callsOf(s, m))
		}
	}
	return v
}

// whyOf is why a host is in its state. Of a failure only the kind is told: Ollama's words may
// name a model of another caller.
func whyOf(s *fleet.HostStatus) string {
	if s.Failure != nil && s.Why == s.Failure.Error() {
		return strings.ReplaceAll(kindOf(s.Failure), "_", " ")
	}
	return withoutPaths(s.Why)
}

func callsOf(s *fleet.HostStatus, model ollama.Name) modelCalls {
	c := modelCalls{Model: model, Running: s.Calls[model].Running, Waiting: s.Calls[model].Waiting}
	for _, l := range s.Lines {
		if l.Model == model {
			c.Parallel, c.WaitS = l.Parallel, round(l.Wait.Seconds())
		}
	}
	return c
}

// kindOf names the sort of a host's failure, "" for none.
func kindOf(err error) string {
	var e *ollama.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return string(e.Kind)
	}
	return string(ollama.Stalled) // its time was over
}

// line says in one who and how the host is.
func (v *hostView) line() string {
	return fmt.Sprintf("%s, %s at %s", v.State, strings.TrimSpace("Ollama "+v.Version), v.Address)
}

// trouble says what is the matter with a host, "" when it is well.
func (v *hostView) trouble() string {
	switch {
	case v.Why == "" && v.Error == "", v.State == "loading":
		return ""
	case v.Why == "":
		return fmt.Sprintf("%s does not answer (%s).", v.Name, v.Error)
	case v.Since == nil:
		return sentence(fmt.Sprintf("%s is %s: %s", v.Name, v.State, v.Why))
	}
	return sentence(fmt.Sprintf("%s is %s since %s: %s", v.Name, v.State, v.Since.Format(time.RFC3339), v.Why))
}

// outOfReach names the hosts on which a model may still be what it was.
func outOfReach(on fleet.Reached) string {
	if len(on.Silent) == 0 {
		return ""
	}
	return fmt.Sprintf(" Out of reach, and left as it may be there: %s.", list(on.Silent))
}
