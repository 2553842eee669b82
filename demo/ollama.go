package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ollama-mcp/config"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// demoOllama is the Ollama that a demo runs on.
type demoOllama struct {
	host      ollama.Host
	found     string // what it is, where, and how it came to be used
	fleet     *fleet.Fleet
	generator *fleet.Model // the smallest local model that can generate
	embedder  *fleet.Model // the smallest local model made to embed; nil when there is none
	stop      func() error // stops it; nil when it ran before
}

// close stops the Ollama if the demo started it.
func (o *demoOllama) close() error {
	o.fleet.Close()
	if o.stop == nil {
		return nil
	}
	return o.stop()
}

// findOllama gives the first of these that has a local model that can generate: the
// Ollama that the settings name, the one that runs on this machine, the installed one,
// started for the length of the demo, and one built from source with a tiny model.
func findOllama(ctx context.Context, c *config.OllamaConfig, p *page) (*demoOllama, error) {
	places := []demoPlace{
		{"from " + c.Origin, func() (*demoOllama, error) { return inspect(ctx, c.Hosts[0].Address, nil) }},
		{"running here", func() (*demoOllama, error) { return inspect(ctx, ollama.Host{}, nil) }},
		{"installed here, started for the demo", func() (*demoOllama, error) { return startInstalled(ctx) }},
		{"built for demos, with models made of noise", func() (*demoOllama, error) { return startBuilt(ctx, p) }},
	}
	named := c.Ollama != "" // and then it, or no other, is meant
	if c.Hosts[0].Address == (ollama.Host{}) && !named {
		places = places[1:]
	}
	for _, place := range places {
		o, err := place.find()
		switch {
		case err == nil:
			o.found += ", " + place.how
			return o, nil
		case ctx.Err() != nil:
			return nil, err
		case named && !errors.Is(err, errNoModel):
			return nil, fmt.Errorf("%w; start Ollama there, or correct or leave out the address (from %s)", err, c.Origin)
		}
		p.line(fmt.Sprintf("Ollama %s: %v", place.how, err))
	}
	return nil, errors.New("there is no Ollama to show; install it from https://ollama.com/download, run `ollama pull llama3.2:1b`, then the demo again")
}

// demoPlace is where a demo looks for an Ollama.
type demoPlace struct {
	how  string
	find func() (*demoOllama, error)
}

// errNoModel says that an Ollama is of no use for the demo.
var errNoModel = errors.New("no local model that can generate is installed")

// inspectLimit bounds how long an Ollama may take to say what it has.
const inspectLimit = 15 * time.Second

// inspect looks at the Ollama at h and chooses the models. It calls stop, if that is not
// nil, when it fails.
func inspect(ctx context.Context, h ollama.Host, stop func() error) (_ *demoOllama, err error) {
	ctx, cancel := context.WithTimeout(ctx, inspectLimit)
	defer cancel()
	client := ollama.NewClient(ollama.ClientOptions{Host: h, UserAgent: "ollama-mcp-demo"})
	o := &demoOllama{host: h, fleet: fleet.New([]fleet.Host{{Client: client, Address: h.String()}}, fleet.Options{}), stop: stop}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	version, _, err := o.fleet.Probe(ctx)
	if err != nil {
		return nil, err
	}
	o.found = fmt.Sprintf("Ollama %s at %s", version, h)
	models, _, err := o.fleet.Models(ctx)
	if err != nil {
		return nil, err
	}
	o.generator = smallest(models, fleet.Completion)
	o.embedder = smallest(models, fleet.Embedding)
	if o.generator == nil {
		return nil, errNoModel
	}
	return o, nil
}

// smallest is the smallest model of those on this machine that say they have a
// capability, or nil.
func smallest(models []fleet.Model, capability string) *fleet.Model {
	able := slices.DeleteFunc(slices.Clone(models), func(m fleet.Model) bool {
		return m.Remote() || !slices.Contains(m.Capabilities, capability)
	})
	if len(able) == 0 {
		return nil
	}
	m := slices.MinFunc(able, func(a, b fleet.Model) int { return cmp.Compare(a.Size, b.Size) })
	return &m
}

// startInstalled starts the installed Ollama on a port of its own, with the user's
// settings and models.
func startInstalled(ctx context.Context) (*demoOllama, error) {
	bin, err := exec.LookPath("ollama")
	if err != nil {
		return nil, errors.New("no program of that name is in PATH")
	}
	env, err := userSettings()
	if err != nil {
		return nil, err
	}
	return start(ctx, bin, env, nil)
}

// userSettings are the user's own settings of Ollama, save for its address.
func userSettings() ([]string, error) {
	var env []string
	for _, setting := range os.Environ() {
		if strings.HasPrefix(setting, "OLLAMA_") && !strings.HasPrefix(setting, "OLLAMA_HOST=") {
			env = append(env, setting)
		}
	}
	models := os.Getenv("OLLAMA_MODELS")
	if models == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		models = filepath.Join(home, ".ollama", "models")
	}
	if _, err := os.Stat(models); err != nil {
		return nil, errNoModel // Ollama would create the folder
	}
	// A start would otherwise delete the files of downloads that broke off.
	return append(env, "OLLAMA_MODELS="+models, "OLLAMA_NOPRUNE=1"), nil
}

// startBuilt starts an Ollama of the demo's own, building it if this was never done.
func startBuilt(ctx context.Context, p *page) (*demoOllama, error) {
	bin, err := ollamatest.Build(ctx, p)
	if err != nil {
		return nil, err
	}
	return start(ctx, bin, nil, func(r *ollamatest.Real) error {
		return errors.Join(
			r.Create(ctx, ollamatest.TinyModel, ollamatest.Model{}),
			r.Create(ctx, ollamatest.TinyEmbedModel, ollamatest.Model{Embedding: true}),
		)
	})
}

// start runs an Ollama, fills it if fill is not nil, and looks at it.
func start(ctx context.Context, bin string, env []string, fill func(*ollamatest.Real) error) (*demoOllama, error) {
	r, err := ollamatest.Start(ctx, bin, ollamatest.RealOptions{Env: env})
	if err != nil {
		return nil, err
	}
	if fill != nil {
		err = fill(r)
	}
	var h ollama.Host
	if err == nil {
		h, err = ollama.ParseHost(r.URL)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return inspect(ctx, h, r.Close)
}
