package transport

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// sift reads what has come until now, without waiting for more, and counts it
// by method, or answer, and by what it belongs to.
func (p *peer) sift() map[string]int {
	p.t.Helper()
	got := map[string]int{}
	// The answer to one ping may overtake progress, with which it takes turns.
	for before := -1; len(got) > before; {
		before = len(got)
		p.send(`{"jsonrpc":"2.0","id":"sift","method":"ping"}`)
		for r := p.must(); string(r.ID) != `"sift"`; r = p.must() {
			_, stream, _ := strings.Cut(r.raw, `subscriptionId":`)
			stream, _, _ = strings.Cut(stream, "}")
			kind := strings.TrimPrefix(r.Method, "notifications/")
			if kind == "" {
				kind = "answer"
			}
			got[strings.Join(strings.Fields(kind+" "+string(r.ID)+string(r.Params.ProgressToken)+" "+stream+" "+r.Params.URI), " ")]++
		}
	}
	return got
}

func (p *peer) wantSift(after string, want ...string) {
	p.t.Helper()
	synctest.Wait()
	got := slices.Sorted(maps.Keys(p.sift()))
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("messages after %s (-want +got):\n%s", after, diff)
	}
}

func listen(id, filter string) string {
	return modern(id, "subscriptions/listen", `"notifications":`+filter, `{}`)
}

func TestTwoStreamsAndTwoCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := fixtures()
		p := dial(t, srv, Options{})
		p.send(
			listen(`9007199254740993`, `{"toolsListChanged":true}`),
			listen(`"9007199254740993"`, `{"toolsListChanged":true,"resourceSubscriptions":["x://a"]}`),
			call(`1`, `1`, "count", `{"n":100,"every_ms":100}`),
			call(`"1"`, `"1"`, "count", `{"n":100,"every_ms":100}`))
		p.wantSift("two listens and two calls",
			"subscriptions/acknowledged 9007199254740993", `subscriptions/acknowledged "9007199254740993"`, `progress 1`, `progress "1"`)

		srv.SendNotificationToAllClients(mcp.MethodNotificationToolsListChanged, nil)
		srv.SendNotificationToAllClients(mcp.MethodNotificationResourceUpdated, map[string]any{"uri": "x://a"})
		srv.SendNotificationToAllClients(mcp.MethodNotificationResourceUpdated, map[string]any{"uri": "x://b"})
		srv.SendNotificationToAllClients("notifications/other", nil)
		p.wantSift("broadcasts", "tools/list_changed 9007199254740993", `tools/list_changed "9007199254740993"`,
			`resources/updated "9007199254740993" x://a`)

		p.send(cancelled(`9007199254740993`), cancelled(`"1"`))
		synctest.Wait()
		p.sift()
		srv.SendNotificationToAllClients(mcp.MethodNotificationToolsListChanged, nil)
		p.wantSift("cancelling one of each", `tools/list_changed "9007199254740993"`)

		rest, err := p.close()
		got := map[string]bool{}
		for _, r := range rest {
			got[string(r.ID)+string(r.Params.ProgressToken)] = true
		}
		want := map[string]bool{`1`: true, `"9007199254740993"`: true}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("at the end, %v (-want +got):\n%s", err, diff)
		}
	})
}

func TestSubscriptionsLiveOnTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A subscribe that takes its time must still be over before the
		// unsubscribe that was sent after it.
		hooks := new(server.Hooks)
		hooks.AddBeforeSubscribe(func(context.Context, any, *mcp.SubscribeRequest) { time.Sleep(time.Second) })
		srv := fixtures(server.WithHooks(hooks))
		p := dial(t, srv, Options{})
		update := func() {
			synctest.Wait()
			for _, uri := range []string{"x://a", "x://b"} {
				srv.SendNotificationToAllClients(mcp.MethodNotificationResourceUpdated, map[string]any{"uri": uri})
			}
			srv.SendNotificationToAllClients(mcp.MethodNotificationPromptsListChanged, nil)
		}
		subscribe := `{"jsonrpc":"2.0","id":%d,"method":"resources/%s","params":{"uri":"x://%s"}}`
		update()
		p.wantSift("broadcasts before the handshake")
		p.hello(`{}`)
		update()
		p.wantSift("broadcasts without a subscription", "prompts/list_changed")
		p.send(fmt.Sprintf(subscribe, 1, "subscribe", "a"), fmt.Sprintf(subscribe, 2, "subscribe", "b"), fmt.Sprintf(subscribe, 3, "unsubscribe", "b"))
		time.Sleep(3 * time.Second)
		update()
		p.wantSift("broadcasts after subscribing to a", "answer 1", "answer 2", "answer 3", "prompts/list_changed", "resources/updated x://a")
		p.close()
	})
}

