package ollama

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
)

// stream reads a generation's answer as fast as it comes, because Ollama holds a
// model's slot while it waits for us (github.com/ollama/ollama/issues/17131), and
// keeps for a slower consumer what it has not taken yet, joined into one delta.
type stream struct {
	x     *exchange
	kind  lineKind
	ready chan struct{} // one slot, full when pending has something; closed by the reader when it is through
	err   error         // how the stream ended; written before ready is closed

	mu      sync.Mutex // guards pending
	pending delta
}

// stream sends a request and yields what comes. It returns when the reader has gone.
func (c *Client) stream(ctx context.Context, r request, kind lineKind) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		x, err := c.exchange(ctx, r)
		if err != nil {
			yield(Chunk{}, err)
			return
		}
		s := &stream{x: x, kind: kind, ready: make(chan struct{}, 1)}
		go s.read()
		done := false
		defer func() {
			if !done { // after the end, the reader frees the connection for the next request
				x.cancel(context.Canceled)
			}
			for range s.ready {
			}
		}()
		for range s.ready {
			chunk := s.take()
			if chunk.Tokens == 0 {
				continue // the chunk before had it
			}
			done = chunk.Done != nil
			if !yield(chunk, nil) {
				return
			}
		}
		if s.err != nil {
			yield(Chunk{}, s.err)
		}
	}
}

func (s *stream) take() Chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending.take()
}

// read reads lines until the last one.
func (s *stream) read() {
	defer close(s.ready)
	defer s.x.close()
	lines := lineReader{r: bufio.NewReaderSize(s.x, 8<<10)}
	for first := true; ; {
		line, err := lines.next()
		if len(bytes.TrimSpace(line)) > 0 {
			done, bad := s.add(line)
			switch {
			case done:
				s.x.drain()
				return
			case bad != nil && (err == nil || err == io.EOF):
				more, _ := lines.r.Peek(lines.r.Buffered())
				s.err = s.x.broken(first, line, more)
				return
			}
			first = false
		}
		if err != nil {
			s.err = s.x.ended(err)
			return
		}
	}
}

// add adds a line to what the consumer can take.
func (s *stream) add(line []byte) (done bool, err error) {
	s.mu.Lock()
	err = s.pending.add(s.kind, line)
	done = s.pending.done != nil
	s.mu.Unlock()
	if err == nil {
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
	return done, err
}

// broken says what is wrong with a line that is not one of the stream's. What has come
// after it helps to tell what it is, when it is not Ollama's.
func (x *exchange) broken(first bool, line, more []byte) error {
	if _, ours := words(line); !ours {
		line = slices.Concat(line, []byte("\n"), more)
	}
	err := x.unexpected(line)
	var e *Error
	if !first && errors.As(err, &e) && e.Kind == NotOllama {
		e.Kind = Cut // it was Ollama, until something broke in
	}
	return err
}

// ended says how a stream ended that never said that it was done.
func (x *exchange) ended(err error) error {
	switch err {
	case errTooLong:
		return x.error(NotOllama, fmt.Sprintf("a line of more than %d MB", maxLine>>20))
	case io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return x.fail(err)
}
