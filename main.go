// Command ollama-mcp gives MCP hosts the Ollama of a person or a team.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/mark3labs/mcp-go/server"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"ollama-mcp/cli"
	"ollama-mcp/config"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/tools"
	"ollama-mcp/transport"
)

// version is set by the linker in releases.
var version = ""

// Exit codes.
const (
	exitOK    = 0
	exitError = 1 // a tool failed, or serving did
	exitUsage = 2 // a flag, a setting or an argument is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	c, done, err := config.Parse(args, buildVersion(), os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "ollama-mcp: %v\nTry: ollama-mcp --help\n", err)
		return exitUsage
	}
	if done {
		return exitOK
	}
	if c.Demo != nil {
		return exitCode(cli.Demo(ctx, c, os.Stdout))
	}
	if c.Call != nil && c.Log.LogLevel == "warn" {
		c.Log.LogLevel = "error" // the command prints what went wrong itself
	}
	log := c.Log.Logger(os.Stderr, isatty.IsTerminal(os.Stderr.Fd()))
	hosts := newFleet(c)
	defer hosts.Close()
	set, err := tools.All(hosts, tools.Options{Log: log})
	if err != nil {
		fmt.Fprintf(os.Stderr, "ollama-mcp: %v\n", err)
		return exitError
	}
	if c.Call != nil {
		return cli.Call(ctx, set, *c.Call, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
			Terminal: isatty.IsTerminal(os.Stdout.Fd()), Progress: isatty.IsTerminal(os.Stderr.Fd())})
	}
	return exitCode(serveStdio(ctx, c, hosts, set, log))
}

// newFleet makes the client of the one host and the fleet around it.
func newFleet(c *config.Config) *fleet.Fleet {
	client := ollama.NewClient(ollama.ClientOptions{
		Host: c.Ollama.Host, Stall: c.Ollama.Stall, APIKey: c.Ollama.APIKey, UserAgent: "ollama-mcp/" + buildVersion(),
	})
	return fleet.New(
		fleet.Host{Client: client, Address: c.Ollama.Host.String(), Origin: c.Ollama.Origin},
		fleet.Options{
			MaxWait: c.Models.MaxWait, DefaultModel: c.Models.Default, NoCloud: c.Models.NoCloud, WedgeAfter: c.Ollama.WedgeAfter,
		},
	)
}

// serveStdio serves MCP until the client closes standard input or a signal comes.
func serveStdio(ctx context.Context, c *config.Config, hosts *fleet.Fleet, set []tools.Tool, log zerolog.Logger) error {
	if isatty.IsTerminal(os.Stdin.Fd()) {
		greet(os.Stderr)
	}
	s := server.NewMCPServer("ollama-mcp", buildVersion(),
		server.WithTitle("Ollama"),
		server.WithInstructions(tools.Instructions),
		server.WithToolCapabilities(true),
	)
	tools.Register(s, set)
	ctx, cancel := context.WithCancel(ctx)
	announced := make(chan struct{})
	go func() {
		defer close(announced)
		announce(ctx, c, hosts, log)
	}()
	err := transport.ServeStdio(ctx, s, os.Stdin, os.Stdout, transport.Options{
		MaxCalls:         c.Limits.MaxCalls,
		MaxMessage:       int(c.Limits.MaxMessage),
		ProgressInterval: c.Limits.ProgressInterval,
		Drain:            c.Limits.Drain,
		Busy:             tools.Busy,
		Log:              log,
	})
	cancel()
	<-announced
	return err
}

// greet tells a person who started the server by hand what it waits for.
func greet(w io.Writer) {
	fmt.Fprint(w, `ollama-mcp serves MCP on standard input and output: an editor or another MCP host starts it.
To try it from here: ollama-mcp call list_models
`)
}

// announce logs one line on what stands behind the server. It never holds up the start.
func announce(ctx context.Context, c *config.Config, hosts *fleet.Fleet, log zerolog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if log.GetLevel() > zerolog.WarnLevel {
		return
	}
	line := log.Level(zerolog.InfoLevel).With().Str("ollama", c.Ollama.Host.String()).Str("from", c.Ollama.Origin).Logger()
	version, models, err := hosts.Probe(ctx)
	switch {
	case ctx.Err() != nil && err != nil: // the client has left before Ollama answered
	case err != nil:
		line.Warn().Err(err).Msg("no Ollama answers yet; calls will say so until one does")
	default:
		line.Info().Str("version", version).Int("models", models).Msg("ready")
	}
}

// buildVersion is the version set by the linker, else the one that go install knows.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(os.Stderr, "ollama-mcp: %v\n", err)
	return exitError
}
