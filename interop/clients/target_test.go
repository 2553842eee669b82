// Package clients tries the real program with the clients of others: the MCP
// Inspector, and the official SDKs for TypeScript and Go.
package clients

import (
	"testing"
	"time"

	"ollama-mcp/interop/program"
	"ollama-mcp/ollama/ollamatest"
)

const (
	// limit bounds one session. A healthy one takes about a second.
	limit = 30 * time.Second

	generate = `{"model":"tiny","prompt":"the sea","options":{"num_predict":40}}`
	endless  = `{"model":"tiny","prompt":"the sea","options":{"num_predict":100000}}`
)

// target is a server: over HTTP at hostport, over stdio as a command.
type target struct {
	binary   string
	flags    []string
	hostport string
	ollama   string // its Ollama's URL
}

// command is how a client starts the target over stdio.
func (g target) command() []string { return append([]string{g.binary}, g.flags...) }

// targets starts the program twice: in front of a fake Ollama, and with the fixtures of
// the conformance suite, one of which asks the user something.
func targets(t *testing.T) (fake *ollamatest.Fake, ours, fixtures target) {
	t.Helper()
	// An answer of 40 tokens takes several of the server's progress intervals, of 100 ms
	// each, and an endless one minutes.
	fake = ollamatest.NewFake(ollamatest.Script{TokenDelay: 15 * time.Millisecond, TokenCount: 100_000})
	t.Cleanup(fake.Close)
	binary := program.Build(t)
	const flag = "--conformance-fixtures"
	ours = target{binary: binary, hostport: program.Serve(t, binary, fake.URL), ollama: fake.URL}
	fixtures = target{binary: binary, flags: []string{flag}, hostport: program.Serve(t, binary, "", flag)}
	return fake, ours, fixtures
}
