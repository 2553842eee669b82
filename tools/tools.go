// Package tools is what a model can do with Ollama: one file per tool, with its name,
// words, input, output and behaviour, and one adapter from a typed function to MCP.
//
// A tool takes the functions it needs of the fleet, never a client; it opens no socket,
// reads no environment and chooses no host. All is the only list of the tools.
package tools

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/rs/zerolog"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/policy"
	"ollama-mcp/schema"
)

// Options are what all tools share. The zero value works.
type Options struct {
	Log    zerolog.Logger // one line per call, with lengths and never prompts or answers
	Policy *policy.Policy // who may call what; nil allows everything
	About  About          // for status
	Secret []byte         // key of what clients hand back, for several servers behind one address; nil is one of its own

	MaxKeepAlive time.Duration // limit on keep_alive of callers; 0 is none
	Jobs         *jobs.Table   // where what takes longer goes on; nil: calls are waited for to their end
	Shelf        *Shelf        // where vectors go that are too many for an answer; nil: none do
	Hosts        bool          // there may be several hosts: tools take the name of one, and name those they found something on
	MaxWait      time.Duration // how long a long tool's call is waited for unless its caller says; 0 is 50 s

	pinned func(ollama.Name) bool // see [fleet.Fleet.KeepsAlive]; nil: no model is
}

// All returns every tool. Clients see them in the order of the alphabet.
func All(f *fleet.Fleet, o Options) ([]Tool, error) {
	table := cmp.Or(o.Jobs, jobs.New(jobs.Options{})) // one in which nothing starts needs no end
	o.pinned = f.KeepsAlive
	return collect(o,
		generate(f.Choose, f.Generate),
		chat(f.Choose, f.Chat),
		embed(f.Choose, f.Embed, o.Shelf, o.Hosts),
		rank(f.Choose, f.Embed, o.Hosts),
		listModels(f.Models, o.Hosts),
		load(f.Load, o.Hosts),
		unload(f.Unload, o.Hosts),
		show(f.Show),
		pull(f.Pull, o.Hosts),
		status(f.Hosts, table.List, o.About),
		listJobs(table.Find, table.List),
		cancelJob(table.Find),
		copyModel(f.Copy, f.Find),
		create(f.Create, f.Find, f.CheckSource, o.Hosts),
		deleteModel(f.Delete, f.Find),
		push(f.Push, f.Find, f.CheckSource),
	)
}

// ForPolicy is what a policy must know of the tools to be checked against them.
func ForPolicy() []policy.Tool {
	set, _ := All(nil, Options{}) // nothing is called; the error comes again where they are used
	var all []policy.Tool
	for _, t := range set {
		all = append(all, policy.Tool{Name: t.Name, UsesModel: t.UsesModel, Follows: t.Toolset == Jobs})
	}
	return all
}

// Visible takes from the answer to tools/list what the caller may not use. A filter of mcp-go
// would refuse calls too, which answer for themselves, in words.
func Visible(p *policy.Policy) server.OnAfterListToolsFunc {
	return func(ctx context.Context, _ any, _ *mcp.ListToolsRequest, list *mcp.ListToolsResult) {
		list.Tools = slices.DeleteFunc(slices.Clone(list.Tools), func(t mcp.Tool) bool { return p.Allow(ctx, t.Name) != nil })
	}
}

// Effect is what a tool does to the world. All four MCP hints follow from it.
type Effect int

// The effects. The zero value is no effect at all: it stops the start.
const (
	_        Effect = iota
	Reads           // changes nothing that a user would miss: hosts need not ask each time
	Writes          // changes what is in memory or installed, and can be undone
	Destroys        // cannot be undone
)

// Tool is one tool, ready to be called by an MCP server or from a shell.
type Tool struct {
	Name        string
	Title       string
	Description string
	Effect      Effect
	Toolset     Toolset
	UsesModel   bool // runs, loads, unloads or changes one
	OpenWorld   bool // reaches beyond the user's own machines
	Outlives    bool // a long tool that goes on, as a job, when its caller cancels the call
	Input       *schema.Schema
	Output      json.RawMessage // JSON Schema of structuredContent

	without  []string // arguments that are not offered
	read     func(args json.RawMessage) (request, error)
	long     bool         // its calls can become jobs
	question questionFunc // nil for a tool that asks the user nothing
	consents *consents
	log      zerolog.Logger
	policy   *policy.Policy
	most     time.Duration // limit on keep_alive of callers; 0 is none
	pinned   func(ollama.Name) bool
	jobs     *jobs.Table
	maxWait  time.Duration
	lacks    []string // of the tools for jobs those that are not offered with it
	err      error    // why the tool could not be made
}

// collect finishes the tools and refuses a set in which one is unfinished.
func collect(o Options, tools ...Tool) ([]Tool, error) {
	var errs []error
	signed := newConsents(o.Secret)
	for i := range tools {
		t := &tools[i]
		t.log, t.policy, t.most, t.pinned = o.Log, o.Policy, o.MaxKeepAlive, o.pinned
		t.consents = signed
		t.jobs, t.maxWait = o.Jobs, cmp.Or(o.MaxWait, 50*time.Second)
		if t.Effect == 0 {
			t.err = errors.Join(t.err, errors.New("no effect stated"))
		}
		if !slices.Contains(Toolsets(), t.Toolset) {
			t.err = errors.Join(t.err, errors.New("no toolset stated"))
		}
		if t.err != nil {
			errs = append(errs, fmt.Errorf("tool %s: %w", t.Name, t.err))
		}
	}
	return tools, errors.Join(errs...)
}

// Register adds the tools to an MCP server.
func Register(s *server.MCPServer, tools []Tool) {
	for _, t := range tools {
		s.AddTool(t.definition(), t.handle)
	}
}

// definition is the tool as tools/list shows it.
func (t *Tool) definition() mcp.Tool {
	reads, destroys := t.Effect == Reads, t.Effect == Destroys
	repeatable := true // asking again leaves things as they are, whatever the tool
	return mcp.Tool{
		Name:            t.Name,
		Title:           t.Title,
		Description:     t.Description,
		RawInputSchema:  t.Input.JSON(),
		RawOutputSchema: t.Output,
		Annotations: mcp.ToolAnnotation{
			ReadOnlyHint:    &reads,
			DestructiveHint: &destroys,
			IdempotentHint:  &repeatable,
			OpenWorldHint:   &t.OpenWorld,
		},
	}
}
