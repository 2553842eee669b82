package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// This file holds the controls of BenchmarkFigures: plain HTTP to an Ollama, and the
// least MCP server around it. It needs nothing of the other files, because buildBare
// makes a program of it alone.
var _ = serveBare

// serveBare is mcp-go's own stdio server with two of our tools, which do what ours do
// upstream and nothing else: no load, no checks, no progress, no cancel.
func serveBare() {
	o := direct{http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, DisableCompression: true,
	}}, base: os.Getenv("OLLAMA_HOST")}
	s := server.NewMCPServer("bare", "1", server.WithToolCapabilities(true))
	s.AddTool(mcp.NewTool("list_models", mcp.WithDescription("List the installed models")),
		func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			models, err := o.models(ctx)
			if err != nil {
				return nil, err
			}
			return mcp.NewToolResultStructured(map[string]any{"models": models}, fmt.Sprintf("%d models", len(models))), nil
		})
	s.AddTool(mcp.NewTool("generate", mcp.WithDescription("Answer a prompt"), mcp.WithString("model"), mcp.WithString("prompt")),
		func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			text, err := o.generate(ctx, r.GetString("model", ""), r.GetString("prompt", ""))
			if err != nil {
				return nil, err
			}
			return mcp.NewToolResultStructured(map[string]any{"text": text}, text), nil
		})
	if err := server.ServeStdio(s, server.WithWorkerPoolSize(64)); err != nil { // 5 by itself
		os.Exit(1)
	}
}

// direct is an Ollama reached without anything between.
type direct struct {
	http *http.Client
	base string
}

// directModel is what list_models shows of a model.
type directModel struct {
	Name         string    `json:"name"`
	Size         int64     `json:"size"`
	Digest       string    `json:"digest"`
	ModifiedAt   time.Time `json:"modified_at"`
	Capabilities []string  `json:"capabilities"`
	Details      struct {
		Family        string `json:"family"`
		ParameterSize string `json:"parameter_size"`
		Quantization  string `json:"quantization_level"`
		ContextLength int    `json:"context_length"`
	} `json:"details"`
	Loaded *directRunning `json:"loaded,omitempty"`
}

// directRunning is what list_models shows of a loaded model.
type directRunning struct {
	Name          string    `json:"name"`
	ContextLength int       `json:"context_length"`
	SizeVRAM      int64     `json:"size_vram"`
	ExpiresAt     time.Time `json:"expires_at"`
}

// models does the work of list_models: the two requests at once, as ours does.
func (d direct) models(ctx context.Context) ([]directModel, error) {
	var tags struct{ Models []directModel }
	var running struct{ Models []directRunning }
	var psErr error
	var wg sync.WaitGroup
	wg.Go(func() { psErr = d.get(ctx, "/api/ps", &running) })
	err := d.get(ctx, "/api/tags", &tags)
	wg.Wait()
	if err == nil {
		err = psErr
	}
	for i := range tags.Models {
		for j := range running.Models {
			if tags.Models[i].Name == running.Models[j].Name {
				tags.Models[i].Loaded = &running.Models[j]
			}
		}
	}
	return tags.Models, err
}

func (d direct) get(ctx context.Context, path string, into any) error {
	body, err := d.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	answer, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// generate does the work of generate: it returns the whole text.
func (d direct) generate(ctx context.Context, model, prompt string) (string, error) {
	request, err := json.Marshal(map[string]any{"model": model, "prompt": prompt})
	if err != nil {
		return "", err
	}
	body, err := d.do(ctx, http.MethodPost, "/api/generate", request)
	if err != nil {
		return "", err
	}
	defer body.Close()
	var text strings.Builder
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 16<<20) // the last line holds a number for every token
	for lines.Scan() {
		var line struct{ Response string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return "", err
		}
		text.WriteString(line.Response)
	}
	return text.String(), lines.Err()
}

func (d direct) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := d.http.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return answer.Body, nil
}
