package transport

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// errCancelled is the cause of a call's context after the client cancelled it.
var errCancelled = errors.New("cancelled by the client")

// Call is one request being handled, and the session that mcp-go sees for it:
// [server.ClientSessionFromContext] returns it inside a handler. Its exported
// methods may be called from several goroutines and after the call has ended.
type Call struct {
	conn     *conn
	id       string // <connection>/<number>
	msg      message
	ctx      context.Context
	cancel   context.CancelCauseFunc
	silent   atomic.Bool // cancelled by the client: nothing more may be sent
	progress progress
	handled  chan struct{} // closed when HandleMessage has returned
	pumping  sync.WaitGroup
	admitted bool // it counts; set before it starts, and unset by release
	attends  bool // a listen stream is part of the audience; guarded by conn.mu

	mu     sync.Mutex // guards the fields below
	client client
	notes  chan mcp.JSONRPCNotification
	filter mcp.SubscriptionFilter // of a listen stream
	fault  *rpcError              // the answer if the handler fails
	ended  bool
}

// RequestID identifies the request in logs, in _meta and to what lies behind:
// unlike the client's own id it is unique across connections.
func (c *Call) RequestID() string { return c.id }

// WantsProgress tells whether the client hears of what is reported.
func (c *Call) WantsProgress() bool { return c.progress.token != nil }

// Report says how far the call is. It never blocks and never fails: reports
// merge until one may be sent, of done, total, phase and message only the last
// is kept, and deltas are joined. total 0 means unknown. The deltas of a call,
// joined, are its text. message words the state in one line; it is called, if at
// all, later and possibly several times, from another goroutine, and must be
// quick; nil means none. What a call reports after its handler has returned is
// dropped, and so is everything when the client sent no progressToken.
func (c *Call) Report(done, total float64, phase, delta string, message func() string) {
	if c.progress.token == nil {
		return
	}
	if c.progress.report(done, total, phase, delta, message) {
		c.conn.out.poke()
	}
}

// Fail says what the answer is if the request fails, for a handler about to return an
// error: mcp-go calls them all internal errors, with the text of the error.
func (c *Call) Fail(code int, message string, data any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = &rpcError{code, message, data}
}

// failed is the answer to a request that mcp-go says has failed.
func (c *Call) failed(said mcp.JSONRPCErrorDetails) *rpcError {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		return c.fault
	}
	return &rpcError{said.Code, said.Message, said.Data}
}

// serve handles the request and queues its answer.
func (c *Call) serve() {
	defer c.cancel(nil)
	if c.progress.token != nil {
		c.conn.out.watch(c)
	}
	resp := c.handle()
	c.msg.body = nil
	c.stopNotes()
	c.conn.out.unwatch(c)
	last, seq, answer := c.progress.end(time.Now())
	if last != nil {
		c.conn.out.put(item{call: c, parts: [][]byte{last.encode()}})
	}
	it := c.encode(resp, seq)
	c.waitUntil(answer)
	c.conn.forget(c)
	c.answer(it)
}

// answer queues the last that the call has to say.
func (c *Call) answer(it item) {
	c.conn.out.put(it)
	if c.conn.single {
		c.conn.out.close()
	}
}

// waitUntil returns at a time, or when the call is cancelled.
func (c *Call) waitUntil(t time.Time) {
	d := time.Until(t)
	if t.IsZero() || d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}

// handle runs the request. A panic is one failed call.
func (c *Call) handle() (resp mcp.JSONRPCMessage) {
	defer func() {
		if cause := recover(); cause != nil {
			c.conn.log.Error().Str("request", c.id).Str("method", c.msg.method).
				Interface("panic", cause).Bytes("stack", debug.Stack()).Msg("a call panicked")
			e := c.internalError()
			resp = mcp.JSONRPCError{Error: mcp.JSONRPCErrorDetails{Code: e.Code, Message: e.Message}}
		}
	}()
	srv := c.conn.hub.srv
	return srv.HandleMessage(srv.WithContext(c.ctx, c), c.msg.body)
}

// stop cancels the call at the client's wish: nothing more is sent for it.
func (c *Call) stop() {
	c.silent.Store(true)
	c.cancel(errCancelled)
}

// release gives back what the call holds of the connection's limits, and its id,
// which the client may use again as soon as it has the answer. It is for the outbox's
// goroutine, which may call it again.
func (c *Call) release() { c.conn.release(c) }

func (c *Call) isListen() bool { return c.msg.method == string(mcp.MethodSubscriptionsListen) }

var _ interface {
	server.SessionWithClientInfo
	server.SessionWithProtocolVersion
	server.SessionWithElicitation
	server.SessionWithSubscriptionFilter
	server.SessionWithResourceSubscriptionsErr
} = (*Call)(nil)
