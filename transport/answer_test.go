package transport

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// spelt is structured content that gives its JSON in parts.
type spelt []string

func (s spelt) JSONParts() (parts [][]byte, err error) {
	for _, part := range s {
		if part == "" {
			return nil, errors.New("an empty part")
		}
		parts = append(parts, []byte(part))
	}
	return parts, nil
}

func (spelt) MarshalJSON() ([]byte, error) { return []byte("{\n\"whole\":true}"), nil }

// speltTools are tools that answer with structured content in parts.
func speltTools() *server.MCPServer {
	srv := server.NewMCPServer("test", "1")
	for name, content := range map[string]spelt{
		"exact":  {`{"floats":`, `[1e-7,-0.0,0.10000000149011612]`, `,"note":"<&>"}`},
		"broken": {`{"floats":`, "[1,\n2]", `}`},
		"return": {`{"floats":`, "[1,\r2]", `}`},
		"failed": {`{`, ``},
	} {
		srv.AddTool(mcp.NewTool(name), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{mcp.NewTextContent("note")}, StructuredContent: content}, nil
		})
	}
	return srv
}

// speltAnswers are what the answers of speltTools must hold.
var speltAnswers = map[string]string{
	"exact":  `,"structuredContent":{"floats":[1e-7,-0.0,0.10000000149011612],"note":"<&>"}}}`,
	"broken": `,"structuredContent":{"whole":true}}}`,
	"return": `,"structuredContent":{"whole":true}}}`,
	"failed": `internal error`,
}

func TestStructuredContentInPartsOverStdio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, speltTools(), Options{})
		for tool, want := range speltAnswers {
			p.send(call("1", "", tool, `{}`))
			if r := p.must(); !strings.Contains(r.raw, want) {
				t.Errorf("%s = %s, want %s in it", tool, r.raw, want)
			}
		}
		p.close()
	})
}

func TestStructuredContentInPartsOverHTTP(t *testing.T) {
	h := host(t, speltTools(), HTTPOptions{})
	session := h.session("2025-11-25", "{}")
	for _, accept := range []string{"application/json, text/event-stream", "text/event-stream"} {
		for tool, want := range speltAnswers {
			r := h.do("POST", "/mcp", call("1", "", tool, `{}`), append(session, "Accept", accept)...)
			if !strings.Contains(string(r.body), want) {
				t.Errorf("%s = %v, want %s in it", tool, r, want)
			}
		}
	}
}
