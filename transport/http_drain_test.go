package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, for tests in fake time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return memory{} }

// memory is where pipes listens.
type memory struct{}

func (memory) Network() string { return "pipe" }
func (memory) String() string  { return "memory.example" }

// hostInMemory serves in a bubble of fake time.
func hostInMemory(t *testing.T, o HTTPOptions) *site {
	t.Helper()
	l := newPipes()
	o.AllowHosts = append(o.AllowHosts, memory{}.String())
	s := hostOn(t, l, &http.Transport{DialContext: l.dial}, fixtures(), o)
	s.client.Timeout = 0
	return s
}

// ending is what a stream says until its end.
type ending struct {
	said []reply
	at   time.Time
	err  error
	done chan struct{}
}

func finish(e *events) *ending {
	end := &ending{done: make(chan struct{})}
	go func() {
		defer close(end.done)
		for m, ok := e.next(); ok; m, ok = e.next() {
			end.said = append(end.said, m)
		}
		end.at, end.err = time.Now(), e.lines.Err()
	}()
	return end
}

// TestHTTPDrain ends a server with 50 calls and 100 streams open.
func TestHTTPDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const drain = 10 * time.Second
		s := hostInMemory(t, HTTPOptions{Options: Options{Drain: drain, KeepAlive: 19 * time.Millisecond, MaxCallsPerCaller: 100}})
		in := s.session("2025-11-25", `{}`)
		var calls, sse, get, listens []*ending
		for i := range 50 {
			args := `{"n":1,"every_ms":5000}` // ends in time
			if i%2 == 0 {
				args = `{"n":1,"every_ms":60000}`
			}
			calls = append(calls, finish(s.open("POST", "/mcp", call(fmt.Sprint(i), "", "count", args), in...)))
		}
		for range 34 {
			e, path := s.pipe()
			s.tell(path, []string{call("1", "", "count", `{"n":1,"every_ms":60000}`)})
			sse = append(sse, finish(e))
			get = append(get, finish(s.open("GET", "/mcp", "", s.session("2025-03-26", `{}`)...)))
			listens = append(listens, finish(s.open("POST", "/mcp", listen("1", `{"toolsListChanged":true}`), headers("subscriptions/listen", "")...)))
		}
		if r := s.do("GET", "/readyz", ""); r.StatusCode != http.StatusOK {
			t.Errorf("readyz before the end = %v, want 200", r)
		}
		begun := time.Now()
		s.stop()
		synctest.Wait()
		if r := s.do("GET", "/readyz", ""); r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(r.body), drainWords) {
			t.Errorf("readyz while calls end = %v, want 503 and why", r)
		}
		if r := s.do("GET", "/healthz", ""); r.StatusCode != http.StatusOK {
			t.Errorf("healthz while calls end = %v, want 200", r)
		}
		r := s.do("POST", "/mcp", call("late", "", "echo", `{}`), in...)
		if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			t.Errorf("a call while calls end = %v, want 503 and Retry-After", r)
		}
		want := func(what string, all []*ending, after time.Duration, fits func(i int, said []reply) bool) {
			t.Helper()
			for i, e := range all {
				<-e.done
				if took := e.at.Sub(begun); !fits(i, e.said) || took < after || took > after+time.Second {
					t.Errorf("%s %d ends after %v (%v) with %v, want the end after %v", what, i, took, e.err, e.said, after)
				}
			}
		}
		want("GET", get, 0, func(_ int, said []reply) bool { return len(said) == 0 })
		want("listen", listens, 0, func(_ int, said []reply) bool { return len(said) == 2 && said[1].raw != "" && said[1].Error == nil })
		cut := func(_ int, said []reply) bool { return len(said) == 1 && said[0].Error != nil }
		want("SSE with a long call", sse, drain, cut)
		for i := range calls {
			if i%2 == 0 {
				want("long call", calls[i:i+1], drain, cut)
			} else {
				want("short call", calls[i:i+1], 4*time.Second, func(_ int, said []reply) bool { return len(said) == 1 && said[0].text() == "0€ " })
			}
		}
		if err := <-s.done; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		if took := time.Since(begun); took < drain || took > drain+time.Second {
			t.Errorf("Serve returned %v after its context, want %v and a second at most", took, drain)
		}
		s.done <- nil // for the cleanup
	})
}

// TestDrainEndsEarly has nothing but streams open, and one call that ends soon.
func TestDrainEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hostInMemory(t, HTTPOptions{Options: Options{Drain: time.Minute, KeepAlive: time.Second}})
		sse, _ := s.pipe()
		in := s.session("2025-11-25", `{}`)
		for _, e := range []*events{sse, s.open("GET", "/mcp", "", in...),
			s.open("POST", "/mcp", listen("1", `{"toolsListChanged":true}`), headers("subscriptions/listen", "")...)} {
			go io.Copy(io.Discard, e.resp.Body)
		}
		e := s.open("POST", "/mcp", call("1", "", "count", `{"n":1,"every_ms":5000}`), in...)
		begun := time.Now()
		s.stop()
		if m := e.must(); m.text() != "0€ " {
			t.Errorf("call = %s, want its answer", m.raw)
		}
		if err := <-s.done; err != nil || time.Since(begun) > 6*time.Second {
			t.Errorf("Serve = %v after %v, want nil after the call's 5 s", err, time.Since(begun))
		}
		s.done <- nil
	})
}

