package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/server"
	"github.com/rs/zerolog"

	"ollama-mcp/transport/auth"
)

// HTTPOptions tunes serving over HTTP. The zero value works: it serves everybody who
// reaches the listener, as one caller.
type HTTPOptions struct {
	Options
	// Auth finds out who calls. nil: everybody is [auth.Local].
	Auth *auth.Authenticator
	// TLS is how to serve TLS. nil: plain HTTP.
	TLS *tls.Config
	// AllowHosts are names of this server beyond its addresses, with or without a
	// port. Requests for others are refused: a web page could have rebound them.
	AllowHosts []string
	// AllowOrigins are the origins, such as https://app.example, whose web pages may
	// call, beside the server's own.
	AllowOrigins []string
	// Path is what a proxy in front takes away from the paths of requests, such as
	// /ollama: the streams of HTTP+SSE name a path to their clients.
	Path string
	// NoSSE leaves out HTTP+SSE, the transport of 2024-11-05.
	NoSSE bool
	// Secret is the key of session ids, shared by the servers that stand behind one
	// address. nil: a random one, with which sessions end with the process.
	Secret []byte
	// Ready tells whether calls can succeed. It is asked at most once a second. nil:
	// always. Its error is shown to whoever asks for /readyz.
	Ready func(context.Context) error
	// MaxConnections bounds the connections, idle ones included. Default 16,384.
	MaxConnections int
	// ReadTimeout bounds the time a message may take to arrive, WriteTimeout the time
	// that a write may wait for a client that does not read, and HeaderTimeout the
	// time until a request's header has come. Defaults 60 s, 30 s, 5 s.
	ReadTimeout, WriteTimeout, HeaderTimeout time.Duration
}

func (o HTTPOptions) withDefaults() HTTPOptions {
	o.KeepAlive = cmp.Or(o.KeepAlive, 15*time.Second)
	o.MaxConnections = cmp.Or(o.MaxConnections, 16_384)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 60*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 5*time.Second)
	return o
}

const (
	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 2 * time.Minute
	// maxHeader bounds the header of a request.
	maxHeader = 32 << 10
	// maxConcurrent is how many requests one HTTP/2 connection may have open.
	maxConcurrent = 2048
)

// HTTP serves one MCP server over Streamable HTTP at /mcp and, unless NoSSE is set,
// HTTP+SSE at /sse and /message; /healthz and /readyz tell of its health.
type HTTP struct {
	o        HTTPOptions
	hub      *hub
	guard    guard
	sessions *sessions
	streams  streams
	ready    readiness
	open     atomic.Int64 // connections
	closing  context.Context
	close    context.CancelFunc
}

// NewHTTP makes the server. The caller must call Serve, once.
func NewHTTP(srv *server.MCPServer, o HTTPOptions) (*HTTP, error) {
	o = o.withDefaults()
	hub, err := newHub(srv, o.Options)
	if err != nil {
		return nil, err
	}
	h := &HTTP{o: o, hub: hub, guard: newGuard(o.AllowHosts, o.AllowOrigins), sessions: newSessions(o.Secret)}
	h.streams.open = map[string]*stream{}
	h.ready.ask = o.Ready
	h.closing, h.close = context.WithCancel(context.Background())
	return h, nil
}

// Serve serves connections of l until ctx ends or l fails. Then it drains: /readyz
// fails, new requests are refused, streams end, calls may go on for Drain and are then
// cancelled. It closes l and returns nil, or why l failed.
func (h *HTTP) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           h.routes(),
		ReadHeaderTimeout: h.o.HeaderTimeout,
		ReadTimeout:       h.o.ReadTimeout,
		WriteTimeout:      h.o.ReadTimeout + h.o.WriteTimeout, // of refusals; for what may last, eventSink has limits
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		TLSConfig:         h.o.TLS,
		ConnState:         h.count,
		// OPTIONS * has to pass the guard too.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(debugLog{h.o.Log}, "", 0),
		Protocols:                    new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxConcurrent,
			SendPingTimeout:      30 * time.Second,
			WriteByteTimeout:     h.o.WriteTimeout,
		},
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	failed := make(chan error, 1)
	l = openings{l, h.o.HeaderTimeout}
	go func() {
		if h.o.TLS != nil {
			failed <- srv.ServeTLS(l, "", "")
		} else {
			failed <- srv.Serve(l)
		}
	}()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	h.drain()
	h.shutdown(srv)
	h.hub.close()
	if err == nil {
		<-failed
	}
	return err
}

