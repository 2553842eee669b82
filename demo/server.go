package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/ollama"
)

// demoServer is ollama-mcp serving MCP over stdio in a process of its own, as an MCP
// host sees it. Calls are made one after another.
type demoServer struct {
	name   string
	client *client.Client

	mu       sync.Mutex     // guards progress
	progress func(progress) // of the call that runs; nil between calls
}

// startServer starts the server in front of an Ollama.
func startServer(ctx context.Context, program string, h ollama.Host) (*demoServer, error) {
	// No arguments, as in an MCP host's settings. A model that was loaded for long stays so: see arguments.
	c, err := client.NewStdioMCPClient(program, []string{"OLLAMA_MCP_OLLAMA=" + h.String(), "OLLAMA_MCP_MAX_KEEP_ALIVE=forever"})
	if err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	s := &demoServer{client: c}
	if err := s.initialize(ctx); err != nil {
		return nil, fmt.Errorf("start the server: %w%s", errors.Join(err, s.close()), s.said())
	}
	return s, nil
}

// said is what the server has written to its log, once it has ended.
func (s *demoServer) said() string {
	log, ok := client.GetStderr(s.client)
	if !ok {
		return ""
	}
	text, _ := io.ReadAll(log) // from memory: cannot fail
	return "\n" + string(text)
}

func (s *demoServer) initialize(ctx context.Context) error {
	if err := s.client.Start(ctx); err != nil {
		return err
	}
	s.client.OnNotification(s.notified)
	var request mcp.InitializeRequest
	request.Params.ClientInfo = mcp.Implementation{Name: "ollama-mcp-demo", Version: "1"}
	r, err := s.client.Initialize(ctx, request)
	if err != nil {
		return err
	}
	s.name = fmt.Sprintf("%s %s, MCP %s over stdio", r.ServerInfo.Name, r.ServerInfo.Version, r.ProtocolVersion)
	return nil
}

// close ends the server within seconds, even if it hangs.
func (s *demoServer) close() error { return s.client.Close() }

// reply is what the demo reads of a tool's structured result.
type reply struct {
	Job struct {
		ID    string `json:"id"`
		State string `json:"state"`
	} `json:"job"`
	Result json.RawMessage `json:"result"` // of a job that has ended
	Text   string          `json:"text"`
	Usage  struct {
		PromptTokens int `json:"prompt_tokens"`
		OutputTokens int `json:"output_tokens"`
	} `json:"usage"`
	Timing struct {
		TokensPerSecond float64 `json:"tokens_per_second"`
	} `json:"timing"`
	Error struct {
		Kind string `json:"kind"`
	} `json:"error"`

	words string // what the tool says
}

// toolError is an error that a tool reported.
type toolError struct{ tool, words string }

func (e *toolError) Error() string { return e.tool + ": " + e.words }

// call calls a tool, and waits for its job when the call takes long. The error is a
// [*toolError] when the tool reports one.
func (s *demoServer) call(ctx context.Context, tool string, args map[string]any, report func(progress)) (reply, error) {
	s.watch(report)
	defer s.watch(nil)
	var request mcp.CallToolRequest
	request.Params.Name = tool
	request.Params.Arguments = args
	request.Params.Meta = &mcp.Meta{ProgressToken: tool}
	for {
		result, err := s.client.CallTool(ctx, request)
		if err != nil {
			return reply{}, fmt.Errorf("%s: %w", tool, err)
		}
		r, err := readReply(result)
		switch {
		case err != nil:
			return reply{}, fmt.Errorf("%s: %w", tool, err)
		case r.Job.State == "running":
			request.Params.Name = "jobs"
			request.Params.Arguments = map[string]any{"id": r.Job.ID, "wait": 50}
		case r.Error.Kind != "":
			return r, &toolError{tool, r.words}
		default:
			return r, nil
		}
	}
}

func readReply(result *mcp.CallToolResult) (r reply, err error) {
	for _, c := range result.Content {
		if text, ok := c.(mcp.TextContent); ok {
			r.words += text.Text + "\n"
		}
	}
	structured, err := json.Marshal(result.StructuredContent)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(structured, &r); err != nil || r.Result == nil {
		return r, err
	}
	err = json.Unmarshal(r.Result, &r)
	return r, err
}

// progress is a progress notification.
type progress struct {
	Message string
	Delta   string // the text that came since the one before
}

func (s *demoServer) watch(report func(progress)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress = report
}

// notified is called by the client as notifications come, one at a time and in order.
func (s *demoServer) notified(n mcp.JSONRPCNotification) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.Method != "notifications/progress" || s.progress == nil {
		return
	}
	message, _ := n.Params.AdditionalFields["message"].(string)
	delta, _ := n.Params.Meta["ollama-mcp/delta"].(string)
	s.progress(progress{Message: message, Delta: delta})
}
