// Package resources is what a client can read of Ollama as ollama:// resources: one file
// per kind, the watch that tells subscribers of changes, the completions, and the prompts.
//
// A resource takes the functions it needs of the fleet, never a client, and changes
// nothing. A caller sees the models that the policy lets it use; to it the others do not
// exist. The package knows nothing of how clients connect.
package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// Source is what there is to read. Models, Running, Hosts and Show are needed.
type Source struct {
	Models  func(context.Context) ([]fleet.Model, error)
	Running func(context.Context) ([]fleet.Running, error)
	Hosts   func(context.Context) []fleet.HostStatus
	Show    func(ctx context.Context, model ollama.Name, full bool) (*fleet.Description, error)

	// Job and Embedding return what the caller in ctx may read under an id, for JSON, or
	// [ErrNotFound]. Nil: there are no such resources.
	Job, Embedding func(ctx context.Context, id string) (any, error)
	// JobIDs lists the ids of the caller's jobs, the latest first, to complete them.
	JobIDs func(context.Context) []string
}

// Options are what all resources and prompts share. The zero value works.
type Options struct {
	Log    zerolog.Logger
	Policy *policy.Policy // who may see which models; nil allows everything
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

// resource is a resource, or a kind of them when its URI is a template.
type resource struct {
	uri         string
	name, title string
	description string
	absent      string // what to do about one that is not found
	read        func(ctx context.Context, variable string) (any, error)
}

// all is the only list of the resources.
func (c *Catalog) all() []resource {
	list := []resource{c.models(), c.model(), c.running(), c.hosts()}
	if c.source.Job != nil {
		list = append(list, c.job())
	}
	if c.source.Embedding != nil {
		list = append(list, c.embedding())
	}
	return list
}

func (r *resource) isTemplate() bool { return strings.Contains(r.uri, "{") }

// variable is the name of a template's one variable.
func (r *resource) variable() string {
	_, name, _ := strings.Cut(r.uri, "{")
	return strings.Trim(name, "+}")
}

// ServerOptions are what an MCP server must be made with before Register.
func (c *Catalog) ServerOptions() []server.ServerOption {
	hooks := &server.Hooks{}
	hooks.AddAfterListResources(c.list)
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
		s.AddPrompt(p.definition(), c.writer(p))
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
		text, err := encode(r.read(ollama.WithRequestID(ctx, id), variable))
		c.logRead(ctx, q.Params.URI, id, err, time.Since(start))
		switch {
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
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, context.Canceled) {
		e = c.o.Log.Warn().AnErr("cause", err)
	}
	if caller := auth.FromContext(ctx).Name; caller != auth.Local {
		e = e.Str("caller", caller)
	}
	e.Str("resource", clip(uri)).Str("request", id).Dur("ms", took).Msg("read")
}

// unknown words the error for a URI that is of no kind, which mcp-go finds out for itself.
func (c *Catalog) unknown(ctx context.Context, _ any, q *mcp.ReadResourceRequest) {
	var kinds []string
	for _, r := range c.all() {
		if kind, _, _ := strings.Cut(r.uri, "{"); q.Params.URI == kind || r.isTemplate() && strings.HasPrefix(q.Params.URI, kind) {
			return
		}
		kinds = append(kinds, r.uri)
	}
	fail(ctx, absent(ctx), fmt.Sprintf("there is no resource %s. Resources are %s", clip(q.Params.URI), strings.Join(kinds, ", ")),
		map[string]any{"uri": clip(q.Params.URI)})
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

// sees reports whether the caller may know of a model.
func (c *Catalog) sees(ctx context.Context, n ollama.Name) bool {
	return c.o.Policy.Allow(ctx, "", n) == nil
}
