package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mark3labs/mcp-go/server"

	"ollama-mcp/transport/auth"
)

const ioBuffer = 64 << 10

// ServeStdio serves one client that sends a message a line on in and reads a
// message a line from out, as the stdio transport of MCP says, until the end of
// input or of ctx; then it drains and returns nil. It returns an error when in
// or out fails. An in, or an out that the client does not read, is closed at
// the end if it is an io.Closer, as nothing else ends a call that blocks.
//
// os.Stdin and os.Stdout cannot be interrupted when they are pipes of blocking
// mode: the goroutine that reads, or one that writes to a client that does not,
// then stays behind, and so ServeStdio must be the last thing a process does.
func ServeStdio(ctx context.Context, srv *server.MCPServer, in io.Reader, out io.Writer, o Options) error {
	o.KeepAlive = 0 // a line that is no message has no place here
	h, err := newHub(srv, o)
	if err != nil {
		return err
	}
	defer h.close()
	s := &session{deaf: make(chan struct{})}
	c := h.connect(ctx, s, auth.Local, &lineWriter{bufio.NewWriterSize(out, ioBuffer)})
	go c.out.run() // drain waits for it
	ended := make(chan struct{})
	var readErr error // set before ended is closed
	go func() {
		defer close(ended)
		defer close(s.deaf)
		readErr = c.readLines(in)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	case <-c.ctx.Done(): // the client has stopped taking what we write
	}
	writeErr := context.Cause(c.ctx)
	if !c.drain() && interrupt(out) {
		within(h.o.Drain, c.out.done)
	}
	if interrupt(in) {
		within(h.o.Drain, ended)
	}
	select {
	case <-ended:
		return errors.Join(readErr, writeErr)
	default:
		return writeErr
	}
}

// interrupt makes a blocked Read or Write on f return, and reports whether it can.
func interrupt(f any) bool {
	switch f := f.(type) {
	case *os.File:
		return f.SetDeadline(time.Now()) == nil // fails where the runtime cannot poll
	case io.Closer:
		return f.Close() == nil
	}
	return false
}

// readLines takes messages from in until its end.
func (c *conn) readLines(in io.Reader) error {
	lines := newLineReader(in, c.hub.o.MaxMessage, ioBuffer)
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, errTooLong):
			c.out.room(c.ctx)
			c.out.put(refusal(nil, invalid("message is larger than %d bytes", c.hub.o.MaxMessage)))
		case c.ctx.Err() != nil || errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case len(line) > 0:
			if m, bad := parse(line); bad == nil {
				c.take(m)
			} else {
				c.out.room(c.ctx)
				c.out.put(refusal(m.id, bad))
			}
		}
	}
}

var errTooLong = errors.New("line too long")

// lineReader splits a stream into lines of at most max bytes.
type lineReader struct {
	r   *bufio.Reader
	max int
}

func newLineReader(r io.Reader, max, buffer int) *lineReader {
	return &lineReader{bufio.NewReaderSize(r, buffer), max}
}

// next returns the next line without its end and the blanks around it, in
// memory of its own. A line that is too long is read to its end, not kept, and
// reported as errTooLong. The last line needs no end.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	tooLong := false
	for {
		part, err := l.r.ReadSlice('\n')
		if tooLong = tooLong || len(line)+len(bytes.TrimRight(part, "\r\n")) > l.max; tooLong {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case tooLong && (err == nil || errors.Is(err, io.EOF)):
			return nil, errTooLong
		case errors.Is(err, io.EOF) && len(line) > 0, err == nil:
			return bytes.TrimSpace(line), nil
		default:
			return nil, err
		}
	}
}

// lineWriter is a sink of a line a message.
type lineWriter struct{ w *bufio.Writer }

func (l *lineWriter) write(it item) error {
	it.done()
	for _, part := range it.parts {
		if _, err := l.w.Write(part); err != nil {
			return err
		}
	}
	return l.w.WriteByte('\n')
}

func (l *lineWriter) flush() error { return l.w.Flush() }
func (l *lineWriter) ping() error  { return nil }
