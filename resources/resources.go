// Package resources is what a client can read of Ollama as ollama:// resources: one file
// per kind, the watch that tells subscribers of changes, the completions, and the prompts.
//
// A resource takes the functions it needs of the fleet, never a client, and changes
// nothing. It stands for a tool, and is there for those alone who may use that, with the
// models with which they may; to others it does not exist. The package knows nothing of how
// clients connect.
package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/rs/zerolog"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/policy"
	"ollama-mcp/transport/auth"
)

// Source is what there is to read. Models, Running, Hosts, HostView and Show are needed.
type Source struct {
	Models  func(context.Context) ([]fleet.Model, error)
	Running func(context.Context) ([]fleet.Running, error)
	Hosts   func(context.Context) []fleet.HostStatus
	// HostView is hosts, for JSON, as a caller may see them who may see these models.
	HostView func(all []fleet.HostStatus, may func(ollama.Name) bool) any

	Show func(ctx context.Context, model ollama.Name, full bool) (*fleet.Description, error)

	// Job and Embedding return what the caller in ctx may read under an id, for JSON, or
	// [ErrNotFound]. Nil: there are no such resources.
	Job, Embedding func(ctx context.Context, id string) (any, error)
	// JobIDs lists the ids of the caller's jobs, the latest first, to complete them.
	JobIDs func(context.Context) []string
}

// Options are what all resources and prompts share. The zero value works.
type Options struct {
	Log    zerolog.Logger
	Tools  []string       // the names of those that the server offers; nil is all
	Policy *policy.Policy // who may use them; nil allows everything
	// Explain words an error of Source for a model, and returns what goes along as data.
	// Default: internal error, and the request id.
	Explain func(err error, requestID string) (words string, data any)
}

// Catalog is all resources, completions and prompts. It is safe for concurrent use.
type Catalog struct {
	source Source
	o      Options
}

// New makes the catalog.
func New(s Source, o Options) *Catalog {
	if o.Explain == nil {
		o.Explain = func(_ error, requestID string) (string, any) {
			return fmt.Sprintf("internal error (request %s)", requestID), nil
		}
	}
	return &Catalog{s, o}
}

// ErrNotFound is the error for what does not exist, or not for this caller.
var ErrNotFound = errors.New("not found")

const (
	scheme   = "ollama://"
	mimeType = "application/json"
)

// The tools that resources stand for, and that prompts have a model use.
const (
	listTool     = "list_models"
	showTool     = "show"
	statusTool   = "status"
	jobsTool     = "jobs"
	embedTool    = "embed"
	generateTool = "generate"
)

// resource is a resource, or a kind of them when its URI is a template.
type resource struct {
	uri         string
	tool        string // that it stands for: to read it is a call of that
	name, title string
	description string
	absent      string // what to do about one that is not found
	read        func(ctx context.Context, pass *policy.Pass, variable string) (any, error)
}

// all is the only list of the resources. Those whose tool is not offered are not in it.
func (c *Catalog) all() []resource {
	list := []resource{c.models(), c.model(), c.running(), c.hosts()}
	if c.source.Job != nil {
		list = append(list, c.job())
	}
	if c.source.Embedding != nil {
		list = append(list, c.embedding())
	}
	return slices.DeleteFunc(list, func(r resource) bool { return !c.offers(r.tool) })
}

func (c *Catalog) offers(tools ...string) bool {
	return c.o.Tools == nil || !slices.ContainsFunc(tools, func(t string) bool { return !slices.Contains(c.o.Tools, t) })
}

// may reports whether the caller may use a tool that is offered, with all the models.
func (c *Catalog) may(ctx context.Context, tool string, models ...ollama.Name) bool {
	return c.offers(tool) && c.o.Policy.Allow(ctx, tool, models...) == nil
}

func (r *resource) isTemplate() bool { return strings.Contains(r.uri, "{") }

// is reports whether a URI is that of the resource, or of its kind.
func (r *resource) is(uri string) bool {
	kind, _, template := strings.Cut(r.uri, "{")
	return uri == kind || template && strings.HasPrefix(uri, kind)
}

// variable is the name of a template's one variable.
func (r *resource) variable() string {
	_, name, _ := strings.Cut(r.uri, "{")
	return strings.Trim(name, "+}")
}

// ServerOptions are what an MCP server must be made with before Register.
func (c *Catalog) ServerOptions() []server.ServerOption {
	hooks := &server.Hooks{}
	hooks.AddAfterListResources(c.list)
	hooks.AddAfterListResourceTemplates(c.listTemplates)
	hooks.AddBeforeReadResource(c.unknown)
	return []server.ServerOption{
		server.WithResourceCapabilities(true, true),
		server.WithPromptCapabilities(false),
		server.WithCompletions(),
		server.WithResourceCompletionProvider(c),
		server.WithPromptCompletionProvider(c),
		server.WithPromptFilter(c.visible),
		server.WithHooks(hooks),
	}
}

// Register adds the resources and prompts to an MCP server.
func (c *Catalog) Register(s *server.MCPServer) {
	for _, r := range c.all() {
		if r.isTemplate() {
			s.AddResourceTemplate(r.template(), server.ResourceTemplateHandlerFunc(c.reader(r)))
		} else {
			s.AddResource(r.definition(), server.ResourceHandlerFunc(c.reader(r)))
		}
	}
	for _, p := range prompts() {
		if c.offers(p.uses...) {
			s.AddPrompt(p.definition(), c.writer(p))
		}
	}
}

func (r *resource) definition() mcp.Resource {
	return mcp.Resource{URI: r.uri, Name: r.name, Title: r.title, Description: r.description, MIMEType: mimeType}
}

