package transport

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// held is a server with the tool "hold", which tells when it begins and with what
// cause it ended.
type held struct {
	*site
	began chan string
	ended chan error
}

func hold(t *testing.T, o HTTPOptions) *held {
	h := &held{began: make(chan string, 64), ended: make(chan error, 64)}
	srv := fixtures()
	srv.AddTool(mcp.NewTool("hold"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		h.began <- server.ClientSessionFromContext(ctx).SessionID()
		<-ctx.Done()
		h.ended <- context.Cause(ctx)
		return mcp.NewToolResultText("too late"), nil
	})
	o.KeepAlive = tick // so that the streams of calls begin
	h.site = host(t, srv, o)
	return h
}

// mustEnd waits for the tool's end and for what its call held.
func (h *held) mustEnd(after string, cause error) {
	h.t.Helper()
	select {
	case err := <-h.ended:
		if err != cause {
			h.t.Errorf("after %s the tool ends with %v, want %v", after, err, cause)
		}
	case <-time.After(patience):
		h.t.Fatalf("after %s the tool goes on", after)
	}
	for range int(patience / tick) {
		h.h.hub.mu.Lock()
		all, callers := h.h.hub.all, len(h.h.hub.callers)
		h.h.hub.mu.Unlock()
		if all.calls == 0 && (all.streams > 0 || callers == 0) {
			return
		}
		h.do("GET", "/healthz", "")
	}
	h.t.Errorf("after %s calls are still counted: %+v", after, h.h.hub.all)
}

// mustGoOn checks that nothing has ended.
func (h *held) mustGoOn(after string) {
	h.t.Helper()
	select {
	case err := <-h.ended:
		h.t.Errorf("after %s the tool ends with %v, want it to go on", after, err)
	default:
	}
}

// silent checks that a stream ends without another message.
func (h *held) silent(after string, e *events) {
	h.t.Helper()
	if m, ok := e.next(); ok {
		h.t.Errorf("after %s: %s, want nothing", after, m.raw)
	}
}

func TestClosingThePOSTCancels(t *testing.T) {
	h := hold(t, HTTPOptions{})
	for _, version := range legacy {
		e := h.open("POST", "/mcp", call("1", "1", "hold", `{}`), h.session(version, `{}`)...)
		<-h.began
		e.close()
		h.mustEnd("closing the POST of "+version, errGone)
	}
	e := h.open("POST", "/mcp", modern("1", "tools/call", `"name":"hold"`, `{}`), headers("tools/call", "hold")...)
	<-h.began
	e.close()
	h.mustEnd("closing the POST of 2026-07-28", errGone)
	// Nor does it take a stream that has begun.
	ctx, cancel := context.WithCancel(t.Context())
	r := h.request("POST", "/mcp", modern("1", "tools/call", `"name":"hold"`, `{}`), headers("tools/call", "hold", "Accept", "application/json")...)
	failed := make(chan error, 1)
	go func() {
		_, err := h.client.Do(r.WithContext(ctx))
		failed <- err
	}()
	<-h.began
	cancel()
	h.mustEnd("giving up a POST", errGone)
	if err := <-failed; err == nil {
		t.Errorf("Do of a request that was given up = nil, want an error")
	}
}

func TestCancelled(t *testing.T) {
	h := hold(t, HTTPOptions{Auth: callers(t, "ann", "bob")})
	in := h.session("2025-11-25", `{}`, as("ann")...)
	e := h.open("POST", "/mcp", call("7", `"t"`, "hold", `{}`), in...)
	<-h.began
	for name, other := range map[string][]string{
		"another session": h.session("2025-11-25", `{}`, as("ann")...),
		"another caller":  h.session("2025-11-25", `{}`, as("bob")...),
	} {
		if r := h.do("POST", "/mcp", cancelled("7"), other...); r.StatusCode != http.StatusAccepted {
			t.Errorf("cancel from %s = %v, want 202", name, r)
		}
		h.mustGoOn("a cancel from " + name)
	}
	forged := append([]string{"Mcp-Session-Id", in[1]}, as("bob")...)
	if r := h.do("POST", "/mcp", cancelled("7"), forged...); r.StatusCode != http.StatusNotFound {
		t.Errorf("cancel with another caller's session = %v, want 404", r)
	}
	h.do("POST", "/mcp", cancelled(`"7"`), in...)
	h.mustGoOn("a cancel of another id")
	h.do("POST", "/mcp", cancelled("7"), in...)
	h.mustEnd("a cancel", errCancelled)
	h.silent("a cancel", e)

	// Before anything was said there is nothing to be said: no body, and no type.
	r := h.request("POST", "/mcp", call("8", "", "hold", `{}`), append(in, "Accept", "application/json")...)
	answered := make(chan response, 1)
	go func() { answered <- h.send(r) }()
	<-h.began
	h.do("POST", "/mcp", cancelled("8"), in...)
	if r := <-answered; r.StatusCode != http.StatusAccepted || len(r.body) > 0 {
		t.Errorf("a cancelled call = %v, want 202 and nothing", r)
	}
	h.mustEnd("a cancel", errCancelled)
}

