package transport

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
)

var legacy = mcp.LegacyProtocolVersions()

// TestSessionOfEachVersion is a conversation over /mcp before 2026-07-28.
func TestSessionOfEachVersion(t *testing.T) {
	for _, version := range legacy {
		t.Run(version, func(t *testing.T) {
			srv := fixtures()
			s := host(t, srv, HTTPOptions{})
			in := s.session(version, `{}`)

			r := s.do("POST", "/mcp", call(`9007199254740993`, "", "echo", `{"text":"hi"}`), in...)
			if m := r.reply(t); r.kind() != "application/json" || m.text() != "hi" || string(m.ID) != "9007199254740993" {
				t.Errorf("a short call = %v, want plain JSON under its id", r)
			}
			r = s.do("POST", "/mcp", call(`1`, `"tok"`, "count", `{"n":2,"every_ms":1}`), in...)
			all := r.replies(t)
			if r.kind() != "text/event-stream" || len(all) < 2 || all[len(all)-1].text() != "0€ 1€ " || all[0].Method != "notifications/progress" {
				t.Errorf("a call with progress = %v, want events", r)
			}
			if r.Header.Get("X-Accel-Buffering") != "no" || r.Header.Get("Cache-Control") != "no-cache" || strings.Contains(string(r.body), "\nid:") {
				t.Errorf("head of a stream = %v, want it unbuffered, not cached, without event ids", r.Header)
			}
			for name, body := range map[string]string{
				"notification":        `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`,
				"answer":              `{"jsonrpc":"2.0","id":77,"result":{}}`,
				"answer, an error":    `{"jsonrpc":"2.0","id":77,"error":{"code":1,"message":"x"}}`,
				"cancel of nothing":   cancelled(`"nothing"`),
				"answer without id":   `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}`,
				"unknown notfication": `{"jsonrpc":"2.0","method":"x/y"}`,
			} {
				if r := s.do("POST", "/mcp", body, in...); r.StatusCode != http.StatusAccepted || len(r.body) > 0 {
					t.Errorf("%s = %v, want 202 and nothing", name, r)
				}
			}
			if m := s.do("POST", "/mcp", `{"jsonrpc":"2.0","id":2,"method":"no/such"}`, in...).reply(t); m.Error == nil || m.Error.Code != mcp.METHOD_NOT_FOUND {
				t.Errorf("unknown method = %s, want %d", m.raw, mcp.METHOD_NOT_FOUND)
			}

			news := s.open("GET", "/mcp", "", in...)
			if r := s.do("POST", "/mcp", `{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"x://a"}}`, in...); r.reply(t).Error != nil {
				t.Errorf("subscribe = %v, want it done", r)
			}
			for _, uri := range []string{"x://b", "x://a"} {
				srv.SendNotificationToAllClients(mcp.MethodNotificationResourceUpdated, map[string]any{"uri": uri})
			}
			if m := news.must(); m.Method != mcp.MethodNotificationResourceUpdated || m.Params.URI != "x://a" {
				t.Errorf("news = %s, want the update of x://a alone", m.raw)
			}
			srv.SendNotificationToAllClients(mcp.MethodNotificationToolsListChanged, nil)
			if m := news.must(); m.Method != mcp.MethodNotificationToolsListChanged {
				t.Errorf("news = %s, want list_changed", m.raw)
			}

			if r := s.do("DELETE", "/mcp", "", in...); r.StatusCode != http.StatusNoContent {
				t.Errorf("DELETE = %v, want 204", r)
			}
			if m, ok := news.next(); ok {
				t.Errorf("the stream after DELETE has %s, want its end", m.raw)
			}
			for _, method := range []string{"POST", "GET", "DELETE"} {
				if r := s.do(method, "/mcp", call(`4`, "", "echo", `{}`), in...); r.StatusCode != http.StatusNotFound {
					t.Errorf("%s after DELETE = %v, want 404", method, r)
				}
			}
		})
	}
}

