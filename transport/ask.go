package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// errDeaf says that a client can answer no question any more.
var errDeaf = errors.New("the client has closed its side of the connection")

// RequestElicitation asks the user through the client and waits for the answer.
// It is called by mcp-go, for clients older than 2026-07-28; newer ones are
// asked by a result. Unless the client has said that it can do this kind of
// elicitation, and takes more than the answer to its request, the error is [server.ErrElicitationNotSupported].
func (c *Call) RequestElicitation(ctx context.Context, request mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	if c.conn.plain || !canElicit(c.GetClientCapabilities(), request.Params.Mode) {
		return nil, fmt.Errorf("asking the user: the client: %w", server.ErrElicitationNotSupported)
	}
	raw, err := c.ask(ctx, mcp.MethodElicitationCreate, request.Params)
	if err != nil {
		return nil, fmt.Errorf("asking the user: %w", err)
	}
	result := new(mcp.ElicitationResult)
	if err := json.Unmarshal(raw, result); err != nil {
		return nil, fmt.Errorf("asking the user: decoding the answer: %w", err)
	}
	return result, nil
}

// CanElicit tells whether the client can put a form to its user in this call. It can
// always be asked by a result, and by a request where it takes more than the answer.
func (c *Call) CanElicit() bool {
	return canElicit(c.GetClientCapabilities(), mcp.ElicitationModeForm) &&
		(!c.conn.plain || mcp.IsModernProtocol(c.msg.protocol))
}

// canElicit tells whether a client can put questions of a mode to its user. A
// client that names no mode means forms:
// https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation
func canElicit(can mcp.ClientCapabilities, mode string) bool {
	e := can.Elicitation
	if e == nil {
		return false
	}
	if mode == mcp.ElicitationModeURL {
		return e.URL != nil
	}
	return e.Form != nil || e.URL == nil
}

// lacks returns the error that stands in for a result which asks a client of
// 2026-07-28 or later for what it has not said it can do; nil if it does not.
// mcp-go leaves this check to its user.
func (c *Call) lacks(resp mcp.JSONRPCMessage) *rpcError {
	r, _ := resp.(mcp.JSONRPCResponse)
	result, _ := r.Result.(*mcp.CallToolResult)
	if !result.NeedsInput() {
		return nil
	}
	can := c.GetClientCapabilities()
	for _, request := range result.InputRequests {
		var capability string
		switch {
		case request.Elicitation != nil && !canElicit(can, request.Elicitation.Mode):
			capability = "elicitation"
		case request.Sampling != nil && can.Sampling == nil:
			capability = "sampling"
		case request.Method == mcp.MethodListRoots && can.Roots == nil:
			capability = "roots"
		default:
			continue
		}
		return &rpcError{
			Code:    mcp.MISSING_REQUIRED_CLIENT_CAPABILITY,
			Message: mcp.MissingRequiredClientCapabilityError{Capability: capability}.Error(),
			Data:    map[string]any{"requiredCapabilities": map[string]any{capability: struct{}{}}},
		}
	}
	return nil
}

// ask sends the client a request and returns the result it answers with.
func (c *Call) ask(ctx context.Context, method mcp.MCPMethod, params any) (json.RawMessage, error) {
	encoded, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	answer := make(chan message, 1)
	asked := c.conn.session
	id := asked.question(answer)
	defer asked.unasked(id)
	head := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":%q,"params":`, id, method)
	c.conn.out.put(item{call: c, parts: [][]byte{head, encoded, []byte("}")}})
	select {
	case m := <-answer:
		if m.err != nil {
			return nil, fmt.Errorf("the client refused: %.200q", m.err)
		}
		return m.result, nil
	case <-asked.deaf:
		return nil, errDeaf
	case <-ctx.Done():
		c.conn.out.put(item{call: c, parts: [][]byte{fmt.Appendf(nil,
			`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`, id)}})
		return nil, context.Cause(ctx)
	}
}
