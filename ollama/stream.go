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
	"time"
)

// stream reads a generation's answer as fast as it comes, because Ollama holds a
// model's slot while it waits for us (github.com/ollama/ollama/issues/17131), and
// keeps for a slower consumer what it has not taken yet, joined into one delta.
type stream struct {
	x     *exchange
	kind  lineKind
	ready chan struct{} // one slot, full when pending has something to be taken
	over  chan struct{} // closed by the reader when it is through
	err   error         // how the stream ended; written before over is closed

	mu      sync.Mutex // guards pending
	pending delta
}

// gatherTime is how long what follows a chunk is gathered for the next one, unless the
// stream ends before: waking the consumer takes longer than reading a token.
const gatherTime = 50 * time.Millisecond

// stream sends a request and yields what comes. It returns when the reader has gone.
func (c *Client) stream(ctx context.Context, r request, kind lineKind) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		x, err := c.exchange(ctx, r)
		if err != nil {
			yield(Chunk{}, err)
			return
		}
		s := &stream{x: x, kind: kind, ready: make(chan struct{}, 1), over: make(chan struct{})}
		go s.read()
		defer func() {
			x.cancel(context.Canceled) // nothing, when the reader has gone
			<-s.over
		}()
		for over := false; !over; {
			select {
			case <-s.ready:
			case <-s.over:
				over = true
			}
			chunk := s.take()
			if chunk.Tokens == 0 {
				continue // the chunk before had it
			}
			if !yield(chunk, nil) {
				return
			}
			s.gather()
		}
		if s.err != nil {
			yield(Chunk{}, s.err)
		}
	}
}

// gather waits for more to come.
func (s *stream) gather() {
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.over:
	}
}

func (s *stream) take() Chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending.take()
}

// read reads lines until the last one.
func (s *stream) read() {
	defer close(s.over)
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
			if !lines.more() {
				s.tell()
			}
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
	defer s.mu.Unlock()
	err = s.pending.add(s.kind, line)
	return s.pending.done != nil, err
}

// tell says that there is something to take.
func (s *stream) tell() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
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
