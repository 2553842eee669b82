package ollamatest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// browser is a plain HTTP client of a fake.
type browser struct {
	*http.Client
	url string
}

func browse(tb testing.TB, f *Fake) browser {
	transport := &http.Transport{DialContext: f.Dial}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		f.Close()
	})
	return browser{&http.Client{Transport: transport}, f.URL}
}

func (b browser) do(tb testing.TB, method, path, body string) (status int, contentType, text string) {
	tb.Helper()
	resp := b.open(tb, tb.Context(), method, path, body)
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("%s %s %s: reading: %v", method, path, body, err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(all)
}

func (b browser) open(tb testing.TB, ctx context.Context, method, path, body string) *http.Response {
	tb.Helper()
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := b.Do(req)
	if err != nil {
		tb.Fatalf("%s %s %s: %v", method, path, body, err)
	}
	return resp
}

// lines decodes a stream.
func lines(tb testing.TB, text string) []line {
	tb.Helper()
	var all []line
	for row := range strings.Lines(text) {
		var l line
		if err := json.Unmarshal([]byte(row), &l); err != nil {
			tb.Fatalf("line %q: %v", row, err)
		}
		all = append(all, l)
	}
	return all
}

func TestFakeStreams(t *testing.T) {
	b := browse(t, NewFake(Script{
		Models:   []FakeModel{{Name: "m", Capabilities: []string{"completion", "thinking"}}},
		Tokens:   []string{"<a>", " b", "\"c\"\n"},
		Thinking: []string{"hm"},
		Answers:  []string{"not JSON", `{"n":1}`},
	}))
	type result struct {
		Text, Thinking, Reason string
		Lines, Prompt, Eval    int
		Context                int
	}
	for _, test := range []struct {
		name, path, body string
		want             result
	}{
		{"generate", "/api/generate", `{"model":"m","prompt":"x y"}`,
			result{Text: "<a> b\"c\"\n", Thinking: "hm", Reason: "stop", Lines: 5, Prompt: 3, Eval: 4, Context: 7}},
		{"raw has no context", "/api/generate", `{"model":"m","prompt":"x","raw":true,"think":false}`,
			result{Text: "<a> b\"c\"\n", Reason: "stop", Lines: 4, Prompt: 2, Eval: 3}},
		{"num_predict", "/api/generate", `{"model":"M:latest","prompt":"x","think":false,"options":{"num_predict":2}}`,
			result{Text: "<a> b", Reason: "length", Lines: 3, Prompt: 2, Eval: 2, Context: 4}},
		{"spent on thinking", "/api/generate", `{"model":"m","prompt":"x","options":{"num_predict":1}}`,
			result{Thinking: "hm", Reason: "length", Lines: 2, Prompt: 2, Eval: 1, Context: 3}},
		{"whole", "/api/generate", `{"model":"m","prompt":"x","stream":false}`,
			result{Text: "<a> b\"c\"\n", Thinking: "hm", Reason: "stop", Lines: 1, Prompt: 2, Eval: 4, Context: 6}},
		{"chat", "/api/chat", `{"model":"m","messages":[{"role":"user","content":"x"}]}`,
			result{Text: "<a> b\"c\"\n", Thinking: "hm", Reason: "stop", Lines: 5, Prompt: 2, Eval: 4}},
		{"cut prompt", "/api/chat", `{"model":"m","messages":[{"role":"user","content":"a b c d e f"}],"options":{"num_ctx":4}}`,
			result{Text: "<a> b\"c\"\n", Thinking: "hm", Reason: "stop", Lines: 5, Prompt: 4, Eval: 4}},
		{"first answer", "/api/generate", `{"model":"m","prompt":"x","format":"json","think":false}`,
			result{Text: "not JSON", Reason: "stop", Lines: 3, Prompt: 2, Eval: 2, Context: 4}},
		{"second answer", "/api/generate", `{"model":"m","prompt":"x","format":{},"think":false}`,
			result{Text: `{"n":1}`, Reason: "stop", Lines: 3, Prompt: 2, Eval: 2, Context: 4}},
		{"load", "/api/generate", `{"model":"m"}`, result{Reason: "load", Lines: 1}},
		{"unload", "/api/chat", `{"model":"m","keep_alive":0}`, result{Reason: "unload", Lines: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, contentType, body := b.do(t, "POST", test.path, test.body)
			all := lines(t, body)
			wantType := "application/x-ndjson"
			if test.want.Lines == 1 {
				wantType = "application/json; charset=utf-8"
			}
			if status != 200 || contentType != wantType {
				t.Errorf("%s %s: got %d %s, want 200 %s", test.path, test.body, status, contentType, wantType)
			}
			got := result{Lines: len(all)}
			for _, l := range all {
				if l.Message != nil {
					got.Text += l.Message.Content
					got.Thinking += l.Message.Thinking
				} else {
					got.Text += *l.Response
					got.Thinking += l.Thinking
				}
				got.Reason, got.Prompt, got.Eval, got.Context = l.DoneReason, l.PromptEvalCount, l.EvalCount, len(l.Context)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", test.path, test.body, diff)
			}
		})
	}
}

// Fields come with the version that brought them: ollama.md's gates are Ollama's release notes.
func TestFakeVersions(t *testing.T) {
	for _, test := range []struct {
		version                   string
		capabilities, ctx, cached bool
	}{
		{"0.9.6", false, false, false},
		{"0.17.4", false, true, false},
		{"0.30.1", true, true, false},
		{"", true, true, true},
		{"0.0.0", true, true, true},
	} {
		t.Run(test.version, func(t *testing.T) {
			b := browse(t, NewFake(Script{Version: test.version, Models: []FakeModel{{Name: "m", Loaded: true}}}))
			_, _, tags := b.do(t, "GET", "/api/tags", "")
			_, _, ps := b.do(t, "GET", "/api/ps", "")
			_, _, text := b.do(t, "POST", "/api/generate", `{"model":"m","prompt":"x"}`)
			for what, pair := range map[string][2]bool{
				"tags has capabilities":                 {strings.Contains(tags, `"capabilities":["completion","tools"]`), test.capabilities},
				"ps has context_length":                 {strings.Contains(ps, `"context_length":2048`), test.ctx},
				"generate has prompt_eval_cached_count": {strings.Contains(text, "prompt_eval_cached_count"), test.cached},
			} {
				if pair[0] != pair[1] {
					t.Errorf("version %q, %s: got %t, want %t", test.version, what, pair[0], pair[1])
				}
			}
		})
	}
}

// pipe runs a test in a bubble against a fake in memory.
func pipe(t *testing.T, s Script, test func(*testing.T, *Fake, browser)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := NewPipeFake(s)
		test(t, f, browse(t, f))
	})
}

