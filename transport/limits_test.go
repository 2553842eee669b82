package transport

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{Busy: func(id, message string) *mcp.CallToolResult {
			return mcp.NewToolResultError(fmt.Sprintf("busy %t %.2s", strings.Contains(id, "/"), message))
		}})
		for i := range 64 {
			p.send(call(fmt.Sprint(i), "", "block", `{}`))
		}
		p.send(call("64", "", "echo", `{}`))
		if r := p.must(); string(r.ID) != "64" || !r.Result.IsError || r.text() != "busy true 64" {
			t.Errorf("65th call = %s, want the busy tool error", r.raw)
		}
		p.send(modern("65", "tools/call", `"name":"echo"`, `{}`))
		if r := p.must(); !r.Result.IsError || r.Result.ResultType != "complete" {
			t.Errorf("65th call of 2026-07-28 = %s, want a complete busy tool error", r.raw)
		}
		p.send(`{"jsonrpc":"2.0","id":66,"method":"tools/list"}`)
		if r := p.must(); r.Error == nil || r.Error.Code != codeRefused {
			t.Errorf("tools/list beyond 64 calls = %s, want error %d", r.raw, codeRefused)
		}
		p.send(`{"jsonrpc":"2.0","id":67,"method":"ping"}`)
		if r := p.must(); string(r.ID) != "67" || r.Error != nil {
			t.Errorf("ping beyond 64 calls = %s, want an answer", r.raw)
		}
		p.send(cancelled("5"))
		synctest.Wait()
		p.send(call("68", "", "echo", `{"text":"room"}`))
		if r := p.must(); r.text() != "room" {
			t.Errorf("call after a cancel = %s, want an answer", r.raw)
		}
		p.close()
	})
}

// TestInlineRequestsDoNotCount has as many calls in flight as may be, and requests
// that are answered at once beside them.
func TestInlineRequestsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{MaxCallsPerCaller: 1, MaxStreamsPerCaller: 1})
		p.send(call("1", "", "block", `{}`))
		for i := range 3 {
			p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":"p%d","method":"ping"}`, i))
			if r := p.must(); r.Error != nil {
				t.Errorf("ping beside the one call = %s, want an answer", r.raw)
			}
		}
		p.send(call("2", "", "echo", `{}`))
		if r := p.must(); string(r.ID) != "2" || !strings.HasPrefix(r.text(), "the server is busy: 1 calls") {
			t.Errorf("second call after pings = %s, want it busy", r.raw)
		}
		p.send(cancelled("1"))
		p.close()
	})
}

// TestUnreadAnswersCount has a client that reads nothing: an answer counts as a
// call until it is being written.
func TestUnreadAnswersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{MaxCallsPerCaller: 1, MaxStreamsPerCaller: 1})
		for i := range 3 {
			p.send(call(fmt.Sprint(i), "", "echo", `{"text":"x"}`))
			synctest.Wait()
		}
		for i, want := range []string{"x", "x", "the server is busy: 1 calls"} {
			if r := p.must(); string(r.ID) != fmt.Sprint(i) || !strings.HasPrefix(r.text(), want) {
				t.Errorf("answer %d = %s, want %q", i, r.raw, want)
			}
		}
		p.send(call("3", "", "echo", `{"text":"y"}`))
		if r := p.must(); r.text() != "y" {
			t.Errorf("call after all was read = %s, want an answer", r.raw)
		}
		p.close()
	})
}

func TestStreamsCountApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{MaxCallsPerCaller: 1, MaxStreamsPerCaller: 1})
		p.send(listen("1", `{"toolsListChanged":true}`))
		p.must()
		p.send(listen("2", `{"toolsListChanged":true}`))
		if r := p.must(); r.Error == nil || r.Error.Code != codeRefused {
			t.Errorf("second stream of one = %s, want error %d", r.raw, codeRefused)
		}
		p.send(call("3", "", "echo", `{"text":"x"}`))
		if r := p.must(); r.text() != "x" {
			t.Errorf("call beside a stream = %s, want an answer", r.raw)
		}
		p.send(cancelled("1"))
		synctest.Wait()
		p.send(listen("4", `{"toolsListChanged":true}`))
		if r := p.must(); r.Method != mcp.MethodNotificationSubscriptionsAcknowledged {
			t.Errorf("stream after a cancelled one = %s, want it to stand", r.raw)
		}
		p.close()
	})
}

func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{MaxBytes: 600, Busy: func(_, message string) *mcp.CallToolResult {
			return mcp.NewToolResultError("busy: " + message)
		}})
		p.send(call("1", "", "block", `{"a":"`+strings.Repeat("x", 100)+`"}`))
		p.send(call("2", "", "echo", `{"text":"`+strings.Repeat("x", 100)+`"}`))
		if r := p.must(); !strings.HasPrefix(r.text(), "busy: what is in flight of this caller already carries as many bytes") {
			t.Errorf("call beyond the half of MaxBytes = %s, want the busy tool error", r.raw)
		}
		p.send(call("3", "", "echo", `{"text":"small"}`))
		if r := p.must(); r.text() != "small" {
			t.Errorf("small call = %s, want an answer", r.raw)
		}
		p.send(cancelled("1"))
		synctest.Wait()
		p.send(call("4", "", "echo", `{"text":"`+strings.Repeat("x", 100)+`"}`))
		if r := p.must(); r.text() != strings.Repeat("x", 100) {
			t.Errorf("large call after the other one has ended = %s, want an answer", r.raw)
		}
		p.close()
	})
}

