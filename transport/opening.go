package transport

import (
	"errors"
	"net"
	"os"
	"time"
)

// preface is what net/http waits for on a new connection, to see whether it is one of
// HTTP/2 in cleartext: https://go.dev/issue/80205
const preface = "PRI * HTTP/2.0"

// openings gives the first request of a connection its own time. Clients open
// connections in advance, and net/http counts the time of a header from there: it
// answers 400 to a request that comes just before the end of it.
type openings struct {
	net.Listener
	limit time.Duration // from the first byte of a header to its last
}

func (l openings) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &opening{Conn: c, limit: l.limit}, nil
}

// opening is a connection that counts what it has heard until that is a preface's worth.
// Its Read is called by one goroutine at a time, as net/http does.
type opening struct {
	net.Conn
	limit time.Duration
	heard int
}

func (c *opening) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.heard >= len(preface) {
		return n, err
	}
	if c.heard == 0 && n > 0 {
		err = errors.Join(err, c.SetReadDeadline(time.Now().Add(c.limit)))
	}
	if c.heard += n; c.heard < len(preface) && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.Close() // without a 400 that no request has asked for
	}
	return n, err
}
