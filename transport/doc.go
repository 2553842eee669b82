// Package transport carries MCP messages between clients and a
// [github.com/mark3labs/mcp-go/server.MCPServer], over stdio, Streamable HTTP and
// HTTP+SSE. It owns what every way in shares: request ids, one ordered queue of
// output per stream, progress, cancelling, limits and draining; and, over HTTP,
// sessions, Host and Origin, and health. It must not know a tool, a model or an
// Ollama host.
//
// A connection (conn) is one ordered stream to a client: all of stdio, one /sse
// stream, one POST or GET of /mcp. It starts a [Call] for each request. The Call is
// the session that mcp-go sees, so nothing of one request can reach another. What a
// call has to say goes to its connection's outbox, which one goroutine writes to a
// sink: lines on stdio, JSON or server-sent events over HTTP. What the connections
// of one client share is a session; what those of the process share is a hub.
package transport
