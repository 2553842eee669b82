package ollama

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// collect joins a stream.
func collect(stream iter.Seq2[Chunk, error]) (all Chunk, err error) {
	for c, err := range stream {
		all.Text += c.Text
		all.Thinking += c.Thinking
		all.ToolCalls = append(all.ToolCalls, c.ToolCalls...)
		all.Tokens += c.Tokens
		all.Done = c.Done
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

func token(text string) string {
	return fmt.Sprintf("%s,\"response\":%q,\"done\":false}\n", head, text)
}

func last(reason string) string {
	return fmt.Sprintf("%s,\"response\":\"\",\"done\":true,\"done_reason\":%q,\"context\":[1,2],\"eval_count\":2}\n", head, reason)
}

func ask(c *Client, ctx context.Context) iter.Seq2[Chunk, error] {
	return c.Generate(ctx, &GenerateRequest{Model: "m:latest", Prompt: "a"})
}

func chunked(body string) string {
	return fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
}

const chunkedHeader = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"

// TestStreamEnds: what came is given, and then how it ended, whatever broke.
func TestStreamEnds(t *testing.T) {
	cut := Error{Kind: Cut, Message: "the answer ended before it was complete"}
	tests := []struct {
		name string
		body string
		want Error // none is success
	}{
		{"done", last("stop"), Error{}},
		{"done without a line feed", strings.TrimSpace(last("stop")), Error{}},
		{"CRLF and empty lines", "\r\n\n" + strings.ReplaceAll(last("stop"), "\n", "\r\n"), Error{}},
		{"something after done", last("stop") + "garbage", Error{}},
		{"no done", "", cut},
		{"half a line", head + `,"respo`, cut},
		{"half a last line", strings.TrimSuffix(last("stop"), "2}\n"), cut},
		{"done is false", head + `,"response":"","done":false,"done_reason":"stop"}`, cut},
		{"error", `{"error":"an error was encountered while running the model: unexpected EOF"}`, Error{Kind: Failed, Status: 200, Message: "an error was encountered while running the model: unexpected EOF"}},
		{"error of memory", `{"error":"CUDA error: out of memory"}`, Error{Kind: LoadFailed, Status: 200, Message: "CUDA error: out of memory"}},
		{"error object", `{"error":{"message":"oops","code":1}}`, Error{Kind: Failed, Status: 200, Message: "oops"}},
		{"error and done", `{"error":"oops","done":true}`, Error{Kind: Failed, Status: 200, Message: "oops"}},
		{"a page breaks in", "<html><title>504 Gateway Timeout</title></html>", Error{Kind: Cut, Status: 200, Message: `a web page, "504 Gateway Timeout"`}},
		{"another JSON breaks in", `{"hello":1}`, Error{Kind: Cut, Status: 200, Message: `{"hello":1}`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, c := newRawHost(t, says(ok(token("a\n")+token("b")+tt.body)))
				got, err := collect(ask(c, t.Context()))
				if got.Text != "a\nb" {
					t.Errorf("text = %q, want what came: %q", got.Text, "a\nb")
				}
				if tt.want == (Error{}) {
					want := &Done{Reason: "stop", EvalCount: 2}
					if diff := cmp.Diff(want, got.Done); err != nil || diff != "" {
						t.Errorf("err = %v, Done (-want +got):\n%s", err, diff)
					}
					return
				}
				tt.want.Op, tt.want.Host = "generate", "raw"
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("err = %v, want %v", err, &tt.want)
				}
				if diff := cmp.Diff(&tt.want, e, ignoreCause); diff != "" || got.Done != nil {
					t.Errorf("Done = %v, err (-want +got):\n%s", got.Done, diff)
				}
			})
		})
	}
}

// TestStall: no limit on the first byte, one on every pause after it.
func TestStall(t *testing.T) {
	tests := []struct {
		name   string
		first  time.Duration
		pause  time.Duration
		silent bool // after the last token
		want   error
	}{
		{"slow first byte", 330 * time.Second, time.Second, false, nil},
		{"pauses just short enough", time.Hour, 119 * time.Second, false, nil},
		{"silence", 0, 0, true, &Error{Kind: Stalled}},
		{"too long a pause", 0, 121 * time.Second, false, &Error{Kind: Stalled}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, c := newRawHost(t, func(w io.Writer, _ *http.Request) bool {
					time.Sleep(tt.first)
					_, _ = io.WriteString(w, ok(token("a")))
					for range 10 {
						time.Sleep(tt.pause)
						_, _ = io.WriteString(w, token("a"))
					}
					if !tt.silent {
						_, _ = io.WriteString(w, last("stop"))
					}
					return true
				})
				begin := time.Now()
				_, err := collect(ask(c, t.Context()))
				if !errors.Is(err, tt.want) && err != tt.want {
					t.Errorf("after %v: %v, want %v", time.Since(begin), err, tt.want)
				}
			})
		})
	}
}

