package transport

import (
	"github.com/mark3labs/mcp-go/mcp"
)

// maxListen bounds the request of a listen stream, in bytes: it is kept as long as the
// stream is open, and counts all that time as being handled.
const maxListen = 64 << 10

// admit counts a call and starts it, or leaves that to the caller if it is
// inline. Else it returns the answer that refuses it.
func (c *conn) admit(call *Call, inline bool) (refused *item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return call.refused(&rpcError{Code: codeRefused, Message: drainWords})
	}
	if call.isListen() && len(call.msg.body) > maxListen {
		return call.refused(invalidParams("a request for a stream has %d bytes at most", maxListen))
	}
	if !c.session.enter(call) {
		return call.refused(invalid("a request with this id is in flight"))
	}
	if inline {
		call.admitted = true
		return nil
	}
	if over := c.hub.admit(c.caller, call.isListen()); over != nil {
		c.session.leave(call)
		return call.busy(over.words)
	}
	if over := c.hub.reserve(c.caller, int64(len(call.msg.body))); over != nil {
		c.hub.release(c.caller, call.isListen())
		c.session.leave(call)
		return call.busy(over.words)
	}
	call.admitted = true
	if call.isListen() {
		if c.streams == nil {
			c.streams = map[*Call]bool{}
		}
		c.streams[call] = false
	}
	c.hub.start(call)
	return nil
}

// forget ends a call's part in broadcasts, and keeps what an initialize has learnt.
func (c *conn) forget(call *Call) {
	if call.isListen() {
		c.mu.Lock()
		c.streams[call] = false
		if call.attends {
			call.attends = false
			c.hub.audience.add(-1)
		}
		c.mu.Unlock()
	}
	if call.msg.method != string(mcp.MethodInitialize) || mcp.IsModernProtocol(call.msg.protocol) {
		return
	}
	if known := call.knownClient(); known.initialized {
		c.session.learn(known)
	}
}

// release makes the id of a call free and gives back what admit has counted.
func (c *conn) release(call *Call) {
	if !call.admitted {
		return
	}
	call.admitted = false
	c.session.leave(call)
	if isInline(call.msg.method) {
		return
	}
	if call.isListen() {
		c.mu.Lock()
		delete(c.streams, call)
		c.mu.Unlock()
	}
	c.hub.release(c.caller, call.isListen())
}
