package ollamatest

import (
	"net/http"
	"strings"
	"time"

	"ollama-mcp/ollama"
)

// RetryAfter is what TooManyRequests asks for.
const RetryAfter = 7 * time.Second

const (
	jsonType = "application/json; charset=utf-8"
	htmlType = "text/html"
	textType = "text/plain"
)

// statusFaults are errors that Ollama answers with.
func statusFaults() []Fault {
	oom := `{"error":"model requires more system memory (9.3 GiB) than is available (1.2 GiB)"}`
	busy := `{"error":"server busy, please try again.  maximum pending requests exceeded"}`
	signin := `{"error":"unauthorized","signin_url":"https://ollama.com/connect?name=test&key=test"}`
	return []Fault{
		Status("401", http.StatusUnauthorized, jsonType, signin, ollama.Unauthorized),
		Status("403 empty", http.StatusForbidden, "", "", ollama.Unauthorized),
		Status("404 JSON", http.StatusNotFound, jsonType, `{"error":"model 'tiny' not found"}`, ollama.MissingModel),
		TooManyRequests(),
		Status("500 out of memory", http.StatusInternalServerError, jsonType, oom, ollama.LoadFailed),
		Status("500 other", http.StatusInternalServerError, jsonType, `{"error":"unexpected EOF"}`, ollama.Failed),
		Crash(),
		Status("503 busy", http.StatusServiceUnavailable, jsonType, busy, ollama.Busy),
	}
}

// foreignFaults are answers of something that is not Ollama.
func foreignFaults() []Fault {
	page := `<!DOCTYPE html><html><head><title>%</title></head><body><h1>%</h1><hr>nginx</body></html>`
	html := func(title string) string { return strings.ReplaceAll(page, "%", title) }
	garbage := "\x00\x01\xfe\xff}{][garbage\n\n" + strings.Repeat("\xc3\x28", 100)
	return []Fault{
		Status("502 HTML", http.StatusBadGateway, htmlType, html("502 Bad Gateway"), ollama.NotOllama, ollama.Failed),
		Status("403 HTML", http.StatusForbidden, htmlType, html("403 Forbidden"), ollama.NotOllama, ollama.Unauthorized),
		Status("404 text", http.StatusNotFound, textType, "404 page not found", ollama.NotOllama),
		Status("wrong content type", http.StatusOK, htmlType, html("Sign in"), ollama.NotOllama),
		Status("garbage", http.StatusOK, "application/x-ndjson", garbage, ollama.NotOllama),
		Status("other JSON", http.StatusOK, jsonType, `["not",1,"object"]`, ollama.NotOllama),
		Redirect(),
		NotHTTP(),
	}
}

// Status answers every request with one status and body.
func Status(name string, status int, contentType, body string, kinds ...ollama.Kind) Fault {
	return Fault{Name: name, Kinds: kinds, serve: func(c *call) { c.write(status, contentType, []byte(body)) }}
}

// Crash is a handler of Ollama that panics.
func Crash() Fault {
	return Status("500 empty", http.StatusInternalServerError, "", "", ollama.Failed)
}

// TooManyRequests is Ollama's cloud at its limit, with a Retry-After of [RetryAfter].
func TooManyRequests() Fault {
	f := Status("429", http.StatusTooManyRequests, jsonType, `{"error":"too many requests"}`, ollama.Busy)
	answer := f.serve
	f.serve = func(c *call) {
		c.w.Header().Set("Retry-After", "7")
		answer(c)
	}
	return f
}

// Redirect sends the client to a login page.
func Redirect() Fault {
	return Fault{Name: "redirect", Kinds: []ollama.Kind{ollama.NotOllama}, serve: func(c *call) {
		c.w.Header().Set("Location", "/login")
		c.write(http.StatusFound, htmlType, nil)
	}}
}

// NotHTTP answers in another protocol.
func NotHTTP() Fault {
	kinds := []ollama.Kind{ollama.NotOllama, ollama.Unreachable}
	return Fault{Name: "not HTTP", Kinds: kinds, serve: func(c *call) {
		conn, _, err := http.NewResponseController(c.w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.2p1\r\n"))
		_ = conn.Close()
	}}
}
