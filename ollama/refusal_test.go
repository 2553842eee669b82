package ollama

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var ignoreCause = cmpopts.IgnoreFields(Error{}, "Err")

// status is an answer with a status line, any further header lines, and a body.
func status(line, headers, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s", line, headers, len(body), body)
}

// TestRefusals is the table of what Ollama, and what stands in its place, says no with.
func TestRefusals(t *testing.T) {
	const page = "<!doctype html><html><head><title>502 Bad\n Gateway &amp; more</title></head><body>secrets</body></html>"
	tests := []struct {
		name   string
		answer string
		want   Error
	}{
		{"bad body", status("400 Bad Request", "", `{"error":"invalid character 'x'"}`), Error{Kind: Invalid, Status: 400, Message: "invalid character 'x'"}},
		{"bad name", status("400 Bad Request", "", `{"error":"invalid model name"}`), Error{Kind: Invalid, Status: 400, Message: "invalid model name"}},
		{"no generate", status("400 Bad Request", "", `{"error":"\"m\" does not support generate"}`), Error{Kind: Unsupported, Status: 400, Message: `"m" does not support generate`}},
		{"no tools", status("400 Bad Request", "", `{"error":"registry.ollama.ai/library/m:latest does not support tools"}`), Error{Kind: Unsupported, Status: 400, Message: "registry.ollama.ai/library/m:latest does not support tools"}},
		{"no embeddings", status("501 Not Implemented", "", `{"error":"this model does not support embeddings"}`), Error{Kind: Unsupported, Status: 501, Message: "this model does not support embeddings"}},
		{"too long", status("400 Bad Request", "", `{"error":"the input length exceeds the context length"}`), Error{Kind: TooLong, Status: 400, Message: "the input length exceeds the context length"}},
		{"too long for the runner", status("400 Bad Request", "", `{"error":"input exceeds maximum context length and cannot be truncated further"}`), Error{Kind: TooLong, Status: 400, Message: "input exceeds maximum context length and cannot be truncated further"}},
		{"not signed in", status("401 Unauthorized", "", `{"error":"unauthorized","signin_url":"https://ollama.com/connect?name=a&key=b"}`), Error{Kind: Unauthorized, Status: 401, Message: "unauthorized, sign in at https://ollama.com/connect?name=a&key=b"}},
		{"cloud disabled", status("403 Forbidden", "", `{"error":"remote inference is unavailable"}`), Error{Kind: Unauthorized, Status: 403, Message: "remote inference is unavailable"}},
		{"host or origin", status("403 Forbidden", "", ""), Error{Kind: Unauthorized, Status: 403}},
		{"proxy wants a login", status("401 Unauthorized", "", "<html><title>Login</title>"), Error{Kind: Unauthorized, Status: 401, Message: `a web page, "Login"`}},
		{"missing model", status("404 Not Found", "", `{"error":"model 'x' not found"}`), Error{Kind: MissingModel, Status: 404, Message: "model 'x' not found"}},
		{"missing model, embed", status("404 Not Found", "", `{"error":"model \"x\" not found, try pulling it first"}`), Error{Kind: MissingModel, Status: 404, Message: `model "x" not found, try pulling it first`}},
		{"text 404", status("404 Not Found", "Content-Type: text/plain\r\n", "404 page not found"), Error{Kind: NotOllama, Status: 404, Message: "404 page not found"}},
		{"another JSON 404", status("404 Not Found", "", `{"detail":"Not Found"}`), Error{Kind: NotOllama, Status: 404, Message: `{"detail":"Not Found"}`}},
		{"another server's 404", status("404 Not Found", "", `{"error":{"message":"File Not Found","code":404}}`), Error{Kind: NotOllama, Status: 404, Message: "File Not Found"}},
		{"text 405", status("405 Method Not Allowed", "", "405 method not allowed"), Error{Kind: NotOllama, Status: 405, Message: "405 method not allowed"}},
		{"rate limit", status("429 Too Many Requests", "Retry-After: 7\r\n", `{"error":"slow down"}`), Error{Kind: Busy, Status: 429, RetryAfter: 7 * time.Second, Message: "slow down"}},
		{"given up", status("200 OK", "", `{"error":"context canceled"}`), Error{Kind: Busy, Status: 200, Message: "context canceled"}},
		{"busy", status("503 Service Unavailable", "", `{"error":"server busy, please try again.  maximum pending requests exceeded"}`), Error{Kind: Busy, Status: 503, Message: "server busy, please try again. maximum pending requests exceeded"}},
		{"busy until a date", status("503 Service Unavailable", "Retry-After: Sat, 01 Jan 2000 00:01:00 GMT\r\n", ""), Error{Kind: Busy, Status: 503, RetryAfter: time.Minute}},
		{"busy until the past", status("503 Service Unavailable", "Retry-After: Fri, 31 Dec 1999 00:00:00 GMT\r\n", ""), Error{Kind: Busy, Status: 503}},
		{"busy, nonsense", status("503 Service Unavailable", "Retry-After: -5\r\n", ""), Error{Kind: Busy, Status: 503}},
		{"memory", status("500 Internal Server Error", "", `{"error":"model requires more system memory (5 GiB) than is available (3 GiB)"}`), Error{Kind: LoadFailed, Status: 500, Message: "model requires more system memory (5 GiB) than is available (3 GiB)"}},
		{"runner died", status("500 Internal Server Error", "", `{"error":"llama runner process has terminated: exit status 2"}`), Error{Kind: LoadFailed, Status: 500, Message: "llama runner process has terminated: exit status 2"}},
		{"llama-server died", status("500 Internal Server Error", "", `{"error":"llama-server process has terminated: signal: killed"}`), Error{Kind: LoadFailed, Status: 500, Message: "llama-server process has terminated: signal: killed"}},
		{"broken file", status("500 Internal Server Error", "", `{"error":"unable to load model: /root/blobs/x"}`), Error{Kind: LoadFailed, Status: 500, Message: "unable to load model: /root/blobs/x"}},
		{"option type", status("500 Internal Server Error", "", `{"error":"option \"top_k\" must be of type integer"}`), Error{Kind: Invalid, Status: 500, Message: `option "top_k" must be of type integer`}},
		{"schema", status("500 Internal Server Error", "", `{"error":"invalid JSON schema in format"}`), Error{Kind: Invalid, Status: 500, Message: "invalid JSON schema in format"}},
		{"format", status("500 Internal Server Error", "", `{"error":"invalid format: \"xml\"; expected \"json\" or a valid JSON Schema object"}`), Error{Kind: Invalid, Status: 500, Message: `invalid format: "xml"; expected "json" or a valid JSON Schema object`}},
		{"crashed", status("500 Internal Server Error", "", ""), Error{Kind: Failed, Status: 500, Message: crashed}},
		{"another 500", status("500 Internal Server Error", "", `{"error":"unexpected EOF"}`), Error{Kind: Failed, Status: 500, Message: "unexpected EOF"}},
		{"object", status("500 Internal Server Error", "", `{"error":{"code":500,"message":"out of memory"}}`), Error{Kind: LoadFailed, Status: 500, Message: "out of memory"}},
		{"strange object", status("500 Internal Server Error", "", `{"error":{"x":1}}`), Error{Kind: Failed, Status: 500, Message: `{"x":1}`}},
		{"registry's 404", ok(`{"error":"pull model manifest: file does not exist"}`), Error{Kind: MissingModel, Status: 200, Message: "pull model manifest: file does not exist"}},
		{"registry refuses", ok(`{"error":"pull model manifest: 412: this model requires a newer version of Ollama"}`), Error{Kind: Invalid, Status: 200, Message: "pull model manifest: 412: this model requires a newer version of Ollama"}},
		{"registry unreachable", ok(`{"error":"pull model manifest: Get \"https://r/v2/a/loader/manifests/x\": context deadline exceeded"}`), Error{Kind: Failed, Status: 200, Message: `pull model manifest: Get "https://r/v2/a/loader/manifests/x": context deadline exceeded`}},
		{"registry lost", ok(`{"error":"max retries exceeded: context deadline exceeded"}`), Error{Kind: Failed, Status: 200, Message: "max retries exceeded: context deadline exceeded"}},
		{"registry late", ok(`{"error":"context deadline exceeded"}`), Error{Kind: Failed, Status: 200, Message: "context deadline exceeded"}},
		{"digest", ok(`{"error":"digest mismatch, file must be downloaded again: want sha256:1, got sha256:2"}`), Error{Kind: Failed, Status: 200, Message: "digest mismatch, file must be downloaded again: want sha256:1, got sha256:2"}},
		{"registry wants a login", ok(`{"error":"unauthorized: access denied"}`), Error{Kind: Unauthorized, Status: 200, Message: "unauthorized: access denied"}},
		{"push of what is not there", ok(`{"error":"open /m/manifests/r/a/b/latest: no such file or directory"}`), Error{Kind: MissingModel, Status: 200, Message: "open /m/manifests/r/a/b/latest: no such file or directory"}},
		{"quantize", status("400 Bad Request", "", `{"error":"create-time quantization is only supported for safetensors imports"}`), Error{Kind: Unsupported, Status: 400, Message: "create-time quantization is only supported for safetensors imports"}},
		{"quantize to nonsense", status("500 Internal Server Error", "", `{"error":"unsupported quantization type ZZZ - supported types are F32, F16"}`), Error{Kind: Invalid, Status: 500, Message: "unsupported quantization type ZZZ - supported types are F32, F16"}},
		{"cloud unreachable", status("502 Bad Gateway", "", `{"error":"dial tcp: no such host"}`), Error{Kind: Failed, Status: 502, Message: "dial tcp: no such host"}},
		{"proxy page", status("502 Bad Gateway", "Content-Type: text/html\r\n", page), Error{Kind: NotOllama, Status: 502, Message: `a web page, "502 Bad Gateway & more"`}},
		{"page without title", status("504 Gateway Timeout", "", "<html>secrets</html>"), Error{Kind: NotOllama, Status: 504, Message: "a web page"}},
		{"redirect", status("302 Found", "Location: https://login.example.com/sso?token=hunter2\r\n", ""), Error{Kind: NotOllama, Status: 302, Message: "redirects to https://login.example.com/sso"}},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", Error{Kind: NotOllama, Status: 204}},
		{"control characters", status("400 Bad Request", "", `{"error":"a\u001b[31m\u202eb\nc\u0000d `+"\xff"+`e"}`), Error{Kind: Invalid, Status: 400, Message: "a [31m b c d \ufffde"}},
		{"an error with status 200", ok(`{"error":"model 'x' not found"}`), Error{Kind: MissingModel, Status: 200, Message: "model 'x' not found"}},
		{"a page with status 200", ok("  " + page), Error{Kind: NotOllama, Status: 200, Message: `a web page, "502 Bad Gateway & more"`}},
		{"text with status 200", ok("Ollama is running"), Error{Kind: NotOllama, Status: 200, Message: "Ollama is running"}},
		{"another JSON", ok(`{"object":"list","data":[]}`), Error{Kind: NotOllama, Status: 200, Message: `{"object":"list","data":[]}`}},
		{"an array", ok(`[1]`), Error{Kind: NotOllama, Status: 200, Message: "[1]"}},
		{"nothing with status 200", ok(""), Error{Kind: Cut, Message: "the answer ended before it was complete"}},
		{"half an answer", ok(`{"models":[{"na`), Error{Kind: Cut, Message: "the answer ended before it was complete"}},
		{"less than announced", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", Error{Kind: Cut, Message: "the answer ended before it was complete"}},
		{"not HTTP", "SSH-2.0-OpenSSH_9.6\r\n", Error{Kind: NotOllama, Message: `net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-OpenSSH_9.6"`}},
		{"half a header", "HTTP/1.1 200 OK\r\nServer: x\r\n", Error{Kind: Cut, Message: "the answer ended before it was complete"}},
		{"hangup", "", Error{Kind: Unreachable, Message: "EOF"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // begins on 2000-01-01
				_, c := newRawHost(t, says(tt.answer))
				c.transport.DisableKeepAlives = true // says closes without saying so
				for op, call := range calls() {
					var got *Error
					if err := call(t.Context(), c); !errors.As(err, &got) {
						t.Fatalf("%s: %v, want an *Error", op, err)
					}
					want := tt.want
					want.Op, want.Host = op, "raw"
					if diff := cmp.Diff(&want, got, ignoreCause); diff != "" {
						t.Errorf("%s (-want +got):\n%s", op, diff)
					}
				}
			})
		})
	}
}

