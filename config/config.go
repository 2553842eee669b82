// Package config reads the program's settings: flags, their environment twins and a YAML
// file, in this order of precedence, above the defaults. It validates them; what is wrong
// stops the program with a message that names the flag and the valid choices.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alexflint/go-arg"
	"github.com/rs/zerolog"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/fleet/queue"
)

// Config is everything that can be set. Its fields are valid once Parse returned it. A field
// with a tag arg:"--name" is a setting.
type Config struct {
	Ollama OllamaConfig
	Fleet  FleetConfig
	Models ModelConfig
	Tools  ToolConfig
	Limits LimitConfig
	Serve  ServeConfig
	Auth   AuthConfig
	Log    LogConfig
	Policy PolicyConfig
	Command

	args []string // that Parse was given
}

// OllamaConfig says where Ollama is and how long to wait for it.
type OllamaConfig struct {
	Ollama     string        `arg:"--ollama" placeholder:"ADDRESS" help:"Ollama's address, such as http://gpu-box:11434, or several as name=address,name=address; without it OLLAMA_HOST, else 127.0.0.1:11434"`
	Stall      time.Duration `arg:"--stall" placeholder:"TIME" help:"give up on an answer that has begun and then stays silent for this long"`
	WedgeAfter time.Duration `arg:"--wedge-after" placeholder:"TIME" help:"reload a model that gives no first token for this long after a cancelled call: Ollama may have lost its slot"`

	Hosts  []Host `arg:"-"` // where Ollama is; at least one
	Origin string `arg:"-"` // what said so: a flag, a variable, the file or the default

	section *hostSection // of the file; nil: there is none. A pointer does not print its secrets
}

// FleetConfig says how the hosts behave as one.
type FleetConfig struct {
	Queue           string    `arg:"--queue" placeholder:"ORDER" help:"fair or fifo: callers take turns at a busy model, or the first comes first, whoever calls"`
	EmbedCache      CacheSize `arg:"--embed-cache" placeholder:"SIZE" help:"memory for vectors made before, for the caller who had them made; 0 keeps none"`
	ShareEmbeddings bool      `arg:"--share-embeddings" help:"let callers have vectors that others had made; how fast they come tells that somebody sent the same text"`
	AnswerCache     CacheSize `arg:"--answer-cache" placeholder:"SIZE" help:"memory for answers to calls with temperature 0 or a seed, for the same call of the same caller; 0 keeps none"`
}

// ModelConfig says which models calls may use, and how.
type ModelConfig struct {
	DefaultModel string        `arg:"--default-model" placeholder:"MODEL" help:"model for calls that name none"`
	NoCloud      bool          `arg:"--no-cloud" help:"refuse models that run on ollama.com"`
	MaxWait      time.Duration `arg:"--max-wait" placeholder:"TIME" help:"make a job of a call that takes longer, unless it says wait; below the 60 s after which clients give up"`

	MaxKeepAlive KeepAlive `arg:"--max-keep-alive" placeholder:"TIME" help:"longest keep_alive of a call; forever allows all, negative ones too, which keep a model loaded for good"`
	AllowNumCtx  bool      `arg:"--allow-num-ctx" help:"let calls have another num_ctx than the one that the file pins; each change reloads the model"`

	AllowRegistries Words `arg:"--allow-registries" placeholder:"LIST" help:"registries that models may come from and go to, with commas between; http://host:5000 is one without TLS, https://host is as host"`

	Default    ollama.Name               `arg:"-"` // DefaultModel, canonical
	Pins       map[ollama.Name]fleet.Pin `arg:"-"` // the file's section models
	Registries ollama.Registries         `arg:"-"` // AllowRegistries, read
}

// ToolConfig says which tools are offered.
type ToolConfig struct {
	Toolsets Words `arg:"--toolsets" placeholder:"LIST" help:"which sets of tools are offered, with commas between; without it all but library"`
	Tools    Words `arg:"--tools" placeholder:"LIST" help:"offer these tools alone, whatever their sets, with commas between"`
	ReadOnly bool  `arg:"--read-only" help:"offer only tools that change nothing; running a model is no change, loading one for later is"`
}

