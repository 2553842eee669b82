package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ollama-mcp/ollama/ollamatest"
)

// The tests below are the program over HTTP.

// whole reads a call to its answer; its deltas must be its text.
func whole(t *testing.T, all <-chan message, id int) *result {
	t.Helper()
	r, text := ended(t, all, id)
	if got := r.Structured.Text; text != got {
		t.Errorf("call %d: deltas %q, text %q; want them equal", id, text, got)
	}
	return r
}

// ended reads a call to its answer, and its deltas.
func ended(t *testing.T, all <-chan message, id int) (r *result, deltas string) {
	t.Helper()
	var text strings.Builder
	for m := range all {
		if m.Method != "" {
			text.WriteString(m.Params.Meta.Delta)
			continue
		}
		if string(m.ID) != fmt.Sprint(id) || m.Result == nil {
			t.Fatalf("answer %s, error %s; want a result of call %d", m.ID, m.Error, id)
		}
		return m.Result, text.String()
	}
	t.Fatalf("call %d has no answer", id)
	return nil, ""
}

// The main job on a real Ollama, by each transport.
func TestServe(t *testing.T) {
	w := serveWeb(t, ollamatest.NewReal(t).URL)
	for name, connect := range eras {
		t.Run(name, func(t *testing.T) {
			c := connect(w)
			all, _ := c.call(1, "list_models", `{}`)
			if r := whole(t, all, 1); len(r.Structured.Models) != 2 {
				t.Errorf("list_models = %+v, want the two models", r)
			}
			all, _ = c.call(2, "generate", `{"model":"tiny","prompt":"the sea","options":{"num_predict":64,"seed":1}}`)
			if r := whole(t, all, 2); r.IsError || r.Structured.Usage.OutputTokens != 64 {
				t.Errorf("generate = %+v, want 64 tokens", r)
			}
			all, _ = c.call(3, "embed", `{"model":"tiny-embed","input":["a","b","c"]}`)
			if r := whole(t, all, 3); len(r.Structured.Embeddings) != 3 {
				t.Errorf("embed = %+v, want three vectors", r)
			}
			all, _ = c.call(4, "generate", `{"model":"nowhere","prompt":"x"}`)
			if r := whole(t, all, 4); r.Structured.Error.Kind != "missing_model" {
				t.Errorf("generate with a missing model = %+v, want missing_model", r)
			}
		})
	}
	if resp := w.do(w.ctx, "GET", "/readyz", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz in front of an Ollama = %s, want 200", resp.Status)
	}
}

// A client that wants no answer any more frees Ollama, by each transport's own way.
func TestServeCancel(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{TokenDelay: 20 * time.Millisecond, TokenCount: 1 << 20})
	defer fake.Close()
	w := serveWeb(t, fake.URL)
	for name, connect := range eras {
		t.Run(name, func(t *testing.T) {
			for i := range 5 {
				before := len(fake.Seen().Aborts)
				all, cancel := connect(w).call(1, "generate", `{"model":"tiny","prompt":"x"}`)
				for m := range all {
					if m.Params.Meta.Delta != "" {
						break
					}
				}
				begun := time.Now()
				cancel()
				if err := fake.Await(w.ctx, func(s ollamatest.Seen) bool { return len(s.Aborts) > before && s.Active == 0 }); err != nil {
					t.Fatalf("Ollama did not see the cancel: %v", err)
				}
				t.Logf("cancel %d: Ollama saw it after %v", i, fake.Seen().Aborts[before].At.Sub(begun))
				for m := range all {
					if m.Method == "" {
						t.Errorf("after the cancel came an answer: %+v", m)
					}
				}
			}
		})
	}
}

// The server is restarted under its clients: they find out, begin anew, and go on.
func TestServeRestart(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{})
	defer fake.Close()
	first := serveWeb(t, fake.URL)
	before := map[string]era{}
	for name, connect := range eras {
		before[name] = connect(first)
		all, _ := before[name].call(1, "list_models", `{}`)
		whole(t, all, 1)
	}
	if code := first.end(); code != 0 {
		t.Errorf("serve, stopped = exit code %d, want 0", code)
	}
	if m, open := <-before["HTTP+SSE"].(*stream).events; open {
		t.Errorf("the stream goes on after the end: %+v", m)
	}
	second := serveWeb(t, fake.URL, "--listen", strings.TrimPrefix(first.url, "http://"))
	for name, connect := range eras {
		if stateless := name == "2026-07-28"; before[name].known() != stateless {
			t.Errorf("%s: a client of before the restart is known: %v, want %v", name, !stateless, stateless)
		}
		again := connect(second)
		all, _ := again.call(2, "list_models", `{}`)
		whole(t, all, 2)
	}
}

// With a key file, ids outlive the process.
func TestServeRestartWithSecret(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{})
	defer fake.Close()
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	first := serveWeb(t, fake.URL, "--secret-file", secret)
	c := newLegacy(first)
	first.end()
	second := serveWeb(t, fake.URL, "--secret-file", secret)
	c.web = second
	all, _ := c.call(1, "list_models", `{}`)
	whole(t, all, 1)
}

