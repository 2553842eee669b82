package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// wire is a connection to a server in fake time, to which a test writes by hand.
func (s *site) wire() net.Conn {
	s.t.Helper()
	c, err := s.client.Transport.(*http.Transport).DialContext(s.t.Context(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// TestDeadlines has clients that stop in the middle of everything: each is dropped when
// its time is up, and not before.
func TestDeadlines(t *testing.T) {
	post := "POST /mcp HTTP/1.1\r\nHost: memory.example\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
	tests := []struct {
		name, sent string
		after      time.Duration
		says       string // what is answered
	}{
		{"nothing", "", 5 * time.Second, ""},
		{"half a preface", "PRI *", 5 * time.Second, ""},
		{"half a line", "POST", 5 * time.Second, ""},
		{"a line", "POST /mcp HTTP/1.1\r\n", 5 * time.Second, ""},
		{"half a header", post, 5 * time.Second, ""},
		{"half a body", post + "\r\n{", 60 * time.Second, "HTTP/1.1 408"},
		{"half a body of what is refused", strings.Replace(post, "json", "xml", 1) + "\r\n{", 60 * time.Second, "HTTP/1.1 415"},
		{"half a body of a stranger", strings.Replace(post, "memory", "evil", 1) + "\r\n{", 60 * time.Second, "HTTP/1.1 403"},
		{"no second request", "GET /healthz HTTP/1.1\r\nHost: memory.example\r\n\r\n", 2 * time.Minute, "HTTP/1.1 200"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := hostInMemory(t, HTTPOptions{})
				c := s.wire()
				begun := time.Now()
				go io.WriteString(c, test.sent)
				said, _ := io.ReadAll(c)
				if took := time.Since(begun); took < test.after-time.Second || took > test.after+time.Second || !strings.HasPrefix(string(said), test.says) {
					t.Errorf("a client that sends %q is dropped after %v with %q, want after %v with %q", test.sent, took, said, test.after, test.says)
				}
				c.Close()
			})
		})
	}
}

// TestDrip has a client that sends a byte a second, which must not help it.
func TestDrip(t *testing.T) {
	for name, head := range map[string]string{
		"header": "POST /mcp HTTP/1.1\r\nHost: memory.example\r\nX-Long: ",
		"body":   "POST /mcp HTTP/1.1\r\nHost: memory.example\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := hostInMemory(t, HTTPOptions{})
				c := s.wire()
				begun := time.Now()
				go io.Copy(io.Discard, c)
				_, err := io.WriteString(c, head)
				for ; err == nil; _, err = io.WriteString(c, "x") {
					if time.Sleep(time.Second); time.Since(begun) > 10*time.Minute {
						break
					}
				}
				if took := time.Since(begun); took > 62*time.Second {
					t.Errorf("a %s that comes byte by byte is taken for %v, want 60 s at most", name, took)
				}
				c.Close()
			})
		})
	}
}

// TestLateFirstRequest uses connections that were opened in advance. The first byte of a
// request may come at any moment: it is answered, or the connection is closed.
func TestLateFirstRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hostInMemory(t, HTTPOptions{})
		for _, test := range []struct {
			wait time.Duration
			want string
		}{{0, "HTTP/1.1 200 OK"}, {4990 * time.Millisecond, "HTTP/1.1 200 OK"}, {5001 * time.Millisecond, ""}, {9 * time.Second, ""}} {
			c := s.wire()
			time.Sleep(test.wait)
			io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost")
			time.Sleep(time.Second)
			io.WriteString(c, ": memory.example\r\n\r\n")
			line, _ := bufio.NewReader(c).ReadString('\n')
			if line = strings.TrimSpace(line); line != test.want {
				t.Errorf("first request after %v = %q, want %q", test.wait, line, test.want)
			}
			c.Close()
		}
	})
}

// TestNobodyReads has clients that ask for much and read nothing of it.
func TestNobodyReads(t *testing.T) {
	const size = 32 << 20 // more than the system's buffers take
	s := host(t, withLarge(size), HTTPOptions{WriteTimeout: 200 * time.Millisecond})
	in := s.session("2025-11-25", `{}`)
	before := memory0()
	var conns []net.Conn
	for i := range 20 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := s.request("POST", "/mcp", call(fmt.Sprint(i), "", "large", `{}`), append(in, "Accept", []string{"text/event-stream", "application/json"}[i%2])...)
		if err := r.Write(c); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		conns = append(conns, c)
	}
	s.eventually("20 clients that read nothing are dropped", func() bool {
		s.h.hub.mu.Lock()
		defer s.h.hub.mu.Unlock()
		return s.h.hub.seq.Load() > 20 && len(s.h.hub.conns) == 0 && s.h.hub.all.calls == 0 && s.h.hub.all.bytes == 0
	})
	for i, c := range conns {
		c.SetReadDeadline(time.Now().Add(patience))
		n, err := io.Copy(io.Discard, c)
		if n >= size {
			t.Errorf("client %d was sent all (%d bytes, %v), want it cut", i, n, err)
		}
	}
	t.Logf("memory: %d KB more than before", (memory0()-before)>>10)
}

