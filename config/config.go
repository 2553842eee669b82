// Package config reads the program's settings: flags, their environment twins and a YAML
// file, in this order of precedence, above the defaults. It validates them; what is wrong
// stops the program with a message that names the flag and the valid choices.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// EnvPrefix starts the name of every environment twin: --max-wait is OLLAMA_MCP_MAX_WAIT.
const EnvPrefix = "OLLAMA_MCP"

// Config is everything that can be set. Its fields are valid once Parse returned it.
type Config struct {
	File    kong.ConfigFlag  `name:"config" placeholder:"FILE" type:"path" help:"YAML file with settings; its keys are the long flag names."`
	Version kong.VersionFlag `env:"-" help:"Print the version and exit."`

	Ollama OllamaConfig `embed:"" group:"Ollama"`
	Models ModelConfig  `embed:"" group:"Models"`
	Limits LimitConfig  `embed:"" group:"Limits"`
	Log    LogConfig    `embed:"" group:"Log"`

	Stdio StdioCommand `cmd:"" default:"1" hidden:""`
	Call  CallCommand  `cmd:"" help:"Call one tool from the shell."`
	Demo  DemoCommand  `cmd:"" help:"Show the main job on a real Ollama."`
}

// OllamaConfig says where Ollama is.
type OllamaConfig struct {
	Ollama string        `placeholder:"ADDRESS" help:"Ollama's address, such as http://gpu-box:11434; default: OLLAMA_HOST, else 127.0.0.1:11434."`
	Stall  time.Duration `default:"120s" help:"Give up on an answer that has begun and then stays silent for this long."`

	WedgeAfter time.Duration `default:"${wedge_after}" help:"Reload a model that gives no first token for this long after a cancelled call: Ollama may have lost its slot."`

	Host   ollama.Host   `kong:"-"` // where Ollama is
	Origin string        `kong:"-"` // what said so: a flag, a variable or the default
	APIKey ollama.Secret `kong:"-"` // OLLAMA_API_KEY, when Host is ollama.com
}

// ModelConfig says which models calls may use, and how.
type ModelConfig struct {
	DefaultModel string        `placeholder:"MODEL" help:"Model for calls that name none."`
	NoCloud      bool          `help:"Refuse models that run on ollama.com."`
	MaxWait      time.Duration `default:"${max_wait}" help:"Answer that a model is still loading after this long; below the 60 s after which clients give up."`

	Default ollama.Name `kong:"-"` // DefaultModel, canonical
}

// LimitConfig bounds what a client can make the server do.
type LimitConfig struct {
	MaxCalls         int           `default:"64" help:"Calls in flight on one connection."`
	MaxMessage       Size          `default:"16MiB" help:"Largest message from a client."`
	ProgressInterval time.Duration `default:"100ms" help:"Least time between two progress notifications of a call."`
	Drain            time.Duration `default:"3s" help:"How long running calls may go on when the client has left or the server must end."`
}

// LogConfig says what is logged to stderr, and how.
type LogConfig struct {
	LogLevel  string `default:"warn" enum:"trace,debug,info,warn,error" help:"Least level that is logged: ${enum}."`
	LogFormat string `default:"auto" enum:"auto,console,json" help:"${enum}; auto is console on a terminal, else json."`
}

// StdioCommand serves MCP over standard input and output: what the program does when it
// is given no command.
type StdioCommand struct{}

// CallCommand calls one tool.
type CallCommand struct {
	Tool      string `arg:"" help:"Name of the tool; list_models is a good first."`
	Arguments string `arg:"" optional:"" default:"{}" help:"Its arguments, a JSON object; - reads them from standard input."`
}

// DemoCommand shows the main job.
type DemoCommand struct{}

// Errors that end the program well: help or a version was printed.
var errPrinted = errors.New("printed")

