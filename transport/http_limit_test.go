package transport

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLimitsOfCalls(t *testing.T) {
	for name, o := range map[string]Options{
		"--max-calls-per-caller": {MaxCallsPerCaller: 2},
		"--max-calls":            {MaxCalls: 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := hold(t, HTTPOptions{Options: o, Auth: callers(t, "ann", "bob")})
			in := h.session("2025-11-25", `{}`, as("ann")...)
			other := h.session("2025-11-25", `{}`, as("bob")...)
			e := h.open("POST", "/mcp", call("1", "", "hold", `{}`), in...)
			h.open("POST", "/mcp", call("2", "", "hold", `{}`), in...)
			<-h.began
			<-h.began
			if m := h.do("POST", "/mcp", call("3", "", "echo", `{}`), in...).reply(t); !m.Result.IsError || !strings.Contains(m.text(), name) {
				t.Errorf("third call = %s, want a tool error that names %s", m.raw, name)
			}
			r := h.do("POST", "/mcp", `{"jsonrpc":"2.0","id":4,"method":"tools/list"}`, in...)
			if m := r.reply(t); r.StatusCode != 200 || m.Error == nil || m.Error.Code != codeRefused || !strings.Contains(m.Error.Message, name) {
				t.Errorf("tools/list beyond the limit = %v, want error %d that names %s", r, codeRefused, name)
			}
			for _, body := range []string{`{"jsonrpc":"2.0","id":5,"method":"ping"}`, fmt.Sprintf(initialize, "2025-11-25", "{}")} {
				if m := h.do("POST", "/mcp", body, in...).reply(t); m.Error != nil {
					t.Errorf("%.60s beyond the limit = %s, want an answer", body, m.raw)
				}
			}
			if m := h.do("POST", "/mcp", call("6", "", "echo", `{"text":"x"}`), other...).reply(t); m.Result.IsError != (name == "--max-calls") {
				t.Errorf("another caller's call = %s, want it to count for %s alone", m.raw, name)
			}
			e.close()
			<-h.ended
			h.eventually("a place is free again", func() bool {
				return h.do("POST", "/mcp", call("7", "", "echo", `{"text":"x"}`), in...).reply(t).text() == "x"
			})
		})
	}
}

