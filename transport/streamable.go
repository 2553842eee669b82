package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/transport/auth"
)

// post takes one message of Streamable HTTP:
// https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
// https://modelcontextprotocol.io/specification/2026-07-28/basic/transports
func (h *HTTP) post(w http.ResponseWriter, r *http.Request, caller *auth.Caller) {
	p := &postSink{eventSink: newEventSink(w, h.o.WriteTimeout)}
	if p.json, p.events = accepts(r.Header); !p.json && !p.events {
		fail(w, failure{status: http.StatusNotAcceptable, words: "answers are application/json or text/event-stream; accept both"})
		return
	}
	m, free, ok := h.read(w, r, caller)
	if !ok {
		return
	}
	defer free()
	p.free = free
	version := r.Header.Get(mcp.HeaderProtocolVersion)
	if p.modern = mcp.IsModernProtocol(m.protocol) || mcp.IsModernProtocol(version); p.modern {
		h.postModern(p, r, caller, m)
	} else if version != "" && !mcp.IsValidProtocolVersion(version) {
		fail(w, failure{status: http.StatusBadRequest, words: fmt.Sprintf("unsupported protocol version %.40q in %s; supported: %s",
			version, mcp.HeaderProtocolVersion, strings.Join(mcp.ValidProtocolVersions, ", "))})
	} else {
		h.postLegacy(p, r, caller, m)
	}
}

// postModern serves a message of 2026-07-28 or later, which has no session.
func (h *HTTP) postModern(p *postSink, r *http.Request, caller *auth.Caller, m *message) {
	if bad := h.checkHeaders(r.Header, m); bad != nil {
		respond(p.w, p.status(bad.Code), refusal(m.id, bad))
		return
	}
	if m.method == "" || m.id == nil {
		// A cancel too: closing the response is what cancels, and an id here is
		// nobody's in particular.
		p.w.WriteHeader(http.StatusAccepted)
		return
	}
	h.call(p, r, caller, &session{}, m)
}

// checkHeaders compares what the header repeats of a message with the message.
func (h *HTTP) checkHeaders(header http.Header, m *message) *rpcError {
	version := header.Get(mcp.HeaderProtocolVersion)
	switch {
	case header.Get(mcp.HeaderLastEventID) != "":
		return mismatch(mcp.HeaderLastEventID, "streams cannot be resumed: send the request again under a new id")
	case version == "":
		return mismatch(mcp.HeaderProtocolVersion, "missing; it must repeat _meta's")
	case m.protocol == "" && m.id != nil: // notifications need not say
		return invalidParams("_meta[%q] is missing", mcp.MetaKeyProtocolVersion)
	case m.protocol != "" && version != m.protocol:
		return mismatch(mcp.HeaderProtocolVersion, "is not what _meta says")
	case !mcp.IsValidProtocolVersion(version):
		e := mcp.UnsupportedProtocolVersionError{Version: version, Supported: mcp.ValidProtocolVersions}.JSONRPCError().Error
		return &rpcError{e.Code, e.Message, e.Data}
	case m.method == "":
		return nil
	}
	err := mcp.ValidateStandardHeaders(header.Get, version, mcp.MCPMethod(m.method), m.params)
	if err == nil && m.method == string(mcp.MethodToolsCall) {
		err = h.checkParams(header, m)
	}
	if err != nil {
		return &rpcError{Code: mcp.HEADER_MISMATCH, Message: err.Error()}
	}
	return nil
}

func mismatch(header, reason string) *rpcError {
	return &rpcError{Code: mcp.HEADER_MISMATCH, Message: mcp.HeaderMismatchError{Header: header, Reason: reason}.Error()}
}

// checkParams compares the arguments that a tool's schema wants repeated in headers.
func (h *HTTP) checkParams(header http.Header, m *message) error {
	name, _ := mcp.DecodeHeaderValue(header.Get(mcp.HeaderName))
	tool := h.hub.srv.GetTool(name)
	if tool == nil || tool.Tool.RawInputSchema != nil && !bytes.Contains(tool.Tool.RawInputSchema, []byte("x-mcp-header")) {
		return nil
	}
	return mcp.ValidateParamHeadersLookup(func(name string) (string, bool) {
		values := header.Values(name)
		return header.Get(name), len(values) > 0
	}, &tool.Tool, m.params)
}

// postLegacy serves a message of a session.
func (h *HTTP) postLegacy(p *postSink, r *http.Request, caller *auth.Caller, m *message) {
	if m.method == string(mcp.MethodInitialize) && m.id != nil {
		h.call(p, r, caller, &session{}, m)
		return
	}
	s, leave := h.session(p.w, r, caller)
	if s == nil {
		return
	}
	defer leave()
	switch {
	case m.method == "":
		s.answered(*m)
	case m.id != nil:
		h.call(p, r, caller, &s.session, m)
		return
	case m.method == string(mcp.MethodNotificationCancelled):
		s.cancelled(*m)
	}
	p.w.WriteHeader(http.StatusAccepted)
}

