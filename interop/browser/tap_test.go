package browser

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// attempt is one request that a page made the browser send, and its answer.
type attempt struct {
	request
	status int // 0 while there is none
	answer http.Header
}

// request is what the main module replays. The server is at 127.0.0.1:8811, pages at
// port 8000.
type request struct {
	Visit  string            `json:"visit"`
	Name   string            `json:"attempt"`
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Host   string            `json:"host"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body,omitempty"`
}

// tap is two servers: one with the page, and one between the browser and the server
// under attack, which notes what passes.
type tap struct {
	pagePort, serverPort string
	reports              chan []byte

	mu       sync.Mutex // guards the fields below
	name     string     // what is attempted now
	attempts []attempt
}

func newTap(t *testing.T, victim http.Handler) *tap {
	t.Helper()
	p := &tap{reports: make(chan []byte, 1)}
	pages := http.NewServeMux()
	pages.Handle("GET /", http.FileServerFS(page))
	pages.HandleFunc("GET /worker.js", p.worker)
	pages.HandleFunc("POST /announce", p.announce)
	pages.HandleFunc("POST /report", p.report)
	between := http.NewServeMux()
	for _, path := range []string{"GET /page.html", "GET /page.js", "POST /announce", "POST /report", "GET /favicon.ico"} {
		between.Handle(path, pages) // of the page that comes from the server's own address
	}
	between.Handle("/", p.note(victim))
	p.pagePort, p.serverPort = listen(t, pages), listen(t, between)
	return p
}

func listen(t *testing.T, h http.Handler) (port string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections() // streams would never end
		s.Close()
	})
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// forward passes requests on to the server at hostport, under the name that the browser
// uses for it.
func forward(hostport string) http.Handler {
	_, port, _ := net.SplitHostPort(hostport)
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: hostport})
			name, _, _ := net.SplitHostPort(r.In.Host)
			r.Out.Host = net.JoinHostPort(name, port)
		},
		FlushInterval: -1,
	}
}

// note notes each request and the head of its answer.
func (p *tap) note(victim http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the page gave up
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		a := attempt{request: request{
			Name: p.current(), Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Header: telling(r.Header), Body: string(body),
		}}
		p.mu.Lock()
		i := len(p.attempts)
		p.attempts = append(p.attempts, a)
		p.mu.Unlock()
		victim.ServeHTTP(&answerWriter{w, func(status int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.attempts[i].status, p.attempts[i].answer = status, w.Header().Clone()
		}}, r)
	})
}

// answerWriter tells the status as soon as it is written: a stream may not end.
type answerWriter struct {
	http.ResponseWriter
	answered func(status int)
}

func (w *answerWriter) WriteHeader(status int) {
	w.answered(status)
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush and hijack.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// silent are headers that tell nothing of who asks for what: which browser it is, and how
// the connection is used.
var silent = []string{
	"Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Length", "Pragma", "Priority",
	"Sec-Websocket-Key", "Upgrade-Insecure-Requests", "User-Agent", "Connection", "Range",
}

// telling is the rest of the headers.
func telling(h http.Header) map[string]string {
	told := map[string]string{}
	for name, values := range h {
		if !slices.Contains(silent, name) && !strings.HasPrefix(name, "Sec-Ch-") {
			told[name] = strings.Join(values, ", ")
		}
	}
	return told
}

// tabulate returns each different request once. Accept tells what a browser can show,
// and who asked does not matter.
func tabulate(attempts []attempt) []request {
	different := map[string]request{}
	for _, a := range attempts {
		header := maps.Clone(a.Header)
		delete(header, "Accept")
		key := fmt.Sprint(a.Path, a.Method, a.Host, header, a.Body)
		if _, known := different[key]; !known {
			different[key] = a.request
		}
	}
	requests := make([]request, 0, len(different))
	for _, key := range slices.Sorted(maps.Keys(different)) {
		requests = append(requests, different[key])
	}
	return requests
}

// boundary is drawn by lot.
var boundary = regexp.MustCompile(`(----WebKitFormBoundary)\w+`)

// seen returns the attempts so far, with the addresses of the table.
func (p *tap) seen() []attempt {
	ports := strings.NewReplacer(":"+p.serverPort, ":8811", ":"+p.pagePort, ":8000")
	neutral := func(s string) string { return boundary.ReplaceAllString(ports.Replace(s), "$1") }
	p.mu.Lock()
	defer p.mu.Unlock()
	attempts := slices.Clone(p.attempts)
	for i, a := range attempts {
		attempts[i].Host, attempts[i].Body, attempts[i].Header = neutral(a.Host), neutral(a.Body), map[string]string{}
		for name, value := range a.Header {
			attempts[i].Header[name] = neutral(value)
		}
	}
	return attempts
}

func (p *tap) current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name
}

func (p *tap) announce(_ http.ResponseWriter, r *http.Request) {
	name, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name = string(name)
}

func (p *tap) report(_ http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	select {
	case p.reports <- raw:
	default: // a page that was opened again
	}
}

// worker is a service worker that makes the attempts when it is told to.
func (p *tap) worker(w http.ResponseWriter, _ *http.Request) {
	source, _ := page.ReadFile("page.js")
	w.Header().Set("Content-Type", "text/javascript")
	_, _ = w.Write(source)
	_, _ = io.WriteString(w, `
onmessage = event => event.waitUntil((async () => {
  const port = event.ports[0]
  const announce = name => new Promise(go => { port.onmessage = go; port.postMessage({ name }) })
  port.postMessage({ results: await attemptAll(event.data, announce) })
})())`)
}