// TestUnknownSessions has each way in which an id can be of no session here. All are
// answered alike, so that nobody learns which one it was.
func TestUnknownSessions(t *testing.T) {
	know := callers(t, "ann", "bob")
	s := host(t, fixtures(), HTTPOptions{Auth: know, Secret: []byte("one key")})
	other := host(t, fixtures(), HTTPOptions{Auth: know, Secret: []byte("another key")})
	id := func(s *site, name string) string { return s.session("2025-11-25", `{}`, as(name)...)[1] }
	good := id(s, "ann")
	ended := id(s, "ann")
	s.do("DELETE", "/mcp", "", append(as("ann"), "Mcp-Session-Id", ended)...)
	changed := []byte(good)
	changed[len(changed)/2] ^= 1

	tests := []struct {
		name, id string
		status   int
	}{
		{"its own", good, http.StatusOK},
		{"another caller's", id(s, "bob"), http.StatusNotFound},
		{"another process's", id(other, "ann"), http.StatusNotFound},
		{"ended", ended, http.StatusNotFound},
		{"altered", string(changed), http.StatusNotFound},
		{"cut", good[:len(good)-1], http.StatusNotFound},
		{"longer", good + "A", http.StatusNotFound},
		{"padded", good + "=", http.StatusNotFound},
		{"random", "1868a90c-8f0e-4ccc-9d4a-0c4a9d8ec6d6", http.StatusNotFound},
		{"long", strings.Repeat("A", 8000), http.StatusNotFound},
		{"none", "", http.StatusBadRequest},
	}
	var words string
	for _, test := range tests {
		for _, method := range []string{"POST", "GET", "DELETE"} {
			if test.status == http.StatusOK && method != "POST" {
				continue
			}
			r := s.do(method, "/mcp", call("1", "", "echo", `{}`), append(as("ann"), "Mcp-Session-Id", test.id)...)
			if r.StatusCode != test.status {
				t.Errorf("%s with a session id that is %s = %v, want %d", method, test.name, r, test.status)
			}
			if r.StatusCode == http.StatusNotFound {
				if words == "" {
					words = string(r.body)
				}
				if string(r.body) != words {
					t.Errorf("%s with a session id that is %s says %s, but others %s", method, test.name, r.body, words)
				}
			}
		}
	}
	if r := s.do("POST", "/mcp", call("1", "", "echo", `{}`), append(as("ann"), "Mcp-Session-Id", good, "Mcp-Session-Id", good)...); r.StatusCode != http.StatusBadRequest {
		t.Errorf("two session ids = %v, want 400", r)
	}
}

// TestSessionElsewhere takes a session to another process that has the key.
func TestSessionElsewhere(t *testing.T) {
	o := HTTPOptions{Secret: []byte("shared by all instances")}
	first := host(t, fixtures(), o)
	in := first.session("2025-06-18", `{"elicitation":{}}`)
	first.stop() // the second is a restart, too
	second := host(t, fixtures(), o)
	if m := second.do("POST", "/mcp", call("1", "", "echo", `{"text":"hi"}`), in...).reply(t); m.text() != "hi" {
		t.Errorf("call at another instance = %s, want an answer", m.raw)
	}
	e := second.open("POST", "/mcp", call("2", "", "ask", `{}`), in...)
	if m := e.must(); m.Method != "elicitation/create" {
		t.Errorf("ask at another instance = %s, want a question: the id says that the client takes them", m.raw)
	}
	if r := second.do("DELETE", "/mcp", "", in...); r.StatusCode != http.StatusNoContent {
		t.Errorf("DELETE at another instance = %v, want 204", r)
	}
}

