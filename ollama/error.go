package ollama

import (
	"fmt"
	"strings"
	"time"
)

// Kind says what sort of failure an [Error] is. Callers branch on it; the text of
// an error is for people only.
type Kind string

// The kinds of failure of a call to one host.
const (
	Unreachable  Kind = "unreachable"   // no connection: refused, DNS, TLS, connect timeout, reset before an answer
	NotOllama    Kind = "not_ollama"    // something answered that is not Ollama's API: HTML, a redirect, a text 404, garbage
	Unauthorized Kind = "unauthorized"  // 401 or 403: credentials, Ollama's Host and Origin check, a cloud account
	MissingModel Kind = "missing_model" // the model is not on this host
	Invalid      Kind = "invalid"       // 400: Ollama refused the request
	Unsupported  Kind = "unsupported"   // 400: the model cannot do this: tools, thinking, insert, chat, embed
	TooLong      Kind = "too_long"      // 400: the prompt or input does not fit the context and truncation is off
	Busy         Kind = "busy"          // 429 or 503: ask again, after RetryAfter when it is set
	LoadFailed   Kind = "load_failed"   // 500: the model could not be loaded: out of memory, runner died, broken file
	Failed       Kind = "failed"        // any other 5xx, or an error line in a stream
	Stalled      Kind = "stalled"       // nothing came for the time allowed: of an answer that had begun, or of one that needs no model
	Cut          Kind = "cut"           // the answer ended before Ollama said that it was done
)

// Error is the one error type of this package. A caller's own cancel or deadline is
// not an Error: it comes back as the context's error, wrapped.
type Error struct {
	Op         string        // what was asked: "generate", "tags", …
	Host       string        // the host's configured name
	Kind       Kind          // what sort of failure; never empty
	Status     int           // HTTP status, 0 when none came
	RetryAfter time.Duration // when to ask again, 0 when Ollama did not say
	Message    string        // Ollama's own words, cleaned and bounded; may be empty
	Err        error         // the cause, if any
}

// Error gives one line: operation, host, kind, status and the words that came with it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s: %s", e.Op, e.Host, strings.ReplaceAll(string(e.Kind), "_", " "))
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	switch {
	case e.Message != "":
		b.WriteString(": " + e.Message)
	case e.Err != nil:
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an *Error of the same Kind whose other fields are
// unset, so that errors.Is(err, &Error{Kind: Busy}) asks for a kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && *t == Error{Kind: e.Kind}
}