// TestBroadcastsMerge has a client that does not read while a list changes a
// thousand times.
func TestBroadcastsMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := fixtures()
		p := dial(t, srv, Options{})
		p.hello(`{}`)
		for range 1000 {
			srv.SendNotificationToAllClients(mcp.MethodNotificationToolsListChanged, nil)
			synctest.Wait()
		}
		// One was being written when the second came.
		if n := p.sift()["tools/list_changed"]; n < 1 || n > 2 {
			t.Errorf("1000 equal broadcasts to a client that does not read: %d arrived, want 1 or 2", n)
		}
		p.close()
	})
}

// TestBroadcastToTheNextStreamOfAnID has a broadcast for a cancelled stream wait to be
// written while the client opens another one under its id.
func TestBroadcastToTheNextStreamOfAnID(t *testing.T) {
	o := Options{}.withDefaults()
	b := newOutbox(nil, &o, nil)
	for range 2 {
		b.put(item{call: &Call{}, parts: [][]byte{[]byte("list changed, subscription 1")}, news: true})
	}
	if n := len(b.queue); n != 2 {
		t.Errorf("the same broadcast to two streams: %d queued, want 2", n)
	}
}

// TestNoBroadcastAfterTheAnswer has a broadcast come between the end of a stream
// and its answer.
func TestNoBroadcastAfterTheAnswer(t *testing.T) {
	o := Options{}.withDefaults()
	c := &conn{session: &session{}, streams: map[*Call]bool{}, out: newOutbox(nil, &o, nil)}
	call := &Call{conn: c, msg: message{method: string(mcp.MethodSubscriptionsListen)}}
	call.filter.ToolsListChanged = true
	c.streams[call] = false
	c.listen(call, item{call: call, parts: [][]byte{[]byte("acknowledged")}})
	c.out.queue = nil
	n := mcp.JSONRPCNotification{Notification: mcp.Notification{Method: mcp.MethodNotificationToolsListChanged}}
	c.tell(n)
	if n := len(c.out.queue); n != 1 {
		t.Errorf("tell() of an open stream queued %d messages, want 1", n)
	}
	c.out.queue, c.out.news = nil, map[newsKey]bool{}
	c.forget(call)
	c.tell(n)
	if n := len(c.out.queue); n != 0 {
		t.Errorf("tell() after forget() queued %d messages, want 0", n)
	}
}

func TestSubscriptionLimit(t *testing.T) {
	c := &session{}
	for i := range maxSubscriptions {
		if err := c.subscribe(fmt.Sprint(i)); err != nil {
			t.Fatalf("subscribe(%d) = %v, want nil", i, err)
		}
	}
	if err := c.subscribe("one more"); err == nil {
		t.Errorf("subscribe beyond %d = nil, want an error", maxSubscriptions)
	}
	c.unsubscribe("0")
	if err := c.subscribe(strings.Repeat("x", maxURI+1)); err == nil {
		t.Errorf("subscribe to a uri of %d bytes = nil, want an error", maxURI+1)
	}
	if err := c.subscribe("one more"); err != nil {
		t.Errorf("subscribe after an unsubscribe = %v, want nil", err)
	}
}

func TestElicitation(t *testing.T) {
	tests := []struct {
		name, capabilities, answer string
		want                       string // in what the call returns; "" when nothing is asked
	}{
		{"accepted", `{"elicitation":{}}`, `"result":{"action":"accept","content":{"colour":"red"}}`, "accept map[colour:red]"},
		{"forms named", `{"elicitation":{"form":{}}}`, `"result":{"action":"decline"}`, "decline"},
		{"refused by the client", `{"elicitation":{}}`, `"error":{"code":-32601,"message":"no"}`, "the client refused"},
		{"not supported", `{}`, "", "not support elicitation"},
		{"only URLs supported", `{"elicitation":{"url":{}}}`, "", "not support elicitation"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := dial(t, fixtures(), Options{})
				p.hello(test.capabilities)
				p.send(call("1", "", "ask", `{}`))
				r := p.must()
				if test.answer != "" {
					if r.Method != "elicitation/create" || !strings.Contains(r.raw, "Which colour?") {
						t.Fatalf("ask = %s, want a question", r.raw)
					}
					// The same id as a request of the client's own, and one of nobody's.
					p.send(`{"jsonrpc":"2.0","id":99,"result":{}}`, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, r.ID, test.answer))
					r = p.must()
				}
				if string(r.ID) != "1" || !strings.Contains(r.raw, test.want) {
					t.Errorf("ask of a client with %s = %s, want %q", test.capabilities, r.raw, test.want)
				}
				p.close()
			})
		})
	}
}