// LimitConfig bounds what a client can make the server do.
type LimitConfig struct {
	MaxCalls          int           `arg:"--max-calls" placeholder:"N" help:"calls in flight in all"`
	MaxCallsPerCaller int           `arg:"--max-calls-per-caller" placeholder:"N" help:"calls in flight of one caller; without authentication there is one"`
	MaxMessage        Size          `arg:"--max-message" placeholder:"SIZE" help:"largest message from a client"`
	ProgressInterval  time.Duration `arg:"--progress-interval" placeholder:"TIME" help:"least time between two progress notifications of a call"`
	Poll              time.Duration `arg:"--poll" placeholder:"TIME" help:"how often to look for changes while a client is subscribed to resources"`
	JobTTL            time.Duration `arg:"--job-ttl" placeholder:"TIME" help:"how long the result of a job is kept"`
	Drain             time.Duration `arg:"--drain" placeholder:"TIME" help:"how long running calls, and then jobs, may go on when the client has left or the server must end"`
}

// LogConfig says what is logged to stderr, and how.
type LogConfig struct {
	LogLevel  string `arg:"--log-level" placeholder:"LEVEL" help:"least level that is logged: trace, debug, info, warn, error"`
	LogFormat string `arg:"--log-format" placeholder:"FORMAT" help:"auto, console or json; auto is console on a terminal, else json"`
}

// Command is what the program is asked to do: serve MCP on standard input and output when
// none is set.
type Command struct {
	File  string        `arg:"--config" placeholder:"FILE" help:"YAML file with settings; its keys are the long flag names"`
	HTTP  *ServeCommand `arg:"subcommand:serve" help:"serve MCP over HTTP at --listen, for remote agents"`
	Call  *CallCommand  `arg:"subcommand:call" help:"call one tool from the shell"`
	Token *TokenCommand `arg:"subcommand:token" help:"see to the tokens of --tokens"`

	Explain *ExplainCommand `arg:"subcommand:explain" help:"show what the policy in --config makes of a call"`
	Route   *RouteCommand   `arg:"subcommand:route" help:"show on which hosts a call would be tried, and why"`

	ConformanceFixtures bool `arg:"--conformance-fixtures,hidden"` // serve the official suite's tools instead

	Build string `arg:"-"` // the program's version
}

// CallCommand calls one tool.
type CallCommand struct {
	Tool      string `arg:"positional,required" help:"name of the tool; list_models is a good first"`
	Arguments string `arg:"positional" default:"{}" help:"its arguments, a JSON object; - reads them from standard input; wait counts for nothing here: the call is waited for to its end"`
}

// RouteCommand shows on which hosts a call would be tried.
type RouteCommand struct {
	Model string `arg:"positional,required" help:"name of the model"`
}

// Version is what --version prints.
func (c *Command) Version() string { return "ollama-mcp " + c.Build }

// Description stands at the top of the help.
func (*Command) Description() string {
	return "Your Ollama as an MCP server. Without a command it serves MCP over standard input and output.\n"
}

// Epilogue stands at the end of the help.
func (*Command) Epilogue() string {
	return "Each flag has an environment variable: --max-wait is " + twin("max-wait") + "."
}

// defaults are the settings of somebody who sets nothing.
func defaults() *Config {
	return &Config{
		Ollama: OllamaConfig{Stall: 120 * time.Second, WedgeAfter: fleet.DefaultWedgeAfter},
		Fleet:  FleetConfig{Queue: string(queue.Fair), EmbedCache: 64 << 20},
		Models: ModelConfig{MaxWait: 50 * time.Second, MaxKeepAlive: KeepAlive(time.Hour), AllowRegistries: Words{"registry.ollama.ai", "hf.co"}},
		Limits: LimitConfig{MaxCalls: 2048, MaxCallsPerCaller: 64, MaxMessage: 16 << 20, ProgressInterval: 100 * time.Millisecond, Poll: 5 * time.Second, JobTTL: time.Hour, Drain: 3 * time.Second},
		Serve:  ServeConfig{Listen: "127.0.0.1:8811", SSE: "on", MaxStreams: 8192, MaxStreamsPerCaller: 1024},
		Log:    LogConfig{LogLevel: "warn", LogFormat: "auto"},
	}
}

// sections are the parts of the settings, in the order of the help.
func (c *Config) sections() []any {
	return []any{&c.Ollama, &c.Fleet, &c.Models, &c.Tools, &c.Limits, &c.Serve, &c.Auth, &c.Log}
}

