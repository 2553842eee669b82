package ollama

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// rawHost is a host that answers with any bytes whatever, in memory, so that it works
// in a synctest bubble. Its connections end with the test.
type rawHost struct {
	answer func(w io.Writer, r *http.Request) (keep bool) // keep reads the next request from the connection
	served sync.WaitGroup

	mu    sync.Mutex // guards dials
	dials int
}

// newRawHost makes a host and a client of it.
func newRawHost(t testing.TB, answer func(w io.Writer, r *http.Request) bool) (*rawHost, *Client) {
	h := &rawHost{answer: answer}
	c := NewClient(ClientOptions{Name: "raw", Dial: h.dial})
	t.Cleanup(func() {
		c.Close()
		h.served.Wait()
	})
	return h, c
}

// says answers every request with the same bytes and closes the connection.
func says(answer string) func(io.Writer, *http.Request) bool {
	return func(w io.Writer, _ *http.Request) bool {
		_, _ = io.WriteString(w, answer)
		return false
	}
}

// ok is an answer of status 200 that ends with the connection.
func ok(body string) string { return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body }

func (h *rawHost) dial(context.Context, string, string) (net.Conn, error) {
	h.mu.Lock()
	h.dials++
	h.mu.Unlock()
	ours, theirs := net.Pipe()
	h.served.Go(func() {
		defer ours.Close()
		in := bufio.NewReader(ours)
		for keep := true; keep; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			keep = h.answer(ours, r)
		}
	})
	return theirs, nil
}

func (h *rawHost) dialed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dials
}