func TestLimitsOfStreams(t *testing.T) {
	listening := modern("1", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`, `{}`)
	tests := []struct {
		name   string
		o      Options
		status int
		others bool // whether other callers still may
	}{
		{"--max-streams-per-caller", Options{MaxStreamsPerCaller: 3}, http.StatusTooManyRequests, true},
		{"--max-streams", Options{MaxStreams: 3}, http.StatusServiceUnavailable, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := host(t, fixtures(), HTTPOptions{Options: test.o, Auth: callers(t, "ann", "bob")})
			in := s.session("2025-11-25", `{}`, as("ann")...)
			s.open("GET", "/mcp", "", in...)
			s.open("POST", "/mcp", listening, headers("subscriptions/listen", "", as("ann")...)...).must()
			sse, path := s.pipe(as("ann")...)
			for _, p := range []string{"/mcp", "/sse"} {
				r := s.do("GET", p, "", in...)
				if r.StatusCode != test.status || r.Header.Get("Retry-After") == "" || !strings.Contains(string(r.body), test.name) {
					t.Errorf("GET %s beyond the limit = %v, want %d, Retry-After and %s", p, r, test.status, test.name)
				}
			}
			m := s.do("POST", "/mcp", listening, headers("subscriptions/listen", "", as("ann")...)...).reply(t)
			if m.Error == nil || m.Error.Code != codeRefused || !strings.Contains(m.Error.Message, test.name) {
				t.Errorf("listen beyond the limit = %s, want error %d that names %s", m.raw, codeRefused, test.name)
			}
			if r := s.do("GET", "/sse", "", append(as("bob"), "Accept", "text/html")...); r.StatusCode != http.StatusNotAcceptable {
				t.Errorf("GET of no stream = %v, want 406", r)
			}
			s.tell(path, []string{call("1", "", "echo", `{"text":"x"}`)}, as("ann")...)
			if m := sse.must(); m.text() != "x" {
				t.Errorf("a call beside all streams = %s, want its answer: streams are no calls", m.raw)
			}
			if test.others {
				s.pipe(as("bob")...)
			}
			sse.close()
			s.eventually("a stream's place is free again", func() bool {
				s.h.hub.mu.Lock()
				defer s.h.hub.mu.Unlock()
				return s.h.hub.callers["ann"].streams == 2
			})
			s.pipe(as("ann")...)
		})
	}
}

func TestLimitOfConnections(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{MaxConnections: 10})
	var conns []net.Conn
	for range 10 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the eleventh connection reads %d, %v, want its end at once", n, err)
	}
	for _, c := range conns {
		c.Close()
	}
	for begun := time.Now(); time.Since(begun) < patience; {
		if resp, err := s.client.Do(s.request("GET", "/healthz", "")); err == nil {
			resp.Body.Close()
			if n := s.h.open.Load(); n < 1 || n > 10 {
				t.Errorf("connections counted = %d, want the one that is open, and those that end", n)
			}
			return
		}
	}
	t.Errorf("after the others have closed there is no room for another connection")
}

// TestLimitOfBytes has uploads that take their time: they count as what has come, and one
// caller's take no more than half of the room.
func TestLimitOfBytes(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{Options: Options{MaxBytes: 1792 << 10, MaxMessage: 768 << 10}, Auth: callers(t, "ann", "bob", "cem")})
	in := map[string][]string{}
	for _, name := range []string{"ann", "bob", "cem"} {
		in[name] = s.session("2025-11-25", `{}`, as(name)...)
	}
	fits := call("1", "", "echo", fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 400<<10)))
	var wg sync.WaitGroup
	upload := func(name string) *io.PipeWriter { // of 600 KB
		body, w := io.Pipe()
		r := s.request("POST", "/mcp", "", in[name]...)
		r.Body, r.ContentLength = body, 600<<10
		wg.Go(func() {
			if resp, err := s.client.Do(r); err == nil { // it breaks off
				resp.Body.Close()
			}
		})
		io.WriteString(w, "{")
		return w
	}
	slow := []*io.PipeWriter{upload("bob")}
	for range 60 {
		slow = append(slow, upload("ann"))
	}
	s.eventually("61 uploads have begun", func() bool { return s.h.hub.held("") >= 61*firstRead })
	if m := s.do("POST", "/mcp", fits, in["ann"]...).reply(t); m.Error != nil || m.Result.IsError {
		t.Errorf("a call of 400 KB beside 60 slow ones = %.200s, want its answer", m.raw)
	}
	for i, step := range []struct {
		grows   *io.PipeWriter
		of      string
		all     int64 // that they hold then
		caller  string
		refused int
		served  string
	}{
		{slow[1], "ann", 600<<10 + 59*firstRead, "ann", http.StatusTooManyRequests, "bob"},
		{slow[0], "bob", 600 << 10, "cem", http.StatusServiceUnavailable, ""},
	} {
		s.eventually("calls have given back their bytes", func() bool { return s.h.hub.held(step.of) < 400<<10 })
		if _, err := io.WriteString(step.grows, strings.Repeat(" ", 520<<10)); err != nil {
			t.Fatal(err)
		}
		s.eventually("an upload grows", func() bool { return s.h.hub.held(step.of) >= step.all })
		if r := s.do("POST", "/mcp", fits, in[step.caller]...); r.StatusCode != step.refused || r.Header.Get("Retry-After") == "" {
			t.Errorf("a call of 400 KB of %s when %d uploads have grown = %.200v, want %d and Retry-After", step.caller, i+1, r, step.refused)
		}
		if step.served == "" {
			continue
		}
		if m := s.do("POST", "/mcp", fits, in[step.served]...).reply(t); m.Error != nil || m.Result.IsError {
			t.Errorf("a call of 400 KB of %s when %d uploads have grown = %.200s, want its answer", step.served, i+1, m.raw)
		}
	}
	for _, w := range slow {
		w.CloseWithError(io.ErrClosedPipe)
	}
	wg.Wait()
	s.eventually("all bytes are given back", func() bool { return s.h.hub.held("") == 0 })
}

// held is how many bytes of messages count, of a caller or, for "", of all.
func (h *hub) held(caller string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if caller == "" {
		return h.all.bytes
	}
	return h.own(caller).bytes
}