// A load ends with the request that asked for it, and the next request starts from zero.
func TestFakeLoadIsAborted(t *testing.T) {
	pipe(t, Script{LoadDelay: time.Minute}, func(t *testing.T, f *Fake, b browser) {
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "POST", b.url+"/api/generate", strings.NewReader(`{"model":"tiny"}`))
			_, err := b.Do(req)
			first <- err
		}()
		time.Sleep(30 * time.Second)
		_, _, ps := b.do(t, "GET", "/api/ps", "")
		if !strings.Contains(ps, TinyModel) {
			t.Errorf("ps in mid-load: got %s, want it to list %s", ps, TinyModel)
		}
		cancel()
		if err := <-first; err == nil {
			t.Error("generate, cancelled: got no error")
		}
		begun := time.Now()
		b.do(t, "POST", "/api/generate", `{"model":"tiny"}`)
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("second load: took %v, want a minute", took)
		}
		got := f.Seen()
		if got.Loads != 1 || got.LoadsAborted != 1 || len(got.Aborts) != 1 {
			t.Errorf("Seen: got %d loads, %d aborted, %d aborts, want 1 of each", got.Loads, got.LoadsAborted, len(got.Aborts))
		}
	})
}

// One load at a time; slots bound what runs; the rest waits; another num_ctx reloads; keep_alive ends.
func TestFakeSchedules(t *testing.T) {
	const second = time.Second
	s := Script{LoadDelay: 10 * second, FirstDelay: second, TokenCount: 1, Slots: 2, Models: []FakeModel{{Name: "a"}, {Name: "b"}}}
	for _, test := range []struct {
		name   string
		bodies []string
		took   time.Duration
		loads  int
		peak   int
	}{
		{"one", []string{`{"model":"a","prompt":"x"}`}, 11 * second, 1, 1},
		{"two share a load and run at once", []string{`{"model":"a","prompt":"x"}`, `{"model":"A","prompt":"x"}`}, 11 * second, 1, 2},
		{"three wait for two slots", []string{`{"model":"a","prompt":"x"}`, `{"model":"a","prompt":"x"}`, `{"model":"a","prompt":"x"}`}, 12 * second, 1, 2},
		{"two models load in turn", []string{`{"model":"a","prompt":"x"}`, `{"model":"b","prompt":"x"}`}, 21 * second, 2, 1},
		{"options reload", []string{`{"model":"a","prompt":"x"}`, `{"model":"a","prompt":"x","options":{"num_ctx":64}}`}, 22 * second, 2, 1},
		{"num_gpu -1 does not", []string{`{"model":"a","prompt":"x"}`, `{"model":"a","prompt":"x","options":{"num_gpu":-1}}`}, 11 * second, 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			pipe(t, s, func(t *testing.T, f *Fake, b browser) {
				begun := time.Now()
				done := make(chan struct{})
				for _, body := range test.bodies {
					go func() {
						b.do(t, "POST", "/api/generate", body)
						done <- struct{}{}
					}()
					synctest.Wait() // so that they come in order
				}
				for range test.bodies {
					<-done
				}
				if took := time.Since(begun); took != test.took {
					t.Errorf("%v: took %v, want %v", test.bodies, took, test.took)
				}
				if got := f.Seen(); got.Loads != test.loads || got.Peak != test.peak || got.Active != 0 || got.Waiting != 0 {
					t.Errorf("%v: got %d loads, peak %d, %d active, %d waiting; want %d, %d, 0, 0",
						test.bodies, got.Loads, got.Peak, got.Active, got.Waiting, test.loads, test.peak)
				}
			})
		})
	}
}

