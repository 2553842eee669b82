package transport

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
)

// TestModern is a table of what 2026-07-28 asks of requests over HTTP:
// https://modelcontextprotocol.io/specification/2026-07-28/basic/transports
func TestModern(t *testing.T) {
	echo := modern("1", "tools/call", `"name":"echo","arguments":{"text":"hi"}`, `{}`)
	list := modern("1", "tools/list", "", `{}`)
	later := strings.ReplaceAll(list, "2026-07-28", "2099-01-01")
	tests := []struct {
		name, body string
		header     []string
		status     int
		code       int    // of the JSON-RPC error
		says       string // somewhere in the response
	}{
		{"call", echo, headers("tools/call", "echo"), 200, 0, `"text":"hi"`},
		{"list", list, headers("tools/list", ""), 200, 0, `"resultType":"complete"`},
		{"encoded name", echo, headers("tools/call", "=?base64?ZWNobw==?="), 200, 0, `"text":"hi"`},
		{"discover", modern("1", "server/discover", "", `{}`), headers("server/discover", ""), 200, 0, `"2026-07-28"`},
		{"a session id is no matter", list, headers("tools/list", "", "Mcp-Session-Id", "whatever"), 200, 0, `"resultType"`},

		{"no version header", list, headers("tools/list", "", "Mcp-Protocol-Version", "")[4:], 400, mcp.HEADER_MISMATCH, "missing"},
		{"another version in the header", list, []string{"Mcp-Protocol-Version", "2025-11-25", "Mcp-Method", "tools/list"}, 400, mcp.HEADER_MISMATCH, ""},
		{"no version in _meta", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, headers("tools/list", ""), 400, mcp.INVALID_PARAMS, "_meta"},
		{"no method header", list, []string{"Mcp-Protocol-Version", "2026-07-28"}, 400, mcp.HEADER_MISMATCH, "Mcp-Method"},
		{"another method in the header", list, headers("tools/call", "echo"), 400, mcp.HEADER_MISMATCH, "Mcp-Method"},
		{"the method in another case", list, headers("Tools/List", ""), 400, mcp.HEADER_MISMATCH, "Mcp-Method"},
		{"no name header", echo, headers("tools/call", ""), 400, mcp.HEADER_MISMATCH, "Mcp-Name"},
		{"another name in the header", echo, headers("tools/call", "block"), 400, mcp.HEADER_MISMATCH, "Mcp-Name"},
		{"two names", echo, headers("tools/call", "echo", "Mcp-Name", "block"), 400, mcp.HEADER_MISMATCH, "more than once"},
		{"two versions", list, headers("tools/list", "", "Mcp-Protocol-Version", "2025-11-25"), 400, mcp.HEADER_MISMATCH, "more than once"},
		{"a large listen", listen("1", fmt.Sprintf(`{"resourceSubscriptions":[%q]}`, strings.Repeat("x", maxListen))), headers("subscriptions/listen", ""),
			400, mcp.INVALID_PARAMS, "bytes at most"},
		{"name not base64", echo, headers("tools/call", "=?base64?!?="), 400, mcp.HEADER_MISMATCH, ""},
		{"resuming", list, headers("tools/list", "", "Last-Event-ID", "7"), 400, mcp.HEADER_MISMATCH, "resumed"},
		{"a version to come", later, []string{"Mcp-Protocol-Version", "2099-01-01", "Mcp-Method", "tools/list"}, 400, mcp.UNSUPPORTED_PROTOCOL_VERSION, `"2026-07-28"`},
		{"no capabilities", strings.Replace(list, "clientCapabilities", "client-capabilities", 1), headers("tools/list", ""), 400, mcp.INVALID_PARAMS, ""},
		{"unknown method", modern("1", "no/such", "", `{}`), headers("no/such", ""), 404, mcp.METHOD_NOT_FOUND, ""},
		{"a method that is gone", modern("1", "ping", "", `{}`), headers("ping", ""), 404, mcp.METHOD_NOT_FOUND, ""},
		{"initialize", modern("1", "initialize", "", `{}`), headers("initialize", ""), 404, mcp.METHOD_NOT_FOUND, ""},
		{"unknown tool", modern("1", "tools/call", `"name":"nope"`, `{}`), headers("tools/call", "nope"), 400, mcp.INVALID_PARAMS, ""},
		{"asking who cannot be asked", modern("1", "tools/call", `"name":"ask"`, `{}`), headers("tools/call", "ask"), 400, mcp.MISSING_REQUIRED_CLIENT_CAPABILITY, `"elicitation"`},

		{"notification", strings.Replace(list, `"id":1,`, "", 1), headers("tools/list", ""), 202, 0, ""},
		{"answer", `{"jsonrpc":"2.0","id":1,"result":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, headers("", ""), 400, mcp.INVALID_PARAMS, ""},
	}
	s := host(t, fixtures(), HTTPOptions{})
	for _, test := range tests {
		r := s.do("POST", "/mcp", test.body, test.header...)
		code := 0
		if len(r.body) > 0 {
			if m := r.reply(t); m.Error != nil {
				code = m.Error.Code
			}
		}
		if r.StatusCode != test.status || code != test.code || !strings.Contains(string(r.body), test.says) {
			t.Errorf("%s = %v, want status %d, code %d, %q", test.name, r, test.status, test.code, test.says)
		}
		if id := r.Header.Get("Mcp-Session-Id"); id != "" {
			t.Errorf("%s mints the session %q, want none", test.name, id)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		r := s.do(method, "/mcp", "", headers("", "")...)
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "POST" {
			t.Errorf("%s of 2026-07-28 = %v, Allow %q, want 405, POST", method, r, r.Header.Get("Allow"))
		}
	}
}

// TestHeaderParameters has a tool that wants an argument repeated in a header.
func TestHeaderParameters(t *testing.T) {
	srv := fixtures()
	srv.AddTool(mcp.Tool{Name: "far", RawInputSchema: []byte(
		`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}`)}, echoTool)
	s := host(t, srv, HTTPOptions{})
	body := modern("1", "tools/call", `"name":"far","arguments":{"region":"eu"}`, `{}`)
	for value, want := range map[string]int{"eu": 200, "us": 400, "": 400} {
		if r := s.do("POST", "/mcp", body, headers("tools/call", "far", "Mcp-Param-Region", value)...); r.StatusCode != want {
			t.Errorf("Mcp-Param-Region: %q for region eu = %v, want %d", value, r, want)
		}
	}
}

func TestModernProgressAndQuestions(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{})
	body := modern("1", "tools/call", `"name":"count","arguments":{"n":2,"every_ms":1}`, `{}`)
	body = strings.Replace(body, `"_meta":{`, `"_meta":{"progressToken":"1",`, 1)
	r := s.do("POST", "/mcp", body, headers("tools/call", "count")...)
	all := r.replies(t)
	if r.kind() != "text/event-stream" || len(all) < 2 || string(all[0].Params.ProgressToken) != `"1"` || all[len(all)-1].text() != "0€ 1€ " {
		t.Errorf("count = %v, want progress and the answer as events", r)
	}
	ask := func(params string) reply {
		return s.do("POST", "/mcp", modern("2", "tools/call", `"name":"ask"`+params, `{"elicitation":{}}`), headers("tools/call", "ask")...).reply(t)
	}
	if m := ask(""); m.Result.ResultType != "input_required" || m.Result.RequestState != "state" {
		t.Errorf("ask = %s, want input_required", m.raw)
	}
	if m := ask(`,"inputResponses":{"colour":{"action":"accept","content":{"colour":"red"}}},"requestState":"state"`); m.text() != "accept map[colour:red]" {
		t.Errorf("ask with the answer = %s, want it used", m.raw)
	}
}

func TestListen(t *testing.T) {
	srv := fixtures()
	s := host(t, srv, HTTPOptions{})
	open := func(id, filter string) *events {
		e := s.open("POST", "/mcp", listen(id, filter), headers("subscriptions/listen", "")...)
		if m := e.must(); m.Method != mcp.MethodNotificationSubscriptionsAcknowledged || m.Params.Meta["io.modelcontextprotocol/subscriptionId"] == nil {
			t.Errorf("listen begins with %s, want the acknowledgement", m.raw)
		}
		return e
	}
	tools := open(`1`, `{"toolsListChanged":true}`)
	files := open(`1`, `{"resourceSubscriptions":["x://a"]}`) // the same id is another request here
	srv.SendNotificationToAllClients(mcp.MethodNotificationResourceUpdated, map[string]any{"uri": "x://b"})
	srv.SendNotificationToAllClients(mcp.MethodNotificationResourceUpdated, map[string]any{"uri": "x://a"})
	srv.SendNotificationToAllClients(mcp.MethodNotificationToolsListChanged, nil)
	if m := tools.must(); m.Method != mcp.MethodNotificationToolsListChanged {
		t.Errorf("listen to tools has %s, want list_changed", m.raw)
	}
	if m := files.must(); m.Params.URI != "x://a" {
		t.Errorf("listen to x://a has %s, want its update", m.raw)
	}
	s.stop()
	for _, e := range []*events{tools, files} {
		if m := e.must(); string(m.ID) != "1" || m.Error != nil {
			t.Errorf("listen at the end of the server = %s, want its result", m.raw)
		}
		if m, ok := e.next(); ok {
			t.Errorf("after the result of listen: %s, want the end", m.raw)
		}
	}
}

// TestModernCancelIsNobodys sends a cancel that names a call of another request.
func TestModernCancelIsNobodys(t *testing.T) {
	srv := fixtures()
	free := make(chan struct{})
	srv.AddTool(mcp.NewTool("wait"), waitFor(free))
	s := host(t, srv, HTTPOptions{Options: Options{KeepAlive: tick}})
	e := s.open("POST", "/mcp", modern("1", "tools/call", `"name":"wait"`, `{}`), headers("tools/call", "wait")...)
	body := modern("1", "notifications/cancelled", `"requestId":1`, `{}`)
	for _, body := range []string{strings.Replace(body, `"id":1,`, "", 1), cancelled("1")} {
		r := s.do("POST", "/mcp", body, headers("notifications/cancelled", "")...)
		if want := []int{202, 400}; !slices.Contains(want, r.StatusCode) {
			t.Errorf("cancel over HTTP = %v, want one of %v", r, want)
		}
	}
	close(free)
	if m := e.must(); m.text() != "free" {
		t.Errorf("a call that another request cancels = %s, want its answer", m.raw)
	}
}
