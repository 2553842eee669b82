package transport

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"

	"ollama-mcp/transport/auth"
)

// failure is an answer of HTTP's, to a request that came to no call.
type failure struct {
	status int
	words  string
	again  string // Retry-After, in seconds
}

// failure is the answer of HTTP's to a request beyond the limit.
func (l *limit) failure(again string) *failure {
	if l.callers {
		return &failure{http.StatusTooManyRequests, l.words, again}
	}
	return &failure{http.StatusServiceUnavailable, l.words, again}
}

// read takes the one message of a POST, or answers why it cannot. Its bytes count as
// held until free is called, which may be done twice.
func (h *HTTP) read(w http.ResponseWriter, r *http.Request, caller *auth.Caller) (m *message, free func(), ok bool) {
	body, fault := h.readBody(w, r, caller)
	if fault != nil {
		fail(w, *fault)
		return m, nil, false
	}
	free = sync.OnceFunc(func() { h.hub.giveBack(caller.Name, int64(cap(body))) })
	parsed, bad := parse(body)
	if bad == nil {
		bad = repeated(r.Header)
	}
	if bad != nil {
		free()
		respond(w, http.StatusBadRequest, refusal(parsed.id, bad))
	}
	return &parsed, free, bad == nil
}

// repeated refuses a header of MCP's that is there more than once: what stands in front
// of the server could go by another of its values than the server does.
func repeated(header http.Header) *rpcError {
	for name, values := range header {
		if len(values) > 1 && strings.HasPrefix(name, "Mcp-") {
			return mismatch(name, "is there more than once")
		}
	}
	return nil
}

// readBody returns a body, in memory of its own. Its capacity is reserved for the caller.
func (h *HTTP) readBody(w http.ResponseWriter, r *http.Request, caller *auth.Caller) ([]byte, *failure) {
	if !isJSON(r.Header) {
		return nil, &failure{status: http.StatusUnsupportedMediaType, words: "a message must come as Content-Type: application/json, without Content-Encoding"}
	}
	size := r.ContentLength
	if size < 0 { // not known
		size = int64(h.hub.o.MaxMessage)
	}
	if size > int64(h.hub.o.MaxMessage) {
		return nil, tooLarge(w, h.hub.o.MaxMessage)
	}
	return h.readAll(w, r.Body, int(size), caller.Name)
}

// firstRead is the memory that a message begins with. It grows with what has come: a
// client that sends slowly holds little.
const firstRead = 4 << 10

// readAll reads a body of at most the given size.
func (h *HTTP) readAll(w http.ResponseWriter, body io.Reader, size int, caller string) (b []byte, fault *failure) {
	defer func() {
		if fault != nil {
			h.hub.giveBack(caller, int64(cap(b)))
		}
	}()
	for {
		if len(b) == cap(b) {
			grown := min(max(2*cap(b), firstRead), size+1) // one more shows the end
			if over := h.hub.reserve(caller, int64(grown-cap(b))); over != nil {
				w.Header().Set("Connection", "close")
				return b, over.failure("1")
			}
			b = append(make([]byte, 0, grown), b...)
		}
		n, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > size:
			return b, tooLarge(w, size)
		case err == io.EOF:
			return b, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.Header().Set("Connection", "close")
			return b, &failure{status: http.StatusRequestTimeout, words: fmt.Sprintf("the message did not arrive within %s", h.o.ReadTimeout)}
		case err != nil:
			return b, &failure{status: http.StatusBadRequest, words: "the message broke off"}
		}
	}
}

func tooLarge(w http.ResponseWriter, limit int) *failure {
	w.Header().Set("Connection", "close") // the rest is not read
	return &failure{status: http.StatusRequestEntityTooLarge, words: fmt.Sprintf("the message is larger than %d bytes", limit)}
}

// isJSON tells whether the body is one that no HTML form can send.
func isJSON(h http.Header) bool {
	types := h.Values("Content-Type")
	if len(types) != 1 || len(h.Values("Content-Encoding")) > 0 {
		return false
	}
	if types[0] == "application/json" {
		return true
	}
	kind, parameters, err := mime.ParseMediaType(types[0])
	charset, named := parameters["charset"]
	return err == nil && kind == "application/json" && (!named || strings.EqualFold(charset, "utf-8"))
}

// accepts tells which kinds of answer a client takes. None named is any.
func accepts(h http.Header) (json, events bool) {
	values := h.Values("Accept")
	if len(values) == 0 {
		return true, true
	}
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			kind, _, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "application/json", "application/*":
				json = true
			case "text/event-stream", "text/*":
				events = true
			case "*/*":
				json, events = true, true
			}
		}
	}
	return json, events
}
