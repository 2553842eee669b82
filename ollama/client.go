package ollama

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// ClientOptions says how to reach a host. The zero value reaches a local Ollama.
type ClientOptions struct {
	Host       Host
	Name       string                                                            // how results and errors name the host; Host.Name() when empty
	Header     map[string]Secret                                                 // sent with every request, to this host only
	APIKey     Secret                                                            // bearer token, sent to this host only
	TLS        *tls.Config                                                       // for https hosts; nil is Go's default
	Connect    time.Duration                                                     // limit on connecting, TLS included; 0 is 5 s
	Stall      time.Duration                                                     // limit between two pieces of an answer that has begun; 0 is 120 s
	Answer     time.Duration                                                     // limit on the first byte of an answer that needs no model: version, tags, ps, show, unload; 0 is 30 s
	MaxIdle    int                                                               // idle connections kept; 0 is 64
	UserAgent  string                                                            // "" is "ollama-mcp"
	Registries Registries                                                        // which pull, push and create may make the host talk to
	Dial       func(ctx context.Context, network, addr string) (net.Conn, error) // nil is net.Dialer; tests put a pipe here
}

// Client speaks to one host. It is safe for concurrent use.
//
// A call that needs a model has no limit of its own on the first byte of its answer, which
// may take minutes while the model is read from disk: its context is the limit.
type Client struct {
	name       string
	base       string
	header     http.Header       // of every request; never changed
	secrets    *strings.Replacer // hides what is secret in header
	stall      time.Duration
	quick      time.Duration // limit on the first byte of what needs no model
	registries Registries
	transport  *http.Transport

	vectorSize atomic.Int64 // bytes of JSON that a vector took in the latest answer, with room to spare
}

// NewClient makes a client. It opens no connection.
func NewClient(o ClientOptions) *Client {
	header := o.header()
	return &Client{
		name:       cmp.Or(o.Name, o.Host.Name()),
		base:       o.Host.String(),
		header:     header,
		secrets:    o.secrets(header.Get("Authorization")),
		stall:      cmp.Or(o.Stall, 120*time.Second),
		quick:      cmp.Or(o.Answer, 30*time.Second),
		registries: o.Registries,
		transport:  o.transport(),
	}
}

func (o *ClientOptions) header() http.Header {
	h := http.Header{}
	for name, value := range o.Header {
		h.Set(name, string(value))
	}
	h.Set("Accept", "application/x-ndjson, application/json")
	h.Set("User-Agent", cmp.Or(o.UserAgent, "ollama-mcp"))
	if key := strings.TrimSpace(string(o.APIKey)); key != "" {
		h.Set("Authorization", "Bearer "+key)
	}
	return h
}

// minSecret is the least length of what is hidden in errors: what is shorter, such as the name
// of a team, is in many words.
const minSecret = 8

// secrets hides in a text what an error must not repeat, should the host do so.
func (o *ClientOptions) secrets(authorization string) *strings.Replacer {
	var pairs []string
	hide := func(s string) {
		if len(s) >= minSecret {
			pairs = append(pairs, s, Secret(s).shown())
		}
	}
	_, credentials, _ := strings.Cut(authorization, " ")
	hide(credentials)
	for _, value := range o.Header {
		hide(string(value))
	}
	return strings.NewReplacer(pairs...)
}

// Name is how results and errors name the host.
func (c *Client) Name() string { return c.name }

// Close drops idle connections. The client stays usable.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Version is Ollama's version, "0.0.0" for development builds.
func (c *Client) Version(ctx context.Context) (string, error) {
	type answer struct {
		Version string `json:"version"`
	}
	a, err := fetch(ctx, c, request{op: "version", path: "/api/version", quick: true},
		func(a *answer) bool { return a.Version != "" })
	return a.Version, err
}

// Tags lists the installed models.
func (c *Client) Tags(ctx context.Context) ([]Model, error) {
	type answer struct {
		Models []Model `json:"models"`
	}
	a, err := fetch(ctx, c, request{op: "tags", path: "/api/tags", quick: true},
		func(a *answer) bool { return a.Models != nil })
	return a.Models, err
}

// PS lists the loaded models. Ollama crashes on it at times while a model is being unloaded
// (0.17.4, server/routes.go, PsHandler): then it is asked again, once.
func (c *Client) PS(ctx context.Context) ([]Running, error) {
	type answer struct {
		Models []Running `json:"models"`
	}
	for again := false; ; again = true {
		a, err := fetch(ctx, c, request{op: "ps", path: "/api/ps", quick: true},
			func(a *answer) bool { return a.Models != nil })
		if e, ok := errors.AsType[*Error](err); !ok || e.Status != http.StatusInternalServerError || again {
			return a.Models, err
		}
	}
}

// Generate streams an answer to a prompt. The stream ends with a chunk whose Done is
// set, or with an error, before which all text that came has been given. Breaking the
// loop closes the connection, which frees the GPU.
func (c *Client) Generate(ctx context.Context, r *GenerateRequest) iter.Seq2[Chunk, error] {
	return c.stream(ctx, generation("generate", r), generateLine)
}

// Chat streams the next message of a chat, as Generate does.
func (c *Client) Chat(ctx context.Context, r *ChatRequest) iter.Seq2[Chunk, error] {
	body := struct {
		*ChatRequest
		Stream bool `json:"stream"`
	}{r, true}
	return c.stream(ctx, request{op: "chat", path: "/api/chat", body: body}, chatLine)
}

// Embed embeds the inputs, in order. Items run one after another; one bad item fails all.
// A success has as many vectors as there were inputs; they may be all zero, see [Vectors.Zero].
func (c *Client) Embed(ctx context.Context, r *EmbedRequest) (*EmbedResponse, error) {
	return c.embed(ctx, "embed", *r)
}

// Load loads a model with the given load-time options and waits until it is loaded.
// embedding says that the model can embed and not generate. Cancelling ctx aborts the
// load for everybody who waits for it: call it from something that outlives a request.
func (c *Client) Load(ctx context.Context, model Name, embedding bool, keepAlive string, o *Options) error {
	if embedding {
		_, err := c.embed(ctx, "load", EmbedRequest{Model: model, KeepAlive: keepAlive, Options: o})
		return err
	}
	return c.run(ctx, generation("load", &GenerateRequest{Model: model, KeepAlive: keepAlive, Options: o}))
}

// Unload asks Ollama to unload a model. Ollama answers at once, whether the model was
// loaded, absent or busy: only PS says when it is gone.
func (c *Client) Unload(ctx context.Context, model Name) error {
	r := generation("unload", &GenerateRequest{Model: model, KeepAlive: "0s"})
	r.quick = true
	return c.run(ctx, r)
}

// run makes a request whose answer has no text.
func (c *Client) run(ctx context.Context, r request) error {
	for _, err := range c.stream(ctx, r, generateLine) {
		if err != nil {
			return err
		}
	}
	return nil
}

func generation(op string, r *GenerateRequest) request {
	body := struct {
		*GenerateRequest
		Stream bool `json:"stream"`
	}{r, true}
	return request{op: op, path: "/api/generate", body: body}
}

type requestIDKey struct{}

// WithRequestID gives the requests made with the context an X-Request-ID header.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}
