package transport

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		serveAsChild()
		return
	}
	goleak.VerifyTestMain(m)
}

// fixtures returns an MCP server whose tools do one thing each.
func fixtures(opts ...server.ServerOption) *server.MCPServer {
	opts = append([]server.ServerOption{
		server.WithToolCapabilities(true), server.WithResourceCapabilities(true, true),
	}, opts...)
	srv := server.NewMCPServer("fixtures", "1.0", opts...)
	for name, handler := range map[string]server.ToolHandlerFunc{
		"echo":   echoTool,
		"count":  countTool,
		"block":  blockTool,
		"panic":  func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) { panic("kaboom") },
		"ask":    askTool,
		"raw":    rawTool,
		"notify": notifyTool,
		"deaf":   deafTool,
	} {
		srv.AddTool(mcp.NewTool(name), handler)
	}
	return srv
}

// echoTool returns its argument "text".
func echoTool(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return mcp.NewToolResultText(r.GetString("text", "")), nil
}

// countTool reports "n" tokens that begin with "text", "every_ms" apart, and returns
// them joined.
func countTool(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	call := server.ClientSessionFromContext(ctx).(*Call)
	n := r.GetInt("n", 1)
	pause := time.Duration(r.GetInt("every_ms", 0)) * time.Millisecond
	var text strings.Builder
	for i := range n {
		token := fmt.Sprintf("%s%d€ ", r.GetString("text", ""), i)
		text.WriteString(token)
		call.Report(float64(i+1), float64(n), "generating", token, func() string { return fmt.Sprintf("%d tokens\n", i+1) })
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return mcp.NewToolResultText(text.String()), nil
}

// blockTool waits until it is cancelled.
func blockTool(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	<-ctx.Done()
	return mcp.NewToolResultError("ended: " + context.Cause(ctx).Error()), nil
}

// deafTool takes no notice of being cancelled for "ms".
func deafTool(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	time.Sleep(time.Duration(r.GetInt("ms", 0)) * time.Millisecond)
	return mcp.NewToolResultText("late"), nil
}

// askTool asks the user for a colour.
func askTool(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	if answer := server.ElicitationResponse(r.Params.InputResponses, "colour"); answer != nil {
		return mcp.NewToolResultText(fmt.Sprint(answer.Action, " ", answer.Content)), nil
	}
	return server.NewInputRequestBuilder("state").Elicit("colour", mcp.ElicitationParams{
		Message: "Which colour?",
		RequestedSchema: map[string]any{
			"type": "object", "properties": map[string]any{"colour": map[string]any{"type": "string"}},
		},
	}).ToolResult(), nil
}

// rawTool returns structured content as raw bytes.
func rawTool(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return &mcp.CallToolResult{
		Content:              []mcp.Content{mcp.NewTextContent("raw")},
		RawStructuredContent: json.RawMessage(r.GetString("json", `{"floats":[1.50,-0,1E2]}`)),
	}, nil
}

// notifyTool sends "n" notifications through mcp-go before it returns.
func notifyTool(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	for i := range r.GetInt("n", 1) {
		err := server.ServerFromContext(ctx).SendNotificationToClient(ctx, "notifications/fixture", map[string]any{"i": i})
		if err != nil {
			return mcp.NewToolResultError(err.Error()), nil
		}
	}
	return mcp.NewToolResultText("sent"), nil
}

// peer is the client's end of a server under test.
type peer struct {
	t     *testing.T
	in    *io.PipeWriter
	out   *io.PipeReader
	lines *bufio.Scanner
	stop  context.CancelFunc
	done  chan error // what ServeStdio returned
}

// dial starts ServeStdio on two pipes.
func dial(t *testing.T, srv *server.MCPServer, o Options) *peer {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	p := &peer{t: t, in: inW, out: outR, lines: bufio.NewScanner(outR), stop: stop, done: make(chan error, 1)}
	p.lines.Buffer(nil, 64<<20)
	go func() {
		p.done <- ServeStdio(ctx, srv, inR, outW, o)
		outW.Close()
	}()
	return p
}

// send writes lines as they are.
func (p *peer) send(lines ...string) {
	p.t.Helper()
	for _, line := range lines {
		if _, err := io.WriteString(p.in, line+"\n"); err != nil {
			p.t.Fatalf("send(%.80q): %v", line, err)
		}
	}
}

// reply is what tests look at in a message of the server.
type reply struct {
	raw    string
	ID     json.RawMessage
	Method string
	Error  *rpcError
	Params struct {
		Message       string
		Progress      float64
		Total         *float64
		ProgressToken json.RawMessage
		URI           string
		RequestID     json.RawMessage
		Meta          map[string]any `json:"_meta"`
	}
	Result struct {
		Content           []struct{ Text string }
		IsError           bool
		ResultType        string
		RequestState      string
		StructuredContent json.RawMessage
		Meta              map[string]any `json:"_meta"`
	}
}

func (r reply) text() string {
	if len(r.Result.Content) == 0 {
		return ""
	}
	return r.Result.Content[0].Text
}

// decode reads one message.
func decode(t interface{ Fatalf(string, ...any) }, b []byte) reply {
	r := reply{raw: string(b)}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("server sent %.200q: %v", b, err)
	}
	return r
}

// next reads one message; ok is false at the end of the stream.
func (p *peer) next() (r reply, ok bool) {
	p.t.Helper()
	if !p.lines.Scan() {
		return r, false
	}
	return decode(p.t, p.lines.Bytes()), true
}

// must reads one message.
func (p *peer) must() reply {
	p.t.Helper()
	r, ok := p.next()
	if !ok {
		p.t.Fatalf("next() = end of output, want a message")
	}
	return r
}

// close ends the input, and returns what was still said and what ServeStdio returned.
func (p *peer) close() (rest []reply, err error) {
	p.t.Helper()
	p.in.Close()
	return p.rest()
}

// rest reads what is said until ServeStdio returns.
func (p *peer) rest() (rest []reply, err error) {
	p.t.Helper()
	for {
		r, ok := p.next()
		if !ok {
			p.stop()
			return rest, <-p.done
		}
		rest = append(rest, r)
	}
}

// hello is the handshake of a version before 2026-07-28.
func (p *peer) hello(capabilities string) {
	p.t.Helper()
	p.send(`{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":` +
		capabilities + `,"clientInfo":{"name":"test","version":"1"}}}`)
	if r := p.must(); r.Error != nil {
		p.t.Fatalf("initialize = %s", r.raw)
	}
	p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	synctest.Wait() // a write returns when its bytes were read, not when they were understood
}

// call renders a tools/call; id and token are raw JSON, token may be empty.
func call(id, token, tool, args string) string {
	meta := ""
	if token != "" {
		meta = `,"_meta":{"progressToken":` + token + `}`
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s%s}}`, id, tool, args, meta)
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
	`"io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"},"io.modelcontextprotocol/clientCapabilities":%s}`

// modern renders a request of 2026-07-28; params are the members before _meta.
func modern(id, method, params, capabilities string) string {
	if params != "" {
		params += ","
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s`+modernMeta+`}}`, id, method, params, capabilities)
}

func cancelled(id string) string {
	return `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`
}

func newRawResult(raw json.RawMessage) mcp.JSONRPCMessage {
	return mcp.JSONRPCResponse{Result: &mcp.CallToolResult{RawStructuredContent: raw}}
}
