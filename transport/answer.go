package transport

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
)

// codeBusy is in the range that JSON-RPC and MCP leave to implementations.
const codeBusy = -32000

const (
	busyWords  = "the server is busy: too many calls are in flight; wait for one to end and try again"
	drainWords = "the server is shutting down"
)

// encode returns the answer to the call: resp with the client's own id, and, if
// it is a tool's, with the call's id and the number seq in _meta.
func (c *Call) encode(resp mcp.JSONRPCMessage, seq int) (parts [][]byte) {
	defer func() {
		if cause := recover(); cause != nil { // of a type that marshals itself
			c.conn.log.Error().Str("request", c.id).Interface("panic", cause).Msg("marshalling an answer panicked")
			parts = c.encodeError(c.internalError().Error)
		}
	}()
	if need := c.lacks(resp); need != nil {
		return c.encodeError(need)
	}
	switch r := resp.(type) {
	case mcp.JSONRPCError:
		return c.encodeError(r.Error)
	case mcp.JSONRPCResponse:
		body, err := c.encodeResult(r.Result, seq)
		if err == nil {
			return c.envelope(`"result":`, body...)
		}
		c.conn.log.Error().Str("request", c.id).Err(err).Msg("marshalling an answer")
	}
	return c.encodeError(c.internalError().Error)
}

// encodeResult marshals a result. Raw structured content is spliced in as it is,
// since it can be tens of megabytes that encoding/json would read three times.
func (c *Call) encodeResult(result any, seq int) ([][]byte, error) {
	switch r := result.(type) {
	case *mcp.CallToolResult:
		meta := r.EnsureResultMeta()
		meta.SetMetaField(metaRequestID, c.id)
		meta.SetMetaField(metaSeq, seq)
		// A line break within it would end the message on stdio.
		if raw := r.RawStructuredContent; len(raw) > 0 && bytes.IndexByte(raw, '\n') < 0 {
			small := *r
			small.RawStructuredContent, small.StructuredContent = nil, nil
			b, err := json.Marshal(small)
			if err != nil {
				return nil, err
			}
			return [][]byte{b[:len(b)-1], []byte(`,"structuredContent":`), raw, []byte("}")}, nil
		}
	case mcp.SubscriptionsListenResult:
		r.EnsureResultMeta().SetSubscriptionID(c.msg.id)
	}
	b, err := json.Marshal(result)
	return [][]byte{b}, err
}

func (c *Call) encodeError(details any) [][]byte { return encodeError(c.msg.id, details) }

// encodeError returns a JSON-RPC error; without an id it says null.
func encodeError(id json.RawMessage, details any) [][]byte {
	b, err := json.Marshal(details)
	if err != nil { // of error data that does not marshal
		b = fmt.Appendf(nil, `{"code":%d,"message":"internal error"}`, mcp.INTERNAL_ERROR)
	}
	return envelope(id, `"error":`, b)
}

func (c *Call) envelope(key string, body ...[]byte) [][]byte { return envelope(c.msg.id, key, body...) }

func envelope(id json.RawMessage, key string, body ...[]byte) [][]byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	head := make([]byte, 0, 64+len(id))
	head = append(head, `{"jsonrpc":"2.0","id":`...)
	head = append(append(append(head, id...), ','), key...)
	return append(append([][]byte{head}, body...), []byte("}"))
}

// internalError is all that a client learns of a fault of ours; the log has the
// rest under the same request id.
func (c *Call) internalError() mcp.JSONRPCError {
	return mcp.JSONRPCError{Error: mcp.JSONRPCErrorDetails{
		Code: mcp.INTERNAL_ERROR, Message: fmt.Sprintf("internal error (request %s)", c.id),
	}}
}

// busy is the answer to a request that a limit refuses: a tool error for a
// tools/call, so that the model reads it.
func (c *Call) busy(limit int) [][]byte {
	if c.msg.method != string(mcp.MethodToolsCall) {
		return c.encodeError(&rpcError{Code: codeBusy, Message: busyWords})
	}
	result := c.conn.hub.o.Busy(c.id, limit)
	if mcp.IsModernProtocol(c.msg.protocol) {
		result.SetResultType(mcp.ResultTypeComplete)
	}
	return c.encode(mcp.JSONRPCResponse{Result: result}, 1)
}