// TestClientThatDoesNotRead has calls of 100,000 tokens for a client that reads
// nothing: the tools go on, memory stays near what the texts take, and in the
// end everything is there.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls, tokens = 4, 100_000
		srv := fixtures()
		finished := make(chan struct{}, calls)
		srv.AddTool(mcp.NewTool("long"), func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			defer func() { finished <- struct{}{} }()
			for range tokens / 100 {
				r.Params.Arguments = map[string]any{"n": 100}
				countTool(ctx, r)
				time.Sleep(time.Millisecond)
			}
			return mcp.NewToolResultText("done"), nil
		})
		p := dial(t, srv, Options{})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range calls {
			p.send(call(fmt.Sprint(i), fmt.Sprint(i), "long", `{}`))
		}
		for range calls {
			<-finished // nobody has read a byte yet
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
			t.Errorf("%d calls of %d tokens, nothing read: heap grew by %d bytes, want at most 32 MiB", calls, tokens, grown)
		}
		rest, err := p.close()
		deltas, answers, notes := 0, 0, 0
		for _, r := range rest {
			if r.text() == "done" {
				answers++
			} else {
				delta, _ := r.Params.Meta[metaDelta].(string)
				deltas += strings.Count(delta, "€")
				notes++
			}
		}
		if err != nil || answers != calls || deltas != calls*tokens || notes > 4*calls {
			t.Errorf("%d answers, %d deltas in %d notifications, %v, want %d, %d in a few, nil", answers, deltas, notes, err, calls, calls*tokens)
		}
	})
}

// TestBackpressure has a client that writes without reading: what waits for it
// is bounded, because no more is taken from it.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		sent := make(chan int)
		const pings = 3 * maxWaiting
		go func() {
			for i := range pings {
				if i == pings-1 {
					close(sent)
				}
				p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, i))
			}
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Errorf("%d pings were taken without an answer read, want fewer", pings)
		default:
		}
		for i := range pings {
			if r := p.must(); string(r.ID) != fmt.Sprint(i) {
				t.Fatalf("answer %d = %s, want it in order", i, r.raw)
			}
		}
		p.close()
	})
}

func TestDrain(t *testing.T) {
	tests := []struct {
		name, line string
		sigterm    bool
		want       string // the answer's text
		took       time.Duration
	}{
		{"quick call, end of input", call("1", "", "count", `{"n":1,"every_ms":2000}`), false, "0€ ", 2 * time.Second},
		{"quick call, SIGTERM", call("1", "", "count", `{"n":1,"every_ms":2000}`), true, "0€ ", 2 * time.Second},
		{"endless call, end of input", call("1", "", "block", `{}`), false, "ended: " + drainWords, 3 * time.Second},
		{"endless call, SIGTERM", call("1", "", "block", `{}`), true, "ended: " + drainWords, 3 * time.Second},
		{"call that notices late", call("1", "", "deaf", `{"ms":5000}`), true, "late", 5 * time.Second},
		{"call that never notices", call("1", "", "deaf", `{"ms":60000}`), true, "", 6 * time.Second},
		{"listen stream", modern("1", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`, `{}`), true, "", 0},
		{"idle", "", true, "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := dial(t, fixtures(), Options{})
				p.send(test.line)
				start, took := time.Now(), time.Duration(-1)
				synctest.Wait()
				if test.sigterm {
					p.stop()
				} else {
					p.in.Close()
				}
				text := ""
				for r, ok := p.next(); ok; r, ok = p.next() {
					text += r.text()
				}
				took = time.Since(start)
				if err := <-p.done; err != nil || took != test.took || text != test.want {
					t.Errorf("ServeStdio = %v after %v, answer %q, want nil after %v, %q", err, took, text, test.took, test.want)
				}
				time.Sleep(time.Minute) // in fake time: whoever was left behind ends
			})
		})
	}
}

// TestDrainWithoutReader ends although nobody takes the answers, and leaves no
// goroutine behind in a write.
func TestDrainWithoutReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := strings.NewReader(call("1", "", "echo", `{"text":"`+strings.Repeat("x", 1<<20)+`"}`))
		_, out := io.Pipe()
		start := time.Now()
		err := ServeStdio(t.Context(), fixtures(), in, out, Options{})
		if err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("ServeStdio = %v after %v, want nil after 3s", err, time.Since(start))
		}
	})
}

// TestCallsDuringDrain keeps serving cancels and answers while it drains, but
// starts nothing.
func TestCallsDuringDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		p.send(call("1", "", "block", `{}`))
		synctest.Wait()
		start := time.Now()
		p.stop()
		synctest.Wait()
		p.send(call("2", "", "echo", `{}`))
		if r := p.must(); r.Error == nil || r.Error.Message != drainWords {
			t.Errorf("call during drain = %s, want a refusal", r.raw)
		}
		p.send(cancelled("1"))
		if r, ok := p.next(); ok || time.Since(start) != 0 {
			t.Errorf("after a cancel during drain: %s after %v, want the end at once", r.raw, time.Since(start))
		}
		<-p.done
	})
}

// TestStuckInput has an in that can be neither closed nor interrupted, like a
// terminal's: the end of the context is the end all the same.
func TestStuckInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, w := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- ServeStdio(ctx, fixtures(), io.MultiReader(in), io.Discard, Options{}) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServeStdio = %v, want nil", err)
		}
		io.WriteString(w, call("1", "", "panic", `{}`)+"\n") // too late to be served
		w.Close()
	})
}
