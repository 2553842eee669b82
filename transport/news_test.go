package transport

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/transport/auth"
)

// reporter is news that a test makes. Its looks take a second.
type reporter struct {
	news    chan News
	running int
	begun   int
}

func (r *reporter) watch(ctx context.Context) iter.Seq[News] {
	r.begun++
	time.Sleep(time.Second)
	return func(yield func(News) bool) {
		r.running++
		defer func() { r.running-- }()
		for {
			select {
			case n := <-r.news:
				if !yield(n) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// runs checks how many watches have begun and how many run.
func (r *reporter) runs(t *testing.T, when string, begun, running int) {
	t.Helper()
	synctest.Wait()
	if r.begun != begun || r.running != running {
		t.Errorf("%s: %d watches have begun, %d run; want %d, %d", when, r.begun, r.running, begun, running)
	}
}

func (r *reporter) tell(uris ...string) {
	for _, uri := range uris {
		r.news <- News{URI: uri}
	}
}

// TestWatchLastsAsLongAsItsAudience subscribes in both ways, several times over.
func TestWatchLastsAsLongAsItsAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reporter{news: make(chan News)}
		p := dial(t, fixtures(), Options{Watch: r.watch, Canonical: strings.ToLower})
		p.hello(`{}`)
		r.runs(t, "after the handshake", 0, 0)
		subscription := `{"jsonrpc":"2.0","id":%d,"method":"resources/%s","params":{"uri":"x://%s"}}`
		p.send(listen(`1`, `{"toolsListChanged":true}`))
		p.wantSift("a stream of other news", "subscriptions/acknowledged 1")
		r.runs(t, "with a stream of other news", 0, 0)

		begun := time.Now()
		p.send(fmt.Sprintf(subscription, 2, "subscribe", "A"), fmt.Sprintf(subscription, 3, "subscribe", "b"))
		p.wantSift("subscribing", "answer 2", "answer 3")
		r.runs(t, "after the first subscriptions", 1, 1)
		if took := time.Since(begun); took != time.Second {
			t.Errorf("subscribing took %v, want the second that the first look takes", took)
		}
		p.send(listen(`4`, `{"resourcesListChanged":true,"resourceSubscriptions":["x://a"]}`))
		p.wantSift("a stream of this news", "subscriptions/acknowledged 4")
		r.tell("x://a", "x://c", "")
		p.wantSift("news", "resources/updated x://A", "resources/updated 4 x://a", "resources/list_changed", "resources/list_changed 4")
		p.send(fmt.Sprintf(subscription, 5, "unsubscribe", "A"), fmt.Sprintf(subscription, 6, "unsubscribe", "b"))
		r.runs(t, "with the stream alone", 1, 1)
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}`)
		r.runs(t, "without an audience", 1, 0)
		p.wantSift("leaving", "answer 5", "answer 6")

		p.send(fmt.Sprintf(subscription, 7, "subscribe", "b"))
		p.wantSift("subscribing again", "answer 7")
		r.runs(t, "with an audience again", 2, 1)
		p.close()
		r.runs(t, "after the end", 2, 0)
	})
}

// TestSubscribable has a client subscribe, in both ways, to a resource that is not there for it.
func TestSubscribable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reporter{news: make(chan News)}
		p := dial(t, fixtures(), Options{Watch: r.watch, Subscribable: func(_ context.Context, uri string) error {
			if uri == "x://hidden" {
				return errors.New("there is no resource x://hidden")
			}
			return nil
		}})
		p.hello(`{}`)
		p.send(`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"x://hidden"}}`)
		if m := p.must(); m.Error == nil || m.Error.Code != mcp.RESOURCE_NOT_FOUND || m.Error.Message != "there is no resource x://hidden" {
			t.Errorf("subscribing to x://hidden = %s, want %d and the words", m.raw, mcp.RESOURCE_NOT_FOUND)
		}
		r.runs(t, "after the refusal", 0, 0)
		p.send(listen(`3`, `{"resourceSubscriptions":["x://hidden","x://a"]}`))
		if m := p.must(); !strings.Contains(string(m.raw), `"notifications":{"resourceSubscriptions":["x://a"]}`) {
			t.Errorf("listening to x://hidden and x://a = %s, want x://a acknowledged alone", m.raw)
		}
		r.tell("x://hidden", "x://a")
		p.wantSift("news", "resources/updated 3 x://a")
		p.close()
	})
}

// TestNewsIsForThoseWhoMay has one of two callers left out, on each sort of stream.
func TestNewsIsForThoseWhoMay(t *testing.T) {
	news := make(chan News)
	ended := make(chan struct{}, 8)
	watch := func(ctx context.Context) iter.Seq[News] {
		return func(yield func(News) bool) {
			defer func() { ended <- struct{}{} }()
			for {
				select {
				case n := <-news:
					yield(n)
				case <-ctx.Done():
					return
				}
			}
		}
	}
	s := host(t, fixtures(), HTTPOptions{Auth: callers(t, "ann", "bob"), Options: Options{Watch: watch}})
	streams := map[string]*events{}
	for _, name := range []string{"ann", "bob"} {
		e := s.open("POST", "/mcp", listen(`1`, `{"resourceSubscriptions":["x://a"]}`), headers("subscriptions/listen", "", as(name)...)...)
		e.must()
		streams[name+" listen"] = e
		in := s.session("2025-11-25", `{}`, as(name)...)
		if r := s.do("POST", "/mcp", `{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"x://a"}}`, in...).reply(t); r.Error != nil {
			t.Fatalf("subscribe = %s", r.raw)
		}
		streams[name+" GET"] = s.open("GET", "/mcp", "", in...)
	}
	news <- News{URI: "x://a", Meta: map[string]any{"n": 1}, May: func(ctx context.Context) bool { return auth.FromContext(ctx).Name == "ann" }}
	news <- News{URI: "x://a", Meta: map[string]any{"n": 2}}
	for name, e := range streams {
		want := []float64{1, 2}
		if strings.HasPrefix(name, "bob") {
			want = want[1:]
		}
		var got []float64
		for range want {
			m := e.must()
			n, _ := m.Params.Meta["n"].(float64)
			if got = append(got, n); m.Params.URI != "x://a" || m.Method != mcp.MethodNotificationResourceUpdated {
				t.Errorf("%s hears %s, want an update of x://a", name, m.raw)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s hears %v, want %v", name, got, want)
		}
	}
	select {
	case <-ended:
		t.Error("the watch ended with four streams open")
	default:
	}
	for _, e := range streams {
		e.close()
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the watch goes on without an audience")
	}
}