func TestFakeKeepAlive(t *testing.T) {
	for _, test := range []struct {
		keepAlive string
		stays     time.Duration
	}{
		{"", 5 * time.Minute},
		{`,"keep_alive":90`, 90 * time.Second},
		{`,"keep_alive":"1h"`, time.Hour},
		{`,"keep_alive":null`, 5 * time.Minute},
	} {
		pipe(t, Script{}, func(t *testing.T, f *Fake, b browser) {
			b.do(t, "POST", "/api/generate", `{"model":"tiny"`+test.keepAlive+`}`)
			time.Sleep(test.stays - time.Nanosecond)
			if _, _, ps := b.do(t, "GET", "/api/ps", ""); !strings.Contains(ps, TinyModel) {
				t.Errorf("ps after %v less one: got %s, want %s in it", test.stays, ps, TinyModel)
			}
			time.Sleep(time.Nanosecond)
			if _, _, ps := b.do(t, "GET", "/api/ps", ""); ps != `{"models":[]}` {
				t.Errorf("ps after %v: got %s, want nothing", test.stays, ps)
			}
			if got := f.Seen().Unloads; got != 1 {
				t.Errorf("unloads: got %d, want 1", got)
			}
		})
	}
}

// An unload is answered at once and done when the model is idle.
func TestFakeUnloadWhileBusy(t *testing.T) {
	pipe(t, Script{TokenDelay: time.Second, TokenCount: 11}, func(t *testing.T, f *Fake, b browser) {
		begun := time.Now()
		resp := b.open(t, t.Context(), "POST", "/api/generate", `{"model":"tiny","prompt":"x"}`)
		defer resp.Body.Close()
		_, _, body := b.do(t, "POST", "/api/generate", `{"model":"tiny","keep_alive":0}`)
		if !strings.Contains(body, `"done_reason":"unload"`) || time.Since(begun) != 0 {
			t.Errorf("unload: got %s after %v, want it at once", body, time.Since(begun))
		}
		if got := f.Seen().Unloads; got != 0 {
			t.Errorf("unloads while busy: got %d, want 0", got)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if err := f.Await(t.Context(), func(s Seen) bool { return s.Unloads == 1 }); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("unloaded after %v, want 10s", took)
		}
	})
}

