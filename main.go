// Command ollama-mcp gives MCP hosts the Ollama of a person or a team.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"ollama-mcp/cli"
	"ollama-mcp/config"
	"ollama-mcp/jobs"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/fleet/queue"
	"ollama-mcp/policy"
	"ollama-mcp/resources"
	"ollama-mcp/tools"
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
		return usageError(err)
	}
	if done {
		return exitOK
	}
	if c.ConformanceFixtures && !haveFixtures {
		return usageError(errors.New("--conformance-fixtures: this build has none; build it with -tags conformance"))
	}
	switch {
	case c.Token != nil:
		return exitCode(cli.TokenNew(c, os.Stdout, os.Stderr))
	case c.Explain != nil:
		if err := cli.Explain(c, os.Stdout); err != nil {
			return usageError(err)
		}
		return exitOK
	}
	rules, err := c.Policy.New(tools.ForPolicy)
	if err != nil {
		return usageError(err)
	}
	once := c.Call != nil || c.Route != nil
	if once && c.Log.LogLevel == "warn" {
		c.Log.LogLevel = "error" // the command prints what went wrong itself
	}
	log := c.Log.Logger(os.Stderr, isatty.IsTerminal(os.Stderr.Fd()))
	moved := make(chan struct{}, 1)
	list := newHostList(c, log)
	hosts := fleet.New(list.first(ctx), fleetOptions(c, log, moved))
	defer hosts.Close()
	if c.Route != nil {
		return exitCode(cli.Route(ctx, hosts.Route, c.Route.Model, os.Stdout))
	}
	o := toolOptions(c, log, rules)
	o.Hosts = list.several()
	var read *reading
	if c.Call == nil { // the command is there to wait
		o.Jobs = jobs.New(jobs.Options{TTL: c.Limits.JobTTL, Changed: func(ch jobs.Change) { read.watcher.TellJob(ch.Owner, ch.ID, ch.Seq) }})
		o.Shelf = tools.NewShelf(c.Limits.JobTTL)
		defer endJobs(after(ctx, c.Limits.Drain), o.Jobs, c.Limits.Drain, log)
	}
	set, err := tools.All(hosts, o)
	if err != nil {
		return exitCode(err)
	}
	if set, err = (tools.Selection{Toolsets: c.Tools.Toolsets, Tools: c.Tools.Tools, ReadOnly: c.Tools.ReadOnly}).Select(set); err != nil {
		return usageError(err)
	}
	if c.Call != nil {
		return cli.Call(ctx, set, *c.Call, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
			Terminal: isatty.IsTerminal(os.Stdout.Fd()), Progress: isatty.IsTerminal(os.Stderr.Fd())})
	}
	defer list.follow(ctx, hosts.Update)()
	read = newReading(hosts, o, tools.Names(set), resources.WatchOptions{Poll: c.Limits.Poll, Look: moved})
	s := service{Config: c, hosts: hosts, tools: set, rules: rules, read: read, log: log}
	if c.HTTP != nil {
		return s.serveHTTP(ctx)
	}
	return exitCode(s.serveStdio(ctx))
}

// fleetOptions say how the hosts behave as one. The fleet tells moved of what it changes there.
func fleetOptions(c *config.Config, log zerolog.Logger, moved chan<- struct{}) fleet.Options {
	o := fleet.Options{
		DefaultModel: c.Models.Default, NoCloud: c.Models.NoCloud, WedgeAfter: c.Ollama.WedgeAfter,
		Pins: c.Models.Pins, AllowNumCtx: c.Models.AllowNumCtx,
		Queue: queue.Discipline(c.Fleet.Queue), EmbedCache: int64(c.Fleet.EmbedCache),
		ShareVectors: c.Fleet.ShareEmbeddings, AnswerCache: int64(c.Fleet.AnswerCache),
		Changed: func() {
			select {
			case moved <- struct{}{}:
			default: // who looks will see this change too
			}
		},
		Observe: observer(log),
	}
	if c.Call != nil || c.Route != nil { // one call needs no watch over the hosts, and no other model
		o.Poll, o.NoPreload = -1, true
	}
	return o
}

// toolOptions are what the tools share, and what status tells of the server.
func toolOptions(c *config.Config, log zerolog.Logger, rules *policy.Policy) tools.Options {
	keepAlive, _ := c.Models.MaxKeepAlive.MarshalText() // cannot fail
	return tools.Options{
		Log: log, Policy: rules, Secret: c.Serve.Secret, MaxWait: c.Models.MaxWait, MaxKeepAlive: c.Models.MaxKeepAlive.Limit(),
		About: tools.About{Version: buildVersion(), Limits: tools.Limits{
			MaxWait:           c.Models.MaxWait.Seconds(),
			MaxKeepAlive:      string(keepAlive),
			MaxCalls:          c.Limits.MaxCalls,
			MaxCallsPerCaller: c.Limits.MaxCallsPerCaller,
			MaxMessage:        int64(c.Limits.MaxMessage),
			DefaultModel:      c.Models.Default,
			NoCloud:           c.Models.NoCloud,
		}},
	}
}

// after returns a context that ends some time after ctx.
func after(ctx context.Context, d time.Duration) context.Context {
	later, end := context.WithCancel(context.Background())
	context.AfterFunc(ctx, func() { time.AfterFunc(d, end) })
	return later
}

// endJobs lets running jobs go on for as long as calls may, and not beyond ctx, then cancels
// them.
func endJobs(ctx context.Context, t *jobs.Table, drain time.Duration, log zerolog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	if !t.Shutdown(ctx) {
		log.Error().Msg("leaving jobs behind that do not end when cancelled")
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

func usageError(err error) int {
	fmt.Fprintf(os.Stderr, "ollama-mcp: %v\nTry: ollama-mcp --help\n", err)
	return exitUsage
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(os.Stderr, "ollama-mcp: %v\n", err)
	return exitError
}