// TestStalledRefusal: a host that has refused has nothing to load first.
func TestStalledRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := newRawHost(t, func(w io.Writer, _ *http.Request) bool {
			_, _ = io.WriteString(w, "HTTP/1.1 500 Oops\r\n\r\n")
			return true
		})
		if _, err := collect(ask(c, t.Context())); !errors.Is(err, &Error{Kind: Stalled}) {
			t.Errorf("Generate() = %v, want stalled", err)
		}
	})
}

// TestSlowConsumer: the host never waits for the consumer, who gets all that came, joined.
func TestSlowConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tokens = 1000
		var written time.Duration
		begin := time.Now()
		_, c := newRawHost(t, func(w io.Writer, _ *http.Request) bool {
			_, _ = io.WriteString(w, ok(""))
			for i := range tokens {
				time.Sleep(time.Millisecond)
				_, _ = io.WriteString(w, token(fmt.Sprint(i, " ")))
			}
			_, _ = io.WriteString(w, last("stop"))
			written = time.Since(begin)
			return false
		})
		var got strings.Builder
		chunks, lines := 0, 0
		for chunk, err := range ask(c, t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got.WriteString(chunk.Text)
			lines += chunk.Tokens
			chunks++
			time.Sleep(time.Hour)
		}
		var want strings.Builder
		for i := range tokens {
			fmt.Fprint(&want, i, " ")
		}
		if got.String() != want.String() || lines != tokens+1 {
			t.Errorf("got %d bytes in %d lines, want %d in %d", got.Len(), lines, want.Len(), tokens+1)
		}
		if written != time.Second || chunks != 2 {
			t.Errorf("the host wrote for %v, in %d chunks for the consumer; want 1s, 2", written, chunks)
		}
	})
}

// TestGather: the first token comes at once, what follows in few chunks, and the end at once.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tokens, each = 31, 7 * time.Millisecond
		_, c := newRawHost(t, func(w io.Writer, _ *http.Request) bool {
			_, _ = io.WriteString(w, ok(token("a")))
			for range tokens - 1 {
				time.Sleep(each)
				_, _ = io.WriteString(w, token("a"))
			}
			time.Sleep(time.Second)
			_, _ = io.WriteString(w, last("stop"))
			return false
		})
		begin := time.Now()
		var at []time.Duration
		text := ""
		for c, err := range ask(c, t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			at, text = append(at, time.Since(begin)), text+c.Text
		}
		want := []time.Duration{0}
		for sent := time.Duration(0); sent < (tokens-1)*each; {
			sent += gatherTime
			want = append(want, sent)
		}
		want = append(want, (tokens-1)*each+time.Second)
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("chunks came at (-want +got):\n%s", diff)
		}
		if want := strings.Repeat("a", tokens); text != want {
			t.Errorf("the chunks have %q, want %q", text, want)
		}
	})
}

// TestStopClosesConnection: breaking the loop or cancelling is seen by the host at once.
func TestStopClosesConnection(t *testing.T) {
	for _, how := range []string{"break", "cancel"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				noticed := make(chan time.Time, 1)
				_, c := newRawHost(t, func(w io.Writer, _ *http.Request) bool {
					_, err := io.WriteString(w, ok(token("a")))
					for err == nil {
						time.Sleep(time.Millisecond)
						_, err = io.WriteString(w, token("a"))
					}
					noticed <- time.Now()
					return false
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var stopped time.Time
				for _, err := range ask(c, ctx) {
					if err != nil {
						checkOwn(t, "generate", err, context.Canceled)
						break
					}
					stopped = time.Now()
					if how == "break" {
						break
					}
					cancel()
				}
				if took := (<-noticed).Sub(stopped); took > 2*time.Millisecond {
					t.Errorf("the host noticed after %v, want at most its next token's 1ms", took)
				}
			})
		})
	}
}

// TestConnectionIsUsedAgain after all that ended well, and after a refusal.
func TestConnectionIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := newRawHost(t, func(w io.Writer, r *http.Request) bool {
			if r.URL.Path != "/api/generate" {
				_, _ = io.WriteString(w, status("404 Not Found", "", `{"error":"model 'x' not found"}`))
				return true
			}
			_, _ = io.WriteString(w, chunkedHeader+chunked(token("a"))+chunked(last("stop")))
			time.Sleep(time.Millisecond)
			_, _ = io.WriteString(w, "0\r\n\r\n")
			return true
		})
		for range 5 {
			if _, err := collect(ask(c, t.Context())); err != nil {
				t.Fatal(err)
			}
			for chunk := range ask(c, t.Context()) {
				if chunk.Done != nil {
					break // a consumer who has what it wanted
				}
			}
			if _, err := c.Show(t.Context(), "x:latest"); !errors.Is(err, &Error{Kind: MissingModel}) {
				t.Fatalf("Show() = %v, want a missing model", err)
			}
			synctest.Wait()
		}
		if got := h.dialed(); got != 1 {
			t.Errorf("%d connections for 15 requests one after another, want 1", got)
		}
	})
}

