package transport

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// maxIdleWorkers bounds the goroutines that wait for a call to serve.
const maxIdleWorkers = 64

// hub is what the connections of one process share: the MCP server, the limits,
// the goroutines that serve calls, and what mcp-go tells all clients.
type hub struct {
	srv   *server.MCPServer
	o     Options
	id    string // random: request ids of different processes differ by it
	seq   atomic.Uint64
	news  chan mcp.JSONRPCNotification // broadcasts of mcp-go
	ctx   context.Context              // ends with the hub
	stop  context.CancelFunc
	work  sync.WaitGroup // the goroutines that end with ctx
	idle  chan *Call     // to a worker that has nothing to do
	idles atomic.Int64

	audience audience

	mu      sync.Mutex // guards the fields below
	conns   map[*conn]struct{}
	all     load
	callers map[string]*load // those with something in flight
	emptied chan struct{}    // closed when no connection is left; nil: nobody waits
}

// load is what is in flight.
type load struct {
	calls, streams int
	bytes          int64 // of messages being read or handled
}

// newHub starts a hub. The caller must close it.
func newHub(srv *server.MCPServer, o Options) (*hub, error) {
	h := &hub{
		srv: srv, o: o.withDefaults(), id: strings.ToLower(rand.Text()[:8]),
		news:    make(chan mcp.JSONRPCNotification, noteBuffer),
		idle:    make(chan *Call),
		conns:   map[*conn]struct{}{},
		callers: map[string]*load{},
	}
	h.audience.hub = h
	h.ctx, h.stop = context.WithCancel(context.Background())
	if err := srv.RegisterSession(h.ctx, newsSession{h}); err != nil {
		return nil, fmt.Errorf("register session: %w", err)
	}
	h.work.Go(h.broadcast)
	return h, nil
}

// close ends the hub, whose connections have ended. It waits for its goroutines,
// unless a call that takes no notice of its end was left behind.
func (h *hub) close() {
	h.srv.UnregisterSession(h.ctx, h.id)
	h.audience.close()
	h.stop()
	h.mu.Lock()
	left := h.all.calls + h.all.streams
	h.mu.Unlock()
	if left == 0 {
		h.work.Wait()
	}
}

// start serves a call in a goroutine. Goroutines are used again, as they would
// else spend a fifth of a short call on growing their stacks.
func (h *hub) start(call *Call) {
	call.conn.calls.Add(1)
	select {
	case h.idle <- call:
	default:
		h.work.Go(func() { h.serve(call) })
	}
}

func (h *hub) serve(call *Call) {
	for {
		c, size := call.conn, int64(len(call.msg.body))
		call.serve()
		h.giveBack(c.caller, size)
		c.calls.Done()
		if call = h.rest(); call == nil {
			return
		}
	}
}

// rest waits for the next call. It returns nil when the worker is not needed.
func (h *hub) rest() *Call {
	defer h.idles.Add(-1)
	if h.idles.Add(1) > maxIdleWorkers {
		return nil
	}
	select {
	case call := <-h.idle:
		return call
	case <-h.ctx.Done():
		return nil
	}
}

// limit is one that a request would exceed.
type limit struct {
	words   string // what is in flight, and the flag that sets the limit
	callers bool   // it is the caller's own, not the process's
}

// admit counts a call or a stream of a caller, unless that is above a limit.
// Give it back with release.
func (h *hub) admit(caller string, stream bool) *limit {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := h.own(caller)
	if over := h.over(own, stream); over != nil {
		return over
	}
	h.callers[caller] = own
	own.add(stream, 1)
	h.all.add(stream, 1)
	return nil
}

// own is what a caller has in flight. It must be called with mu held.
func (h *hub) own(caller string) *load {
	if own := h.callers[caller]; own != nil {
		return own
	}
	return &load{}
}

// over must be called with mu held.
func (h *hub) over(own *load, stream bool) *limit {
	o := &h.o
	switch {
	case stream && own.streams >= o.MaxStreamsPerCaller:
		return &limit{fmt.Sprintf("%d streams of this caller are open already, which is the limit (--max-streams-per-caller)", own.streams), true}
	case stream && h.all.streams >= o.MaxStreams:
		return &limit{fmt.Sprintf("%d streams are open already, which is the server's limit (--max-streams)", h.all.streams), false}
	case !stream && own.calls >= o.MaxCallsPerCaller:
		return &limit{fmt.Sprintf("%d calls of this caller are in flight already, which is the limit (--max-calls-per-caller)", own.calls), true}
	case !stream && h.all.calls >= o.MaxCalls:
		return &limit{fmt.Sprintf("%d calls are in flight already, which is the server's limit (--max-calls)", h.all.calls), false}
	}
	return nil
}

func (h *hub) release(caller string, stream bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := h.callers[caller]
	own.add(stream, -1)
	h.all.add(stream, -1)
	h.forget(caller, own)
}

// forget drops a caller with nothing in flight. It must be called with mu held.
func (h *hub) forget(caller string, own *load) {
	if *own == (load{}) {
		delete(h.callers, caller)
	}
}

func (l *load) add(stream bool, n int) {
	if stream {
		l.streams += n
	} else {
		l.calls += n
	}
}

// reserve counts bytes of a caller's message, unless that is above a limit: a caller has half
// of the room. giveBack undoes it.
func (h *hub) reserve(caller string, size int64) *limit {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := h.own(caller)
	switch {
	case h.all.bytes+size > h.o.MaxBytes:
		return &limit{fmt.Sprintf("what is in flight already carries as many bytes as the server holds at once (%d)", h.o.MaxBytes), false}
	case own.bytes+size > h.o.MaxBytes/2:
		return &limit{fmt.Sprintf("what is in flight of this caller already carries as many bytes as the server holds of one (%d)", h.o.MaxBytes/2), true}
	}
	h.callers[caller] = own
	own.bytes += size
	h.all.bytes += size
	return nil
}

// giveBack undoes reserve.
func (h *hub) giveBack(caller string, size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := h.callers[caller]
	if own == nil {
		return // there was nothing to reserve
	}
	own.bytes -= size
	h.all.bytes -= size
	h.forget(caller, own)
}

// broadcast passes on what mcp-go tells all sessions.
func (h *hub) broadcast() {
	for {
		select {
		case n := <-h.news:
			for _, c := range h.connections() {
				c.tell(n)
			}
		case <-h.ctx.Done():
			return
		}
	}
}

// disconnect forgets a connection that has ended.
func (h *hub) disconnect(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	if len(h.conns) == 0 && h.emptied != nil {
		close(h.emptied)
		h.emptied = nil
	}
}

// quiet returns a channel that is closed once there is no connection.
func (h *hub) quiet() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.emptied == nil {
		h.emptied = make(chan struct{})
	}
	if len(h.conns) == 0 {
		defer func() { h.emptied = nil }()
		close(h.emptied)
	}
	return h.emptied
}

func (h *hub) connections() []*conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*conn, 0, len(h.conns))
	for c := range h.conns {
		all = append(all, c)
	}
	return all
}