// calls are all calls of a client, by operation.
func calls() map[string]func(context.Context, *Client) error {
	return map[string]func(context.Context, *Client) error{
		"version": func(ctx context.Context, c *Client) error { _, err := c.Version(ctx); return err },
		"tags":    func(ctx context.Context, c *Client) error { _, err := c.Tags(ctx); return err },
		"ps":      func(ctx context.Context, c *Client) error { _, err := c.PS(ctx); return err },
		"show":    func(ctx context.Context, c *Client) error { _, err := c.Show(ctx, "m:latest"); return err },
		"load":    func(ctx context.Context, c *Client) error { return c.Load(ctx, "m:latest", false, "", nil) },
		"unload":  func(ctx context.Context, c *Client) error { return c.Unload(ctx, "m:latest") },
		"embed": func(ctx context.Context, c *Client) error {
			_, err := c.Embed(ctx, &EmbedRequest{Model: "m:latest", Input: []string{"a"}})
			return err
		},
		"generate": func(ctx context.Context, c *Client) error {
			_, err := collect(c.Generate(ctx, &GenerateRequest{Model: "m:latest", Prompt: "a"}))
			return err
		},
		"chat": func(ctx context.Context, c *Client) error {
			_, err := collect(c.Chat(ctx, &ChatRequest{Model: "m:latest"}))
			return err
		},
	}
}

