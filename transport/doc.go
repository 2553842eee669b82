// Package transport carries MCP messages between clients and a
// [github.com/mark3labs/mcp-go/server.MCPServer]. It owns what every way in
// shares: request ids, one ordered queue of output per connection, progress,
// cancelling, limits and draining. It must not know a tool, a model or an
// Ollama host.
//
// A connection (conn) reads envelopes and starts a [Call] for each request. The
// Call is the session that mcp-go sees, so nothing of one request can reach
// another. What a call has to say goes to the connection's outbox, which one
// goroutine writes to a sink: lines on stdio.
package transport
