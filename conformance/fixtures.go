// Package conformance is the server that the official conformance suite of MCP
// wants to find: tools, prompts and resources whose names and answers the suite's
// scenarios prescribe (https://github.com/modelcontextprotocol/conformance). The
// program serves them in place of its own behind a hidden flag, so that the suite
// tries the real transports. None of it touches Ollama.
package conformance

import (
	"context"
	"encoding/json"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Options are what a server must be made with for [Register].
func Options() []server.ServerOption {
	return []server.ServerOption{
		server.WithToolCapabilities(true),
		server.WithPromptCapabilities(true),
		server.WithResourceCapabilities(true, true),
		server.WithCompletions(),
		server.WithPromptCompletionProvider(completer{}),
	}
}

// Register adds the fixtures to a server made with [Options].
func Register(s *server.MCPServer) {
	s.AddTools(tools()...)
	s.AddPrompts(prompts()...)
	addResources(s)
}

// noArguments is the schema of a tool without any.
const noArguments = `{"type":"object"}`

// tool is a tool whose schema is given as JSON.
func tool(name, description, schema string, handler server.ToolHandlerFunc) server.ServerTool {
	return server.ServerTool{
		Tool:    mcp.NewToolWithRawSchema(name, description, json.RawMessage(schema)),
		Handler: handler,
	}
}

// completer completes the arguments of prompts.
type completer struct{}

// CompletePromptArgument offers words for every argument.
func (completer) CompletePromptArgument(context.Context, string, mcp.CompleteArgument, mcp.CompleteContext) (*mcp.Completion, error) {
	return &mcp.Completion{Values: []string{"paris", "park", "party"}, Total: 3}, nil
}
