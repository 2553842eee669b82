package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/mark3labs/mcp-go/server"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"ollama-mcp/config"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/policy"
	"ollama-mcp/resources"
	"ollama-mcp/tools"
	"ollama-mcp/transport"
	"ollama-mcp/transport/auth"
)

// service is what serving needs, whatever the transport.
type service struct {
	*config.Config
	hosts *fleet.Fleet
	tools []tools.Tool
	rules *policy.Policy
	read  *reading
	log   zerolog.Logger
}

// serveStdio serves MCP until the client closes standard input or a signal comes.
func (s *service) serveStdio(ctx context.Context) error {
	if isatty.IsTerminal(os.Stdin.Fd()) {
		greet(os.Stderr)
	}
	defer s.announce(ctx)()
	return transport.ServeStdio(ctx, s.server(), os.Stdin, os.Stdout, s.limits())
}

// serveHTTP serves MCP on --listen until a signal comes.
func (s *service) serveHTTP(ctx context.Context) int {
	o, err := s.httpOptions()
	if err != nil {
		return usageError(err)
	}
	defer o.Auth.Close()
	h, err := transport.NewHTTP(s.server(), o)
	if err != nil {
		return exitCode(err)
	}
	l, err := net.Listen("tcp", s.Serve.Listen)
	if err != nil {
		return exitCode(fmt.Errorf("--listen: %w: end what listens there, or give another address", err))
	}
	s.say(l.Addr())
	defer s.announce(ctx)()
	// Without it a heap of a few megabytes is collected all the time, which takes a
	// fifth of a call. It is never touched, and so takes no memory itself.
	ballast := make([]byte, 32<<20)
	defer runtime.KeepAlive(ballast)
	return exitCode(h.Serve(ctx, l))
}

// httpOptions reads the files that the settings name.
func (s *service) httpOptions() (transport.HTTPOptions, error) {
	o := transport.HTTPOptions{
		Options:      s.limits(),
		AllowHosts:   s.Serve.AllowHost,
		AllowOrigins: s.Serve.AllowOrigin,
		Path:         s.Serve.Path,
		NoSSE:        s.Serve.SSE == "off",
		Secret:       s.Serve.Secret,
		Ready: func(ctx context.Context) error {
			if _, _, err := s.hosts.Probe(ctx); err != nil {
				return errors.New("no Ollama answers")
			}
			return nil
		},
	}
	var err error
	if o.Auth, err = auth.New(auth.Options{
		TokensFile: s.Auth.Tokens, Issuer: s.Auth.OIDCIssuer, Audience: s.Auth.Audience,
		ClientCerts: s.Auth.ClientCA != "", PublicURL: s.Auth.PublicURL, Log: s.log,
	}); err != nil || s.Auth.TLSCert == "" {
		return o, err
	}
	o.TLS, err = auth.ServerTLS(auth.TLSOptions{
		CertFile: s.Auth.TLSCert, KeyFile: s.Auth.TLSKey, ClientCA: s.Auth.ClientCA, Log: s.log,
	})
	return o, err
}

// server makes the MCP server and what it offers, to each caller what the rules allow.
func (s *service) server() *server.MCPServer {
	if s.ConformanceFixtures {
		return fixtures()
	}
	srv := server.NewMCPServer("ollama-mcp", buildVersion(), append(s.read.catalog.ServerOptions(),
		server.WithTitle("Ollama"),
		server.WithInstructions(tools.Instructions(s.tools)),
		server.WithToolCapabilities(true),
	)...)
	srv.GetHooks().AddAfterListTools(tools.Visible(s.rules))
	tools.Register(srv, s.tools)
	s.read.catalog.Register(srv)
	return srv
}

func (s *service) limits() transport.Options {
	o := transport.Options{
		MaxCalls:            s.Limits.MaxCalls,
		MaxCallsPerCaller:   s.Limits.MaxCallsPerCaller,
		MaxStreams:          s.Serve.MaxStreams,
		MaxStreamsPerCaller: s.Serve.MaxStreamsPerCaller,
		MaxMessage:          int(s.Limits.MaxMessage),
		ProgressInterval:    s.Limits.ProgressInterval,
		Drain:               s.Limits.Drain,
		Busy:                tools.Busy,
		Watch:               s.read.watch,
		Canonical:           resources.Canonical,
		Subscribable:        s.read.catalog.Subscribable,
		Log:                 s.log,
	}
	if s.ConformanceFixtures {
		o.Subscribable = nil // theirs are not in the catalog
	}
	return o
}

// greet tells a person who started the server by hand what it waits for.
func greet(w io.Writer) {
	fmt.Fprint(w, `ollama-mcp serves MCP on standard input and output: an editor or another MCP host starts it.
To try it from here: ollama-mcp call list_models
`)
}

// say logs where the server listens, whatever the level: the port may be the system's
// choice, and that everybody may call must not go unseen.
func (s *service) say(at net.Addr) {
	scheme := "http"
	if s.Auth.TLSCert != "" {
		scheme = "https"
	}
	s.log.Log().Str("level", "info").Str("mcp", fmt.Sprintf("%s://%s/mcp", scheme, at)).Msg("listening")
	switch {
	case s.Auth.InsecureNoAuth:
		s.log.Warn().Str("listen", s.Serve.Listen).Msg("--insecure-no-auth: everybody who reaches this address may use every model")
	case s.Auth.TLSCert == "" && !s.Serve.Loopback():
		s.log.Warn().Str("listen", s.Serve.Listen).Msg("no --tls-cert: tokens travel in the clear, unless a proxy in front speaks TLS")
	}
}

// announce logs one line on what stands behind the server. It never holds up the start;
// the function it returns ends it.
func (s *service) announce(ctx context.Context) (stop func()) {
	if s.log.GetLevel() > zerolog.WarnLevel || s.ConformanceFixtures {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		line := s.log.Level(zerolog.InfoLevel).With().Str("ollama", s.Ollama.Where()).Str("from", s.Ollama.Origin).Logger()
		version, models, err := s.hosts.Probe(ctx)
		switch {
		case ctx.Err() != nil && err != nil: // the client has left before Ollama answered
		case err != nil:
			line.Warn().Err(err).Msg("no Ollama answers yet; calls will say so until one does")
		default:
			line.Info().Str("version", version).Int("models", models).Msg("ready")
		}
	}()
	return func() { cancel(); <-done }
}