func TestUnreachable(t *testing.T) {
	silent := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	refuse := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	noName := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true}
	}
	tests := []struct {
		name string
		dial func(context.Context, string, string) (net.Conn, error)
		says string
	}{
		{"refused", refuse, "dial tcp: connection refused"},
		{"no such name", noName, "lookup nowhere.invalid: no such host"},
		{"silent", silent, "dial 127.0.0.1:11434: no connection within 5s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := NewClient(ClientOptions{Dial: tt.dial})
				_, err := c.Version(t.Context())
				want := &Error{Op: "version", Host: "127.0.0.1:11434", Kind: Unreachable, Message: tt.says}
				var got *Error
				if errors.As(err, &got); cmp.Diff(want, got, ignoreCause) != "" {
					t.Errorf("Version() (-want +got):\n%s", cmp.Diff(want, got, ignoreCause))
				}
				if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Version() = %v, which looks like the caller's own deadline", err)
				}
			})
		})
	}
}

func TestUntrustedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	host, err := ParseHost(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(ClientOptions{Host: host})
	defer c.Close()
	_, err = c.Version(t.Context())
	var untrusted x509.UnknownAuthorityError
	if !errors.Is(err, &Error{Kind: Unreachable}) || !errors.As(err, &untrusted) {
		t.Errorf("Version() = %v, want unreachable for an unknown authority", err)
	}
}

