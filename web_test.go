package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// web is the program serving MCP over HTTP in a process of its own.
type web struct {
	t      *testing.T
	ctx    context.Context
	cmd    *exec.Cmd
	url    string
	token  string        // sent with every request, if it is set
	exited chan struct{} // closed when the program has ended
	code   int           // with which
}

// serveWeb starts the program in front of the Ollama at address and waits until it
// listens. An address to listen at among the flags replaces a free port.
func serveWeb(t *testing.T, address string, flags ...string) *web {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sessionLimit)
	t.Cleanup(cancel)
	w := &web{t: t, ctx: ctx, exited: make(chan struct{})}
	w.cmd = exec.CommandContext(ctx, "ollama-mcp", append([]string{"serve", "--listen", "127.0.0.1:0", "--log-format", "json"}, flags...)...)
	w.cmd.Env = environ("OLLAMA_HOST=" + address)
	out, err := w.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	go w.read(out, listening)
	t.Cleanup(func() { w.end() })
	select {
	case w.url = <-listening:
	case <-w.exited:
		t.Fatalf("ollama-mcp serve %q ended with code %d", flags, w.code)
	}
	return w
}

// read logs what the program says, and waits for its end.
func (w *web) read(out io.Reader, listening chan<- string) {
	defer close(w.exited)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct{ MCP string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.MCP != "" {
			listening <- strings.TrimSuffix(line.MCP, "/mcp")
		}
		fmt.Fprintln(w.t.Output(), lines.Text())
	}
	_ = w.cmd.Wait() // its code says the same
	w.code = w.cmd.ProcessState.ExitCode()
}

// end asks the program to end, waits until it has, and returns its exit code.
func (w *web) end() int {
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-w.exited
	return w.code
}

// do sends a request whose header is given as name, value, and so on.
func (w *web) do(ctx context.Context, method, path, body string, header ...string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// callBody is the body of a tools/call.
func callBody(id int, tool, args string, meta ...string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":{"progressToken":%d%s}}}`,
		id, tool, args, id, strings.Join(meta, ""))
}

// era is one way of speaking to the server.
type era interface {
	// call starts a call; its messages come until its answer. cancel is the client's
	// way to say that it wants no answer any more.
	call(id int, tool, args string) (messages <-chan message, cancel func())
	// known tells whether the server still knows the client.
	known() bool
}

// eras are all the ways, each beginning with a new client.
var eras = map[string]func(*web) era{
	"2026-07-28": func(w *web) era { return modern{w} },
	"2025-11-25": func(w *web) era { return newLegacy(w) },
	"HTTP+SSE":   func(w *web) era { return newStream(w) },
}

// modern speaks 2026-07-28.
type modern struct{ *web }

const modernMeta = `,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}`

func (m modern) call(id int, tool, args string) (<-chan message, func()) {
	ctx, cancel := context.WithCancel(m.ctx)
	resp := m.do(ctx, "POST", "/mcp", callBody(id, tool, args, modernMeta),
		"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool)
	return messages(m.t, resp), cancel
}

func (modern) known() bool { return true }

// legacy speaks 2025-11-25.
type legacy struct {
	*web
	session string
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

func newLegacy(w *web) *legacy {
	w.t.Helper()
	resp := w.do(w.ctx, "POST", "/mcp", initialize)
	for range messages(w.t, resp) {
	}
	l := &legacy{w, resp.Header.Get("Mcp-Session-Id")}
	if l.session == "" {
		w.t.Fatalf("initialize = %s without a session id", resp.Status)
	}
	return l
}

func (l *legacy) call(id int, tool, args string) (<-chan message, func()) {
	resp := l.do(l.ctx, "POST", "/mcp", callBody(id, tool, args), "Mcp-Session-Id", l.session)
	return messages(l.t, resp), func() {
		resp := l.do(l.ctx, "POST", "/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, id), "Mcp-Session-Id", l.session)
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			l.t.Errorf("notifications/cancelled = %s, want 202", resp.Status)
		}
	}
}

// tools are the names in tools/list, in order.
func (l *legacy) tools() []string {
	l.t.Helper()
	resp := l.do(l.ctx, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "Mcp-Session-Id", l.session)
	defer resp.Body.Close()
	var answer struct {
		Result struct{ Tools []struct{ Name string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		l.t.Fatalf("tools/list: %v", err)
	}
	var names []string
	for _, tool := range answer.Result.Tools {
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	return names
}

func (l *legacy) known() bool {
	resp := l.do(l.ctx, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Mcp-Session-Id", l.session)
	resp.Body.Close()
	return resp.StatusCode != http.StatusNotFound
}

// stream speaks HTTP+SSE; it makes one call at a time.
type stream struct {
	*web
	path   string
	events <-chan message
	close  context.CancelFunc
}

func newStream(w *web) *stream {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	resp := w.do(ctx, "GET", "/sse", "")
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("GET /sse = %s", resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	var path string
	for path == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			w.t.Fatalf("the endpoint of /sse: %v", err)
		}
		path, _ = strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !strings.HasPrefix(line, "data: ") {
			path = ""
		}
	}
	s := &stream{w, path, events(lines, resp.Body), cancel}
	s.post(initialize)
	<-s.events
	s.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return s
}

func (s *stream) post(body string) int {
	s.t.Helper()
	resp := s.do(s.ctx, "POST", s.path, body)
	resp.Body.Close()
	return resp.StatusCode
}

func (s *stream) call(id int, tool, args string) (<-chan message, func()) {
	if got := s.post(callBody(id, tool, args)); got != http.StatusAccepted {
		s.t.Fatalf("POST /message = %d, want 202", got)
	}
	return s.events, s.close
}

func (s *stream) known() bool {
	return s.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`) != http.StatusNotFound
}

// messages yields what a response carries, plain or as events, until its end.
func messages(t *testing.T, resp *http.Response) <-chan message {
	t.Helper()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %s", resp.Status, body)
	}
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		return events(bufio.NewReader(resp.Body), resp.Body)
	}
	defer resp.Body.Close()
	all := make(chan message, 1)
	all <- decode(io.ReadAll(resp.Body))
	close(all)
	return all
}

// events yields the messages of a stream until its end.
func events(lines *bufio.Reader, body io.Closer) <-chan message {
	all := make(chan message, 10_000) // more than a test leaves unread
	go func() {
		defer close(all)
		defer body.Close()
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			if data, ok := strings.CutPrefix(string(line), "data: "); ok {
				all <- decode([]byte(data), nil)
			}
		}
	}()
	return all
}

func decode(b []byte, err error) (m message) {
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		m.Error = fmt.Appendf(nil, "%v: %s", err, b)
	}
	return m
}
