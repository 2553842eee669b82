package transport

import (
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// admit counts a call and starts it, or leaves that to the caller if it is
// inline. Else it returns how to answer it.
func (c *conn) admit(call *Call, inline bool) (refusal func() [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := string(call.msg.id)
	if c.inFlight[id] != nil {
		return func() [][]byte { return call.encodeError(invalid("a request with this id is in flight")) }
	}
	if c.draining {
		return func() [][]byte { return call.encodeError(&rpcError{Code: codeBusy, Message: drainWords}) }
	}
	if inline {
		c.inFlight[id] = call
		return nil
	}
	limit := c.hub.o.MaxCalls
	if call.isListen() && len(c.streams) >= limit || !call.isListen() && c.running >= limit {
		return func() [][]byte { return call.busy(limit) }
	}
	size := int64(len(call.msg.body))
	if c.hub.bytes.Add(size) > c.hub.o.MaxBytes {
		c.hub.bytes.Add(-size)
		return func() [][]byte { return call.busy(0) }
	}
	c.inFlight[id] = call
	if call.isListen() {
		c.streams[call] = false
	} else {
		c.running++
	}
	c.start(call)
	return nil
}

// forget ends a call's part in broadcasts, and keeps what an initialize has learnt.
func (c *conn) forget(call *Call) {
	known := call.knownClient()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, open := c.streams[call]; open {
		c.streams[call] = false
	}
	if call.msg.method == string(mcp.MethodInitialize) && known.initialized {
		c.client = known
	}
}

// release makes the id of a call free and gives back what admit has counted.
func (c *conn) release(call *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id := string(call.msg.id); c.inFlight[id] == call { // not one that came after a cancel
		delete(c.inFlight, id)
	}
	switch {
	case isInline(call.msg.method):
	case call.isListen():
		delete(c.streams, call)
	default:
		c.running--
	}
}

// drain ends the connection: streams at once, calls when they are done, or
// Drain later, or when they take no notice of that for as long again. Then it
// waits, for as long again at most, until what is queued was written; it reports
// whether it was. New requests are refused meanwhile.
func (c *conn) drain() (written bool) {
	c.mu.Lock()
	c.draining = true
	for call := range c.streams {
		call.cancel(errDrained)
	}
	c.mu.Unlock()

	limit := c.hub.o.Drain
	ended := make(chan struct{})
	go func() { c.calls.Wait(); close(ended) }() // ends with the last call
	all := within(limit, ended)
	c.stop(errDrained)
	if all = all || within(limit, ended); all {
		c.work.Wait()
	} else {
		c.log.Error().Dur("after", limit).Msg("leaving calls behind that do not end when cancelled")
	}
	c.hub.srv.UnregisterSession(c.ctx, c.id)
	c.out.close()
	return within(limit, c.out.done)
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