// TestLateEnd: a host that says done and keeps the connection open delays nobody for long.
func TestLateEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := newRawHost(t, func(w io.Writer, _ *http.Request) bool {
			_, _ = io.WriteString(w, chunkedHeader+chunked(last("stop")))
			return true
		})
		begin := time.Now()
		if _, err := collect(ask(c, t.Context())); err != nil || time.Since(begin) > time.Second {
			t.Errorf("Generate ended after %v with %v, want success at once", time.Since(begin), err)
		}
	})
}

// TestRequests shows what goes over the wire.
func TestRequests(t *testing.T) {
	no, predict := false, 7
	think := any("low")
	tests := []struct {
		call func(context.Context, *Client) error
		path string
		body string
	}{
		{calls()["version"], "/prefix/api/version", ""},
		{calls()["tags"], "/prefix/api/tags", ""},
		{calls()["ps"], "/prefix/api/ps", ""},
		{calls()["show"], "/prefix/api/show", `{"model":"m:latest"}`},
		{calls()["load"], "/prefix/api/generate", `{"model":"m:latest","stream":true}`},
		{calls()["unload"], "/prefix/api/generate", `{"model":"m:latest","keep_alive":"0s","stream":true}`},
		{calls()["embed"], "/prefix/api/embed", `{"model":"m:latest","input":["a"]}`},
		{calls()["generate"], "/prefix/api/generate", `{"model":"m:latest","prompt":"a","stream":true}`},
		{func(ctx context.Context, c *Client) error {
			return c.Load(ctx, "e:latest", true, "5m", &Options{NumCtx: &predict})
		}, "/prefix/api/embed", `{"model":"e:latest","input":[],"keep_alive":"5m","options":{"num_ctx":7}}`},
		{func(ctx context.Context, c *Client) error {
			_, err := collect(c.Generate(ctx, &GenerateRequest{
				Model: "m:latest", Prompt: "<&>", Format: []byte(`"json"`), Think: think,
				Options: &Options{NumPredict: &predict}, Truncate: &no,
			}))
			return err
		}, "/prefix/api/generate", `{"model":"m:latest","prompt":"<&>","format":"json","think":"low","options":{"num_predict":7},"truncate":false,"stream":true}`},
		{func(ctx context.Context, c *Client) error {
			_, err := collect(c.Chat(ctx, &ChatRequest{Model: "m:latest", Think: false, Messages: []Message{{Role: "user", Content: "ü"}}}))
			return err
		}, "/prefix/api/chat", `{"model":"m:latest","messages":[{"role":"user","content":"ü"}],"think":false,"stream":true}`},
	}
	host, err := ParseHost("http://example.com/prefix")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var seen *http.Request
			h := &rawHost{answer: func(w io.Writer, r *http.Request) bool { seen = r; return false }}
			c := NewClient(ClientOptions{Host: host, Header: map[string]Secret{"X-Team": "red"}, APIKey: " key\n", Dial: h.dial})
			if err := tt.call(WithRequestID(t.Context(), "a/7"), c); err == nil {
				t.Errorf("%s: no error, want one", tt.path)
			}
			c.Close()
			h.served.Wait()
			body, _ := io.ReadAll(seen.Body)
			if got := strings.TrimSpace(string(body)); seen.URL.Path != tt.path || got != tt.body {
				t.Errorf("got  %s %s\nwant %s %s", seen.URL.Path, got, tt.path, tt.body)
			}
			if seen.ContentLength != int64(len(body)) || seen.TransferEncoding != nil {
				t.Errorf("%s: Content-Length %d, Transfer-Encoding %v for %d bytes", tt.path, seen.ContentLength, seen.TransferEncoding, len(body))
			}
			want := http.Header{
				"Accept":        {"application/x-ndjson, application/json"},
				"Authorization": {"Bearer key"},
				"User-Agent":    {"ollama-mcp"},
				"X-Request-Id":  {"a/7"},
				"X-Team":        {"red"},
			}
			if tt.body != "" {
				want.Set("Content-Type", "application/json")
				want.Set("Content-Length", fmt.Sprint(len(body)))
			}
			if diff := cmp.Diff(want, seen.Header); diff != "" {
				t.Errorf("%s: header (-want +got):\n%s", tt.path, diff)
			}
		})
	}
}