// Parse reads the settings. command is the name of the chosen command: "stdio", "call" or
// "demo". done reports that help or the version went to stdout and nothing is left to do.
func Parse(args []string, version string, stdout io.Writer) (c *Config, command string, done bool, err error) {
	c = &Config{}
	parser, err := newParser(c, version, stdout)
	if err != nil {
		return nil, "", false, err
	}
	defer func() {
		if r := recover(); r == errPrinted {
			done = true
		} else if r != nil {
			panic(r)
		}
	}()
	if err := checkEnvironment(parser.Model, os.Environ()); err != nil {
		return nil, "", false, err
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return nil, "", false, err
	}
	command, _, _ = strings.Cut(ctx.Command(), " ")
	c.Ollama.Origin = origin(ctx, "ollama")
	return c, command, false, errors.Join(c.Ollama.resolve(), c.Models.resolve(), c.positive())
}

func newParser(c *Config, version string, stdout io.Writer) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("ollama-mcp"),
		kong.Description("Your Ollama as an MCP server. Without a command it serves MCP over standard input and output."),
		kong.DefaultEnvars(EnvPrefix),
		kong.Configuration(loadFile),
		kong.Writers(stdout, stdout),
		kong.Exit(func(int) { panic(errPrinted) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Vars{"version": "ollama-mcp " + version, "max_wait": fleet.DefaultMaxWait.String(), "wedge_after": fleet.DefaultWedgeAfter.String()},
	)
}

// origin says what set a flag: itself, the file or its variable.
func origin(ctx *kong.Context, flag string) string {
	for _, p := range ctx.Path {
		switch {
		case p.Flag == nil || p.Flag.Name != flag:
		case p.Resolved:
			return "--config"
		default:
			return "--" + flag
		}
	}
	return twin(flag)
}

// resolve settles where Ollama is. Origin already says what set the flag, if it is set.
func (o *OllamaConfig) resolve() error {
	address := o.Ollama
	if address == "" {
		o.Origin = "the default"
		if address = os.Getenv("OLLAMA_HOST"); address != "" {
			o.Origin = "OLLAMA_HOST"
		}
	}
	var err error
	if o.Host, err = ollama.ParseHost(address); err != nil {
		return fmt.Errorf("%s: %w", o.Origin, err)
	}
	// The key is ollama.com's: no other host may see it, and nobody who reads along.
	if o.Host.String() == "https://ollama.com" {
		o.APIKey = ollama.Secret(os.Getenv("OLLAMA_API_KEY"))
	}
	return nil
}

func (m *ModelConfig) resolve() (err error) {
	if m.DefaultModel == "" {
		return nil
	}
	if m.Default, err = ollama.ParseName(m.DefaultModel); err != nil {
		return fmt.Errorf("--default-model: %w", err)
	}
	return nil
}

// positive refuses limits that nothing could meet.
func (c *Config) positive() error {
	var errs []error
	for _, s := range []struct {
		flag  string
		value int64
	}{
		{"--stall", int64(c.Ollama.Stall)},
		{"--wedge-after", int64(c.Ollama.WedgeAfter)},
		{"--max-wait", int64(c.Models.MaxWait)},
		{"--max-calls", int64(c.Limits.MaxCalls)},
		{"--max-message", int64(c.Limits.MaxMessage)},
		{"--progress-interval", int64(c.Limits.ProgressInterval)},
		{"--drain", int64(c.Limits.Drain)},
	} {
		if s.value <= 0 {
			errs = append(errs, fmt.Errorf("%s must be more than 0", s.flag))
		}
	}
	return errors.Join(errs...)
}

// Logger makes the program's logger. It writes to stderr only: stdout is the protocol.
func (l *LogConfig) Logger(stderr io.Writer, terminal bool) zerolog.Logger {
	if l.LogFormat == "console" || l.LogFormat == "auto" && terminal {
		stderr = zerolog.ConsoleWriter{Out: stderr, NoColor: !terminal, TimeFormat: time.TimeOnly}
	}
	level, _ := zerolog.ParseLevel(l.LogLevel) // one of the enum
	return zerolog.New(stderr).Level(level).With().Timestamp().Logger()
}
