package transport

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestUnknownVersion: who asks for a version that there is not learns which there are.
func TestUnknownVersion(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{})
	r := s.do("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Mcp-Protocol-Version", "1999-01-01")
	if !strings.Contains(string(r.body), "1999-01-01") || !strings.Contains(string(r.body), "2025-11-25") {
		t.Errorf("ping of 1999-01-01 = %s, want that version and the supported ones named", r.body)
	}
}

// TestRefusals is what no client may send, and what it is answered. It has an own
// connection for each, as some are closed.
func TestRefusals(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{})
	in := s.session("2025-11-25", `{}`)
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	deep := `{"jsonrpc":"2.0","id":1,"method":"ping","params":` + strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1001)
	large := `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"` + strings.Repeat("x", 17<<20) + `"}}`
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{"fine", "POST", "/mcp", ping, nil, 200},
		{"own origin", "POST", "/mcp", ping, []string{"Origin", "http://" + s.addr}, 200},
		{"localhost", "POST", "/mcp", ping, []string{"Host", "LOCALHOST:1"}, 200},
		{"other loopback addresses", "POST", "/mcp", ping, []string{"Host", "[::1]:99"}, 200},
		{"charset", "POST", "/mcp", ping, []string{"Content-Type", "Application/JSON; Charset=UTF-8"}, 200},

		{"foreign origin", "POST", "/mcp", ping, []string{"Origin", "https://evil.example"}, 403},
		{"null origin", "POST", "/mcp", ping, []string{"Origin", "null"}, 403},
		{"own origin with TLS", "POST", "/mcp", ping, []string{"Origin", "https://" + s.addr}, 403},
		{"own host, another port", "POST", "/mcp", ping, []string{"Origin", "http://127.0.0.1"}, 403},
		{"origin that begins with ours", "POST", "/mcp", ping, []string{"Origin", "http://" + s.addr + ".evil.example"}, 403},
		{"origin with a path", "POST", "/mcp", ping, []string{"Origin", "http://" + s.addr + "/"}, 403},
		{"two origins", "POST", "/mcp", ping, []string{"Origin", "http://" + s.addr, "Origin", "http://" + s.addr}, 403},
		{"foreign origin on GET", "GET", "/mcp", "", []string{"Origin", "https://evil.example"}, 403},
		{"foreign origin on SSE", "GET", "/sse", "", []string{"Origin", "https://evil.example"}, 403},
		{"foreign origin on a message", "POST", "/message?sessionId=x", ping, []string{"Origin", "null"}, 403},
		{"foreign origin on DELETE", "DELETE", "/mcp", "", []string{"Origin", "https://evil.example"}, 403},
		{"foreign origin on health", "GET", "/healthz", "", []string{"Origin", "https://evil.example"}, 403},
		{"foreign preflight", "OPTIONS", "/mcp", "", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}, 403},
		{"foreign origin at no path", "GET", "/nothing", "", []string{"Origin", "https://evil.example"}, 403},
		{"image on another site's page", "GET", "/sse", "", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"form on another site's page", "POST", "/mcp", ping, []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"link on another site's page", "GET", "/", "", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"typed by hand", "GET", "/healthz", "", []string{"Sec-Fetch-Site", "none"}, 200},

		{"foreign host", "POST", "/mcp", ping, []string{"Host", "evil.example"}, 403},
		{"rebound host", "GET", "/sse", "", []string{"Host", "evil.example:" + port(s.addr)}, 403},
		{"host that ends in ours", "POST", "/mcp", ping, []string{"Host", "evil.localhost"}, 403},
		{"host with ours in front", "POST", "/mcp", ping, []string{"Host", "127.0.0.1.evil.example"}, 403},
		{"address that is not ours", "POST", "/mcp", ping, []string{"Host", "10.0.0.1"}, 403},
		{"any address", "POST", "/mcp", ping, []string{"Host", "0.0.0.0"}, 403},
		{"rebound host with its origin", "POST", "/mcp", ping, []string{"Host", "evil.example", "Origin", "http://evil.example"}, 403},

		{"text/plain", "POST", "/mcp", ping, []string{"Content-Type", "text/plain"}, 415},
		{"form", "POST", "/mcp", ping, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"multipart form", "POST", "/mcp", ping, []string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		{"no type", "POST", "/mcp", ping, []string{"Content-Type", ""}, 415},
		{"two types", "POST", "/mcp", ping, []string{"Content-Type", "application/json", "Content-Type", "text/plain"}, 415},
		{"types in one", "POST", "/mcp", ping, []string{"Content-Type", "application/json, text/plain"}, 415},
		{"like JSON", "POST", "/mcp", ping, []string{"Content-Type", "application/json-seq"}, 415},
		{"JSON in UTF-16", "POST", "/mcp", ping, []string{"Content-Type", "application/json; charset=utf-16"}, 415},
		{"text/plain that names JSON", "POST", "/mcp", ping, []string{"Content-Type", "text/plain; application/json"}, 415},
		{"gzip", "POST", "/mcp", ping, []string{"Content-Encoding", "gzip"}, 415},

		{"duplicate key", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}`, nil, 400},
		{"key in another case", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"Method":"ping"}`, nil, 400},
		{"name in another case", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"NAME":"echo"}}`, nil, 400},
		{"Kelvin sign for k", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","tas\u212A":{}}}`, nil, 400},
		{"depth 1000", "POST", "/mcp", deep, nil, 400},
		{"batch", "POST", "/mcp", "[" + ping + "]", nil, 400},
		{"empty batch", "POST", "/mcp", "[]", nil, 400},
		{"invalid UTF-8", "POST", "/mcp", "{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}", nil, 400},
		{"nothing", "POST", "/mcp", "", nil, 400},
		{"two messages", "POST", "/mcp", ping + "\n" + ping, nil, 400},
		{"unknown version", "POST", "/mcp", ping, []string{"Mcp-Protocol-Version", "1999-01-01"}, 400},

		{"PUT", "PUT", "/mcp", ping, nil, 405},
		{"PATCH", "PATCH", "/mcp", ping, nil, 405},
		{"TRACE", "TRACE", "/mcp", "", nil, 405},
		{"HEAD of a stream", "HEAD", "/sse", "", nil, 405},
		{"HEAD", "HEAD", "/mcp", "", nil, 405},
		{"GET for messages", "GET", "/message?sessionId=x", "", nil, 405},
		{"POST to a stream", "POST", "/sse", ping, nil, 405},
		{"OPTIONS of no page", "OPTIONS", "/mcp", "", nil, 405},
		{"path in another case", "POST", "/MCP", ping, nil, 404},
		{"path with a slash", "POST", "/mcp/", ping, nil, 404},
		{"path traversal", "GET", "/../etc/passwd", "", nil, 404},
		{"path traversal, encoded", "GET", "/%2e%2e/%2e%2e/etc/passwd", "", nil, 404},
		{"path that leads to ours", "POST", "/x/../mcp", ping, nil, 404},
		{"two slashes", "POST", "//mcp", ping, nil, 404},
		{"header of 40 KB", "POST", "/mcp", ping, []string{"X-Long", strings.Repeat("x", 40<<10)}, 431},
		{"17 MiB", "POST", "/mcp", large, nil, 413},
		{"17 MiB in chunks", "POST", "/mcp", large, []string{"Transfer-Encoding", "chunked"}, 413},
		{"17 MiB of a message", "POST", "/message?sessionId=x", large, nil, 404},
	}
	var slowest time.Duration
	var what string
	for _, test := range tests {
		begun := time.Now()
		status, body := s.raw(test.method, test.path, test.body, append(in[:2:2], test.header...))
		if took := time.Since(begun); took > slowest {
			slowest, what = took, test.name
		}
		if status != test.status {
			t.Errorf("%s = %d %.200s, want %d", test.name, status, body, test.status)
		}
		if status >= 400 && status != 431 && test.method != "HEAD" && !json.Valid([]byte(body)) {
			t.Errorf("%s = %d %.200s, want JSON", test.name, status, body)
		}
	}
	t.Logf("slowest answer: %v, to %s", slowest, what)
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// raw sends a request on a connection of its own, byte for byte: a client library would
// not send some of it. It reads the response while it still writes.
func (s *site) raw(method, path, body string, header []string) (status int, said string) {
	s.t.Helper()
	set := map[string][]string{"Host": {s.addr}, "Accept": {"*/*"}}
	if method == "POST" {
		set["Content-Type"] = []string{"application/json"}
	}
	for i := 0; i < len(header); i += 2 {
		if i > 0 && header[i] == header[i-2] {
			set[header[i]] = append(set[header[i]], header[i+1])
		} else {
			set[header[i]] = []string{header[i+1]}
		}
	}
	if set["Transfer-Encoding"] != nil {
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	} else {
		set["Content-Length"] = []string{fmt.Sprint(len(body))}
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\n", method, path)
	for name, values := range set {
		for _, value := range values {
			if value != "" {
				fmt.Fprintf(&head, "%s: %s\r\n", name, value)
			}
		}
	}
	return s.exchange(method, head.String()+"Connection: close\r\n\r\n"+body)
}

func (s *site) exchange(method, request string) (status int, said string) {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.WriteString(c, request) // may fail: the server need not read it all
	}()
	defer func() { c.Close(); <-sent }()
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		s.t.Errorf("%.100q: %v", request, err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body) // a connection may be closed under what was not read
	return resp.StatusCode, string(b)
}