// session returns the session that a request names, or nil after it has said why
// there is none.
func (h *HTTP) session(w http.ResponseWriter, r *http.Request, caller *auth.Caller) (s *live, leave func()) {
	id, fault := sessionID(r.Header)
	if fault == nil {
		var err error
		if s, err = h.sessions.enter(id, caller.Name); err == nil {
			return s, func() { h.sessions.leave(id, s) }
		}
		fault = &failure{status: http.StatusNotFound, words: err.Error()}
	}
	fail(w, *fault)
	return nil, nil
}

func sessionID(header http.Header) (string, *failure) {
	ids := header.Values(mcp.HeaderSessionID)
	if len(ids) != 1 || ids[0] == "" {
		return "", &failure{status: http.StatusBadRequest, words: "the header " + mcp.HeaderSessionID +
			" must name one session: initialize first, or use protocol version " + mcp.ProtocolVersion20260728 + ", which has none"}
	}
	return ids[0], nil
}

// call serves one request and writes the response. Whoever closes the request cancels
// the call, in older versions too: the answer has no other way to its client, since
// streams cannot be resumed.
func (h *HTTP) call(p *postSink, r *http.Request, caller *auth.Caller, s *session, m *message) {
	c := h.hub.connect(auth.NewContext(context.Background(), *caller), s, caller.Name, p)
	defer c.end()
	c.single, c.plain = true, !p.events
	var expires time.Time // a call may outlast its credential
	if m.method == string(mcp.MethodSubscriptionsListen) {
		expires = caller.Expires
	}
	defer untilEnd(r, expires, c.abandon)()
	if h.closing.Err() != nil { // since the connection is one, or drain would have refused it
		c.refuse()
	}
	if err := p.unhurried(); err != nil {
		return
	}
	h.begin(c, p, m)
	c.out.run()
	if !p.begun && !p.answered { // the client has cancelled
		p.w.WriteHeader(http.StatusAccepted)
	}
}

// begin takes the request of a connection. It is apart from call because that waits on
// its stack, of which there are thousands.
func (h *HTTP) begin(c *conn, p *postSink, m *message) {
	if !isInline(m.method) {
		p.free() // as it is about to count for itself
	}
	c.request(*m)
	if m.method == string(mcp.MethodInitialize) {
		if known := c.session.known(); known.initialized {
			p.w.Header().Set(mcp.HeaderSessionID, h.sessions.mint(c.caller, known))
		}
	}
}

// get opens the stream of a session's news.
func (h *HTTP) get(w http.ResponseWriter, r *http.Request, caller *auth.Caller) {
	if mcp.IsModernProtocol(r.Header.Get(mcp.HeaderProtocolVersion)) {
		notInModern(w)
		return
	}
	if _, events := accepts(r.Header); !events {
		fail(w, failure{status: http.StatusNotAcceptable, words: "a GET opens a stream of events: accept text/event-stream"})
		return
	}
	s, leave := h.session(w, r, caller)
	if s == nil {
		return
	}
	defer leave()
	release, fault := h.stream(caller)
	if fault != nil {
		fail(w, *fault)
		return
	}
	defer release()
	sink := newEventSink(w, h.o.WriteTimeout)
	c := h.hub.connect(auth.NewContext(context.Background(), *caller), &s.session, caller.Name, &sink)
	defer c.end()
	c.hear()
	h.sessions.tune(s, c)
	defer h.sessions.untune(s, c)
	defer untilEnd(r, caller.Expires, func() { c.out.drop(); c.end() })()
	defer context.AfterFunc(h.closing, c.end)()
	defer context.AfterFunc(c.ctx, c.end)() // a write has failed
	if err := errors.Join(sink.unhurried(), sink.begin(), sink.flush()); err == nil {
		c.out.run()
	}
}

// notInModern refuses the methods that 2026-07-28 has no use for.
func notInModern(w http.ResponseWriter) {
	w.Header().Set("Allow", "POST")
	fail(w, failure{status: http.StatusMethodNotAllowed, words: "protocol version " + mcp.ProtocolVersion20260728 +
		" has no sessions: subscriptions/listen opens a stream"})
}

// stream counts one more open stream of a caller.
func (h *HTTP) stream(caller *auth.Caller) (release func(), fault *failure) {
	if over := h.hub.admit(caller.Name, true); over != nil {
		return nil, over.failure("10")
	}
	return func() { h.hub.release(caller.Name, true) }, nil
}

// untilEnd calls end when the client has left, or at the time that its credential expires, if not zero.
func untilEnd(r *http.Request, expires time.Time, end func()) (stop func()) {
	ctx, cancel := r.Context(), context.CancelFunc(func() {})
	if !expires.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, expires)
	}
	undo := context.AfterFunc(ctx, end)
	return func() { undo(); cancel() }
}

// delete ends a session.
func (h *HTTP) delete(w http.ResponseWriter, r *http.Request, caller *auth.Caller) {
	if mcp.IsModernProtocol(r.Header.Get(mcp.HeaderProtocolVersion)) {
		notInModern(w)
		return
	}
	id, fault := sessionID(r.Header)
	if fault == nil {
		if err := h.sessions.end(id, caller.Name); err != nil {
			fault = &failure{status: http.StatusNotFound, words: err.Error()}
		}
	}
	if fault != nil {
		fail(w, *fault)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
