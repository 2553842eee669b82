package ollama_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// Every fault, met by every operation, is a typed error or a success that is one, and the host is usable afterwards.
func TestFaults(t *testing.T) {
	for _, fault := range ollamatest.AllFaults() {
		if fault.Big {
			continue
		}
		for _, op := range operations {
			t.Run(fault.Name+"/"+op.name+op.path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := ollamatest.NewPipeFake(ollamatest.Script{Tokens: tokens})
					meet(t, f, client(t, f), fault, op)
				})
			})
		}
	}
}

// A line may be as long as a generation's context makes it, up to a limit.
func TestBigFaults(t *testing.T) {
	for _, fault := range ollamatest.AllFaults() {
		if !fault.Big {
			continue
		}
		f := ollamatest.NewFake(ollamatest.Script{Tokens: tokens})
		c := client(t, f)
		for _, op := range operations {
			if op.name == "tags" || op.name == "generate" {
				t.Run(fault.Name+"/"+op.name, func(t *testing.T) {
					meet(t, f, c, fault, op)
				})
			}
		}
	}
}

func meet(t *testing.T, f *ollamatest.Fake, c *ollama.Client, fault ollamatest.Fault, op operation) {
	t.Helper()
	f.Change(func(s *ollamatest.Script) { s.Faults[""] = fault })
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	text, err := op.do(ctx, c)
	if !fault.Allows(err, op.quick) {
		t.Errorf("%s, %s: got error %v, want one of %q, success %t, deadline %t", op.name, fault.Name, err, fault.Kinds, fault.Success, fault.Waits)
	}
	if op.streams && err == nil && text != strings.Join(tokens, "") {
		t.Errorf("%s, %s: got a success with the text %.80q, want it whole", op.name, fault.Name, text)
	}
	if !strings.HasPrefix(strings.Join(tokens, ""), text) {
		t.Errorf("%s, %s: got text %.80q, want the beginning of what was said", op.name, fault.Name, text)
	}
	var e *ollama.Error
	if errors.As(err, &e) && (e.Op != op.name || e.Host != c.Name()) {
		t.Errorf("%s, %s: got Op %q, Host %q, want %q, %q", op.name, fault.Name, e.Op, e.Host, op.name, c.Name())
	}
	if err != nil && (len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "<>\n\x00")) {
		t.Errorf("%s, %s: the error is not one clean line: %q", op.name, fault.Name, err)
	}
	f.Change(func(s *ollamatest.Script) { delete(s.Faults, "") })
	if _, err := c.Version(ctx); err != nil && ctx.Err() == nil {
		t.Errorf("version, after %s with %s has gone: %v", op.name, fault.Name, err)
	}
}

// What came before the fault is given, not swallowed.
func TestPartialText(t *testing.T) {
	const after = 4
	want := strings.Join(tokens[:after], "")
	for _, fault := range []ollamatest.Fault{
		ollamatest.CutAfter(after), ollamatest.EndAfter(after), ollamatest.StallAfter(after),
		ollamatest.ErrorAfter(after), ollamatest.ErrorObjectAfter(after),
	} {
		for path, do := range map[string]func(context.Context, *ollama.Client) (string, error){
			"/api/generate": generate, "/api/chat": chat,
		} {
			t.Run(fault.Name+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := ollamatest.NewPipeFake(ollamatest.Script{Tokens: tokens})
					f.Change(func(s *ollamatest.Script) { s.Faults[path] = fault })
					if got, err := do(t.Context(), client(t, f)); got != want || !fault.Allows(err, false) || err == nil {
						t.Errorf("%s, %s: got %q, %v; want %q and one of %q", path, fault.Name, got, err, want, fault.Kinds)
					}
				})
			})
		}
	}
}

func TestRetryAfter(t *testing.T) {
	f := ollamatest.NewFake(ollamatest.Script{Faults: map[string]ollamatest.Fault{"": ollamatest.TooManyRequests()}})
	_, err := generate(limited(t), client(t, f))
	var e *ollama.Error
	if !errors.As(err, &e) || e.Kind != ollama.Busy || e.Status != 429 || e.RetryAfter != ollamatest.RetryAfter {
		t.Errorf("generate: got %#v, want busy, 429, to be tried after %v", err, ollamatest.RetryAfter)
	}
}

func TestTLSToAPlainHost(t *testing.T) {
	f := ollamatest.NewFake(ollamatest.Script{})
	defer f.Close()
	h, err := ollama.ParseHost(strings.Replace(f.URL, "http:", "https:", 1))
	if err != nil {
		t.Fatal(err)
	}
	c := ollama.NewClient(ollama.ClientOptions{Host: h})
	defer c.Close()
	if _, err := c.Version(limited(t)); !isKind(err, ollama.NotOllama) || !strings.Contains(err.Error(), "http, not https") {
		t.Errorf("version by https of a host that speaks http: got %v, want not_ollama that says so", err)
	}
}

