package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"ollama-mcp/ollama/ollamatest"
)

const subscribe = `{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"ollama://running"}}`

// listeners subscribe to ollama://running in all the ways that there are. What they hear
// comes on the channel, after the answer or acknowledgement.
var listeners = map[string]func(t *testing.T, address string, w *web) <-chan message{
	"stdio, 2025-11-25": func(t *testing.T, address string, _ *web) <-chan message {
		s := serve(t, address, pollOften...)
		s.request("resources/subscribe", map[string]any{"uri": "ollama://running"})
		s.answer()
		return s.messages
	},
	"stdio, 2026-07-28": func(t *testing.T, address string, _ *web) <-chan message {
		s := serve(t, address, pollOften...)
		s.request("subscriptions/listen", map[string]any{
			"notifications": map[string]any{"resourceSubscriptions": []string{"ollama://running"}},
			"_meta":         map[string]any{"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": map[string]any{}},
		})
		s.next()
		return s.messages
	},
	"HTTP+SSE": func(_ *testing.T, _ string, w *web) <-chan message {
		s := newStream(w)
		s.post(subscribe)
		<-s.events
		return s.events
	},
	"HTTP, 2025-11-25": func(t *testing.T, _ string, w *web) <-chan message {
		l := newLegacy(w)
		news := w.do(w.ctx, "GET", "/mcp", "", "Mcp-Session-Id", l.session)
		for range messages(t, w.do(w.ctx, "POST", "/mcp", subscribe, "Mcp-Session-Id", l.session)) {
		}
		return messages(t, news)
	},
	"HTTP, 2026-07-28": func(t *testing.T, _ string, w *web) <-chan message {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["ollama://running"]},"_meta":{%s}}}`, modernMeta[1:])
		news := messages(t, w.do(w.ctx, "POST", "/mcp", body, "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen"))
		<-news
		return news
	},
}

// toldWithin is when those who subscribed must know of a load or unload by another program,
// with some seconds for a machine that is busy.
const toldWithin = 6 * time.Second

var pollOften = []string{"--poll", "2s"}

// Another program loads and unloads a model of a real Ollama: those who subscribed are told
// of both in time, and what they read then is so.
func TestSubscriptions(t *testing.T) {
	real := ollamatest.NewReal(t)
	w := serveWeb(t, real.URL, pollOften...)
	heard := map[string]<-chan message{}
	for name, listen := range listeners {
		heard[name] = listen(t, real.URL, w)
	}
	for _, step := range []struct{ body, want string }{
		{`{"model":"tiny","keep_alive":"10m"}`, `"name":"tiny:latest"`},
		{`{"model":"tiny","keep_alive":0}`, `{"models":[]}`},
	} {
		resp, err := http.Post(real.URL+"/api/generate", "application/json", strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		if said, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s, %v", step.body, resp.Status, said, err)
		}
		resp.Body.Close()
		late := time.After(toldWithin)
		for name, news := range heard {
			for text := ""; !strings.Contains(strings.ReplaceAll(text, `\`, ""), step.want); text = read(w, "ollama://running", false) {
				select { // more than once, when a load has changed what it takes
				case m := <-news:
					wantRunning(t, name, m)
				case <-late:
					t.Fatalf("%s: not told of %s within %v, but of %q", name, step.body, toldWithin, text)
				}
			}
		}
	}
}

func wantRunning(t *testing.T, name string, m message) {
	t.Helper()
	if m.Method != "notifications/resources/updated" || m.Params.URI != "ollama://running" {
		t.Errorf("%s: %+v, want an update of ollama://running", name, m)
	}
}

// read reads a resource, as it came.
func read(w *web, uri string, modern bool) string {
	w.t.Helper()
	meta, header := "", []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "resources/read", "Mcp-Name", uri}
	if modern {
		meta = `,"_meta":{` + modernMeta[1:] + `}`
	} else {
		header = []string{"Mcp-Session-Id", newLegacy(w).session}
	}
	resp := w.do(w.ctx, "POST", "/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":%q%s}}`, uri, meta), header...)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(body)
}

// A model is read by a name that has : and / in it, and a resource that does not exist is
// the error of the version.
func TestRead(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "hf.co/a/b:Q4_K_M"}}})
	defer fake.Close()
	w := serveWeb(t, fake.URL)
	for _, modern := range []bool{false, true} {
		if got := read(w, "ollama://models/hf.co/a/b:Q4_K_M", modern); !strings.Contains(got, `\"name\":\"hf.co/a/b:q4_k_m\"`) {
			t.Errorf("read of a model, modern %v = %s, want it", modern, got)
		}
		code := map[bool]string{false: `"code":-32002`, true: `"code":-32602`}[modern]
		for _, uri := range []string{"ollama://models/nowhere", "ollama://nothing"} {
			if got := read(w, uri, modern); !strings.Contains(got, code) || !strings.Contains(got, "there is no resource "+uri) {
				t.Errorf("read of %s, modern %v = %s, want %s", uri, modern, got, code)
			}
		}
	}
	fake.Change(func(s *ollamatest.Script) { s.Faults[""] = ollamatest.Down() })
	if got := read(w, "ollama://models", false); !strings.Contains(got, `"code":-32603`) || !strings.Contains(got, "no Ollama answers at") || !strings.Contains(got, `"kind":"unreachable"`) {
		t.Errorf("read without Ollama = %s, want words and a kind", got)
	}
}

// Resources are there with their tools.
func TestResourcesOfOfferedTools(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{})
	defer fake.Close()
	w := serveWeb(t, fake.URL, "--tools", "list_models")
	if got := read(w, "ollama://models", false); !strings.Contains(got, "tiny:latest") {
		t.Errorf("read of the models with list_models offered = %s, want them", got)
	}
	post := func(body string) string {
		resp := w.do(w.ctx, "POST", "/mcp", body, "Mcp-Session-Id", newLegacy(w).session)
		defer resp.Body.Close()
		said, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(said)
	}
	for what, got := range map[string]string{
		"read":         read(w, "ollama://hosts", false),
		"subscription": post(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"ollama://hosts"}}`),
	} {
		if !strings.Contains(got, `"code":-32002`) || !strings.Contains(got, "there is no resource ollama://hosts. Resources are ollama://models, ollama://running") {
			t.Errorf("%s of the hosts without status = %s, want it not there", what, got)
		}
	}
	if got := post(`{"jsonrpc":"2.0","id":1,"method":"prompts/list"}`); strings.Count(got, `"title"`) != 1 || !strings.Contains(got, "pick_model") {
		t.Errorf("prompts with list_models alone = %s, want pick_model alone", got)
	}
}
