package transport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"
)

// codeRefused is in the range that JSON-RPC and MCP leave to implementations.
const codeRefused = -32000

const drainWords = "the server is shutting down: try again in a moment"

// encode returns the answer to the call: resp with the client's own id, and, if
// it is a tool's, with the call's id and the number seq in _meta.
func (c *Call) encode(resp mcp.JSONRPCMessage, seq int) (it item) {
	defer func() {
		if cause := recover(); cause != nil { // of a type that marshals itself
			c.conn.log.Error().Str("request", c.id).Interface("panic", cause).Msg("marshalling an answer panicked")
			it = *c.refused(c.internalError())
		}
	}()
	if need := c.lacks(resp); need != nil {
		return *c.refused(need)
	}
	switch r := resp.(type) {
	case mcp.JSONRPCError:
		return *c.refused(c.failed(r.Error))
	case mcp.JSONRPCResponse:
		body, err := c.encodeResult(r.Result, seq)
		if err == nil {
			return item{call: c, last: true, parts: envelope(c.msg.id, `"result":`, body...)}
		}
		c.conn.log.Error().Str("request", c.id).Err(err).Msg("marshalling an answer")
	}
	return *c.refused(c.internalError())
}

// encodeResult marshals a result. A tool's structured content goes beside the rest: it
// can be tens of megabytes, and what marshals within a result is read twice more.
func (c *Call) encodeResult(result any, seq int) ([][]byte, error) {
	switch r := result.(type) {
	case *mcp.CallToolResult:
		meta := r.EnsureResultMeta()
		meta.SetMetaField(metaRequestID, c.id)
		meta.SetMetaField(metaSeq, seq)
		parts, err := structured(r)
		if err != nil {
			return nil, err
		}
		if parts == nil {
			break
		}
		small := *r
		small.RawStructuredContent, small.StructuredContent = nil, nil
		b, err := small.MarshalJSON()
		if err != nil {
			return nil, err
		}
		return slices.Concat([][]byte{b[:len(b)-1], []byte(`,"structuredContent":`)}, parts, [][]byte{[]byte("}")}), nil
	case mcp.SubscriptionsListenResult:
		r.EnsureResultMeta().SetSubscriptionID(c.msg.id)
	}
	b, err := json.Marshal(result)
	return [][]byte{b}, err
}

// inParts is structured content that gives its own JSON, in parts of which large ones
// need no copy.
type inParts interface{ JSONParts() ([][]byte, error) }

// structured returns a tool's structured content as JSON, nil if it has none.
func structured(r *mcp.CallToolResult) (parts [][]byte, err error) {
	content := r.StructuredContent
	if p, ok := content.(inParts); ok {
		parts, err = p.JSONParts()
	} else if len(r.RawStructuredContent) > 0 {
		parts, content = [][]byte{r.RawStructuredContent}, r.RawStructuredContent
	}
	if content == nil || err != nil {
		return nil, err
	}
	if parts != nil && !slices.ContainsFunc(parts, hasLineBreak) {
		return parts, nil
	}
	b, err := json.Marshal(content)
	return [][]byte{b}, err
}

// hasLineBreak tells of what would end the message on stdio, and an event's data.
func hasLineBreak(b []byte) bool {
	return bytes.IndexByte(b, '\n') >= 0 || bytes.IndexByte(b, '\r') >= 0
}

// refused is the answer that is an error.
func (c *Call) refused(err *rpcError) *item {
	it := refusal(c.msg.id, err)
	it.call = c
	return &it
}

// refusal is the answer to a request with an id, as spelt, or with none that could
// be read.
func refusal(id json.RawMessage, err *rpcError) item {
	b, cause := json.Marshal(err)
	if cause != nil { // of error data that does not marshal
		b = fmt.Appendf(nil, `{"code":%d,"message":"internal error"}`, mcp.INTERNAL_ERROR)
	}
	return item{last: true, code: err.Code, parts: envelope(id, `"error":`, b)}
}

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
func (c *Call) internalError() *rpcError {
	return &rpcError{Code: mcp.INTERNAL_ERROR, Message: fmt.Sprintf("internal error (request %s)", c.id)}
}

// busy is the answer to a request that a limit refuses: a tool error for a
// tools/call, so that the model reads it.
func (c *Call) busy(words string) *item {
	if c.msg.method != string(mcp.MethodToolsCall) {
		return c.refused(&rpcError{Code: codeRefused, Message: "the server is busy: " + words})
	}
	result := c.conn.hub.o.Busy(c.id, words)
	if mcp.IsModernProtocol(c.msg.protocol) {
		result.SetResultType(mcp.ResultTypeComplete)
	}
	it := c.encode(mcp.JSONRPCResponse{Result: result}, 1)
	return &it
}