func (r *resource) template() mcp.ResourceTemplate {
	return mcp.NewResourceTemplate(r.uri, r.name, mcp.WithTemplateTitle(r.title),
		mcp.WithTemplateDescription(r.description), mcp.WithTemplateMIMEType(mimeType))
}

// reader reads a resource as mcp-go wants it done.
func (c *Catalog) reader(r resource) func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
	return func(ctx context.Context, q mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		var variable string
		if values, _ := q.Params.Arguments[r.variable()].([]string); len(values) > 0 {
			variable = values[0]
		}
		id := requestID(ctx)
		start := time.Now()
		text, err := c.content(ollama.WithRequestID(ctx, id), r, variable)
		c.logRead(ctx, q.Params.URI, id, err, time.Since(start))
		var denied *policy.Denied
		switch {
		case errors.As(err, &denied): // unknown has worded it
			return nil, err
		case errors.Is(err, ErrNotFound):
			fail(ctx, absent(ctx), fmt.Sprintf("there is no resource %s. %s", clip(q.Params.URI), r.absent), map[string]any{"uri": clip(q.Params.URI)})
			return nil, err
		case err != nil:
			words, data := c.o.Explain(err, id)
			fail(ctx, mcp.INTERNAL_ERROR, words, data)
			return nil, err
		}
		return []mcp.ResourceContents{mcp.TextResourceContents{URI: q.Params.URI, MIMEType: mimeType, Text: text}}, nil
	}
}

// content reads a resource as a call of its tool is let in: within the caller's limits.
func (c *Catalog) content(ctx context.Context, r resource, variable string) (string, error) {
	pass, err := c.o.Policy.Enter(ctx, r.tool)
	if err != nil {
		return "", err
	}
	defer pass.Leave()
	return encode(r.read(c.with(ctx, r.tool), pass, variable))
}

// with says in a context which hosts the policy lets the caller use with a tool, and with models.
func (c *Catalog) with(ctx context.Context, tool string, models ...ollama.Name) context.Context {
	l := c.o.Policy.Limits(ctx, tool, models...)
	return fleet.WithCaller(ctx, fleet.Caller{Name: auth.FromContext(ctx).Name, Tags: l.Hosts})
}

func encode(content any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	if p, ok := content.(inParts); ok {
		if parts, err := p.JSONParts(); parts != nil || err != nil {
			return joined(parts), err
		}
	}
	b, err := json.Marshal(content)
	return string(b), err
}

// inParts is content that gives its own JSON, in parts that may be large: encoding/json would
// copy it three times. None means that it has no large ones.
type inParts interface{ JSONParts() ([][]byte, error) }

func joined(parts [][]byte) string {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	var b strings.Builder
	b.Grow(n)
	for _, p := range parts {
		b.Write(p)
	}
	return b.String()
}

func (c *Catalog) logRead(ctx context.Context, uri, id string, err error, took time.Duration) {
	e := c.o.Log.Info()
	var denied *policy.Denied
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.As(err, &denied) && !errors.Is(err, context.Canceled) {
		e = c.o.Log.Warn().AnErr("cause", err)
	}
	if caller := auth.FromContext(ctx).Name; caller != auth.Local {
		e = e.Str("caller", caller)
	}
	e.Str("resource", clip(uri)).Str("request", id).Dur("ms", took).Msg("read")
}

// Subscribable returns nil when the caller in ctx may subscribe to a URI: one of a kind that
// is there for it. Whether a model or a job is there is not asked. It is for
// [transport.Options.Subscribable].
func (c *Catalog) Subscribable(ctx context.Context, uri string) error {
	if c.has(ctx, uri) {
		return nil
	}
	words, and := "there is no resource "+clip(uri), ". Resources are "
	for _, r := range c.all() {
		if c.may(ctx, r.tool) {
			words, and = words+and+r.uri, ", "
		}
	}
	return errors.New(words)
}

// has reports whether a URI is of a kind that is there for the caller.
func (c *Catalog) has(ctx context.Context, uri string) bool {
	return slices.ContainsFunc(c.all(), func(r resource) bool { return r.is(uri) && c.may(ctx, r.tool) })
}

// unknown words the error for a URI that is of no kind that is there for the caller, which
// mcp-go or the reader finds out for itself.
func (c *Catalog) unknown(ctx context.Context, _ any, q *mcp.ReadResourceRequest) {
	if err := c.Subscribable(ctx, q.Params.URI); err != nil {
		fail(ctx, absent(ctx), err.Error(), map[string]any{"uri": clip(q.Params.URI)})
	}
}

// session is what this package needs of a transport's call. It is found in the context
// because that is where mcp-go puts it.
type session interface {
	RequestID() string
	Fail(code int, message string, data any)
}

func requestID(ctx context.Context) string {
	if s, ok := server.ClientSessionFromContext(ctx).(session); ok {
		return s.RequestID()
	}
	return ""
}

func fail(ctx context.Context, code int, message string, data any) {
	if s, ok := server.ClientSessionFromContext(ctx).(session); ok {
		s.Fail(code, message, data)
	}
}

// absent is the code for a resource that does not exist:
// https://modelcontextprotocol.io/specification/2025-11-25/server/resources#error-handling
// and, since 2026-07-28, invalid params.
func absent(ctx context.Context) int {
	if mcp.IsModernProtocol(server.RequestProtocolVersion(ctx)) {
		return mcp.INVALID_PARAMS
	}
	return mcp.RESOURCE_NOT_FOUND
}

// clip bounds what is repeated of a client's words.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