// TestOwnContext: a caller's cancel or deadline comes back as itself, whenever it comes.
func TestOwnContext(t *testing.T) {
	hang := func(parts ...string) func(io.Writer, *http.Request) bool {
		return func(w io.Writer, r *http.Request) bool {
			for _, p := range parts {
				_, _ = io.WriteString(w, p)
			}
			return true // and wait for a request that never comes
		}
	}
	const soon = 20 * time.Second // before any limit of the client's
	tests := []struct {
		name   string
		answer func(io.Writer, *http.Request) bool
	}{
		{"before the answer", hang()},
		{"in the header", hang("HTTP/1.1 200 OK\r\n")},
		{"before the body", hang(ok(""))},
		{"in the body", hang(ok(`{"mod`))},
		{"in a refusal", hang("HTTP/1.1 500 Oops\r\n\r\n", `{"err`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, c := newRawHost(t, tt.answer)
				for op, call := range calls() {
					ctx, cancel := context.WithTimeout(t.Context(), soon)
					checkOwn(t, op, call(ctx, c), context.DeadlineExceeded)
					cancel()
					ctx, cancel = context.WithCancel(t.Context())
					stop := time.AfterFunc(soon, cancel)
					checkOwn(t, op, call(ctx, c), context.Canceled)
					stop.Stop()
					checkOwn(t, op, call(ctx, c), context.Canceled) // before anything is sent
				}
			})
		})
	}
}