func TestDELETECancels(t *testing.T) {
	h := hold(t, HTTPOptions{})
	in, other := h.session("2025-06-18", `{}`), h.session("2025-06-18", `{}`)
	e := h.open("POST", "/mcp", call("1", "", "hold", `{}`), in...)
	<-h.began
	h.do("DELETE", "/mcp", "", other...)
	h.mustGoOn("DELETE of another session")
	h.do("DELETE", "/mcp", "", in...)
	h.mustEnd("DELETE", errCancelled)
	h.silent("DELETE", e)
}

func TestSSECancels(t *testing.T) {
	h := hold(t, HTTPOptions{Auth: callers(t, "ann", "bob")})
	e, path := h.pipe(as("ann")...)
	other, otherPath := h.pipe(as("ann")...)
	h.tell(path, []string{call("1", "1", "hold", `{}`)}, as("ann")...)
	<-h.began
	h.tell(otherPath, []string{cancelled("1")}, as("ann")...)
	other.close()
	h.mustGoOn("a cancel, and the end, of another stream")
	h.tell(path, []string{cancelled("1")}, as("ann")...)
	h.mustEnd("a cancel", errCancelled)
	h.tell(path, []string{`{"jsonrpc":"2.0","id":2,"method":"ping"}`, call("3", "", "hold", `{}`), call("4", "", "hold", `{}`)}, as("ann")...)
	if m := e.must(); string(m.ID) != "2" {
		t.Errorf("after a cancel: %s, want nothing but the next answer", m.raw)
	}
	<-h.began
	<-h.began
	e.close()
	h.mustEnd("closing the stream", errGone)
	h.mustEnd("closing the stream", errGone)
}

// TestCredentialExpires has the streams of a caller end with the caller's token, but
// neither a call that is in flight nor the streams of others.
func TestCredentialExpires(t *testing.T) {
	// The file takes whole seconds only.
	expires := time.Now().Add(3 * time.Second).Truncate(time.Second)
	h := hold(t, HTTPOptions{Auth: callers(t, "ann "+expires.UTC().Format(time.RFC3339), "bob")})
	in := h.session("2025-11-25", `{}`, as("ann")...)
	listening := modern("1", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`, `{}`)
	streams := map[string]*events{}
	for _, name := range []string{"ann", "bob"} {
		streams[name+" listen"] = h.open("POST", "/mcp", listening, headers("subscriptions/listen", "", as(name)...)...)
		streams[name+" listen"].must()
		streams[name+" sse"], _ = h.pipe(as(name)...)
	}
	streams["ann get"] = h.open("GET", "/mcp", "", in...)
	running := h.open("POST", "/mcp", call("1", "", "hold", `{}`), in...)
	<-h.began
	for name, e := range streams {
		if strings.HasPrefix(name, "ann") {
			h.silent("the end of the token, "+name, e)
		}
	}
	if now := time.Now(); now.Before(expires) {
		t.Errorf("streams end at %v, want them to last until %v", now, expires)
	}
	h.mustGoOn("the end of the token")
	running.close()
	h.mustEnd("closing the POST", errGone)
	h.h.hub.srv.SendNotificationToAllClients(mcp.MethodNotificationToolsListChanged, nil)
	if m := streams["bob listen"].must(); m.Method != mcp.MethodNotificationToolsListChanged {
		t.Errorf("another caller's stream = %s, want its news", m.raw)
	}
	if r := h.do("GET", "/sse", "", as("ann")...); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stream with a token that has expired = %v, want 401", fmt.Sprint(r))
	}
}
