package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/mattn/go-isatty"

	"ollama-mcp/config"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// show shows the main job on a real Ollama: as an MCP client of program, over stdio, it
// calls each tool once and prints to out what came of it and what it took. See findOllama
// for which Ollama that is. On one that it did not start it creates and deletes nothing, and
// unloads what it loaded. It ends when ctx does; then too nothing that it started stays
// behind.
func show(ctx context.Context, program string, c *config.OllamaConfig, out *os.File) error {
	p := &page{out: out, terminal: isatty.IsTerminal(out.Fd())}
	start := time.Now()
	err := showOn(ctx, program, c, p)
	if ctx.Err() != nil {
		return fmt.Errorf("the demo was stopped: %w", context.Cause(ctx))
	}
	if err == nil {
		p.row("all of it", time.Since(start), "nothing is left running")
	}
	return err
}

func showOn(ctx context.Context, program string, c *config.OllamaConfig, p *page) (err error) {
	start := time.Now()
	o, err := findOllama(ctx, c, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	p.row("find Ollama", time.Since(start), o.found)
	d := demo{page: p, ollama: o}
	defer func() { err = errors.Join(err, d.tidy()) }()
	if err := d.connect(ctx, program); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.server.close()) }()
	for _, step := range []func(context.Context) error{d.list, d.load, d.generate, d.chat, d.embed, d.unload} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// demo is one run.
type demo struct {
	page   *page
	ollama *demoOllama
	server *demoServer
	loaded []ollama.Name // by the demo, and not unloaded yet
}

func (d *demo) connect(ctx context.Context, program string) (err error) {
	start := time.Now()
	if d.server, err = startServer(ctx, program, d.ollama.host); err != nil {
		return err
	}
	d.page.row("start server", time.Since(start), d.server.name)
	return nil
}

func (d *demo) list(ctx context.Context) error {
	return d.show(ctx, "list_models", nil)
}

func (d *demo) load(ctx context.Context) error {
	return d.show(ctx, "load", d.arguments(d.ollama.generator))
}

// answerTokens keeps an answer to some seconds on a machine without a GPU.
const answerTokens = 96

func (d *demo) generate(ctx context.Context) error {
	const prompt = "Write three sentences about the sea."
	args := d.arguments(d.ollama.generator)
	args["prompt"] = prompt
	d.answering(args)
	d.page.line("user: " + prompt)
	return d.stream(ctx, "generate", args)
}

func (d *demo) chat(ctx context.Context) error {
	const question = "What is my favourite colour?"
	args := d.arguments(d.ollama.generator)
	args["messages"] = []map[string]string{
		{"role": "user", "content": "My favourite colour is green."},
		{"role": "assistant", "content": "I will remember that."},
		{"role": "user", "content": question},
	}
	d.answering(args)
	d.page.line("user: My favourite colour is green. … " + question)
	return d.stream(ctx, "chat", args)
}

// answering sets what keeps an answer short and the same each time.
func (d *demo) answering(args map[string]any) {
	args["options"] = map[string]any{"num_predict": answerTokens, "seed": 1}
	if slices.Contains(d.ollama.generator.Capabilities, "thinking") {
		args["think"] = "off" // or it spends the tokens before it answers
	}
}

// stream shows an answer as it comes.
func (d *demo) stream(ctx context.Context, tool string, args map[string]any) error {
	start := time.Now()
	text := stream{page: d.page}
	r, err := d.server.call(ctx, tool, args, func(p progress) { text.add(p.Delta, p.Message) })
	text.finish(r.Text)
	if err != nil {
		return err
	}
	d.page.row(tool, time.Since(start), fmt.Sprintf("%d tokens read, %d written, %.0f tokens/s",
		r.Usage.PromptTokens, r.Usage.OutputTokens, r.Timing.TokensPerSecond))
	return nil
}

// embed shows the embedding model or, where there is none, whether the other can embed.
func (d *demo) embed(ctx context.Context) error {
	model := d.ollama.embedder
	if model == nil {
		model = d.ollama.generator
	}
	args := d.arguments(model)
	args["input"] = []string{"The ship left at dawn.", "A boat sailed in the morning.", "Add two eggs and stir."}
	err := d.show(ctx, "embed", args)
	var refused *toolError
	if d.ollama.embedder == nil && errors.As(err, &refused) {
		d.page.line("not shown: no embedding model is installed; `ollama pull nomic-embed-text` installs one")
		return nil
	}
	return err
}

// unload unloads what the demo loaded and nothing else.
func (d *demo) unload(ctx context.Context) error {
	if len(d.loaded) == 0 {
		d.page.line("nothing to unload: what the demo used was loaded before, and stays loaded")
	}
	for len(d.loaded) > 0 {
		if err := d.show(ctx, "unload", map[string]any{"model": d.loaded[0]}); err != nil {
			return err
		}
		d.loaded = d.loaded[1:]
	}
	return nil
}

// show calls a tool and prints its words.
func (d *demo) show(ctx context.Context, tool string, args map[string]any) error {
	start := time.Now()
	r, err := d.server.call(ctx, tool, args, func(p progress) { d.page.live(p.Message) })
	d.page.live("")
	if err != nil {
		return err
	}
	d.page.row(tool, time.Since(start), r.words)
	return nil
}

// arguments are the first arguments of a call on m. They leave a model that was loaded
// before loaded for as long as it was to be: a call that says nothing would reset that
// to Ollama's default (github.com/ollama/ollama issue 9174).
func (d *demo) arguments(m *fleet.Model) map[string]any {
	args := map[string]any{"model": m.Canonical}
	switch {
	case m.Loaded != nil:
		args["keep_alive"] = max(time.Until(m.Loaded.ExpiresAt), time.Minute).String()
	case !slices.Contains(d.loaded, m.Canonical):
		d.loaded = append(d.loaded, m.Canonical)
	}
	return args
}

// tidy unloads what a demo that failed or was stopped has left.
func (d *demo) tidy() error {
	if d.ollama.stop != nil {
		return nil // it ends with its models
	}
	ctx, cancel := context.WithTimeout(context.Background(), tidyLimit)
	defer cancel()
	var errs []error
	for _, m := range d.loaded {
		if _, _, err := d.ollama.fleet.Unload(ctx, m, "", fleet.Watch{}); err != nil {
			errs = append(errs, fmt.Errorf("unload %s: %w; `ollama stop %[1]s` unloads it", m, err))
		}
	}
	return errors.Join(errs...)
}

// tidyLimit bounds the clean-up of a demo that was stopped.
const tidyLimit = 10 * time.Second
