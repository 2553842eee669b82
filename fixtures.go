//go:build conformance

package main

import (
	"github.com/mark3labs/mcp-go/server"

	"ollama-mcp/conformance"
)

// haveFixtures tells whether this build can serve what the official suite asks for.
const haveFixtures = true

func fixtures() *server.MCPServer {
	s := server.NewMCPServer("ollama-mcp fixtures", buildVersion(), conformance.Options()...)
	conformance.Register(s)
	return s
}
