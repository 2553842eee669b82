package transport

import (
	"context"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
)

// News is a change that those clients are told of who subscribed to it.
type News struct {
	URI  string                     // of the resource that has changed; "" is the list of resources
	Meta map[string]any             // goes along as _meta
	May  func(context.Context) bool // whether the caller in ctx may hear of it; nil: everybody may
}

func (n News) notification() mcp.JSONRPCNotification {
	note := mcp.JSONRPCNotification{JSONRPC: mcp.JSONRPC_VERSION}
	note.Method = mcp.MethodNotificationResourcesListChanged
	note.Params.Meta = n.Meta
	if n.URI != "" {
		note.Method = mcp.MethodNotificationResourceUpdated
		note.Params.AdditionalFields = map[string]any{"uri": n.URI}
	}
	return note
}

// tell queues news for the streams of clients that asked for it.
func (h *hub) tell(n News) {
	note := n.notification()
	for _, c := range h.connections() {
		if c.listens() && (n.May == nil || n.May(c.ctx)) {
			c.tell(note)
		}
	}
}

// audience counts the streams that want to hear of resources, and runs Options.Watch
// while there is one.
type audience struct {
	hub  *hub
	mu   sync.Mutex // guards the fields below
	size int
	over bool               // the hub is closing
	stop context.CancelFunc // ends the watch that runs; nil: none does
	knew chan struct{}      // of the latest watch: closed when changes from then on will be told
	done chan struct{}      // of the latest watch: closed when it has ended
}

// add counts n more streams.
func (a *audience) add(n int) {
	if a.hub.o.Watch == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.size += n
	switch {
	case a.size > 0 && a.stop == nil && !a.over:
		a.start()
	case a.size == 0 && a.stop != nil:
		a.stop()
		a.stop = nil
	}
}

// start must be called with mu held. Watches do not overlap.
func (a *audience) start() {
	ctx, stop := context.WithCancel(a.hub.ctx)
	before, knew, done := a.done, make(chan struct{}), make(chan struct{})
	a.stop, a.knew, a.done = stop, knew, done
	a.hub.work.Go(func() {
		defer close(done)
		defer stop()
		if before != nil {
			<-before
		}
		news := a.hub.o.Watch(ctx)
		close(knew)
		for n := range news {
			a.hub.tell(n)
		}
	})
}

// attentive waits until changes from now on will be told, or ctx ends: a client that is
// told that it has subscribed counts on that.
func (a *audience) attentive(ctx context.Context) {
	a.mu.Lock()
	knew := a.knew
	if a.stop == nil {
		knew = nil
	}
	a.mu.Unlock()
	if knew == nil {
		return
	}
	select {
	case <-knew:
	case <-ctx.Done():
	}
}

// close lets no more watch begin.
func (a *audience) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
}