// Parse reads the settings. done reports that help or the version went to stdout and
// nothing is left to do.
func Parse(args []string, version string, stdout io.Writer) (c *Config, done bool, err error) {
	c = defaults()
	c.Build, c.args = version, args
	if err := c.checkFlags(args); err != nil {
		return nil, false, err
	}
	parser, err := arg.NewParser(arg.Config{Program: "ollama-mcp", IgnoreEnv: true}, append(c.sections(), &c.Command)...)
	if err != nil {
		return nil, false, err
	}
	// Help is for those whose settings are wrong, too.
	if err := cmp.Or(c.checkValues(args), c.load(args)); err != nil && !given("help", args) && !slices.Contains(args, "-h") && !given("version", args) {
		return nil, false, err
	}
	switch err := parser.Parse(args); {
	case errors.Is(err, arg.ErrHelp):
		return nil, true, parser.WriteHelpForSubcommand(stdout, parser.SubcommandNames()...)
	case errors.Is(err, arg.ErrVersion):
		_, err := fmt.Fprintln(stdout, c.Version())
		return nil, true, err
	case err != nil:
		return nil, false, err
	}
	return c, false, errors.Join(c.Ollama.resolve(args, c.Token == nil && c.Explain == nil), c.Fleet.check(), c.Models.resolve(), c.Auth.check(), c.Serve.resolve(&c.Auth, c.HTTP != nil), c.Token.check(&c.Auth), c.Log.check(), c.positive())
}

// resolve settles where Ollama is. Origin already says whether the file or the
// environment set --ollama. Without secrets it reads none, for commands that ask no Ollama.
func (o *OllamaConfig) resolve(args []string, secrets bool) (err error) {
	host := os.Getenv("OLLAMA_HOST")
	inFile, named := o.section != nil, given("ollama", args)
	if named {
		o.Origin = "--ollama"
	}
	switch {
	case inFile && (named || o.Ollama != ""):
		return fmt.Errorf("--config: %s: hosts says where Ollama is, and so does --ollama, set by %s: leave one of them out", o.section.file, o.Origin)
	case inFile:
		o.Origin = "--config"
		o.Hosts, err = o.section.hosts(secrets)
		return err
	case named || o.Ollama != "":
		o.Hosts, err = parseHosts(o.Ollama)
	case host != "": // which is one, as it is to Ollama
		o.Origin, o.Hosts = "OLLAMA_HOST", make([]Host, 1)
		err = o.Hosts[0].at(host)
	default:
		o.Origin, o.Hosts = "the default", make([]Host, 1)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.Origin, err)
	}
	for i := range o.Hosts {
		o.Hosts[i].Settings = o.Hosts[i].fingerprint(nil)
	}
	return nil
}

func (f *FleetConfig) check() error {
	return oneOf("--queue", f.Queue, string(queue.Fair), string(queue.FIFO))
}

func (m *ModelConfig) resolve() (err error) {
	if m.Registries, err = ollama.ParseRegistries(m.AllowRegistries); err != nil {
		return fmt.Errorf("--allow-registries: %w", err)
	}
	if m.DefaultModel == "" {
		return nil
	}
	if m.Default, err = ollama.ParseName(m.DefaultModel); err != nil {
		return fmt.Errorf("--default-model: %w", err)
	}
	return nil
}

func (l *LogConfig) check() error {
	return errors.Join(
		oneOf("--log-level", l.LogLevel, "trace", "debug", "info", "warn", "error"),
		oneOf("--log-format", l.LogFormat, "auto", "console", "json"),
	)
}

func oneOf(flag, value string, valid ...string) error {
	if slices.Contains(valid, value) {
		return nil
	}
	return fmt.Errorf("%s %q is not one of %s", flag, value, strings.Join(valid, ", "))
}

// positive refuses limits that nothing could meet.
func (c *Config) positive() error {
	var errs []error
	for name, field := range c.settings() {
		if _, cache := field.Interface().(CacheSize); field.CanInt() && field.Int() <= 0 && !(cache && field.Int() == 0) {
			errs = append(errs, notPositive("--"+name, field))
		}
	}
	return errors.Join(errs...)
}

func notPositive(flag string, field reflect.Value) error {
	switch field.Interface().(type) {
	case KeepAlive:
		return fmt.Errorf("%s must be forever, or more than 0", flag)
	case CacheSize:
		return fmt.Errorf("%s must be 0, for none, or more", flag)
	}
	return fmt.Errorf("%s must be more than 0", flag)
}

// Logger makes the program's logger. It writes to stderr only: stdout is the protocol.
func (l *LogConfig) Logger(stderr io.Writer, terminal bool) zerolog.Logger {
	if l.LogFormat == "console" || l.LogFormat == "auto" && terminal {
		stderr = zerolog.ConsoleWriter{Out: stderr, NoColor: !terminal, TimeFormat: time.TimeOnly}
	}
	level, _ := zerolog.ParseLevel(l.LogLevel) // check has seen it
	return zerolog.New(stderr).Level(level).With().Timestamp().Logger()
}