func TestElicitationIsGivenUp(t *testing.T) {
	tests := []struct {
		name string
		act  func(*peer)
		want int // messages that follow
	}{
		{"end of input", func(p *peer) { p.in.Close() }, 1},
		{"cancel", func(p *peer) { p.send(cancelled("1")); p.in.Close() }, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := dial(t, fixtures(), Options{})
				p.hello(`{"elicitation":{}}`)
				p.send(call("1", "", "ask", `{}`))
				p.must()
				test.act(p)
				if rest, err := p.rest(); len(rest) != test.want || err != nil {
					t.Errorf("after %s: %v, %v, want %d messages", test.name, rest, err, test.want)
				}
			})
		})
	}
}

func TestElicitationByResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		p.send(modern("1", "tools/call", `"name":"ask"`, `{"elicitation":{}}`))
		if r := p.must(); r.Result.ResultType != "input_required" || r.Result.RequestState != "state" {
			t.Errorf("ask = %s, want input_required", r.raw)
		}
		p.send(modern("2", "tools/call", `"name":"ask","inputResponses":{"colour":{"action":"accept","content":{"colour":"red"}}},"requestState":"state"`, `{"elicitation":{}}`))
		if r := p.must(); r.text() != "accept map[colour:red]" || r.Result.ResultType != "complete" {
			t.Errorf("ask with the answer = %s, want it used", r.raw)
		}
		p.send(modern("3", "tools/call", `"name":"ask"`, `{}`))
		if r := p.must(); r.Error == nil || r.Error.Code != mcp.MISSING_REQUIRED_CLIENT_CAPABILITY {
			t.Errorf("ask of a client that cannot = %s, want error %d", r.raw, mcp.MISSING_REQUIRED_CLIENT_CAPABILITY)
		}
		p.close()
	})
}

// TestErasDoNotMix has a client of both eras on one connection: what a modern
// request says holds for that request only.
func TestErasDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := fixtures()
		srv.AddTool(mcp.NewTool("who"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			call := server.ClientSessionFromContext(ctx).(*Call)
			return mcp.NewToolResultText(fmt.Sprint(call.GetClientInfo().Version, " ", call.GetClientCapabilities().Elicitation != nil,
				" ", server.RequestProtocolVersion(ctx), " ", call.Initialized())), nil
		})
		p := dial(t, srv, Options{})
		who := func(line, want string) {
			t.Helper()
			p.send(line)
			if r := p.must(); r.text() != want {
				t.Errorf("who = %s, want %q", r.raw, want)
			}
		}
		who(call("1", "", "who", `{}`), " false  false")
		who(modern("2", "tools/call", `"name":"who"`, `{"elicitation":{}}`), "1 true 2026-07-28 true")
		who(call("3", "", "who", `{}`), " false  false")
		p.hello(`{"elicitation":{}}`)
		who(call("4", "", "who", `{}`), "1 true 2025-11-25 true")
		who(modern("5", "tools/call", `"name":"who"`, `{}`), "1 false 2026-07-28 true")
		who(call("6", "", "who", `{}`), "1 true 2025-11-25 true")
		p.close()
	})
}

// TestNotesComeBeforeTheAnswer sends more through mcp-go than it buffers while
// the client reads, and checks the order of what arrives.
func TestNotesComeBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		p.hello(`{}`)
		p.send(call("1", "", "notify", fmt.Sprintf(`{"n":%d}`, noteBuffer)))
		for i := range noteBuffer {
			if r := p.must(); !strings.Contains(r.raw, fmt.Sprintf(`"i":%d}`, i)) {
				t.Fatalf("message %d = %s, want notification %d", i, r.raw, i)
			}
		}
		if r := p.must(); r.text() != "sent" {
			t.Errorf("last message = %s, want the answer", r.raw)
		}
		p.close()
	})
}
