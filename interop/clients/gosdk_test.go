package clients

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/interop/program"
	"ollama-mcp/ollama/ollamatest"
)

// TestGo has the official Go SDK's client do the same.
func TestGo(t *testing.T) {
	fake, ours, fixtures := targets(t)
	for _, way := range []plan{
		{Transport: "stdio", Era: "legacy"},
		{Transport: "stdio", Era: "modern"},
		{Transport: "sse", Era: "legacy"},
		{Transport: "http", Era: "legacy"},
		{Transport: "http", Era: "modern"},
	} {
		t.Run(way.Transport+" "+way.Era, func(t *testing.T) {
			t.Run("progress", func(t *testing.T) {
				s := connect(t, ours, way)
				checkProgress(t, way, s.generate(generate))
			})
			t.Run("cancel", func(t *testing.T) {
				s := connect(t, ours, way)
				ctx, cancel := context.WithCancel(s.ctx)
				defer cancel()
				before := len(fake.Seen().Aborts)
				s.onDelta = cancel
				result, err := s.call(ctx, "generate", endless)
				if err == nil {
					t.Errorf("a cancelled generate = %+v, want an error", result)
				}
				err = fake.Await(s.ctx, func(s ollamatest.Seen) bool { return len(s.Aborts) == before+1 && s.Active == 0 })
				if err != nil {
					t.Errorf("Ollama did not see the cancel: %v", err)
				}
				if _, err := s.ListTools(s.ctx, nil); err != nil {
					t.Errorf("after the cancel, tools/list = %v, want a connection that goes on", err)
				}
			})
			t.Run("elicitation", func(t *testing.T) {
				s := connect(t, fixtures, way)
				result, err := s.call(s.ctx, "test_elicitation", `{"message":"Who are you?"}`)
				if err != nil {
					t.Fatal(err)
				}
				r := report{Result: decode(t, result)}
				for _, message := range s.elicited {
					r.Elicited = append(r.Elicited, struct{ Message string }{message})
				}
				checkElicitation(t, r)
			})
		})
	}
}

// goSession is a session of the Go SDK's client.
type goSession struct {
	*mcp.ClientSession
	t       *testing.T
	ctx     context.Context
	onDelta func()        // called at each piece of text; may be nil
	changed chan struct{} // gets an element when progress came

	mu       sync.Mutex // guards the fields below
	progress []message
	elicited []string
}

func connect(t *testing.T, g target, way plan) *goSession {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit) // t.Context() ends before the cleanup
	t.Cleanup(cancel)
	s := &goSession{t: t, ctx: ctx, changed: make(chan struct{}, 1)}
	client := mcp.NewClient(&mcp.Implementation{Name: "interop", Version: "1"}, &mcp.ClientOptions{
		Capabilities:                &mcp.ClientCapabilities{},
		ProgressNotificationHandler: s.progressed,
		ElicitationHandler:          s.elicit,
	})
	version := "2025-11-25"
	if way.Era == "modern" {
		version = "2026-07-28"
	}
	var err error
	s.ClientSession, err = client.Connect(ctx, g.transport(ctx, way), &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the session: %v", err)
		}
	})
	if got := s.InitializeResult().ProtocolVersion; got != version {
		t.Errorf("the server speaks %s, want %s", got, version)
	}
	return s
}

// transport is the SDK's way to the target.
func (g target) transport(ctx context.Context, way plan) mcp.Transport {
	switch way.Transport {
	case "stdio":
		line := g.command()
		cmd := exec.CommandContext(ctx, line[0], line[1:]...)
		cmd.Env = program.Environ(g.ollama)
		return &mcp.CommandTransport{Command: cmd}
	case "sse":
		return &mcp.SSEClientTransport{Endpoint: "http://" + g.hostport + "/sse"}
	}
	return &mcp.StreamableClientTransport{Endpoint: "http://" + g.hostport + "/mcp"}
}

func (s *goSession) progressed(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
	var m message
	m.Method, m.Params.Progress = "notifications/progress", r.Params.Progress
	m.Params.Meta.Delta, _ = r.Params.Meta["ollama-mcp/delta"].(string)
	s.mu.Lock()
	s.progress = append(s.progress, m)
	s.mu.Unlock()
	if m.Params.Meta.Delta != "" && s.onDelta != nil {
		s.onDelta()
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *goSession) elicit(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.elicited = append(s.elicited, r.Params.Message)
	return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"username": "ada", "email": "ada@example.org"}}, nil
}

func (s *goSession) call(ctx context.Context, tool, arguments string) (*mcp.CallToolResult, error) {
	params := &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(arguments)}
	params.SetProgressToken("generate")
	return s.CallTool(ctx, params)
}

// generate calls generate. The SDK hands out progress and answers by different
// goroutines, in no order, so the report's order is not that of the wire.
func (s *goSession) generate(arguments string) report {
	s.t.Helper()
	tools, err := s.ListTools(s.ctx, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.call(s.ctx, "generate", arguments)
	if err != nil {
		s.t.Fatal(err)
	}
	r := report{Protocol: s.InitializeResult().ProtocolVersion, Result: decode(s.t, answer)}
	for _, tool := range tools.Tools {
		r.Tools = append(r.Tools, tool.Name)
	}
	for length(r.Messages) < len(r.Result.Structured.Text) {
		select {
		case <-s.changed:
		case <-s.ctx.Done():
			s.t.Fatalf("the rest of the progress did not come: %v", s.ctx.Err())
		}
		s.mu.Lock()
		r.Messages = append(r.Messages[:0], s.progress...)
		s.mu.Unlock()
	}
	return r
}

// length counts the bytes of text that came with progress.
func length(messages []message) int {
	var text strings.Builder
	for _, m := range messages {
		text.WriteString(m.Params.Meta.Delta)
	}
	return text.Len()
}

// decode is the SDK's result as a report has it.
func decode(t *testing.T, from *mcp.CallToolResult) *result {
	t.Helper()
	raw, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	r := new(result)
	if err := json.Unmarshal(raw, r); err != nil {
		t.Fatal(err)
	}
	return r
}