// TestOddRequests are requests that are not quite HTTP/1.1.
func TestOddRequests(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{})
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	rest := fmt.Sprintf("Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n", len(ping))
	initial := fmt.Sprintf(initialize, "2025-11-25", "{}")
	tests := []struct {
		name, request string
		status        int
	}{
		{"HTTP/1.0", fmt.Sprintf("POST /mcp HTTP/1.0\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", s.addr, len(initial), initial), 200},
		{"HTTP/1.0 without Host", "POST /mcp HTTP/1.0\r\n" + rest + "\r\n" + ping, 403},
		{"HTTP/1.1 without Host", "POST /mcp HTTP/1.1\r\n" + rest + "\r\n" + ping, 400},
		{"two Hosts", "POST /mcp HTTP/1.1\r\nHost: " + s.addr + "\r\nHost: evil.example\r\n" + rest + "\r\n" + ping, 400},
		{"a foreign URL as the target", "GET http://evil.example/sse HTTP/1.1\r\nHost: " + s.addr + "\r\n\r\n", 403},
		{"our URL as the target, foreign Host", "GET http://" + s.addr + "/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 200},
		{"CONNECT", "CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n", 403},
		{"star", "OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
		{"length and chunks", "POST /mcp HTTP/1.1\r\nHost: " + s.addr + "\r\n" + rest + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"two lengths", "POST /mcp HTTP/1.1\r\nHost: " + s.addr + "\r\n" + rest + "Content-Length: 1\r\n\r\n" + ping, 400},
		{"HTTP/2 upgrade", "GET /healthz HTTP/1.1\r\nHost: " + s.addr + "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 200},
		{"a bare line feed in a header", "GET /healthz HTTP/1.1\r\nHost: " + s.addr + "\r\nOrigin: http://" + s.addr + "\nOrigin: null\r\nConnection: close\r\n\r\n", 403},
		{"a blank before the colon", "GET /healthz HTTP/1.1\r\nHost: " + s.addr + "\r\nOrigin : null\r\nConnection: close\r\n\r\n", 400},
	}
	for _, test := range tests {
		method, _, _ := strings.Cut(test.request, " ")
		if status, body := s.exchange(method, test.request); status != test.status {
			t.Errorf("%s = %d %s, want %d", test.name, status, body, test.status)
		}
	}
}

// TestBrowsers replays what a browser sends for pages that are not this server's, as it was
// recorded. They reach nothing but, by a link, the page for people.
func TestBrowsers(t *testing.T) {
	raw, err := os.ReadFile("../testdata/browser.json")
	if err != nil {
		t.Fatal(err)
	}
	var requests []struct {
		Visit, Attempt, Method, Path, Host, Body string
		Header                                   map[string]string
	}
	if err := json.Unmarshal(raw, &requests); err != nil || len(requests) == 0 {
		t.Fatalf("browser.json = %d requests, %v, want some", len(requests), err)
	}
	s := host(t, fixtures(), HTTPOptions{})
	for _, r := range requests {
		r.Header["Host"] = strings.Replace(r.Host, ":8811", ":"+port(s.addr), 1)
		if r.Header["Content-Type"] == "" {
			r.Header["Content-Type"] = ""
		}
		header := []string{}
		for name, value := range r.Header {
			header = append(header, name, strings.Replace(value, ":8811", ":"+port(s.addr), 1))
		}
		want := http.StatusForbidden
		if r.Path == "/" && r.Header["Origin"] == "" && strings.HasPrefix(r.Host, "127.0.0.1") {
			want = http.StatusOK
		}
		status, body := s.raw(r.Method, r.Path, r.Body, header)
		if status != want || strings.Contains(body, "protocolVersion") {
			t.Errorf("%s, %s: %s %s = %d %s, want %d", r.Visit, r.Attempt, r.Method, r.Path, status, body, want)
		}
	}
}
