package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/rs/zerolog"
)

// maxSubscriptions bounds the resources that one connection is told of.
const maxSubscriptions = 1024

// errDrained is the cause of the context of a call that did not end within Drain.
var errDrained = errors.New(drainWords)

// hub is what the connections of one process share.
type hub struct {
	srv   *server.MCPServer
	o     Options
	seq   atomic.Uint64 // of requests
	bytes atomic.Int64  // of messages being handled
}

// conn is one client's connection: what one stream of messages in and one
// ordered stream of messages out have in common.
type conn struct {
	hub   *hub
	id    string
	log   zerolog.Logger
	out   *outbox
	news  chan mcp.JSONRPCNotification // broadcasts of mcp-go
	ctx   context.Context              // of all calls
	stop  context.CancelCauseFunc
	calls sync.WaitGroup
	work  sync.WaitGroup // the goroutines that end with ctx
	idle  chan *Call     // to a worker that has nothing to do

	mu        sync.Mutex // guards the fields below
	client    client     // as of initialize
	ready     bool       // notifications/initialized has come
	draining  bool
	inFlight  map[string]*Call // by the client's id, as spelt
	streams   map[*Call]bool   // listen streams: whether acknowledged
	running   int              // other calls that count
	uris      map[string]struct{}
	questions map[string]chan<- message // to the client, by our id
	asked     uint64
	deaf      chan struct{} // closed when the client can answer nothing any more
}

// connect starts a connection that writes to s. The values of ctx, not its end,
// reach the calls. The caller must call drain.
func (h *hub) connect(ctx context.Context, s sink) (*conn, error) {
	c := &conn{
		hub: h, id: strings.ToLower(rand.Text()[:8]), log: h.o.Log,
		news:      make(chan mcp.JSONRPCNotification, noteBuffer),
		inFlight:  map[string]*Call{},
		streams:   map[*Call]bool{},
		uris:      map[string]struct{}{},
		questions: map[string]chan<- message{},
		idle:      make(chan *Call),
		deaf:      make(chan struct{}),
	}
	c.ctx, c.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := h.srv.RegisterSession(c.ctx, newsSession{c}); err != nil {
		return nil, fmt.Errorf("register session: %w", err)
	}
	c.out = newOutbox(s, &h.o, func(err error) { c.stop(fmt.Errorf("write: %w", err)) })
	go c.out.run() // drain waits for it
	c.work.Go(c.broadcast)
	return c, nil
}

// receive takes one message. It blocks while the client leaves too much unread,
// and for requests that later messages depend on, but never for a tool. It must
// not be called concurrently, nor after drain has returned.
func (c *conn) receive(body []byte) {
	if c.out.room(c.ctx); c.ctx.Err() != nil {
		return
	}
	m, err := parse(body)
	switch {
	case err != nil:
		c.out.put(item{parts: encodeError(m.id, err)})
	case m.method == "":
		c.answered(m)
	case m.id != nil:
		c.request(m)
	case m.method == string(mcp.MethodNotificationCancelled):
		c.cancelled(m)
	default:
		c.notified(m)
	}
}

// request starts a call, or answers at once why not.
func (c *conn) request(m message) {
	call := c.newCall(m)
	inline := isInline(m.method)
	refusal := c.admit(call, inline)
	switch {
	case refusal != nil:
		call.cancel(nil)
		c.out.put(item{call: call, parts: refusal()})
	case inline:
		call.serve()
	}
}

// start serves a call in a goroutine. Goroutines are used again, as they would
// else spend a fifth of a short call on growing their stacks.
func (c *conn) start(call *Call) {
	c.calls.Add(1)
	select {
	case c.idle <- call:
	default:
		c.work.Go(func() { c.serve(call) })
	}
}

func (c *conn) serve(call *Call) {
	for {
		size := int64(len(call.msg.body))
		call.serve()
		c.hub.bytes.Add(-size)
		c.calls.Done()
		select {
		case call = <-c.idle:
		case <-c.ctx.Done():
			return
		}
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
	call.id = fmt.Sprintf("%s/%d", c.id, c.hub.seq.Add(1))
	call.ctx, call.cancel = context.WithCancelCause(c.ctx)
	call.progress.token = m.token
	call.progress.requestID = call.id
	call.progress.quiet = time.Now()
	c.mu.Lock()
	call.client = c.client
	c.mu.Unlock()
	return call
}

// notified passes a notification to mcp-go, before the next message is read.
func (c *conn) notified(m message) {
	call := c.newCall(m)
	defer call.cancel(nil)
	call.handle()
	call.stopNotes()
	if m.method == string(mcp.MethodNotificationInitialized) {
		c.mu.Lock()
		c.ready = true
		c.mu.Unlock()
	}
}

// cancelled ends the call that the client names, if there is one. Only its own
// connection's calls can be meant.
func (c *conn) cancelled(m message) {
	c.mu.Lock()
	call := c.inFlight[string(m.cancels)]
	delete(c.inFlight, string(m.cancels))
	c.mu.Unlock()
	if call != nil {
		call.stop()
	}
}

// subscribe makes updates of a resource go to this connection.
func (c *conn) subscribe(uri string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.uris) >= maxSubscriptions {
		return fmt.Errorf("no more than %d subscriptions: unsubscribe from a resource first", maxSubscriptions)
	}
	c.uris[uri] = struct{}{}
	return nil
}

func (c *conn) unsubscribe(uri string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.uris, uri)
}

func (c *conn) subscriptions() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.uris))
}

// listen lets broadcasts reach an acknowledged stream.
func (c *conn) listen(call *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, open := c.streams[call]; open {
		c.streams[call] = true
	}
}

// broadcast passes on what mcp-go tells all sessions, until the calls are stopped.
func (c *conn) broadcast() {
	for {
		select {
		case n := <-c.news:
			c.tell(n)
		case <-c.ctx.Done():
			return
		}
	}
}

// tell queues a broadcast for each of the client's streams that asked for it,
// and, if the client has run initialize, for the connection. It does not wait
// for room: equal broadcasts merge.
func (c *conn) tell(n mcp.JSONRPCNotification) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, subscribed := c.uris[updatedURI(n)]
	if c.ready && (subscribed || n.Method != mcp.MethodNotificationResourceUpdated) {
		c.out.put(item{parts: [][]byte{encodeNote(n, nil)}, news: true})
	}
	for call, acknowledged := range c.streams {
		if filter, _ := call.SubscriptionFilter(); acknowledged && wants(filter, n) {
			c.out.put(item{call: call, parts: [][]byte{encodeNote(n, call.msg.id)}, news: true})
		}
	}
}