func checkOwn(t *testing.T, op string, err, want error) {
	t.Helper()
	var e *Error
	if !errors.Is(err, want) || errors.As(err, &e) {
		t.Errorf("%s = %#v, want %v and no *Error", op, err, want)
	}
	if prefix := op + " on raw: "; err == nil || !strings.HasPrefix(err.Error(), prefix) {
		t.Errorf("%s = %v, want it to begin with %q", op, err, prefix)
	}
}

// TestKeyStaysSecret: no error and no print shows the key.
func TestKeyStaysSecret(t *testing.T) {
	const key = "sk-hunter2"
	o := ClientOptions{APIKey: key}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{o.APIKey, o, &o} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, key) || strings.Contains(got, fmt.Sprintf("%x", key)) {
				t.Errorf("Sprintf(%s) = %s", verb, got)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for _, key := range []Secret{key, key + "\x00"} { // the second cannot be sent
			h := &rawHost{answer: says("HTTP/1.1 500 Oops\r\n\r\n")}
			c := NewClient(ClientOptions{APIKey: key, Dial: h.dial})
			for op, call := range calls() {
				if err := call(t.Context(), c); err == nil || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s = %v, want an error without the key", op, err)
				}
			}
			c.Close()
			h.served.Wait()
		}
	})
}

// TestSecretsOfAHost: what was sent in headers shows in no error, even if the host repeats it,
// and goes nowhere else.
func TestSecretsOfAHost(t *testing.T) {
	secret := map[string]Secret{"Authorization": "Bearer hunter2-long", "X-Key": "open sesame"}
	const said = "hunter2-long and open sesame are wrong"
	synctest.Test(t, func(t *testing.T) {
		for name, answer := range map[string]func(io.Writer, *http.Request) bool{
			"refused":  says("HTTP/1.1 401 Unauthorized\r\n\r\n" + `{"error":"` + said + `"}`),
			"a text":   says("HTTP/1.1 500 Oops\r\n\r\n" + said),
			"success":  says(ok("<title>" + said + "</title>")),
			"redirect": says("HTTP/1.1 302 Found\r\nLocation: http://elsewhere/hunter2-long/open%20sesame\r\n\r\n"),
		} {
			var dialled []string
			h := &rawHost{answer: answer}
			o := ClientOptions{Header: secret, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialled = append(dialled, addr)
				return h.dial(ctx, network, addr)
			}}
			c := NewClient(o)
			_, err := c.Version(t.Context())
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Version, %s: %v; want an error without secrets", name, err)
			}
			if name != "redirect" && (strings.Contains(err.Error(), "sesame") || !strings.Contains(err.Error(), "[redacted]")) {
				t.Errorf("Version, %s: %v; want [redacted] for each secret", name, err)
			}
			if printed := fmt.Sprintf("%+v %#v", o, o); strings.Contains(printed, "hunter2") || strings.Contains(printed, "sesame") {
				t.Errorf("options print as %s, want no secrets", printed)
			}
			for _, addr := range dialled {
				if addr != "127.0.0.1:11434" {
					t.Errorf("Version, %s: dialled %s, want the host only", name, addr)
				}
			}
			c.Close()
			h.served.Wait()
		}
	})
}