func TestFakeWedge(t *testing.T) {
	pipe(t, Script{Models: []FakeModel{{Name: "m", Loaded: true}}}, func(t *testing.T, f *Fake, b browser) {
		if got := f.Wedge("m"); got != 1 {
			t.Fatalf("Wedge: got %d slots, want 1", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "POST", b.url+"/api/generate", strings.NewReader(`{"model":"m","prompt":"x"}`))
		if _, err := b.Do(req); err == nil {
			t.Error("generate on a wedged model: got an answer")
		}
		synctest.Wait() // an unload takes effect once the fake has seen the caller leave
		b.do(t, "GET", "/api/ps", "")
		b.do(t, "POST", "/api/generate", `{"model":"m","keep_alive":0}`)
		_, _, body := b.do(t, "POST", "/api/generate", `{"model":"m","prompt":"x"}`)
		if !strings.Contains(body, `"done_reason":"stop"`) {
			t.Errorf("generate after unload: got %s, want it whole", body)
		}
	})
}

func TestFakeGoesAndComesBack(t *testing.T) {
	for name, start := range map[string]func(Script) *Fake{"tcp": NewFake, "pipe": NewPipeFake} {
		t.Run(name, func(t *testing.T) {
			f := start(Script{})
			b := browse(t, f)
			for range 3 {
				b.do(t, "GET", "/api/version", "")
				f.Change(func(s *Script) { s.Faults[""] = Down() })
				if resp, err := b.Get(b.url + "/api/version"); err == nil {
					resp.Body.Close()
					t.Error("version while down: got an answer")
				}
				f.Change(func(s *Script) { delete(s.Faults, "") })
			}
		})
	}
}

func TestFaultTimes(t *testing.T) {
	fault := TooManyRequests()
	fault.Times = 2
	b := browse(t, NewFake(Script{Faults: map[string]Fault{"/api/version": fault}}))
	for n, want := range []int{429, 429, 200, 200} {
		b.do(t, "GET", "/api/tags", "") // does not count
		if got, _, _ := b.do(t, "GET", "/api/version", ""); got != want {
			t.Errorf("version %d: got status %d, want %d", n, got, want)
		}
	}
}

func TestFakeSeesAborts(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			f := NewFake(Script{TokenDelay: delay, TokenCount: 1 << 30})
			b := browse(t, f)
			limit, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			const calls = 50
			for n := range calls {
				ctx, cancel := context.WithCancel(limit)
				resp := b.open(t, ctx, "POST", "/api/generate", `{"model":"tiny","prompt":"x"}`)
				if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				cancel()
				resp.Body.Close()
				if err := f.Await(limit, func(s Seen) bool { return len(s.Aborts) == n+1 && s.Active == 0 }); err != nil {
					t.Fatalf("abort %d: %v", n, err)
				}
			}
			if got := f.Seen(); got.Answered["/api/generate"] != 0 || got.Requests["/api/generate"] != calls {
				t.Errorf("Seen: got %d of %d answered, want none of %d",
					got.Answered["/api/generate"], got.Requests["/api/generate"], calls)
			}
		})
	}
}

// The fake must not be what a benchmark of the client measures.
func BenchmarkFakeStream(b *testing.B) {
	f := NewFake(Script{TokenCount: 100_000})
	c := browse(b, f)
	for b.Loop() {
		resp := c.open(b, b.Context(), "POST", "/api/chat", `{"model":"tiny","messages":[{"role":"user","content":"x"}]}`)
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}