func TestElicitationOverPOST(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{Auth: callers(t, "ann", "bob")})
	in := s.session("2025-11-25", `{"elicitation":{}}`, as("ann")...)
	foreign := s.session("2025-11-25", `{"elicitation":{}}`, as("bob")...)
	e := s.open("POST", "/mcp", call("1", "", "ask", `{}`), in...)
	question := e.must()
	if question.Method != "elicitation/create" {
		t.Fatalf("ask = %s, want a question", question.raw)
	}
	answer := func(colour string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"accept","content":{"colour":%q}}}`, question.ID, colour)
	}
	s.do("POST", "/mcp", answer("black"), foreign...)
	s.do("POST", "/mcp", answer("grey"), s.session("2025-11-25", `{"elicitation":{}}`, as("ann")...)...)
	if r := s.do("POST", "/mcp", answer("red"), in...); r.StatusCode != http.StatusAccepted {
		t.Errorf("answer = %v, want 202", r)
	}
	if m := e.must(); m.text() != "accept map[colour:red]" {
		t.Errorf("ask = %s, want the answer of its own session", m.raw)
	}

	// A client that takes no events cannot be asked: it would wait for ever.
	r := s.do("POST", "/mcp", call("2", "", "ask", `{}`), append(slices.Clone(in), "Accept", "application/json")...)
	if m := r.reply(t); !strings.Contains(m.raw, "not support elicitation") {
		t.Errorf("ask of a client that takes JSON alone = %s, want that it cannot be asked", m.raw)
	}
}

// TestAccept has clients that take one kind of answer only.
func TestAccept(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{})
	in := s.session("2025-11-25", `{}`)
	progress := call("1", "5", "count", `{"n":2,"every_ms":1}`)
	tests := []struct {
		accept, body string
		status       int
		kind         string
		answers      string // to the call
	}{
		{"", progress, 200, "text/event-stream", "0€ 1€ "},
		{"*/*", progress, 200, "text/event-stream", "0€ 1€ "},
		{"text/event-stream", progress, 200, "text/event-stream", "0€ 1€ "},
		{"text/event-stream;q=0.5 , application/json", call("1", "", "echo", `{"text":"x"}`), 200, "application/json", "x"},
		{"Text/Event-Stream", call("1", "", "echo", `{"text":"x"}`), 200, "text/event-stream", "x"},
		{"application/json", progress, 200, "application/json", "0€ 1€ "},
		{"application/*", progress, 200, "application/json", "0€ 1€ "},
		{"text/html", progress, 406, "application/json", ""},
		{"text/html, image/png", progress, 406, "application/json", ""},
		{"application/jsonx", progress, 406, "application/json", ""},
	}
	for _, test := range tests {
		r := s.do("POST", "/mcp", test.body, append(slices.Clone(in), "Accept", test.accept)...)
		all := r.replies(t)
		if r.StatusCode != test.status || r.kind() != test.kind || all[len(all)-1].text() != test.answers {
			t.Errorf("Accept: %s = %v, want %d %s %q", test.accept, r, test.status, test.kind, test.answers)
		}
	}
	for _, path := range []string{"/mcp", "/sse"} {
		if r := s.do("GET", path, "", append(slices.Clone(in), "Accept", "application/json")...); r.StatusCode != http.StatusNotAcceptable {
			t.Errorf("GET %s without events = %v, want 406", path, r)
		}
	}
}

// TestOneStreamOfNews opens a second GET: news must not come twice.
func TestOneStreamOfNews(t *testing.T) {
	srv := fixtures()
	s := host(t, srv, HTTPOptions{})
	in := s.session("2025-11-25", `{}`)
	first := s.open("GET", "/mcp", "", in...)
	second := s.open("GET", "/mcp", "", in...)
	if m, ok := first.next(); ok {
		t.Errorf("the first of two streams has %s, want its end", m.raw)
	}
	srv.SendNotificationToAllClients(mcp.MethodNotificationToolsListChanged, nil)
	if m := second.must(); m.Method != mcp.MethodNotificationToolsListChanged {
		t.Errorf("the second of two streams has %s, want the news", m.raw)
	}
}

// TestSameIDTwice has an id in flight twice, in one session and in two.
func TestSameIDTwice(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{Options: Options{KeepAlive: tick}})
	in, other := s.session("2025-11-25", `{}`), s.session("2025-11-25", `{}`)
	s.open("POST", "/mcp", call("1", "", "block", `{}`), in...) // returns when it has begun
	if m := s.do("POST", "/mcp", call("1", "", "echo", `{}`), in...).reply(t); m.Error == nil || m.Error.Code != mcp.INVALID_REQUEST || string(m.ID) != "1" {
		t.Errorf("an id that is in flight = %s, want %d", m.raw, mcp.INVALID_REQUEST)
	}
	if m := s.do("POST", "/mcp", call("1", "", "echo", `{"text":"x"}`), other...).reply(t); m.text() != "x" {
		t.Errorf("the same id in another session = %s, want an answer", m.raw)
	}
}