// TestDrainOfTheDeaf has a call that takes no notice, and a client that reads nothing.
func TestDrainOfTheDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hostInMemory(t, HTTPOptions{Options: Options{Drain: 2 * time.Second}})
		in := s.session("2025-11-25", `{}`)
		failed := make(chan error, 1)
		r := s.request("POST", "/mcp", call("1", "", "deaf", `{"ms":3600000}`), in...)
		go func() { _, err := s.client.Do(r); failed <- err }()
		s.pipe() // whose events are not read from here on
		synctest.Wait()
		begun := time.Now()
		s.stop()
		if err := <-s.done; err != nil || time.Since(begun) > 5*time.Second {
			t.Errorf("Serve with a deaf tool = %v after %v, want nil after twice the drain", err, time.Since(begun))
		}
		if err := <-failed; err == nil {
			t.Errorf("a call left behind = nil, want a broken connection")
		}
		time.Sleep(time.Hour) // the tool ends
		s.done <- nil
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hostInMemory(t, HTTPOptions{})
		in := s.session("2025-11-25", `{}`)
		sse, _ := s.pipe()
		streams := map[string]*events{
			"sse":    sse,
			"get":    s.open("GET", "/mcp", "", in...),
			"listen": s.open("POST", "/mcp", listen("1", `{"toolsListChanged":true}`), headers("subscriptions/listen", "")...),
		}
		streams["listen"].must()
		synctest.Wait()
		begun := time.Now()
		for i := range 3 {
			for name, e := range streams {
				if _, _, ok := e.event(); !ok || e.last != ":\n\n" {
					t.Errorf("%s after a silence = %q, want a comment", name, e.last)
				}
			}
			if took, want := time.Since(begun), time.Duration(i+1)*15*time.Second; took != want {
				t.Errorf("comment %d comes after %v, want %v", i+1, took, want)
			}
		}
		for _, e := range streams {
			e.close()
		}
		// A call that is silent becomes a stream; a comment does not come with words.
		begun = time.Now()
		e := s.open("POST", "/mcp", call("1", "", "count", `{"n":1,"every_ms":20000}`), in...)
		if took := time.Since(begun); took != 15*time.Second {
			t.Errorf("the head of a silent call's answer comes after %v, want 15 s", took)
		}
		if m := e.must(); m.text() != "0€ " {
			t.Errorf("a call after a comment = %s, want its answer", m.raw)
		}
		// JSON alone has no comments.
		r := s.do("POST", "/mcp", call("1", "", "count", `{"n":1,"every_ms":200000}`), append(in, "Accept", "application/json")...)
		if m := r.reply(t); r.kind() != "application/json" || m.text() != "0€ " {
			t.Errorf("a long call of a client that takes JSON alone = %v, want plain JSON", r)
		}
		sse, path := s.pipe()
		s.tell(path, []string{call("1", `"t"`, "count", `{"n":40,"every_ms":1000}`)})
		for m := range 1000 {
			name, _, ok := sse.event()
			if name == "comment" && m > 12 || !ok {
				t.Errorf("message %d = %q, want no comment in a stream that speaks", m, sse.last)
			}
			if strings.Contains(sse.last, `"id":1`) {
				break
			}
		}
	})
}

// TestFailedListener has the listener fail.
func TestFailedListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	h, err := NewHTTP(fixtures(), HTTPOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve on a closed listener = %v, want %v", err, net.ErrClosed)
	}
}

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, why := 0, errors.New("no Ollama answers")
		s := hostInMemory(t, HTTPOptions{Ready: func(ctx context.Context) error {
			asked++
			if _, bounded := ctx.Deadline(); !bounded {
				t.Errorf("Ready is asked without a deadline")
			}
			return why
		}})
		for range 10 {
			if r := s.do("GET", "/readyz", ""); r.StatusCode != 503 || string(r.body) != `{"ready":false,"reason":"no Ollama answers"}`+"\n" {
				t.Errorf("readyz = %v, want 503 and the reason", r)
			}
		}
		if asked != 1 {
			t.Errorf("readyz ten times in a moment asks %d times, want once", asked)
		}
		why = nil
		time.Sleep(time.Second)
		if r := s.do("GET", "/readyz", ""); r.StatusCode != 200 || string(r.body) != `{"ready":true}`+"\n" {
			t.Errorf("readyz a second later = %v, want 200", r)
		}
		for path, kind := range map[string]string{"/": "text/html; charset=utf-8", "/healthz": "text/plain; charset=utf-8"} {
			if r := s.do("HEAD", path, ""); r.StatusCode != 200 || r.kind() != kind || r.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("HEAD %s = %v, want 200 %s", path, r, kind)
			}
		}
	})
}
