package transport

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// healthy says that the process is alive.
func healthy(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readiness is the answer of HTTPOptions.Ready, kept for a second so that nobody can
// make us ask it often.
type readiness struct {
	ask func(context.Context) error

	mu   sync.Mutex // guards the fields below, and is held while ask runs
	at   time.Time
	last error
}

func (r *readiness) check(ctx context.Context) error {
	if r.ask == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) < time.Second {
		return r.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	r.last = r.ask(ctx)
	r.at = time.Now()
	return r.last
}

// readyz says whether calls can succeed, and if not, why.
func (h *HTTP) readyz(w http.ResponseWriter, r *http.Request) {
	var answer struct {
		Ready  bool   `json:"ready"`
		Reason string `json:"reason,omitempty"`
	}
	status := http.StatusServiceUnavailable
	if h.closing.Err() != nil {
		answer.Reason = drainWords
	} else if err := h.ready.check(r.Context()); err != nil {
		answer.Reason = err.Error()
	} else {
		answer.Ready, status = true, http.StatusOK
	}
	body, _ := json.Marshal(answer) // always marshals
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// page tells a person with a browser what this is.
func page(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	_, _ = w.Write([]byte(pageHTML))
}

const pageHTML = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ollama-mcp</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em}</style></head>
<body><h1>ollama-mcp</h1>
<p>This is an MCP server: it gives AI agents and editors the Ollama behind it. There is nothing to see here; connect an MCP client.</p>
<ul>
<li>Streamable HTTP: add the address of this page with <code>/mcp</code> at its end.</li>
<li>HTTP+SSE, for older clients: the same with <code>/sse</code>.</li>
<li>If the server asks for a token, send it as <code>Authorization: Bearer …</code>.</li>
</ul>
<p>In Claude Code: <code>claude mcp add --transport http ollama ADDRESS/mcp</code></p>
<p><code>/healthz</code> tells whether the server is alive, <code>/readyz</code> whether an Ollama answers.</p>
</body></html>
`
