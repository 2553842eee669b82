package transport

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

const (
	// sessionLife is how long a session id is good: many clients do not
	// initialize anew on a 404, so it outlasts what they are used for.
	sessionLife = 7 * 24 * time.Hour
	// idleLife is how long subscriptions wait for a client that has no stream open.
	idleLife = 10 * time.Minute
	// maxLive and maxEnded bound the sessions that something is known of. The
	// oldest of the ended is forgotten first.
	maxLive, maxEnded = 16_384, 10_000
)

// A session id is signed and not stored: version, process, nonce, end and what
// the client can do, then the MAC over all that and the caller.
const (
	idVersion  = 1
	idMAC      = 16
	idProtocol = len(mcp.ProtocolVersion20251125)
	idSize     = 1 + 4 + 12 + 8 + 1 + idProtocol + idMAC
)

// What a client can do, as bits of its session id.
const (
	canForm = 1 << iota
	canURL
)

// sessions mints session ids and keeps what is alive under them. A session that
// has nothing in flight, no stream and no subscriptions takes no room, so that
// any process with the key can serve it.
type sessions struct {
	key     []byte
	process [4]byte

	mu    sync.Mutex // guards the fields below
	live  map[string]*live
	ended map[string]struct{}
	order []string // of ended, oldest first
	swept time.Time
}

// live is a session that something is known of here.
type live struct {
	session
	// The fields below are guarded by sessions.mu.
	users int       // requests and streams
	since time.Time // when users became 0
	news  *conn     // the open stream of GET
	ended bool      // the client has ended it
}

// newSessions makes a table of sessions. Without a key it makes a random one, with
// which ids die with the process.
func newSessions(key []byte) *sessions {
	s := &sessions{key: slices.Clone(key), live: map[string]*live{}, ended: map[string]struct{}{}}
	if len(key) == 0 {
		s.key = make([]byte, 32)
		rand.Read(s.key)
	}
	rand.Read(s.process[:])
	return s
}

// mint returns the id of a new session of a caller.
func (s *sessions) mint(caller string, c client) string {
	b := make([]byte, 0, idSize)
	b = append(append(b, idVersion), s.process[:]...)
	b = b[:len(b)+12]
	rand.Read(b[len(b)-12:])
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().Add(sessionLife).Unix()))
	var can byte
	if canElicit(c.can, mcp.ElicitationModeForm) {
		can |= canForm
	}
	if canElicit(c.can, mcp.ElicitationModeURL) {
		can |= canURL
	}
	b = append(append(b, can), c.protocol...)
	return base64.RawURLEncoding.EncodeToString(s.sign(b, caller))
}

// sign appends the MAC of b for a caller.
func (s *sessions) sign(b []byte, caller string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte("ollama-mcp session id\x00"))
	h.Write(b)
	h.Write([]byte(caller))
	return append(b, h.Sum(nil)[:idMAC]...)
}

var errNoSession = errors.New("no such session: it has ended, or another server began it; initialize again without a session id")

// verify returns what the client of an id said of itself. The error is the same
// whether the id is malformed, forged, another caller's, expired or ended.
func (s *sessions) verify(id, caller string) (client, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(id) // skips line breaks
	if err != nil || len(id) != base64.RawURLEncoding.EncodedLen(idSize) || len(b) != idSize || b[0] != idVersion {
		return client{}, errNoSession
	}
	said := b[: idSize-idMAC : idSize-idMAC]
	if !hmac.Equal(s.sign(bytes.Clone(said), caller), b) {
		return client{}, errNoSession
	}
	rest := said[1+4+12:]
	if time.Now().Unix() >= int64(binary.BigEndian.Uint64(rest)) {
		return client{}, errNoSession
	}
	c := client{initialized: true, protocol: string(rest[9:])}
	if can := rest[8]; can != 0 {
		c.can.Elicitation = &mcp.ElicitationCapability{}
		if can&canForm != 0 {
			c.can.Elicitation.Form = new(struct{})
		}
		if can&canURL != 0 {
			c.can.Elicitation.URL = new(struct{})
		}
	}
	return c, nil
}

// enter returns the session of an id, for a request or a stream of its caller.
// Give it back with leave.
func (s *sessions) enter(id, caller string) (*live, error) {
	c, err := s.verify(id, caller)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ended := s.ended[id]; ended {
		return nil, errNoSession
	}
	l := s.live[id]
	if l == nil {
		s.sweep()
		l = &live{session: session{client: c}}
		s.live[id] = l
	}
	l.users++
	return l, nil
}

func (s *sessions) leave(id string, l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.users--
	l.since = time.Now()
	if l.users == 0 && s.live[id] == l && len(l.subscriptions()) == 0 {
		delete(s.live, id)
	}
}

// sweep drops sessions whose clients have left their subscriptions behind. It
// must be called with mu held.
func (s *sessions) sweep() {
	now := time.Now()
	if now.Sub(s.swept) < time.Minute && len(s.live) < maxLive {
		return
	}
	s.swept = now
	for id, l := range s.live {
		if l.users == 0 && (now.Sub(l.since) > idleLife || len(s.live) >= maxLive) {
			delete(s.live, id)
		}
	}
}

// end ends a session for good: its calls and its stream too.
func (s *sessions) end(id, caller string) error {
	l, err := s.enter(id, caller)
	if err != nil {
		return err
	}
	defer s.leave(id, l)
	s.mu.Lock()
	news := l.news
	l.ended = true
	delete(s.live, id)
	s.ended[id] = struct{}{}
	if s.order = append(s.order, id); len(s.order) > maxEnded {
		delete(s.ended, s.order[0])
		s.order = s.order[1:]
	}
	s.mu.Unlock()
	if news != nil {
		news.end()
	}
	l.stop()
	return nil
}

// tune makes c the one stream that news of a session goes to: what is told on two
// would be told twice, and the older one may be dead without having noticed.
func (s *sessions) tune(l *live, c *conn) {
	s.mu.Lock()
	before, ended := l.news, l.ended
	l.news = c
	s.mu.Unlock()
	if before != nil {
		before.end()
	}
	if ended {
		c.end()
	}
}

// untune undoes tune when the stream ends.
func (s *sessions) untune(l *live, c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.news == c {
		l.news = nil
	}
}
