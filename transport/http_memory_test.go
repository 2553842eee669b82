package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// childMark in the environment makes the test binary a server.
const childMark = "TRANSPORT_TEST_SERVER"

// serveAsChild serves on a port of its own, says its address, and what memory it holds
// for each line of its input, until that ends.
func serveAsChild() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	h, err := NewHTTP(fixtures(), HTTPOptions{HeaderTimeout: patience, Options: Options{MaxStreamsPerCaller: 8192}})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, l) }()
	fmt.Println(l.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		h.hub.mu.Lock()
		streams := h.hub.all.streams
		h.hub.mu.Unlock()
		debug.FreeOSMemory()
		fmt.Println(streams, memory0(), resident())
	}
	stop()
	<-done
}

// resident is the process's resident memory in bytes, 0 where it is not known.
func resident() (n int64) {
	statm, _ := os.ReadFile("/proc/self/statm")
	fmt.Sscan(string(statm), new(int64), &n)
	return n * int64(os.Getpagesize())
}

// child is a server in a process of its own.
type child struct {
	t    *testing.T
	addr string
	in   io.Writer
	out  *bufio.Reader
}

func startChild(t *testing.T) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMark+"=1")
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, in: in, out: bufio.NewReader(out)}
	if _, err := fmt.Fscanln(c.out, &c.addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("server = %v, want nil", err)
		}
	})
	return c
}

// holds asks the server for what it holds.
func (c *child) holds() (streams, heap, rss int64) {
	c.t.Helper()
	fmt.Fprintln(c.in)
	if _, err := fmt.Fscanln(c.out, &streams, &heap, &rss); err != nil {
		c.t.Fatal(err)
	}
	return streams, heap, rss
}

// TestIdleStreams opens 5,000 streams that have nothing to say.
func TestIdleStreams(t *testing.T) {
	const n, most, slack = 5000, 64 << 10, 10 << 20
	body := listen("1", `{"toolsListChanged":true}`)
	for name, request := range map[string]string{
		"sse": "GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"listen": fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+
			"Mcp-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
	} {
		t.Run(name, func(t *testing.T) {
			c := startChild(t)
			open := func(n int) (conns []net.Conn) {
				for range n {
					conn, err := net.Dial("tcp", c.addr)
					if err != nil {
						t.Fatal(err)
					}
					conn.SetDeadline(time.Now().Add(patience))
					io.WriteString(conn, request)
					conns = append(conns, conn)
				}
				for _, conn := range conns {
					said := make([]byte, 1024)
					if n, err := conn.Read(said); err != nil || !strings.HasPrefix(string(said[:n]), "HTTP/1.1 200") {
						t.Fatalf("stream = %q, %v, want it open", said[:n], err)
					}
				}
				return conns
			}
			end := func(conns []net.Conn) {
				for _, conn := range conns {
					conn.Close()
				}
				for begun := time.Now(); time.Since(begun) < patience; {
					if streams, _, _ := c.holds(); streams == 0 {
						return
					}
				}
			}
			end(open(100)) // what is made once is no stream's
			_, heap, rss := c.holds()
			conns := open(n)
			streams, heapOpen, rssOpen := c.holds()
			end(conns)
			left, heapEnd, rssEnd := c.holds()
			if streams != n || left != 0 {
				t.Errorf("streams open = %d, then %d, want %d, then none", streams, left, n)
			}
			if each := (heapOpen - heap) / n; each > most {
				t.Errorf("an idle stream takes %d bytes, want %d at most", each, most)
			}
			if heapEnd-heap > slack {
				t.Errorf("%d bytes are left of %d streams, want %d at most", heapEnd-heap, n, slack)
			}
			t.Logf("a stream takes %d bytes of heap and stack, %d resident; left are %d and %d",
				(heapOpen-heap)/n, (rssOpen-rss)/n, heapEnd-heap, rssEnd-rss)
		})
	}
}
