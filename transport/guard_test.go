package transport

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ollama-mcp/transport/auth"
)

// TestAllowedNames has an operator's own names and origins.
func TestAllowedNames(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{
		AllowHosts:   []string{"MCP.example", "other.example:8443", "[2001:db8::1]"},
		AllowOrigins: []string{"https://App.example"},
	})
	tests := []struct {
		host, origin string
		status       int
		readable     bool // by the page
	}{
		{"mcp.example", "", 200, false},
		{"mcp.example:1234", "", 200, false},
		{"MCP.EXAMPLE", "", 200, false},
		{"other.example:8443", "", 200, false},
		{"other.example", "", 403, false},
		{"other.example:8444", "", 403, false},
		{"[2001:db8::1]:8811", "", 200, false},
		{"[2001:db8::1]", "", 200, false},
		{"[2001:db8::2]", "", 403, false},
		{"x.mcp.example", "", 403, false},
		{"mcp.example", "http://mcp.example", 200, false}, // it is the page's own
		{"mcp.example", "https://app.example", 200, true},
		{"mcp.example", "HTTPS://APP.EXAMPLE", 200, true},
		{"mcp.example", "http://app.example", 403, false},
		{"mcp.example", "https://app.example:8443", 403, false},
		{"evil.example", "https://app.example", 403, false},
	}
	for _, test := range tests {
		r := s.do("GET", "/healthz", "", "Host", test.host, "Origin", test.origin)
		if readable := r.Header.Get("Access-Control-Allow-Origin") != ""; r.StatusCode != test.status || readable != test.readable {
			t.Errorf("Host %q, Origin %q = %v, readable %t, want %d, %t", test.host, test.origin, r, readable, test.status, test.readable)
		}
	}
	r := s.do("OPTIONS", "/mcp", "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
	for _, name := range []string{"Authorization", "Content-Type", "Mcp-Session-Id", "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name"} {
		if allowed := r.Header.Get("Access-Control-Allow-Headers"); r.StatusCode != http.StatusNoContent || !strings.Contains(allowed, name) {
			t.Errorf("preflight of an allowed origin = %v, allows %q, want 204 and %s", r, allowed, name)
		}
	}
	if vary := r.Header.Get("Vary"); vary != "Origin" || r.Header.Get("Access-Control-Allow-Origin") == "*" {
		t.Errorf("preflight: Vary = %q, Allow-Origin = %q, want Origin, and never *", vary, r.Header.Get("Access-Control-Allow-Origin"))
	}
}

// FuzzHTTP sends any request line, header and body through the whole of what is served:
// nothing may panic, and nothing may be done for a request that the guard must not pass.
func FuzzHTTP(f *testing.F) {
	h, err := NewHTTP(fixtures(), HTTPOptions{Options: Options{KeepAlive: tick}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(h.hub.close)
	routes := h.routes()
	good := h.sessions.mint(auth.Local, client{initialized: true, protocol: "2025-11-25"})
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	json := "application/json"
	for _, seed := range [][9]string{
		{"POST", "localhost", "", json, json, "", good, "", ping},
		{"POST", "localhost", "http://localhost", json, "*/*", "2025-11-25", good[1:], "", ping},
		{"POST", "localhost", "", json, "", "2026-07-28", "", "tools/call", modern("1", "tools/call", `"name":"echo"`, `{}`)},
		{"POST", "[::1]:80", "null", "text/plain", "text/event-stream;q=1, */*;q=0", "2099-01-01", "", "=?base64?ZWNobw==?=", ping},
		{"DELETE", "127.0.0.1:1", "https://evil.example", "application/json; charset=utf-8", ",;,", "", good, "", ""},
		{"PUT", "", "", "application/json; charset=\"", json, "x", "", "", "["},
		{"OPTIONS", "evil.example", "http://evil.example", "", "", "", "", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], seed[6], seed[7], []byte(seed[8]))
	}
	f.Fuzz(func(t *testing.T, method, hostName, origin, kind, accept, version, session, name string, body []byte) {
		if method == http.MethodGet || bytes.Contains(body, []byte("listen")) || bytes.Contains(body, []byte("block")) || bytes.Contains(body, []byte("deaf")) {
			return // it would stay open
		}
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/mcp", bytes.NewReader(body))
		r.Method, r.Host = method, hostName
		for key, value := range map[string]string{"Origin": origin, "Content-Type": kind, "Accept": accept, "Mcp-Protocol-Version": version,
			"Mcp-Session-Id": session, "Mcp-Method": name, "Mcp-Name": name} {
			if value != "" {
				r.Header.Set(key, value)
			}
		}
		w := &deadlines{httptest.NewRecorder()}
		routes.ServeHTTP(w, r)
		if name := strings.ToLower(origin); w.Code < 300 && name != "" && name != "http://"+strings.ToLower(hostName) {
			t.Errorf("Origin %q for Host %q = %d, want it refused", origin, hostName, w.Code)
		}
		if method == http.MethodPost && w.Code == 200 && session != good && version == "" && !bytes.Contains(body, []byte("initialize")) && !bytes.Contains(body, []byte("2026-07-28")) {
			t.Errorf("session %q = %d %s, want it refused", session, w.Code, w.Body)
		}
	})
}

// deadlines is a recorder that takes deadlines, as the writers of net/http do.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetReadDeadline(time.Time) error  { return nil }
func (deadlines) SetWriteDeadline(time.Time) error { return nil }
