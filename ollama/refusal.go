package ollama

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxWords   = 500 // characters of Ollama's own words in an Error
	maxExcerpt = 200 // characters of anything else
)

func (x *exchange) error(k Kind, message string) *Error {
	return &Error{Op: x.op, Host: x.client.name, Kind: k, Message: message}
}

// fail says why an exchange ended before its answer did.
func (x *exchange) fail(err error) error {
	if x.caller.Err() != nil {
		return fmt.Errorf("%s on %s: %w", x.op, x.client.name, x.caller.Err())
	}
	if context.Cause(x.ctx) == errStalled {
		waited := x.stall
		if !x.begun {
			waited = x.client.quick
		}
		return x.error(Stalled, fmt.Sprintf("nothing came for %v", waited))
	}
	kind := NotOllama // it answered, but not with HTTP
	var network net.Error
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &plain) && string(plain.RecordHeader[:]) == "HTTP/":
		err = errors.New("it speaks http, not https")
	case !x.answered.Load():
		kind = Unreachable
	case x.body != nil, errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		kind = Cut
	}
	message := clean(err.Error(), maxExcerpt)
	if kind == Cut {
		message = "the answer ended before it was complete"
	}
	e := x.error(kind, message)
	e.Err = err
	return e
}

// refused reads an answer whose status is not 200.
func (x *exchange) refused(res *http.Response) error {
	x.begun = true // by a refusal nothing is loaded first
	body, err := io.ReadAll(io.LimitReader(x, maxRefusal))
	if err != nil && (x.caller.Err() != nil || len(body) == 0) {
		return x.fail(err)
	}
	body = x.client.hide(body)
	said, ours := words(body)
	if !ours {
		said = excerpt(body)
	}
	if res.StatusCode == http.StatusInternalServerError && len(bytes.TrimSpace(body)) == 0 {
		said, ours = crashed, true
	}
	if to := res.Header.Get("Location"); to != "" && res.StatusCode/100 == 3 {
		said, ours = "redirects to "+withoutQuery(x.client.secrets.Replace(to)), false
	}
	e := x.error(kindOf(res.StatusCode, said, ours), said)
	e.Status = res.StatusCode
	e.RetryAfter = retryAfter(res.Header.Get("Retry-After"))
	return e
}

// hide takes the host's secrets out of what it says: an error goes to callers.
func (c *Client) hide(body []byte) []byte { return []byte(c.secrets.Replace(string(body))) }

// crashed is what an empty answer of status 500 says: gin gives it where a handler panics
// (github.com/gin-gonic/gin, recovery.go).
const crashed = "it crashed on this request; its own log says why"

// unexpected says what is wrong with a body of status 200 that is not what was asked for.
func (x *exchange) unexpected(body []byte) error {
	body = x.client.hide(body)
	if said, ours := words(body); ours {
		e := x.error(kindOf(http.StatusOK, said, true), said)
		e.Status = http.StatusOK
		return e
	}
	if truncated(body) {
		return x.fail(io.ErrUnexpectedEOF)
	}
	e := x.error(NotOllama, excerpt(body))
	e.Status = http.StatusOK
	return e
}

// truncated reports whether b is the beginning of a JSON object, or nothing at all.
func truncated(b []byte) bool {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return true
	}
	var whole json.RawMessage
	err := json.NewDecoder(bytes.NewReader(b)).Decode(&whole)
	return b[0] == '{' && errors.Is(err, io.ErrUnexpectedEOF)
}

// words finds what Ollama says in {"error": …}: a text, or an object on the routes that
// pass on what a runner or ollama.com said.
func words(body []byte) (said string, ours bool) {
	var a struct {
		Error     json.RawMessage `json:"error"`
		SigninURL string          `json:"signin_url"`
	}
	if json.Unmarshal(body, &a) != nil || len(a.Error) == 0 || string(a.Error) == "null" {
		return "", false
	}
	var object struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(a.Error, &said) != nil {
		_ = json.Unmarshal(a.Error, &object) // an object without a message is shown as it is
		said = cmp.Or(object.Message, string(a.Error))
	}
	if a.SigninURL != "" {
		said += ", sign in at " + a.SigninURL
	}
	return clean(said, maxWords), true
}

// kindOf sorts a refusal. Ollama has no error codes: where the status does not say it,
// its words are all there is. This is the one place that reads them.
func kindOf(status int, said string, ours bool) Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Unauthorized // an empty 403 is Ollama's Host and Origin check
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return Busy
	case !ours: // a proxy, a web page, another route table
		return NotOllama
	}
	if k := kindOfWords(strings.ToLower(said)); k != "" {
		return k
	}
	switch {
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return NotOllama
	case status/100 == 4:
		return Invalid
	}
	return Failed
}

// kindOfWords reads the words of Ollama 0.17.4 and 0.34.4, in lower case.
func kindOfWords(said string) Kind {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if !strings.Contains(said, p) {
				return false
			}
		}
		return true
	}
	switch {
	case has("model", "not found"), // server/routes.go
		has("pull model manifest", "does not exist"), // server/images.go, the registry's 404
		has("open ", "manifests"):                    // server/images.go, a push of what is not installed
		return MissingModel
	case has("unauthorized"), has("not authorized"): // server/images.go, server/upload.go
		return Unauthorized
	case has("pull model manifest: 4"): // server/images.go, a registry's own words
		return Invalid
	case has("pull model manifest"), has("max retries exceeded"), has("digest mismatch"): // server/images.go, server/download.go
		return Failed
	case has("maximum pending requests"), // server/sched.go, ErrMaxQueue
		said == "context canceled": // server/download.go, release: it joined a transfer that was being given up
		return Busy
	case has("exceed", "context") && !has("deadline"), has("prompt is too long"): // server/routes.go, llm/llama_server.go
		return TooLong
	case has("must be of type"), has("invalid format"), has("invalid json schema"), // api/types.go, llm/server.go, with status 500
		has("unsupported quantization type"): // fs/ggml/type.go, with status 500
		return Invalid
	case has("memory"), has("allocat"), has("failed to reserve"), // llm/status.go
		has("runner", "terminated"), has("runner", "stopped"), has("no longer running"), has("timed out waiting for"), // llm/server.go
		has("llama-server", "terminated"), has("llama-server", "start"), // llm/llama_server.go
		has("load", "model"): // llm/server.go, llm/status.go
		return LoadFailed
	case has("not support"), has("only supported"): // server/images.go, server/routes.go, server/create.go, runner/ollamarunner
		return Unsupported
	}
	return ""
}

// retryAfter reads RFC 9110, section 10.2.3: seconds or a date.
func retryAfter(v string) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

var title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)

// excerpt shows what answered in Ollama's place: of a web page, the title at most.
func excerpt(body []byte) string {
	body = bytes.TrimSpace(body[:min(len(body), maxRefusal)])
	switch m := title.FindSubmatch(body); {
	case m != nil:
		return fmt.Sprintf("a web page, %q", clean(html.UnescapeString(string(m[1])), maxExcerpt-20))
	case bytes.HasPrefix(body, []byte("<")):
		return "a web page"
	}
	return clean(string(body), maxExcerpt)
}

func withoutQuery(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return "somewhere else"
	}
	return clean((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), maxExcerpt)
}

// clean makes one line of at most n characters, without anything that does not print.
func clean(s string, n int) string {
	fields := strings.FieldsFunc(strings.ToValidUTF8(s, " "), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
	s = strings.Join(fields, " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