// TestSlowReader has clients that take longer for an answer than one write may wait.
func TestSlowReader(t *testing.T) {
	const size = 4 << 20
	for _, accept := range []string{"application/json", "text/event-stream"} {
		synctest.Test(t, func(t *testing.T) {
			l := newPipes()
			s := hostOn(t, l, &http.Transport{DialContext: l.dial}, withLarge(size),
				HTTPOptions{AllowHosts: []string{memory{}.String()}, WriteTimeout: 10 * time.Second})
			s.client.Timeout = 0
			in := append(s.session("2025-11-25", `{}`), "Accept", accept)
			resp, err := s.client.Do(s.request("POST", "/mcp", call("1", "", "large", `{}`), in...))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			n := int64(0)
			for err == nil {
				var more int64
				more, err = io.CopyN(io.Discard, resp.Body, 64<<10)
				n += more
				time.Sleep(time.Second)
			}
			if n < size || err != io.EOF {
				t.Errorf("a slow reader of %s gets %d bytes, %v, want all %d", accept, n, err, size)
			}
		})
	}
}

// TestUnreadResponsesCount has a client that reads none of its answers.
func TestUnreadResponsesCount(t *testing.T) {
	for _, accept := range []string{"application/json", "text/event-stream"} {
		synctest.Test(t, func(t *testing.T) {
			l := newPipes()
			s := hostOn(t, l, &http.Transport{DialContext: l.dial}, withLarge(1<<20),
				HTTPOptions{AllowHosts: []string{memory{}.String()}, Options: Options{MaxCallsPerCaller: 2}})
			s.client.Timeout = 0
			in := s.session("2025-11-25", `{}`)
			for i := range 2 {
				c := s.wire()
				defer c.Close()
				if err := s.request("POST", "/mcp", call(fmt.Sprint(i), "", "large", `{}`), append(in, "Accept", accept)...).Write(c); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if m := s.do("POST", "/mcp", call("8", "", "echo", `{"text":"x"}`), in...).reply(t); !m.Result.IsError {
				t.Errorf("a call beside two answers that are not read = %s, want the limit", m.raw)
			}
			time.Sleep(31 * time.Second) // the time of a write
			if m := s.do("POST", "/mcp", call("9", "", "echo", `{"text":"x"}`), in...).reply(t); m.text() != "x" {
				t.Errorf("a call after they were dropped = %s, want its answer", m.raw)
			}
		})
	}
}

// withLarge is a server with the tool "large", whose answer has n bytes.
func withLarge(n int) *server.MCPServer {
	srv := fixtures()
	raw := []byte(`"` + strings.Repeat("x", n-2) + `"`)
	srv.AddTool(mcp.NewTool("large"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{RawStructuredContent: raw}, nil
	})
	return srv
}

// memory0 is what the process holds, in bytes, without garbage and without the gaps
// between objects, which differ from run to run.
func memory0() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// eventually waits until something is so.
func (s *site) eventually(what string, so func() bool) {
	s.t.Helper()
	for begun := time.Now(); time.Since(begun) < patience; s.do("GET", "/healthz", "") {
		if so() {
			return
		}
	}
	s.t.Fatalf("%s: not within %v", what, patience)
}

// TestSilentConnections opens connections that send nothing, beside calls of others.
func TestSilentConnections(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{HeaderTimeout: time.Second})
	in := s.session("2025-11-25", `{}`)
	took := func() time.Duration { // the 99th percentile
		var all []time.Duration
		for i := range 300 {
			begun := time.Now()
			if m := s.do("POST", "/mcp", call(fmt.Sprint(i), "", "echo", `{"text":"x"}`), in...).reply(t); m.text() != "x" {
				t.Fatalf("echo = %s, want an answer", m.raw)
			}
			all = append(all, time.Since(begun))
		}
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	before := took()
	var conns []net.Conn
	for i := range 500 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "POST /mcp HTTP/1.1\r\nHost: ")
		}
		conns = append(conns, c)
	}
	t.Logf("p99 of a call: %v, beside 500 silent connections %v", before, took())
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a silent connection reads %d bytes, %v, want its end", n, err)
		}
	}
}

// TestOneReaderStalls has 1,000 calls on one connection of HTTP/2, one of them with a
// large answer that the client does not read.
func TestOneReaderStalls(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dials := 0
	transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	s := hostOn(t, l, transport, withLarge(12<<20), HTTPOptions{Options: Options{MaxCallsPerCaller: 2000}, WriteTimeout: patience})
	in := s.session("2025-11-25", `{}`)
	stalled := s.open("POST", "/mcp", call(`"stalled"`, "", "large", `{}`), append(in, "Accept", "text/event-stream")...)

	var wg sync.WaitGroup
	answers := make(chan string, 1000)
	for i := range 1000 {
		wg.Go(func() {
			if m := s.do("POST", "/mcp", call(fmt.Sprint(i), "", "count", `{"n":1,"every_ms":100}`), in...).reply(t); m.text() == "0€ " {
				answers <- string(m.ID)
			}
		})
	}
	wg.Wait()
	close(answers)
	seen := map[string]bool{}
	for id := range answers {
		seen[id] = true
	}
	if len(seen) != 1000 || dials != 1 || stalled.resp.ProtoMajor != 2 {
		t.Errorf("1000 calls beside a stalled one: %d answers on %d connections of HTTP/%d, want all on one of HTTP/2", len(seen), dials, stalled.resp.ProtoMajor)
	}
	if m := stalled.must(); len(m.Result.StructuredContent) != 12<<20 {
		t.Errorf("the stalled answer has %d bytes, want all of them once they are read", len(m.Result.StructuredContent))
	}
}
