package fleet

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// pair starts a fleet of two hosts with the same models, of which a comes first.
func pair(t *testing.T, a, b ollamatest.Script) (*Fleet, [2]*ollamatest.Fake) {
	t.Helper()
	var fakes [2]*ollamatest.Fake
	var hosts []Host
	for i, s := range []ollamatest.Script{a, b} {
		fakes[i] = ollamatest.NewPipeFake(s)
		host, err := ollama.ParseHost(fakes[i].URL)
		if err != nil {
			t.Fatal(err)
		}
		name := []string{"a", "b"}[i]
		hosts = append(hosts, Host{
			Client:  ollama.NewClient(ollama.ClientOptions{Host: host, Name: name, Dial: fakes[i].Dial}),
			Address: fakes[i].URL, Origin: "the test", Priority: 1 - i,
		})
	}
	f := New(hosts, Options{Poll: -1})
	t.Cleanup(func() { f.Close(); fakes[0].Close(); fakes[1].Close() })
	return f, fakes
}

// operation is one that the law of trying again speaks of.
type operation struct {
	name, path string
	writes     bool
	do         func(context.Context, *Fleet) error
}

func operations() []operation {
	unwatched := func(ollama.TransferState) {}
	return []operation{
		{"generate", "/api/generate", false, func(ctx context.Context, f *Fleet) error {
			_, err := text(ctx, f, &ollama.GenerateRequest{Model: "m:latest", Prompt: "hi"})
			return err
		}},
		{"chat", "/api/chat", false, func(ctx context.Context, f *Fleet) error {
			for _, err := range f.Chat(ctx, &ollama.ChatRequest{Model: "m:latest", Messages: []ollama.Message{{Role: "user", Content: "hi"}}}, Watch{}) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"embed", "/api/embed", false, func(ctx context.Context, f *Fleet) error {
			_, err := f.Embed(ctx, &ollama.EmbedRequest{Model: "e:latest", Input: []string{"hi"}}, "", Watch{})
			return err
		}},
		{"list", "/api/tags", false, func(ctx context.Context, f *Fleet) error { _, _, err := f.Models(ctx); return err }},
		{"ps", "/api/ps", false, func(ctx context.Context, f *Fleet) error { _, err := f.Running(ctx); return err }},
		{"show", "/api/show", false, func(ctx context.Context, f *Fleet) error { _, err := f.Show(ctx, "m:latest", false); return err }},
		{"pull", "/api/pull", true, func(ctx context.Context, f *Fleet) error {
			_, err := f.Pull(ctx, "big", "a", unwatched)
			return err
		}},
		{"create", "/api/create", true, func(ctx context.Context, f *Fleet) error {
			_, err := f.Create(ctx, &ollama.CreateRequest{Model: "made:latest", From: "m:latest"}, "a", unwatched)
			return err
		}},
		{"push", "/api/push", true, func(ctx context.Context, f *Fleet) error {
			_, err := f.Push(ctx, "m:latest", unwatched)
			return err
		}},
		{"copy", "/api/copy", true, func(ctx context.Context, f *Fleet) error {
			_, err := f.Copy(ctx, "m:latest", "two:latest")
			return err
		}},
		{"delete", "/api/delete", true, func(ctx context.Context, f *Fleet) error {
			_, err := f.Delete(ctx, "m:latest", Watch{})
			return err
		}},
	}
}

// The law of trying again, as a table: each operation meets each fault on the host that comes
// first, and the other host is well.
func TestRetryLaw(t *testing.T) {
	const json = "application/json"
	faults := []struct {
		fault ollamatest.Fault
		again bool // what leaves no trace is tried elsewhere
	}{
		{ollamatest.Hangup(), true},
		{ollamatest.Reset(), true},
		{ollamatest.Status("failed", http.StatusInternalServerError, json, `{"error":"boom"}`), true},
		{ollamatest.Status("busy", http.StatusServiceUnavailable, json, `{"error":"server busy"}`), true},
		{ollamatest.Status("limited", http.StatusTooManyRequests, json, `{"error":"slow down"}`), true},
		{ollamatest.Status("unauthorized", http.StatusUnauthorized, json, `{"error":"unauthorized"}`), true},
		{ollamatest.Status("proxy", http.StatusBadGateway, "text/html", `<html>`), true},
		{ollamatest.EmptyOK(), true},
		{ollamatest.Status("invalid", http.StatusBadRequest, json, `{"error":"invalid options"}`), false},
	}
	models := []ollamatest.FakeModel{{Name: "m", Loaded: true}, {Name: "e", Capabilities: []string{"embedding"}, Loaded: true}}
	script := func(faults map[string]ollamatest.Fault) ollamatest.Script {
		return ollamatest.Script{Models: models, Faults: faults, Registry: []ollamatest.FakePull{{Model: ollamatest.FakeModel{Name: "big"}}}}
	}
	for _, op := range operations() {
		for _, fault := range faults {
			if op.name == "copy" && fault.fault.Name == ollamatest.EmptyOK().Name {
				continue // an empty answer is Ollama's own to a copy
			}
			t.Run(op.name+"/"+fault.fault.Name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					f, fakes := pair(t, script(nil), script(nil))
					if _, _, err := f.Models(t.Context()); err != nil { // it knows its hosts
						t.Fatal(err)
					}
					before := [2]int{fakes[0].Seen().Requests[op.path], fakes[1].Seen().Requests[op.path]}
					fakes[0].Change(func(s *ollamatest.Script) { s.Faults = map[string]ollamatest.Fault{op.path: fault.fault} })
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					err := op.do(ctx, f)
					a := fakes[0].Seen().Requests[op.path] - before[0]
					b := fakes[1].Seen().Requests[op.path] - before[1]
					asksAll := op.path == "/api/tags" || op.path == "/api/ps"
					switch {
					case op.writes && (err == nil || a != 1 || b != 0):
						t.Errorf("got %v, %d requests to a and %d to b; want an error, and 1 and 0", err, a, b)
					case op.writes, asksAll && err == nil:
					case fault.again && (err != nil || b == 0):
						t.Errorf("got %v, %d requests to a and %d to b; want b's answer", err, a, b)
					case !fault.again && !asksAll && (err == nil || a != 1 || b != 0):
						t.Errorf("got %v, %d requests to a and %d to b; want the error of a's only request", err, a, b)
					}
				})
			})
		}
	}
}

