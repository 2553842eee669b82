package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// session is the program serving MCP over standard input and output in a process of its
// own, seen from the other end of the pipes.
type session struct {
	t        *testing.T
	cmd      *exec.Cmd
	in       io.WriteCloser
	messages chan message // closed at the end of output
	ctx      context.Context
	lastID   int
}

// message is any message from the server.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Progress float64 `json:"progress"`
		Total    float64 `json:"total"`
		Message  string  `json:"message"`
		URI      string  `json:"uri"`
		Meta     struct {
			Seq   int    `json:"ollama-mcp/seq"`
			Phase string `json:"ollama-mcp/phase"`
			Delta string `json:"ollama-mcp/delta"`
		} `json:"_meta"`
	} `json:"params"`
	Result *result         `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// result is what the tests read of a tool's result.
type result struct {
	IsError       bool   `json:"isError"`
	ResultType    string `json:"resultType"`
	RequestState  string `json:"requestState"`
	InputRequests map[string]struct {
		Method string `json:"method"`
		Params struct {
			Message string `json:"message"`
		} `json:"params"`
	} `json:"inputRequests"`
	Contents []struct {
		Text string `json:"text"`
	} `json:"contents"`
	Structured struct {
		Note       string          `json:"note"`
		State      string          `json:"state"`
		System     string          `json:"system"`
		SizeBytes  int64           `json:"size_bytes"`
		Text       string          `json:"text"`
		Structured json.RawMessage `json:"structured"`
		Valid      *bool           `json:"valid"`
		DoneReason string          `json:"done_reason"`
		Count      int             `json:"count"`
		Dimensions int             `json:"dimensions"`
		Embeddings [][]float64     `json:"embeddings"`
		Link       string          `json:"link"`
		Ranked     int             `json:"ranked"`
		Results    []struct {
			Index int     `json:"index"`
			Score float64 `json:"score"`
		} `json:"results"`
		Errors []struct {
			Index   int    `json:"index"`
			Message string `json:"message"`
		} `json:"errors"`
		Usage struct {
			PromptTokens int `json:"prompt_tokens"`
			OutputTokens int `json:"output_tokens"`
		} `json:"usage"`
		Message struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		} `json:"message"`
		Models []struct {
			Name         string          `json:"name"`
			Capabilities []string        `json:"capabilities"`
			Loaded       json.RawMessage `json:"loaded"`
		} `json:"models"`
		Job struct {
			ID    string `json:"id"`
			State string `json:"state"`
		} `json:"job"`
		Jobs []struct {
			ID string `json:"id"`
		} `json:"jobs"`
		Result struct {
			Text  string `json:"text"`
			Usage struct {
				OutputTokens int `json:"output_tokens"`
			} `json:"usage"`
		} `json:"result"`
		Error struct {
			Kind    string `json:"kind"`
			Message string `json:"message"`
			Hint    string `json:"hint"`
		} `json:"error"`
	} `json:"structuredContent"`
}

// sessionLimit bounds a session that hangs. A healthy one takes a second or two, and
// once in some hundred cancels, when Ollama loses the slot, a recovery more
// (https://github.com/ollama/ollama/issues/17131).
const sessionLimit = 4 * time.Minute

// wedgeSoon are flags for a session that cancels: that recovery then takes less than the
// time for which a call is waited for.
var wedgeSoon = []string{"--wedge-after", "10s"}

// serve starts the program in front of the Ollama at address.
func serve(t *testing.T, address string, flags ...string) *session {
	t.Helper()
	s := launch(t, address, flags...)
	s.hello(`{}`)
	return s
}

// hello introduces a client that has the capabilities.
func (s *session) hello(capabilities string) {
	s.t.Helper()
	s.request("initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": json.RawMessage(capabilities), "clientInfo": map[string]any{"name": "test", "version": "1"},
	})
	s.answer()
	s.notify("notifications/initialized", map[string]any{})
}

// launch is serve for a client that has not introduced itself.
func launch(t *testing.T, address string, flags ...string) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sessionLimit)
	t.Cleanup(cancel)
	s := &session{t: t, ctx: ctx, cmd: exec.CommandContext(ctx, "ollama-mcp", flags...), messages: make(chan message, 1024)}
	s.cmd.Env = environ("OLLAMA_HOST=" + address)
	s.cmd.Stderr = t.Output()
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read(out)
	t.Cleanup(func() { s.end() })
	return s
}

func (s *session) read(out io.Reader) {
	defer close(s.messages)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			m.Error = fmt.Appendf(nil, "%v: %s", err, lines.Bytes())
		}
		s.messages <- m
	}
}

// request sends a request and returns its id.
func (s *session) request(method string, params any) int {
	s.t.Helper()
	s.lastID++
	s.send(map[string]any{"jsonrpc": "2.0", "id": s.lastID, "method": method, "params": params})
	return s.lastID
}

func (s *session) notify(method string, params any) {
	s.t.Helper()
	s.send(map[string]any{"jsonrpc": "2.0", "method": method, "params": params})
}

func (s *session) send(m map[string]any) {
	s.t.Helper()
	line, err := json.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.in.Write(append(line, '\n')); err != nil {
		s.t.Fatal(err)
	}
}

// next is the next message. None within the session's limit fails the test.
func (s *session) next() message {
	s.t.Helper()
	select {
	case m, ok := <-s.messages:
		switch {
		case !ok:
			s.t.Fatal("the server ended its output")
		case m.Error != nil:
			s.t.Fatalf("the server sent the error %s", m.Error)
		}
		return m
	case <-s.ctx.Done():
		s.t.Fatalf("the server sent nothing more: %v", context.Cause(s.ctx))
	}
	panic("unreachable")
}

// answer is the answer to the latest request, and the progress that came before it.
func (s *session) answer() (r *result, progress []message) {
	s.t.Helper()
	for {
		switch m := s.next(); {
		case m.Result != nil && string(m.ID) == fmt.Sprint(s.lastID):
			return m.Result, progress
		case m.Method == "notifications/progress":
			progress = append(progress, m)
		default:
			s.t.Fatalf("the server sent %+v before the answer to %d", m, s.lastID)
		}
	}
}

// begin calls a tool, with a progress token, and does not wait for the answer.
func (s *session) begin(tool, args string) (id int) {
	s.t.Helper()
	return s.request("tools/call", map[string]any{
		"name": tool, "arguments": json.RawMessage(args), "_meta": map[string]any{"progressToken": tool},
	})
}

// call calls a tool.
func (s *session) call(tool, args string) (*result, []message) {
	s.t.Helper()
	s.begin(tool, args)
	return s.answer()
}

// must calls a tool that must succeed.
func (s *session) must(tool, args string) *result {
	s.t.Helper()
	r, _ := s.call(tool, args)
	if r.IsError {
		s.t.Fatalf("%s %s = %+v, want success", tool, args, r.Structured.Error)
	}
	return r
}

// end closes the server's input and returns what it still sent, and its exit code.
func (s *session) end() (rest []message, code int) {
	_ = s.in.Close() // may have been closed before
	for m := range s.messages {
		rest = append(rest, m)
	}
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return rest, exit.ExitCode()
	}
	return rest, 0
}

// deltas joins the text that came with progress.
func deltas(progress []message) string {
	var b strings.Builder
	for _, p := range progress {
		b.WriteString(p.Params.Meta.Delta)
	}
	return b.String()
}
