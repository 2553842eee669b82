package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/rs/zerolog"
)

// Why the context of a call ended, when it was not the client that cancelled it.
var (
	errDrained = errors.New(drainWords)
	errGone    = errors.New("the client has left")
)

// conn is one ordered stream of messages to a client, and the calls whose
// answers go there: all that a client of stdio or HTTP+SSE sends, one POST or
// GET of Streamable HTTP.
type conn struct {
	hub     *hub
	session *session
	caller  string // whose limits count
	log     zerolog.Logger
	out     *outbox
	ctx     context.Context // of all calls
	stop    context.CancelCauseFunc
	calls   sync.WaitGroup
	single  bool // the stream ends with the answer to its one request
	plain   bool // and holds nothing else

	mu       sync.Mutex // guards the fields below
	hears    bool       // broadcasts go here
	ended    bool
	draining bool
	streams  map[*Call]bool // listen streams: whether acknowledged
}

// connect makes a connection of a session that writes to s. The values of ctx,
// not its end, reach the calls. The caller must run its outbox and then end it.
func (h *hub) connect(ctx context.Context, s *session, caller string, to sink) *conn {
	c := &conn{hub: h, session: s, caller: caller, log: h.o.Log}
	c.ctx, c.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	c.out = newOutbox(to, &h.o, func(err error) { c.stop(fmt.Errorf("write: %w", err)) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[c] = struct{}{}
	return c
}

// take takes one message. It blocks while the client leaves too much unread, and
// for requests that later messages depend on, but never for a tool. It must not
// be called concurrently.
func (c *conn) take(m message) {
	if c.out.room(c.ctx); c.ctx.Err() != nil {
		return
	}
	switch {
	case m.method == "":
		c.session.answered(m)
	case m.id != nil:
		c.request(m)
	case m.method == string(mcp.MethodNotificationCancelled):
		c.session.cancelled(m)
	default:
		c.notified(m)
	}
}

// request starts a call, or answers at once why not.
func (c *conn) request(m message) {
	call := c.newCall(m)
	inline := isInline(m.method)
	if refused := c.admit(call, inline); refused != nil {
		call.cancel(nil)
		call.answer(*refused)
	} else if inline {
		call.serve()
	}
}

// isInline tells whether a method is quick, and, but for ping, changes what
// later messages of the connection mean, so that these must wait.
func isInline(method string) bool {
	switch mcp.MCPMethod(method) {
	case mcp.MethodInitialize, mcp.MethodPing, mcp.MethodSetLogLevel,
		mcp.MethodResourcesSubscribe, mcp.MethodResourcesUnsubscribe:
		return true
	}
	return false
}

func (c *conn) newCall(m message) *Call {
	// Else they would keep the whole message alive until the answer was written.
	m.id, m.token = bytes.Clone(m.id), bytes.Clone(m.token)
	call := &Call{conn: c, msg: m, handled: make(chan struct{})}
	call.id = fmt.Sprintf("%s/%d", c.hub.id, c.hub.seq.Add(1))
	call.ctx, call.cancel = context.WithCancelCause(c.ctx)
	call.progress.token = m.token
	call.progress.requestID = call.id
	call.progress.quiet = time.Now()
	call.client = c.session.known()
	return call
}

// notified passes a notification to mcp-go, before the next message is read.
func (c *conn) notified(m message) {
	call := c.newCall(m)
	defer call.cancel(nil)
	call.handle()
	call.stopNotes()
	if m.method == string(mcp.MethodNotificationInitialized) {
		c.hear()
	}
}

// hear lets what concerns all of the client's calls go to this connection.
func (c *conn) hear() {
	c.mu.Lock()
	if !c.hears && !c.ended {
		c.hears = true
		c.session.hear(1, &c.hub.audience)
	}
	c.mu.Unlock()
	c.hub.audience.attentive(c.ctx)
}

// unhear undoes hear for good.
func (c *conn) unhear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.hears {
		c.hears = false
		c.session.hear(-1, &c.hub.audience)
	}
}

// attend makes a listen stream part of the audience if it wants news of resources. It
// returns when the stream's client can count on hearing it.
func (c *conn) attend(call *Call) {
	filter, _ := call.SubscriptionFilter()
	if !filter.ResourcesListChanged && len(filter.ResourceSubscriptions) == 0 {
		return
	}
	c.mu.Lock()
	if _, open := c.streams[call]; open && !call.attends {
		call.attends = true
		c.hub.audience.add(1)
	}
	c.mu.Unlock()
	c.hub.audience.attentive(call.ctx)
}

// listens tells whether any broadcast could go here.
func (c *conn) listens() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hears || len(c.streams) > 0
}

// listen queues the acknowledgement of a stream and lets broadcasts follow it: in one
// step, as its client may cause one as soon as it has the acknowledgement.
func (c *conn) listen(call *Call, acknowledged item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.put(acknowledged)
	if _, open := c.streams[call]; open {
		c.streams[call] = true
	}
}

// tell queues a broadcast for each of the client's streams that asked for it,
// and, if the client has run initialize, for the connection. It does not wait
// for room: equal broadcasts merge.
func (c *conn) tell(n mcp.JSONRPCNotification) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hears {
		all := []mcp.JSONRPCNotification{n}
		if n.Method == mcp.MethodNotificationResourceUpdated {
			all = c.hub.spelt(n, c.session.subscriptions())
		}
		for _, n := range all {
			c.out.put(item{parts: [][]byte{encodeNote(n, nil)}, news: true})
		}
	}
	for call, acknowledged := range c.streams {
		if !acknowledged {
			continue
		}
		filter, _ := call.SubscriptionFilter()
		for _, n := range c.hub.wanted(filter, n) {
			c.out.put(item{call: call, parts: [][]byte{encodeNote(n, call.msg.id)}, news: true})
		}
	}
}

// abandon stops all calls, whose answers nobody will read.
func (c *conn) abandon() {
	c.stop(errGone)
	c.out.drop()
}

// refuse lets no more calls begin, and ends the listen streams.
func (c *conn) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	for call := range c.streams {
		call.cancel(errDrained)
	}
}

// drain ends the connection: streams at once, calls when they are done, or
// Drain later, or when they take no notice of that for as long again. Then it
// waits, for as long again at most, until what is queued was written; it reports
// whether it was. New requests are refused meanwhile.
func (c *conn) drain() (written bool) {
	c.refuse()
	limit := c.hub.o.Drain
	ended := make(chan struct{})
	go func() { c.calls.Wait(); close(ended) }() // ends with the last call
	all := within(limit, ended)
	c.stop(errDrained)
	if all = all || within(limit, ended); !all {
		c.log.Error().Dur("after", limit).Msg("leaving calls behind that do not end when cancelled")
	}
	c.end()
	return within(limit, c.out.done)
}

// end lets the outbox end when all that is queued was written.
func (c *conn) end() {
	c.unhear()
	c.hub.disconnect(c)
	c.stop(errDrained)
	c.out.close()
}

// within waits for done, but no longer than d.
func within(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