// An answer of which something has come is not begun anew elsewhere.
func TestNoRetryAfterTheFirstToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := ollamatest.Script{TokenDelay: time.Millisecond, Models: []ollamatest.FakeModel{{Name: "m", Loaded: true}}}
		bad := s
		bad.Faults = map[string]ollamatest.Fault{"/api/generate": ollamatest.CutAfter(3)}
		f, fakes := pair(t, bad, s)
		got, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "m:latest", Prompt: "hi"})
		if got == "" || !isKind(err, ollama.Cut) || fakes[1].Seen().Requests["/api/generate"] != 0 {
			t.Errorf("an answer cut after 3 tokens: got %q, %v, and %d requests elsewhere; want the text so far and %s alone",
				got, err, fakes[1].Seen().Requests["/api/generate"], ollama.Cut)
		}
	})
}

// Where no other host is left, one that asks for a pause gets it.
func TestRetryAfterAPause(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		busy := ollamatest.Status("busy", http.StatusServiceUnavailable, "application/json", `{"error":"server busy"}`)
		busy.Times = 1
		f, fake := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "m", Loaded: true}},
			Faults: map[string]ollamatest.Fault{"/api/generate": busy}}, Options{})
		if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "m:latest", Prompt: "hi"}); err != nil {
			t.Errorf("Generate on a host that is busy once: got %v, want text", err)
		}
		fake.Change(func(s *ollamatest.Script) { busy.Times = 0; s.Faults["/api/generate"] = busy })
		before := fake.Seen().Requests["/api/generate"]
		_, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "m:latest", Prompt: "hi"})
		if n := fake.Seen().Requests["/api/generate"] - before; !isKind(err, ollama.Busy) || n > maxTries {
			t.Errorf("Generate on a host that is busy for good: got %v after %d tries, want %s after %d at most", err, n, ollama.Busy, maxTries)
		}
	})
}

// When everything fails, tries do not multiply the load.
func TestRetryBudget(t *testing.T) {
	var b budget
	spent := 0
	for range 10_000 {
		b.earn()
		if b.spend() {
			spent++
		}
	}
	if want := maxBudget + 10_000*perCall; float64(spent) > want+1 || float64(spent) < want-1 {
		t.Errorf("of 10,000 calls that fail %d are tried again, want %v", spent, want)
	}
}

func TestPlaceError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		down := ollamatest.Script{Faults: map[string]ollamatest.Fault{"": ollamatest.Down()}}
		f, _ := pair(t, down, ollamatest.Script{})
		var none *PlaceError
		if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "gone:latest", Prompt: "hi"}); !errors.As(err, &none) || none.Kind != ollama.Unreachable || len(none.Hosts) != 2 {
			t.Errorf("Generate with a model that only a host which is down may have: got %v, want why each host cannot take it", err)
		}
		if got, err := text(t.Context(), f, &ollama.GenerateRequest{Model: ollamatest.TinyModel, Prompt: "hi"}); err != nil || got == "" {
			t.Errorf("Generate with a model of the other host: got %q, %v, want text", got, err)
		}
	})
}