func TestRequestThatIsNoJSON(t *testing.T) {
	h, c := newRawHost(t, says(""))
	_, err := collect(c.Generate(t.Context(), &GenerateRequest{Model: "m:latest", Prompt: "a", Format: []byte(`{`)}))
	if !errors.Is(err, &Error{Kind: Invalid}) || h.dialed() != 0 {
		t.Errorf("Generate with a broken format = %v and %d connections, want invalid and none", err, h.dialed())
	}
}

func TestEmbed(t *testing.T) {
	tests := []struct {
		name, body string
		want       Error // none is success
	}{
		{"good", `{"model":"m","embeddings":[[1,2],[0,0]],"total_duration":5,"load_duration":4,"prompt_eval_count":3}`, Error{}},
		{"another order", `{"prompt_eval_count":3,"x":[[1]], "embeddings" : [ [1,2] ,[0,0] ] ,"load_duration":4,"total_duration":5}`, Error{}},
		{"too few", `{"embeddings":[[1,2]]}`, Error{Kind: Failed, Message: "1 embeddings came for 2 inputs"}},
		{"too many", `{"embeddings":[[1],[2],[3]]}`, Error{Kind: Failed, Message: "3 embeddings came for 2 inputs"}},
		{"NaN", `{"embeddings":[[1,2],[NaN,2]]}`, Error{Kind: Failed, Message: "the embedding of item 1 is not an array of numbers"}},
		{"null", `{"embeddings":[[1,2],[1,null]]}`, Error{Kind: Failed, Message: "the embedding of item 1 is not an array of numbers"}},
		{"cut in the vectors", `{"embeddings":[[1,2],[1,`, Error{Kind: Cut, Message: "the answer ended before it was complete"}},
		{"cut after the vectors", `{"embeddings":[[1,2],[1,2]],"to`, Error{Kind: Cut, Message: "the answer ended before it was complete"}},
		{"cut before the vectors", `{"model":"m","emb`, Error{Kind: Cut, Message: "the answer ended before it was complete"}},
		{"no vectors", `{"model":"m"}`, Error{Kind: NotOllama, Status: 200, Message: `{"model":"m"}`}},
		{"error", `{"error":"embedding contains NaN or Inf values"}`, Error{Kind: Failed, Status: 200, Message: "embedding contains NaN or Inf values"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, c := newRawHost(t, says(ok(tt.body)))
			got, err := c.Embed(t.Context(), &EmbedRequest{Model: "m:latest", Input: []string{"a", "b"}})
			if tt.want == (Error{}) {
				if err != nil {
					t.Fatal(err)
				}
				if string(got.Embeddings.Raw(1)) != "[0,0]" || got.TotalDuration != 5 || got.LoadDuration != 4 || got.PromptEvalCount != 3 {
					t.Errorf("Embed() = %+v", got)
				}
				return
			}
			tt.want.Op, tt.want.Host = "embed", "raw"
			var e *Error
			if !errors.As(err, &e) || cmp.Diff(&tt.want, e, ignoreCause) != "" {
				t.Errorf("Embed() (-want +got):\n%s", cmp.Diff(&tt.want, e, ignoreCause))
			}
		})
	}
}

func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 20<<20)
	_, c := newRawHost(t, says(ok(token("a")+token(long)+last("stop"))))
	if got, err := collect(ask(c, t.Context())); err != nil || got.Text != "a"+long {
		t.Errorf("Generate() = %d bytes, %v, want %d", len(got.Text), err, len(long)+1)
	}
	_, c = newRawHost(t, func(w io.Writer, _ *http.Request) bool {
		_, err := io.WriteString(w, ok(token("a")+`{"model":"`))
		for piece := bytes.Repeat([]byte("x"), 1<<20); err == nil; {
			_, err = w.Write(piece) // until the client has had enough
		}
		return false
	})
	got, err := collect(ask(c, t.Context()))
	if !errors.Is(err, &Error{Kind: NotOllama}) || got.Text != "a" {
		t.Errorf("Generate() = %q, %v, want what came and not ollama", got.Text, err)
	}
}

// BenchmarkStream is a stream of 100,000 tokens without pauses, over a socket.
func BenchmarkStream(b *testing.B) {
	const tokens = 100_000
	body := []byte(strings.Repeat(token(" fox"), tokens) + last("stop"))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 32<<10)
			if _, err := w.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}))
	defer s.Close()
	c := NewClient(ClientOptions{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}})
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		lines := 0
		for chunk, err := range ask(c, b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			lines += chunk.Tokens
		}
		if lines != tokens+1 {
			b.Fatalf("%d lines, want %d", lines, tokens+1)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tokens, "ns/token")
}