// The server is stopped with 50 calls and 100 streams open.
func TestServeStopped(t *testing.T) {
	const calls, streams = 50, 100
	fake := ollamatest.NewFake(ollamatest.Script{Slots: calls, FirstDelay: 500 * time.Millisecond})
	defer fake.Close()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "hosts: [{name: fake, url: %q, parallel: %d}]", fake.URL, calls), 0o600); err != nil {
		t.Fatal(err)
	}
	w := serveWeb(t, fake.URL, "--config", file, "--drain", "20s", "--max-calls-per-caller", fmt.Sprint(calls))
	c := newLegacy(w)
	var open sync.WaitGroup
	for range streams / 2 {
		s := newStream(w)
		open.Go(func() {
			for range s.events {
			}
		})
		resp := w.do(w.ctx, "GET", "/mcp", "", "Mcp-Session-Id", newLegacy(w).session)
		open.Go(func() {
			for range messages(t, resp) {
			}
		})
	}
	answers := make(chan *result, calls)
	for i := range calls {
		go func() {
			all, _ := c.call(i+1, "generate", `{"model":"tiny","prompt":"x"}`)
			answers <- whole(t, all, i+1)
		}()
	}
	if err := fake.Await(w.ctx, func(s ollamatest.Seen) bool { return s.Active == calls }); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range calls {
		if r := <-answers; r.IsError || r.Structured.Text == "" {
			t.Errorf("a call that ended in time = %+v, want its text", r)
		}
	}
	open.Wait()
	if <-w.exited; w.code != 0 {
		t.Errorf("exit code %d, want 0", w.code)
	}
	t.Logf("%d calls and %d streams ended %v after the signal", calls, streams, time.Since(begun))
}

// Calls that do not end in time are told so, and all is over soon after.
func TestServeStoppedTooSoon(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{FirstDelay: sessionLimit})
	defer fake.Close()
	w := serveWeb(t, fake.URL, "--drain", "100ms")
	c := newLegacy(w)
	answer := make(chan *result)
	go func() {
		all, _ := c.call(1, "generate", `{"model":"tiny","prompt":"x"}`)
		answer <- whole(t, all, 1)
	}()
	if err := fake.Await(w.ctx, func(s ollamatest.Seen) bool { return s.Active == 1 }); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := <-answer; !r.IsError {
		t.Errorf("a call that did not end in time = %+v, want an error", r)
	}
	if <-w.exited; w.code != 0 {
		t.Errorf("exit code %d, want 0", w.code)
	}
}

// newToken has the program make a token.
func newToken(t *testing.T, file, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ollama-mcp", "token", "new", name, "--tokens", file)
	cmd.Env, cmd.Stderr = environ(), t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("token new %s: %v", name, err)
	}
	return string(bytes.TrimSpace(out))
}

// A token made by the program opens the door; nothing else does.
func TestServeTokens(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{})
	defer fake.Close()
	tokens := filepath.Join(t.TempDir(), "tokens.yaml")
	token, other := newToken(t, tokens, "ci"), newToken(t, tokens, "other")
	w := serveWeb(t, fake.URL, "--tokens", tokens)
	for _, header := range [][]string{nil, {"Authorization", "Bearer " + token + "x"}} {
		for _, path := range []string{"/mcp", "/message?sessionId=x"} {
			resp := w.do(w.ctx, "POST", path, initialize, header...)
			if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("POST %s with %.20q = %s, %v; want 401 with a challenge", path, header, resp.Status, resp.Header)
			}
		}
	}
	w.token = token
	c := newLegacy(w)
	all, _ := c.call(1, "list_models", `{}`)
	whole(t, all, 1)
	if got := fake.Seen().Last["/api/tags"].Header.Get("Authorization"); got != "" {
		t.Errorf("Ollama was given Authorization %.8q…, want none", got)
	}
	// Another caller's session id is no session.
	w.token = other
	if c.known() {
		t.Error("a session id works for another caller")
	}
}

// The policy of the file holds for each caller, in lists and in calls.
func TestServePolicy(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{})
	defer fake.Close()
	dir := t.TempDir()
	tokens, settings := filepath.Join(dir, "tokens.yaml"), filepath.Join(dir, "config.yaml")
	err := os.WriteFile(settings, []byte(`
policy:
  - callers: [ci]
    tools: [embed, list_models]
    models: [tiny-embed]
  - callers: [ops]
    limits: {calls_per_minute: 1}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ci, ops, nobody := newToken(t, tokens, "ci"), newToken(t, tokens, "ops"), newToken(t, tokens, "nobody")
	w := serveWeb(t, fake.URL, "--tokens", tokens, "--config", settings)
	for _, tt := range []struct {
		who, token, tools string
		calls             []string // of tool and arguments
		kinds             []string // of their errors
	}{
		{"ci", ci, "embed list_models",
			[]string{"embed", `{"input":["x"]}`, "embed", `{"model":"tiny","input":["x"]}`, "generate", `{"prompt":"x"}`},
			[]string{"", "forbidden", "forbidden"}},
		{"ops", ops, "cancel_job chat embed generate jobs list_models load pull rank show status unload",
			[]string{"generate", `{"model":"tiny","prompt":"x"}`, "generate", `{"model":"tiny","prompt":"x"}`},
			[]string{"", "rate_limited"}},
		{"nobody", nobody, "", []string{"list_models", `{}`}, []string{"forbidden"}},
	} {
		t.Run(tt.who, func(t *testing.T) {
			w.token = tt.token
			c := newLegacy(w)
			if got := strings.Join(c.tools(), " "); got != tt.tools {
				t.Errorf("tools/list = %q, want %q", got, tt.tools)
			}
			for i, want := range tt.kinds {
				tool, args := tt.calls[2*i], tt.calls[2*i+1]
				all, _ := c.call(i+1, tool, args)
				if got := whole(t, all, i+1).Structured.Error.Kind; got != want {
					t.Errorf("%s %s = kind %q, want %q", tool, args, got, want)
				}
			}
		})
	}
}
