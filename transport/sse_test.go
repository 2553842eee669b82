package transport

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
)

func TestSSE(t *testing.T) {
	srv := fixtures()
	s := host(t, srv, HTTPOptions{})
	for _, version := range legacy {
		e, path := s.pipe()
		s.tell(path, []string{fmt.Sprintf(initialize, version, `{"elicitation":{}}`)})
		if m := e.must(); string(m.ID) != `"hello"` || !strings.Contains(m.raw, `"protocolVersion":"`+version+`"`) {
			t.Errorf("initialize %s = %s, want that version", version, m.raw)
		}
		s.tell(path, []string{
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"x://a"}}`,
		})
		if m := e.must(); string(m.ID) != "1" || m.Error != nil {
			t.Errorf("subscribe = %s, want it done", m.raw)
		}
		srv.SendNotificationToAllClients(mcp.MethodNotificationResourceUpdated, map[string]any{"uri": "x://a"})
		if m := e.must(); m.Params.URI != "x://a" {
			t.Errorf("after an update: %s, want to be told", m.raw)
		}
		s.tell(path, []string{call("2", "", "ask", `{}`)})
		question := e.must()
		s.tell(path, []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"decline"}}`, question.ID)})
		if m := e.must(); string(m.ID) != "2" || !strings.HasPrefix(m.text(), "decline") {
			t.Errorf("ask after an answer to %s = %s, want it used", question.raw, m.raw)
		}
		e.close()
	}
}

// TestSSEBehindPath has a proxy in front that takes a path away.
func TestSSEBehindPath(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{Path: "/ollama"})
	e := s.open("GET", "/sse", "")
	if _, path, _ := e.event(); !strings.HasPrefix(path, "/ollama/message?sessionId=") {
		t.Errorf("endpoint behind /ollama = %q, want one below it", path)
	}
	e.close()
}

// TestSSEOrder has many messages on one stream: answers of what is served at once come
// in the order of the questions, and progress before the answer.
func TestSSEOrder(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{})
	e, path := s.pipe()
	for i := range 20 {
		s.tell(path, []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, i)})
	}
	for i := range 20 {
		if m := e.must(); string(m.ID) != fmt.Sprint(i) {
			t.Fatalf("answer %d = %s, want id %d", i, m.raw, i)
		}
	}
	s.tell(path, []string{call("1", "1", "count", `{"n":3,"every_ms":1}`)})
	for seq := 1; ; seq++ {
		m := e.must()
		meta := m.Params.Meta
		if m.ID != nil {
			meta = m.Result.Meta
		}
		if meta[metaSeq] != float64(seq) {
			t.Fatalf("message %d of a call = %s, want that number", seq, m.raw)
		}
		if m.ID != nil {
			break
		}
	}
}

// TestSSEMessages has what may not be sent to a stream.
func TestSSEMessages(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{Auth: callers(t, "ann", "bob")})
	e, path := s.pipe(as("ann")...)
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	tests := []struct {
		name, path, body, caller string
		status                   int
	}{
		{"another caller", path, ping, "bob", http.StatusNotFound},
		{"no caller", path, ping, "", http.StatusUnauthorized},
		{"unknown stream", "/message?sessionId=AAAAAAAAAAAAAAAAAAAAAAAAAA", ping, "ann", http.StatusNotFound},
		{"no stream", "/message", ping, "ann", http.StatusNotFound},
		{"the stream in another case", strings.ToLower(path), ping, "ann", http.StatusNotFound},
		{"no JSON", path, "{", "ann", http.StatusBadRequest},
		{"a batch", path, "[" + ping + "]", "ann", http.StatusBadRequest},
		{"nothing", path, "", "ann", http.StatusBadRequest},
		{"two messages", path, ping + ping, "ann", http.StatusBadRequest},
		{"a message", path, ping, "ann", http.StatusAccepted},
	}
	for _, test := range tests {
		header := []string{}
		if test.caller != "" {
			header = as(test.caller)
		}
		if r := s.do("POST", test.path, test.body, header...); r.StatusCode != test.status {
			t.Errorf("%s = %v, want %d", test.name, r, test.status)
		}
	}
	if m := e.must(); string(m.ID) != "1" {
		t.Errorf("first message of the stream = %s, want the answer to the one message that was taken", m.raw)
	}
	e.close()
	for s.h.streams.count() > 0 { // until the server has noticed
		s.do("GET", "/healthz", "")
	}
	if r := s.do("POST", path, ping, as("ann")...); r.StatusCode != http.StatusNotFound {
		t.Errorf("message to a stream that has ended = %v, want 404", r)
	}
}

func TestNoSSE(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{NoSSE: true})
	for _, path := range []string{"/sse", "/message"} {
		for _, method := range []string{"GET", "POST"} {
			if r := s.do(method, path, `{}`); r.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s without HTTP+SSE = %v, want 404", method, path, r)
			}
		}
	}
}

// count tells how many streams are open.
func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}
