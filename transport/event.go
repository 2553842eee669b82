package transport

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// eventSink writes a connection's messages as server-sent events:
// https://html.spec.whatwg.org/multipage/server-sent-events.html
type eventSink struct {
	w       http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration // for one write to a client that does not read
	begun   bool
}

func newEventSink(w http.ResponseWriter, limit time.Duration) eventSink {
	return eventSink{w: w, control: http.NewResponseController(w), limit: limit}
}

// unhurried takes away the limits of the whole exchange. With one on reading it would
// look as if the client had left, with one on writing HTTP/2 would cut the stream.
func (s *eventSink) unhurried() error {
	return errors.Join(s.control.SetReadDeadline(time.Time{}), s.control.SetWriteDeadline(time.Time{}))
}

// begin sends the head of the stream.
func (s *eventSink) begin() error {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the events back
	s.begun = true
	s.w.WriteHeader(http.StatusOK)
	return nil
}

var (
	eventHead = []byte("event: message\ndata: ")
	eventEnd  = []byte("\n\n")
	comment   = []byte(":\n\n")
)

func (s *eventSink) write(it item) error {
	if !s.begun {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if err := s.send(append([][]byte{eventHead}, it.parts...)); err != nil {
		return err
	}
	it.done()
	_, err := s.w.Write(eventEnd)
	return err
}

// event sends one event that is not a message.
func (s *eventSink) event(name, data string) error {
	if err := s.send([][]byte{[]byte("event: " + name + "\ndata: " + data), eventEnd}); err != nil {
		return err
	}
	return s.flush()
}

// writeSize is how much is written under one deadline, in bytes. A client that reads,
// however slowly, gets more time with each.
const writeSize = 256 << 10

// send writes parts, each within its time.
func (s *eventSink) send(parts [][]byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.limit)); err != nil {
		return err
	}
	for _, part := range parts {
		for len(part) > writeSize {
			if _, err := s.w.Write(part[:writeSize]); err != nil {
				return err
			}
			if err := s.control.SetWriteDeadline(time.Now().Add(s.limit)); err != nil {
				return err
			}
			part = part[writeSize:]
		}
		if _, err := s.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// flush also takes the deadline away: of HTTP/2 it would end the stream even when
// nothing is being written.
func (s *eventSink) flush() error {
	if !s.begun {
		return nil
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	return s.control.SetWriteDeadline(time.Time{})
}

func (s *eventSink) ping() error {
	if !s.begun {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if err := s.send([][]byte{comment}); err != nil {
		return err
	}
	return s.flush()
}

// postSink answers a POST: with plain JSON if the answer is all there is to say, else
// with events.
type postSink struct {
	eventSink
	json, events bool   // what the client accepts
	modern       bool   // the protocol is 2026-07-28 or later
	answered     bool   // with plain JSON
	free         func() // gives back what the request held
}

func (s *postSink) write(it item) error {
	switch {
	case s.begun || s.events && !(it.last && s.json):
		return s.eventSink.write(it)
	case it.last:
		return s.plain(it)
	}
	return nil // a client that takes no events gets the answer alone
}

func (s *postSink) ping() error {
	if s.events {
		return s.eventSink.ping()
	}
	return nil
}

// plain writes the whole response.
func (s *postSink) plain(it item) error {
	s.answered = true
	size := 0
	for _, part := range it.parts {
		size += len(part)
	}
	h := s.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(size))
	s.w.WriteHeader(s.status(it.code))
	end := len(it.parts) - 1
	if err := s.send(it.parts[:end]); err != nil {
		return err
	}
	it.done()
	_, err := s.w.Write(it.parts[end])
	return err
}

// status maps the code of a JSON-RPC error to HTTP's:
// https://modelcontextprotocol.io/specification/2026-07-28/basic/transports
func (s *postSink) status(code int) int {
	switch code {
	case mcp.PARSE_ERROR, mcp.INVALID_REQUEST:
		return http.StatusBadRequest
	case mcp.HEADER_MISMATCH, mcp.UNSUPPORTED_PROTOCOL_VERSION, mcp.MISSING_REQUIRED_CLIENT_CAPABILITY:
		return http.StatusBadRequest
	case mcp.INVALID_PARAMS:
		if s.modern {
			return http.StatusBadRequest
		}
	case mcp.METHOD_NOT_FOUND:
		if s.modern {
			return http.StatusNotFound
		}
	}
	return http.StatusOK
}
