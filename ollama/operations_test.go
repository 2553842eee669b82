package ollama_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// The models of every fake here.
const (
	tiny      = ollama.Name(ollamatest.TinyModel)
	tinyEmbed = ollama.Name(ollamatest.TinyEmbedModel)
)

// tokens are what every fake here says. The long one does not fit a read buffer.
var tokens = []string{" one", " \"two\"", " drei\n", " 四", strings.Repeat(" five", 2000), " six"}

type operation struct {
	name, path string
	streams    bool
	quick      bool // needs no model
	do         func(context.Context, *ollama.Client) (string, error)
}

// operations are all that a client can do. They return the text that came, where there is any, and an error also for
// a success that is none.
var operations = []operation{
	{"version", "/api/version", false, true, func(ctx context.Context, c *ollama.Client) (string, error) {
		v, err := c.Version(ctx)
		return "", orEmpty(err, v != "")
	}},
	{"tags", "/api/tags", false, true, func(ctx context.Context, c *ollama.Client) (string, error) {
		models, err := c.Tags(ctx)
		return "", orEmpty(err, len(models) >= 2)
	}},
	{"ps", "/api/ps", false, true, func(ctx context.Context, c *ollama.Client) (string, error) {
		_, err := c.PS(ctx)
		return "", err
	}},
	{"show", "/api/show", false, true, func(ctx context.Context, c *ollama.Client) (string, error) {
		s, err := c.Show(ctx, tiny)
		return "", orEmpty(err, s != nil && len(s.Capabilities) > 0)
	}},
	{"generate", "/api/generate", true, false, generate},
	{"chat", "/api/chat", true, false, chat},
	{"embed", "/api/embed", false, false, func(ctx context.Context, c *ollama.Client) (string, error) {
		r, err := c.Embed(ctx, &ollama.EmbedRequest{Model: tinyEmbed, Input: []string{"a", "b"}})
		return "", orEmpty(err, r != nil && r.Embeddings.Len() == 2)
	}},
	{"load", "/api/generate", false, false, func(ctx context.Context, c *ollama.Client) (string, error) {
		return "", c.Load(ctx, tiny, false, "", nil)
	}},
	{"load", "/api/embed", false, false, func(ctx context.Context, c *ollama.Client) (string, error) {
		return "", c.Load(ctx, tinyEmbed, true, "", nil)
	}},
	{"pull", "/api/pull", false, true, func(ctx context.Context, c *ollama.Client) (string, error) {
		return "", follow(c.Pull(ctx, string(tiny)))
	}},
	{"push", "/api/push", false, true, func(ctx context.Context, c *ollama.Client) (string, error) {
		return "", follow(c.Push(ctx, tiny))
	}},
	{"create", "/api/create", false, false, func(ctx context.Context, c *ollama.Client) (string, error) {
		return "", follow(c.Create(ctx, &ollama.CreateRequest{Model: "made:latest", From: tiny, System: "Be brief."}))
	}},
	{"show", "/api/show", false, true, func(ctx context.Context, c *ollama.Client) (string, error) {
		s, err := c.ShowFull(ctx, tiny)
		return "", orEmpty(err, s != nil && len(s.Tensors) > 0)
	}},
	{"unload", "/api/generate", false, true, func(ctx context.Context, c *ollama.Client) (string, error) {
		return "", c.Unload(ctx, tiny)
	}},
}

var errEmpty = errors.New("a success without content")

func orEmpty(err error, full bool) error {
	if err == nil && !full {
		return errEmpty
	}
	return err
}

func generate(ctx context.Context, c *ollama.Client) (string, error) {
	return read(c.Generate(ctx, &ollama.GenerateRequest{Model: tiny, Prompt: "hello"}))
}

func chat(ctx context.Context, c *ollama.Client) (string, error) {
	return read(c.Chat(ctx, &ollama.ChatRequest{Model: tiny, Messages: []ollama.Message{{Role: "user", Content: "hello"}}}))
}

// read joins a stream. One that ends without done and without an error is an error.
func read(stream func(func(ollama.Chunk, error) bool)) (string, error) {
	var text strings.Builder
	done := false
	for chunk, err := range stream {
		if err != nil {
			return text.String(), err
		}
		text.WriteString(chunk.Text)
		done = done || chunk.Done != nil
	}
	return text.String(), orEmpty(nil, done)
}

// follow reads the stream of a pull, push or create. One that ends without success and without an error is an error.
func follow(stream func(func(ollama.Progress, error) bool)) error {
	last := ""
	for p, err := range stream {
		if err != nil {
			return err
		}
		last = p.Status
	}
	return orEmpty(nil, last == ollama.Success)
}

// client makes a client of a fake, and closes both with the test.
func client(tb testing.TB, f *ollamatest.Fake) *ollama.Client {
	tb.Helper()
	h, err := ollama.ParseHost(f.URL)
	if err != nil {
		tb.Fatalf("ParseHost(%q): %v", f.URL, err)
	}
	c := ollama.NewClient(ollama.ClientOptions{Host: h, Dial: f.Dial})
	tb.Cleanup(func() {
		c.Close()
		f.Close()
	})
	return c
}

// limited bounds a test in real time. In a bubble synctest finds what hangs.
func limited(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	tb.Cleanup(cancel)
	return ctx
}
