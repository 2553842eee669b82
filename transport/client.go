package transport

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
)

// maxSubscriptions bounds the resources that one session is told of, and maxURI the
// address of one, in bytes.
const maxSubscriptions, maxURI = 1024, 2048

// session is what all streams of one client share: what it said of itself, the
// ids in use, what it wants to hear of and what it was asked. The zero value is
// the session of a client that has said nothing.
type session struct {
	mu        sync.Mutex       // guards the fields below
	client    client           // as of initialize
	inFlight  map[string]*Call // by the client's id, as spelt
	uris      map[string]struct{}
	audience  *audience                 // set by the first stream that hears
	ears      int                       // streams that hear
	listens   bool                      // it is part of the audience
	questions map[string]chan<- message // to the client, by our id
	asked     uint64
	over      bool          // the client has ended it
	deaf      chan struct{} // closed when the client can answer nothing any more; nil: never
}

func (s *session) known() client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

func (s *session) learn(c client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = c
}

// enter registers a call under its client's id, unless a call has that already.
func (s *session) enter(call *Call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := string(call.msg.id)
	if s.inFlight[id] != nil {
		return false
	}
	if s.inFlight == nil {
		s.inFlight = map[string]*Call{}
	}
	s.inFlight[id] = call
	if s.over {
		call.stop()
	}
	return true
}

// leave makes the id of a call free.
func (s *session) leave(call *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := string(call.msg.id); s.inFlight[id] == call { // not one that came after a cancel
		delete(s.inFlight, id)
	}
}

// cancelled ends the call that the client names, if there is one. Only its own
// session's calls can be meant.
func (s *session) cancelled(m message) {
	s.mu.Lock()
	call := s.inFlight[string(m.cancels)]
	delete(s.inFlight, string(m.cancels))
	s.mu.Unlock()
	if call != nil {
		call.stop()
	}
}

// subscribe makes updates of a resource go to this session.
func (s *session) subscribe(uri string) error {
	if len(uri) > maxURI {
		return fmt.Errorf("the uri has more than %d bytes", maxURI)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.uris) >= maxSubscriptions {
		return fmt.Errorf("no more than %d subscriptions: unsubscribe from a resource first", maxSubscriptions)
	}
	if s.uris == nil {
		s.uris = map[string]struct{}{}
	}
	s.uris[uri] = struct{}{}
	s.settle()
	return nil
}

func (s *session) unsubscribe(uri string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uris, uri)
	s.settle()
}

// hear counts n more streams that broadcasts to the session go to.
func (s *session) hear(n int, a *audience) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.audience = a
	s.ears += n
	s.settle()
}

// settle makes the session part of the audience, or not. It must be called with mu held.
func (s *session) settle() {
	listens := s.ears > 0 && len(s.uris) > 0
	switch {
	case listens && !s.listens:
		s.audience.add(1)
	case !listens && s.listens:
		s.audience.add(-1)
	}
	s.listens = listens
}

func (s *session) subscriptions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.uris))
}

// question registers where the answer to a request of ours goes, and returns
// the request's id.
func (s *session) question(answer chan<- message) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	id = strconv.FormatUint(s.asked, 10)
	if s.questions == nil {
		s.questions = map[string]chan<- message{}
	}
	s.questions[id] = answer
	return id
}

func (s *session) unasked(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.questions, id)
}

// answered gives a message without a method to whoever waits for it. Answers
// that nobody waits for, late ones for example, are dropped.
func (s *session) answered(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := string(m.id)
	if answer := s.questions[id]; answer != nil {
		answer <- m // of capacity 1, and used once
		delete(s.questions, id)
	}
}

// stop cancels all calls of the session, also those that are about to begin.
func (s *session) stop() {
	s.mu.Lock()
	s.over = true
	calls := slices.Collect(maps.Values(s.inFlight))
	s.mu.Unlock()
	for _, call := range calls {
		call.stop()
	}
}
