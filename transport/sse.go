package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"

	"ollama-mcp/transport/auth"
)

// stream is an open stream of HTTP+SSE, the transport of 2024-11-05 that much of what
// is in use still speaks: messages come as POSTs of their own, answers go to the stream.
type stream struct {
	conn *conn
	turn sync.Mutex // held while a message is taken
}

// streams are the open streams of HTTP+SSE.
type streams struct {
	mu   sync.Mutex // guards the field below
	open map[string]*stream
}

var errStream = errors.New("no such stream: it has ended; open /sse again")

func (s *streams) add(id string, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[id] = st
}

func (s *streams) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, id)
}

// find returns the stream of an id, if the caller has opened it.
func (s *streams) find(id, caller string) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.open[id]; st != nil && st.conn.caller == caller {
		return st, nil
	}
	return nil, errStream
}

// sse opens a stream: https://modelcontextprotocol.io/specification/2024-11-05/basic/transports
func (h *HTTP) sse(w http.ResponseWriter, r *http.Request, caller *auth.Caller) {
	if _, events := accepts(r.Header); !events {
		fail(w, failure{status: http.StatusNotAcceptable, words: "this is a stream of events: accept text/event-stream"})
		return
	}
	release, fault := h.stream(caller)
	if fault != nil {
		fail(w, *fault)
		return
	}
	defer release()
	sink := newEventSink(w, h.o.WriteTimeout)
	s := &session{deaf: make(chan struct{})}
	c := h.hub.connect(auth.NewContext(context.Background(), *caller), s, caller.Name, &sink)
	id := rand.Text()
	h.streams.add(id, &stream{conn: c})
	ending, end := context.WithCancel(context.Background())
	defer end()
	context.AfterFunc(ending, func() { // lets the outbox end
		h.streams.remove(id)
		close(s.deaf)
		c.drain()
	})
	defer untilEnd(r, caller.Expires, func() { c.abandon(); end() })()
	defer context.AfterFunc(h.closing, end)()
	defer context.AfterFunc(c.ctx, end)() // a write has failed
	if err := errors.Join(sink.unhurried(), sink.begin(), sink.event("endpoint", h.o.Path+"/message?sessionId="+id)); err != nil {
		c.abandon()
	}
	c.out.run()
}

// message takes a message for an open stream, from the caller that has opened it.
func (h *HTTP) message(w http.ResponseWriter, r *http.Request, caller *auth.Caller) {
	st, err := h.streams.find(r.URL.Query().Get("sessionId"), caller.Name)
	if err != nil {
		fail(w, failure{status: http.StatusNotFound, words: err.Error()})
		return
	}
	m, free, ok := h.read(w, r, caller)
	if !ok {
		return
	}
	defer free()
	st.turn.Lock()
	defer st.turn.Unlock()
	st.conn.take(*m)
	w.WriteHeader(http.StatusAccepted)
}