func TestUntrustedTLS(t *testing.T) {
	f := ollamatest.NewFake(ollamatest.Script{TLS: true})
	if _, err := client(t, f).Version(limited(t)); !isKind(err, ollama.Unreachable) {
		t.Errorf("version over TLS: got %v, want it unreachable", err)
	}
}

func isKind(err error, k ollama.Kind) bool {
	var e *ollama.Error
	return errors.As(err, &e) && e.Kind == k
}

// A connection that does not come about ends the call after Connect, 5 s when unset.
func TestConnectLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ollama.NewClient(ollama.ClientOptions{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		defer c.Close()
		begun := time.Now()
		if _, err := c.Version(t.Context()); !isKind(err, ollama.Unreachable) || time.Since(begun) != 5*time.Second {
			t.Errorf("version: got %v after %v, want it unreachable after 5s", err, time.Since(begun))
		}
	})
}

// A cold load and a long prompt take longer than any watchdog, and are no fault; and then the tokens may come as slowly
// as the watchdog allows.
func TestSlowIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ollamatest.NewPipeFake(ollamatest.Script{
			Tokens: tokens, LoadDelay: 10 * time.Minute, FirstDelay: 330 * time.Second, TokenDelay: 119 * time.Second,
		})
		c := client(t, f)
		begun := time.Now()
		text, err := generate(t.Context(), c)
		if err != nil || text != strings.Join(tokens, "") {
			t.Errorf("generate: got %.40q, %v; want all", text, err)
		}
		if took, want := time.Since(begun), (930+5*119)*time.Second; took != want {
			t.Errorf("generate: took %v, want %v", took, want)
		}
	})
}

// A wedged model answers nothing until it was unloaded; all else is green meanwhile.
func TestWedgedModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ollamatest.NewPipeFake(ollamatest.Script{})
		c := client(t, f)
		if err := c.Load(t.Context(), tiny, false, "", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // for the fake to have the load's slot back
		f.Wedge(ollamatest.TinyModel)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := generate(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("generate on a wedged model: got %v, want the caller's deadline", err)
		}
		synctest.Wait() // an unload takes effect once the fake has seen the caller leave
		if running, err := c.PS(t.Context()); err != nil || len(running) != 1 {
			t.Errorf("ps with a wedged model: got %v, %v; want it listed", running, err)
		}
		if err := c.Unload(t.Context(), tiny); err != nil {
			t.Errorf("unload of a wedged model: %v", err)
		}
		if _, err := generate(t.Context(), c); err != nil {
			t.Errorf("generate after the unload: %v", err)
		}
	})
}

// Ollama never waits for us: it writes its answer to the end while the consumer sits on the first chunk, and no delta is
// lost by that (https://github.com/ollama/ollama/issues/17131).
func TestSlowConsumer(t *testing.T) {
	const count = 20_000
	f := ollamatest.NewFake(ollamatest.Script{Tokens: tokens[:4], TokenCount: count})
	c, ctx := client(t, f), limited(t)
	want := strings.Repeat(strings.Join(tokens[:4], ""), count/4)
	var got strings.Builder
	lines, chunks := 0, 0
	for chunk, err := range c.Generate(ctx, &ollama.GenerateRequest{Model: tiny, Prompt: "x"}) {
		if err != nil {
			t.Fatal(err)
		}
		if chunks == 0 {
			if err := f.Await(ctx, answered("/api/generate", 1)); err != nil {
				t.Fatal(err)
			}
		}
		got.WriteString(chunk.Text)
		lines += chunk.Tokens
		chunks++
	}
	if got.String() != want {
		t.Errorf("generate: got %d bytes, want %d; deltas were lost", got.Len(), len(want))
	}
	if lines < count || chunks >= count {
		t.Errorf("generate: got %d lines in %d chunks, want at least %d in fewer chunks", lines, chunks, count)
	}
}

func answered(path string, n int) func(ollamatest.Seen) bool {
	return func(s ollamatest.Seen) bool { return s.Answered[path] >= n }
}

// leave are the ways to give a stream up, called with its first chunk. They report whether to go on reading.
var leave = map[string]func(cancel func()) bool{
	"break":  func(func()) bool { return false },
	"cancel": func(cancel func()) bool { cancel(); return true },
}

// Giving up closes the connection, every time, which is all that Ollama takes for a cancel.
func TestLeavingFreesTheModel(t *testing.T) {
	const times = 100
	script := ollamatest.Script{TokenDelay: time.Millisecond, TokenCount: 1 << 30}
	for how, goOn := range leave {
		t.Run(how, func(t *testing.T) {
			f := ollamatest.NewFake(script)
			c, ctx := client(t, f), limited(t)
			for n := range times {
				if err := giveUp(ctx, c, goOn); err != nil {
					t.Fatalf("generate %d: %v", n, err)
				}
				if err := f.Await(ctx, func(s ollamatest.Seen) bool { return len(s.Aborts) == n+1 && s.Active == 0 }); err != nil {
					t.Fatalf("abort %d: %v", n, err)
				}
			}
		})
		t.Run(how+" at once", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := ollamatest.NewPipeFake(script)
				if err := giveUp(t.Context(), client(t, f), goOn); err != nil {
					t.Fatal(err)
				}
				left := time.Now()
				if err := f.Await(t.Context(), func(s ollamatest.Seen) bool { return len(s.Aborts) == 1 }); err != nil {
					t.Fatal(err)
				}
				if late := f.Seen().Aborts[0].At.Sub(left); late > 0 {
					t.Errorf("the fake saw it %v later, want at once", late)
				}
			})
		})
	}
}