// drain ends what is in flight.
func (h *HTTP) drain() {
	h.close()
	for _, c := range h.hub.connections() {
		c.refuse()
	}
	limit := h.hub.o.Drain
	if within(limit, h.hub.quiet()) {
		return
	}
	for _, c := range h.hub.connections() {
		c.stop(errDrained)
	}
	if !within(limit, h.hub.quiet()) {
		h.o.Log.Error().Dur("after", limit).Msg("leaving calls behind that do not end when cancelled")
	}
}

// shutdown closes the connections, once what was answered has been written.
func (h *HTTP) shutdown(srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close()
	}
}

// count bounds the connections.
func (h *HTTP) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if h.open.Add(1) > int64(h.o.MaxConnections) {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		h.open.Add(-1)
	}
}

// debugLog takes what net/http logs of broken clients.
type debugLog struct{ log zerolog.Logger }

func (d debugLog) Write(line []byte) (int, error) {
	d.log.Debug().Bytes("http", line).Msg("connection")
	return len(line), nil
}

// routes is all that is served, behind the guard.
func (h *HTTP) routes() http.Handler {
	routes := map[string]route{
		"/":        {"GET": page, "HEAD": page},
		"/healthz": {"GET": healthy, "HEAD": healthy},
		"/readyz":  {"GET": h.readyz, "HEAD": h.readyz},
		"/mcp":     {"POST": h.as(h.post), "GET": h.as(h.get), "DELETE": h.as(h.delete)},
	}
	if !h.o.NoSSE {
		routes["/sse"] = route{"GET": h.as(h.sse)}
		routes["/message"] = route{"POST": h.as(h.message)}
	}
	if metadata := h.o.Auth.Metadata(); metadata != nil {
		serve := route{"GET": metadata.ServeHTTP}
		routes[auth.MetadataPath] = serve
		routes[auth.MetadataPath+"/mcp"] = serve
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if why := h.guard.check(r); why != "" {
			fail(w, failure{status: http.StatusForbidden, words: why})
			return
		}
		h.guard.allow(w, r)
		methods, ok := routes[r.URL.Path]
		if !ok {
			fail(w, failure{status: http.StatusNotFound, words: "there is nothing at this path; MCP is at /mcp"})
			return
		}
		methods.serve(w, r)
	})
}

// route is what is served at a path, by method.
type route map[string]http.HandlerFunc

func (m route) serve(w http.ResponseWriter, r *http.Request) {
	if serve := m[r.Method]; serve != nil {
		serve(w, r)
		return
	}
	if r.Method == http.MethodOptions && r.Header.Get("Origin") != "" {
		preflight(w)
		return
	}
	for _, valid := range []string{"GET", "POST", "DELETE"} {
		if m[valid] != nil {
			w.Header().Add("Allow", valid)
		}
	}
	fail(w, failure{status: http.StatusMethodNotAllowed, words: "this path does not take the method " + r.Method})
}

// as serves a request of a known caller while the server takes any.
func (h *HTTP) as(serve func(http.ResponseWriter, *http.Request, *auth.Caller)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if h.closing.Err() != nil {
			w.Header().Set("Connection", "close")
			fail(w, failure{http.StatusServiceUnavailable, drainWords, "1"})
			return
		}
		caller, refused := h.o.Auth.Authenticate(r)
		if refused != nil {
			if refused.Challenge != "" {
				w.Header().Set("WWW-Authenticate", refused.Challenge)
			}
			fail(w, failure{status: refused.Status, words: refused.Message})
			return
		}
		serve(w, r, &caller)
	}
}

// fail answers a request that came to no call, as a JSON-RPC error without an id.
func fail(w http.ResponseWriter, f failure) {
	if f.again != "" {
		w.Header().Set("Retry-After", f.again)
	}
	respond(w, f.status, refusal(nil, &rpcError{Code: codeRefused, Message: f.words}))
}

// respond writes a whole answer of JSON.
func respond(w http.ResponseWriter, status int, it item) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	for _, part := range it.parts {
		_, _ = w.Write(part) // to a client that may have left
	}
}
