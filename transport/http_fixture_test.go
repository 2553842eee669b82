package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"ollama-mcp/transport/auth"
)

// patience bounds every exchange of a test with a server, which is on this machine.
const patience = 60 * time.Second

// site is a server under test.
type site struct {
	t      testing.TB
	h      *HTTP
	scheme string
	addr   string
	client *http.Client
	stop   context.CancelFunc
	done   chan error // what Serve returned
}

// host serves srv on a port of the loopback interface until the test ends.
func host(t testing.TB, srv *server.MCPServer, o HTTPOptions) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return hostOn(t, l, &http.Transport{MaxIdleConnsPerHost: 64}, srv, o)
}

func hostOn(t testing.TB, l net.Listener, transport *http.Transport, srv *server.MCPServer, o HTTPOptions) *site {
	t.Helper()
	if o.Drain == 0 {
		o.Drain = time.Second
	}
	h, err := NewHTTP(srv, o)
	if err != nil {
		t.Fatalf("NewHTTP(%+v) = %v, want nil", o, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &site{t: t, h: h, scheme: "http", addr: l.Addr().String(), stop: stop, done: make(chan error, 1)}
	s.client = &http.Client{Transport: transport, Timeout: patience}
	go func() { s.done <- h.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-s.done; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		transport.CloseIdleConnections()
	})
	return s
}

// callers makes an Authenticator that knows callers by tokens that are their names.
func callers(t testing.TB, names ...string) *auth.Authenticator {
	t.Helper()
	var file strings.Builder
	for _, name := range names {
		name, expires, _ := strings.Cut(name, " ")
		fmt.Fprintf(&file, "- name: %s\n  sha256: %x\n", name, sha256.Sum256([]byte(name)))
		if expires != "" {
			fmt.Fprintf(&file, "  expires: %s\n", expires)
		}
	}
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(auth.Options{TokensFile: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// as is the header of a caller that callers knows.
func as(name string) []string { return []string{"Authorization", "Bearer " + name} }

// request makes a request; header is names and values, of which an empty one leaves out
// what a client sends by itself.
func (s *site) request(method, path, body string, header ...string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.scheme+"://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json, text/event-stream")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	set := map[string]bool{}
	for i := 0; i < len(header); i += 2 {
		name, value := header[i], header[i+1]
		if !set[name] {
			r.Header.Del(name)
		}
		if set[name] = true; name == "Host" {
			r.Host = value
		} else if value != "" {
			r.Header.Add(name, value)
		}
	}
	return r
}

// do makes a request and reads the whole response.
func (s *site) do(method, path, body string, header ...string) response {
	s.t.Helper()
	return s.send(s.request(method, path, body, header...))
}

func (s *site) send(r *http.Request) response {
	s.t.Helper()
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: reading %.200q: %v", r.Method, r.URL.Path, body, err)
	}
	return response{resp, body}
}

// response is one that was read whole.
type response struct {
	*http.Response
	body []byte
}

func (r response) String() string { return fmt.Sprintf("%d %s %s", r.StatusCode, r.kind(), r.body) }

func (r response) kind() string { return r.Header.Get("Content-Type") }

// replies returns the messages of the response.
func (r response) replies(t testing.TB) (all []reply) {
	t.Helper()
	if r.kind() == "application/json" {
		return []reply{decode(t, r.body)}
	}
	e := newEvents(t, r.Response, io.NopCloser(bytes.NewReader(r.body)))
	for {
		m, ok := e.next()
		if !ok {
			return all
		}
		all = append(all, m)
	}
}

// reply returns the one message of the response.
func (r response) reply(t testing.TB) reply {
	t.Helper()
	all := r.replies(t)
	if len(all) != 1 {
		t.Fatalf("response = %v, want one message", r)
	}
	return all[0]
}

// events is an open stream of server-sent events.
type events struct {
	t     testing.TB
	resp  *http.Response
	body  io.Closer
	lines *bufio.Scanner
	last  string // the event that was read last, as it came
}

func newEvents(t testing.TB, resp *http.Response, body io.ReadCloser) *events {
	e := &events{t: t, resp: resp, body: body, lines: bufio.NewScanner(body)}
	e.lines.Buffer(nil, 64<<20)
	return e
}

// open makes a request that is answered with a stream, which ends with the test.
func (s *site) open(method, path, body string, header ...string) *events {
	s.t.Helper()
	r := s.request(method, path, body, header...)
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		said, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("%s %s %.200s = %d %s %s, want a stream of events", method, path, body, resp.StatusCode, kind, said)
	}
	return newEvents(s.t, resp, resp.Body)
}

// event reads the next event or comment; ok is false at the end of the stream.
func (e *events) event() (name, data string, ok bool) {
	e.last = ""
	for e.lines.Scan() {
		line := e.lines.Text()
		e.last += line + "\n"
		field, value, _ := strings.Cut(line, ":")
		switch field {
		case "event":
			name = strings.TrimPrefix(value, " ")
		case "data":
			data += strings.TrimPrefix(value, " ")
		case "":
			if line == "" {
				return name, data, true
			}
			name = "comment"
		}
	}
	return name, data, false
}

// next reads the next message, past comments.
func (e *events) next() (reply, bool) {
	e.t.Helper()
	for {
		name, data, ok := e.event()
		switch {
		case !ok:
			return reply{}, false
		case name == "comment":
			continue
		case name != "message":
			e.t.Fatalf("event = %q, want a message", e.last)
		}
		return decode(e.t, []byte(data)), true
	}
}

func (e *events) must() reply {
	e.t.Helper()
	r, ok := e.next()
	if !ok {
		e.t.Fatalf("next() = end of stream (%v), want a message", e.lines.Err())
	}
	return r
}

func (e *events) close() { e.body.Close() }

const initialize = `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":%q,"capabilities":%s,` +
	`"clientInfo":{"name":"test","version":"1"}}}`

// session begins a session of a version before 2026-07-28, and returns the headers of
// its requests.
func (s *site) session(version, capabilities string, header ...string) []string {
	s.t.Helper()
	r := s.do("POST", "/mcp", fmt.Sprintf(initialize, version, capabilities), header...)
	id := r.Header.Get("Mcp-Session-Id")
	if r.StatusCode != http.StatusOK || id == "" || !strings.Contains(string(r.body), `"protocolVersion":"`+version+`"`) {
		s.t.Fatalf("initialize %s = %v, session %q, want a session of that version", version, r, id)
	}
	header = append([]string{"Mcp-Session-Id", id, "Mcp-Protocol-Version", version}, header...)
	if r := s.do("POST", "/mcp", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, header...); r.StatusCode != http.StatusAccepted {
		s.t.Fatalf("initialized = %v, want 202", r)
	}
	return header
}

// headers are what a client of 2026-07-28 repeats of its request.
func headers(method, name string, more ...string) []string {
	more = append([]string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", method}, more...)
	if name != "" {
		more = append(more, "Mcp-Name", name)
	}
	return more
}

// pipe opens HTTP+SSE, and returns the stream and where its messages go.
func (s *site) pipe(header ...string) (e *events, path string) {
	s.t.Helper()
	e = s.open("GET", "/sse", "", header...)
	name, path, _ := e.event()
	if name != "endpoint" || !strings.HasPrefix(path, "/message?sessionId=") {
		s.t.Fatalf("first event of /sse = %q, want endpoint", e.last)
	}
	return e, path
}

// tell sends messages to a stream of HTTP+SSE.
func (s *site) tell(path string, messages []string, header ...string) {
	s.t.Helper()
	for _, m := range messages {
		if r := s.do("POST", path, m, header...); r.StatusCode != http.StatusAccepted || len(r.body) > 0 {
			s.t.Fatalf("POST %s %.100s = %v, want 202", path, m, r)
		}
	}
}

// tick is a KeepAlive that makes the head of a stream come before its first message.
const tick = 5 * time.Millisecond

// waitFor is a tool that ends when free is closed, or when it is cancelled.
func waitFor(free <-chan struct{}) server.ToolHandlerFunc {
	return func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		select {
		case <-free:
			return mcp.NewToolResultText("free"), nil
		case <-ctx.Done():
			return mcp.NewToolResultError("ended: " + context.Cause(ctx).Error()), nil
		}
	}
}