// giveUp starts a generation and leaves it at the first chunk. The error is nil if it ended as it should then.
func giveUp(ctx context.Context, c *ollama.Client, leave func(cancel func()) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, err := range c.Generate(ctx, &ollama.GenerateRequest{Model: tiny, Prompt: "x"}) {
		switch {
		case errors.Is(err, context.Canceled) && !isKind(err, ollama.Cut):
			return nil
		case err != nil:
			return err
		case !leave(cancel):
			return nil
		}
	}
	return errors.New("the stream went on to its end")
}

// Giving up before the first byte closes the connection too.
func TestLeavingWhileWaiting(t *testing.T) {
	for _, op := range operations {
		if op.streams || op.name == "embed" || op.name == "load" {
			t.Run(op.name+op.path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := ollamatest.NewPipeFake(ollamatest.Script{LoadDelay: time.Hour})
					c := client(t, f)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if _, err := op.do(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s: got %v, want the deadline", op.name, err)
					}
					left := time.Now()
					if err := f.Await(t.Context(), func(s ollamatest.Seen) bool { return s.LoadsAborted == 1 }); err != nil {
						t.Fatal(err)
					}
					if late := time.Since(left); late > 0 {
						t.Errorf("the load was aborted %v later, want at once", late)
					}
				})
			})
		}
	}
}

// Ollama does not notice that the client of a chunked request has left.
func TestContentLength(t *testing.T) {
	f := ollamatest.NewFake(ollamatest.Script{})
	c := client(t, f)
	for _, op := range operations {
		if _, err := op.do(ollama.WithRequestID(limited(t), "id of "+op.name), c); err != nil {
			t.Fatalf("%s: %v", op.name, err)
		}
		got := f.Seen().Last[op.path]
		if got.ContentLength != int64(len(got.Body)) {
			t.Errorf("%s: Content-Length is %d, want %d", op.name, got.ContentLength, len(got.Body))
		}
		if id := got.Header.Get("X-Request-ID"); id != "id of "+op.name {
			t.Errorf("%s: X-Request-ID is %q, want %q", op.name, id, "id of "+op.name)
		}
	}
}

// Many calls at once do not mix, and the fake's slots bound them.
func TestConcurrency(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	const rounds, slots = 20, 4
	f := ollamatest.NewFake(ollamatest.Script{Tokens: tokens, Slots: slots, FirstDelay: time.Millisecond})
	c := client(t, f)
	var calls sync.WaitGroup
	for range rounds {
		for _, op := range operations {
			if op.name == "unload" {
				continue
			}
			calls.Go(func() {
				text, err := op.do(limited(t), c)
				if err != nil || op.streams && text != strings.Join(tokens, "") {
					t.Errorf("%s: got %.40q, %v", op.name, text, err)
				}
			})
		}
	}
	calls.Wait()
	got := f.Seen()
	want := map[string]int{}
	for _, op := range operations {
		if op.name != "unload" {
			want[op.path] += rounds
		}
	}
	if diff := cmp.Diff(want, got.Answered); diff != "" {
		t.Errorf("Answered (-want +got):\n%s", diff)
	}
	if got.Loads != 2 || got.Peak > slots+1 || got.Peak < 2 { // one more for the embedding model
		t.Errorf("Seen: got %d loads, peak %d; want 2 loads, at most %d at once", got.Loads, got.Peak, slots+1)
	}
	c.Close()
	f.Close()
}

// Ollama crashes on ps now and then while a model is being unloaded: it is asked again, once.
func TestPSAsksAgain(t *testing.T) {
	for times, want := range map[int]struct {
		fails    bool
		requests int
	}{1: {false, 2}, 0: {true, 2}} {
		synctest.Test(t, func(t *testing.T) {
			crash := ollamatest.Crash()
			crash.Times = times
			f := ollamatest.NewPipeFake(ollamatest.Script{Faults: map[string]ollamatest.Fault{"/api/ps": crash}})
			_, err := client(t, f).PS(t.Context())
			if n := f.Seen().Requests["/api/ps"]; isKind(err, ollama.Failed) != want.fails || n != want.requests {
				t.Errorf("PS of an Ollama that crashes %d times (0: each time): %v after %d requests, want it to fail: %v, after %d", times, err, n, want.fails, want.requests)
			}
		})
	}
}
