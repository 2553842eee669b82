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

// serveStdio serves MCP until the client closes standard input or a signal comes.
func serveStdio(ctx context.Context, c *config.Config, srv *server.MCPServer, hosts *fleet.Fleet, read *reading, log zerolog.Logger) error {
	if isatty.IsTerminal(os.Stdin.Fd()) {
		greet(os.Stderr)
	}
	defer announce(ctx, c, hosts, log)()
	return transport.ServeStdio(ctx, srv, os.Stdin, os.Stdout, limits(c, read, log))
}

// serveHTTP serves MCP on --listen until a signal comes.
func serveHTTP(ctx context.Context, c *config.Config, srv *server.MCPServer, hosts *fleet.Fleet, read *reading, log zerolog.Logger) int {
	o, err := httpOptions(c, hosts, read, log)
	if err != nil {
		return usageError(err)
	}
	defer o.Auth.Close()
	h, err := transport.NewHTTP(srv, o)
	if err != nil {
		return exitCode(err)
	}
	l, err := net.Listen("tcp", c.Serve.Listen)
	if err != nil {
		return exitCode(fmt.Errorf("--listen: %w: end what listens there, or give another address", err))
	}
	say(c, l.Addr(), log)
	defer announce(ctx, c, hosts, log)()
	// Without it a heap of a few megabytes is collected all the time, which takes a
	// fifth of a call. It is never touched, and so takes no memory itself.
	ballast := make([]byte, 32<<20)
	defer runtime.KeepAlive(ballast)
	return exitCode(h.Serve(ctx, l))
}

// httpOptions reads the files that the settings name.
func httpOptions(c *config.Config, hosts *fleet.Fleet, read *reading, log zerolog.Logger) (transport.HTTPOptions, error) {
	o := transport.HTTPOptions{
		Options:      limits(c, read, log),
		AllowHosts:   c.Serve.AllowHost,
		AllowOrigins: c.Serve.AllowOrigin,
		Path:         c.Serve.Path,
		NoSSE:        c.Serve.SSE == "off",
		Secret:       c.Serve.Secret,
		Ready: func(ctx context.Context) error {
			if _, _, err := hosts.Probe(ctx); err != nil {
				return errors.New("no Ollama answers")
			}
			return nil
		},
	}
	var err error
	if o.Auth, err = auth.New(auth.Options{
		TokensFile: c.Auth.Tokens, Issuer: c.Auth.OIDCIssuer, Audience: c.Auth.Audience,
		ClientCerts: c.Auth.ClientCA != "", PublicURL: c.Auth.PublicURL, Log: log,
	}); err != nil || c.Auth.TLSCert == "" {
		return o, err
	}
	o.TLS, err = auth.ServerTLS(auth.TLSOptions{
		CertFile: c.Auth.TLSCert, KeyFile: c.Auth.TLSKey, ClientCA: c.Auth.ClientCA, Log: log,
	})
	return o, err
}

// newServer makes the MCP server and what it offers, to each caller what the rules allow.
func newServer(c *config.Config, set []tools.Tool, rules *policy.Policy, read *reading) *server.MCPServer {
	if c.ConformanceFixtures {
		return fixtures()
	}
	s := server.NewMCPServer("ollama-mcp", buildVersion(), append(read.catalog.ServerOptions(),
		server.WithTitle("Ollama"),
		server.WithInstructions(tools.Instructions),
		server.WithToolCapabilities(true),
		server.WithToolFilter(tools.Visible(rules)),
	)...)
	tools.Register(s, set)
	read.catalog.Register(s)
	return s
}

func limits(c *config.Config, read *reading, log zerolog.Logger) transport.Options {
	return transport.Options{
		MaxCalls:            c.Limits.MaxCalls,
		MaxCallsPerCaller:   c.Limits.MaxCallsPerCaller,
		MaxStreams:          c.Serve.MaxStreams,
		MaxStreamsPerCaller: c.Serve.MaxStreamsPerCaller,
		MaxMessage:          int(c.Limits.MaxMessage),
		ProgressInterval:    c.Limits.ProgressInterval,
		Drain:               c.Limits.Drain,
		Busy:                tools.Busy,
		Watch:               read.watch,
		Canonical:           resources.Canonical,
		Log:                 log,
	}
}

// greet tells a person who started the server by hand what it waits for.
func greet(w io.Writer) {
	fmt.Fprint(w, `ollama-mcp serves MCP on standard input and output: an editor or another MCP host starts it.
To try it from here: ollama-mcp call list_models
`)
}

// say logs where the server listens, whatever the level: the port may be the system's
// choice, and that everybody may call must not go unseen.
func say(c *config.Config, at net.Addr, log zerolog.Logger) {
	scheme := "http"
	if c.Auth.TLSCert != "" {
		scheme = "https"
	}
	log.Log().Str("level", "info").Str("mcp", fmt.Sprintf("%s://%s/mcp", scheme, at)).Msg("listening")
	switch {
	case c.Auth.InsecureNoAuth:
		log.Warn().Str("listen", c.Serve.Listen).Msg("--insecure-no-auth: everybody who reaches this address may use every model")
	case c.Auth.TLSCert == "" && !c.Serve.Loopback():
		log.Warn().Str("listen", c.Serve.Listen).Msg("no --tls-cert: tokens travel in the clear, unless a proxy in front speaks TLS")
	}
}

// announce logs one line on what stands behind the server. It never holds up the start;
// the function it returns ends it.
func announce(ctx context.Context, c *config.Config, hosts *fleet.Fleet, log zerolog.Logger) (stop func()) {
	if log.GetLevel() > zerolog.WarnLevel || c.ConformanceFixtures {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		line := log.Level(zerolog.InfoLevel).With().Str("ollama", c.Ollama.Host.String()).Str("from", c.Ollama.Origin).Logger()
		version, models, err := hosts.Probe(ctx)
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
