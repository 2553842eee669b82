package ollamatest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"ollama-mcp/ollama"
)

// Fault is a way for a request to go wrong. The zero value is none.
type Fault struct {
	Name string

	// What a client may make of it: an error of one of the Kinds, or a success that is one, or a wait that only the
	// caller's own deadline ends.
	Kinds   []ollama.Kind
	Success bool
	Waits   bool
	// Slow says that nothing comes for minutes, which what needs no model takes for a stall.
	Slow bool
	// Big says that it moves tens of megabytes.
	Big bool

	// Times is how many requests it meets before the path is healthy again; 0 is all.
	Times int

	down   bool
	killed bool // down, with all that was in memory
	frozen bool
	serve  func(*call)
}

// Allows reports whether err is a right outcome of a call that met the fault. quick says
// that the call needs no model.
func (f Fault) Allows(err error, quick bool) bool {
	var e *ollama.Error
	switch {
	case f.Slow && quick:
		return errors.As(err, &e) && e.Kind == ollama.Stalled
	case err == nil:
		return f.Success
	case errors.As(err, &e):
		return slices.Contains(f.Kinds, e.Kind)
	}
	return f.Waits && errors.Is(err, context.DeadlineExceeded)
}

// afterTokens is where the faults of AllFaults strike in a stream.
const afterTokens = 3

// AllFaults are the faults worth handling. Those that strike in mid-stream cut an answer that is not a stream in its
// middle. A failing TLS handshake is Script.TLS, a wedged model Fake.Wedge, a host that comes back a Change.
func AllFaults() []Fault {
	return slices.Concat(connectionFaults(), streamFaults(), statusFaults(), foreignFaults())
}

func connectionFaults() []Fault {
	return []Fault{Down(), Reset(), Hangup(), Silent(), SlowStart(330 * time.Second)}
}

func streamFaults() []Fault {
	return []Fault{
		StallAfter(afterTokens), CutAfter(afterTokens), EndAfter(afterTokens), CutAfterDone(),
		ErrorAfter(afterTokens), ErrorObjectAfter(afterTokens),
		EmptyOK(), ShortBody(), LongLine(60 << 20), TooLongLine(),
	}
}

// Down closes the listener, as long as it is the fault of the path "". Elsewhere it is Hangup.
func Down() Fault {
	f := Hangup()
	f.Name, f.down = "down", true
	return f
}

// Killed is Down of a process that ends: what was loaded is not when it comes back.
func Killed() Fault {
	f := Down()
	f.Name, f.killed = "killed", true
	return f
}

// Hang stops the host as SIGSTOP does, as long as it is the fault of the path "": it is still connected to, and neither
// begins an answer nor goes on with one. When the fault is over it answers them all. Elsewhere only the requests that
// meet it wait for that.
func Hang() Fault {
	return Fault{Name: "hang", Waits: true, Slow: true, frozen: true, serve: func(c *call) {
		if c.thaw() == nil {
			c.route()
		}
	}}
}

// thaw waits until the host does not hang. Its error is the context's.
func (c *call) thaw() error {
	return c.fake.await(c.r.Context(), func() bool { return !c.fake.script.Faults[""].frozen })
}

// freezer writes nothing while the host hangs.
type freezer struct {
	http.ResponseWriter
	call *call
}

func (z *freezer) Unwrap() http.ResponseWriter { return z.ResponseWriter }

func (z *freezer) Write(p []byte) (int, error) {
	if err := z.call.thaw(); err != nil {
		return 0, err
	}
	return z.ResponseWriter.Write(p)
}

// Reset resets the connection once the request is read.
func Reset() Fault {
	return Fault{Name: "reset", Kinds: []ollama.Kind{ollama.Unreachable}, serve: func(c *call) {
		conn, _, err := http.NewResponseController(c.w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // then closing sends RST
		}
		_ = conn.Close()
	}}
}

// Hangup closes the connection without an answer.
func Hangup() Fault {
	return Fault{Name: "hangup", Kinds: []ollama.Kind{ollama.Unreachable}, serve: func(*call) {
		panic(http.ErrAbortHandler)
	}}
}

// Silent reads the request and never answers.
func Silent() Fault {
	return Fault{Name: "silent", Waits: true, Slow: true, serve: (*call).wait}
}

// SlowStart waits before it answers as it should. A cold load of a large model takes minutes.
func SlowStart(d time.Duration) Fault {
	return Fault{Name: "slow start", Success: true, Slow: true, serve: func(c *call) {
		if sleep(c.r.Context(), d) == nil {
			c.route()
		}
	}}
}

// StallAfter falls silent after so many lines.
func StallAfter(lines int) Fault {
	return Fault{Name: "stall", Kinds: []ollama.Kind{ollama.Stalled}, serve: func(c *call) {
		c.strike(lines, 0.5, (*call).wait)
	}}
}

// CutAfter breaks the connection after so many lines.
func CutAfter(lines int) Fault {
	return Fault{Name: "cut", Kinds: []ollama.Kind{ollama.Cut}, serve: func(c *call) {
		c.strike(lines, 0.5, func(*call) { panic(http.ErrAbortHandler) })
	}}
}

// EndAfter ends the answer in good form after so many lines, but not with done.
func EndAfter(lines int) Fault {
	kinds := []ollama.Kind{ollama.Cut, ollama.NotOllama} // half a JSON document may look like either
	return Fault{Name: "end without done", Kinds: kinds, serve: func(c *call) {
		c.strike(lines, 0.5, func(*call) {})
	}}
}

// CutAfterDone sends the whole answer and then breaks the connection. All that was said is there.
func CutAfterDone() Fault {
	return Fault{Name: "cut after done", Success: true, Kinds: []ollama.Kind{ollama.Cut}, serve: func(c *call) {
		c.route()
		_ = http.NewResponseController(c.w).Flush()
		panic(http.ErrAbortHandler)
	}}
}

const runnerDied = "an error was encountered while running the model: CUDA error: out of memory"

// ErrorAfter ends a stream with an error after so many lines, as Ollama does when its runner dies.
func ErrorAfter(lines int) Fault {
	return errorLine("error line", lines, encode(map[string]string{"error": runnerDied}))
}

// ErrorObjectAfter is ErrorAfter with an object where the text should be.
func ErrorObjectAfter(lines int) Fault {
	object := map[string]any{"code": 500, "message": runnerDied, "type": "server_error"}
	return errorLine("error object", lines, encode(map[string]any{"error": object}))
}

func errorLine(name string, lines int, body []byte) Fault {
	kinds := []ollama.Kind{ollama.Failed, ollama.LoadFailed}
	body = append(body, '\n')
	return Fault{Name: name, Kinds: kinds, serve: func(c *call) {
		c.strike(lines, 0, func(c *call) { _, _ = c.w.Write(body) })
	}}
}

// EmptyOK answers 200 and nothing.
func EmptyOK() Fault {
	kinds := []ollama.Kind{ollama.Cut, ollama.NotOllama}
	return Fault{Name: "empty 200", Kinds: kinds, serve: func(c *call) {
		c.write(http.StatusOK, "application/x-ndjson", nil)
	}}
}

// ShortBody announces a longer body than it sends.
func ShortBody() Fault {
	return Fault{Name: "short body", Kinds: []ollama.Kind{ollama.Cut}, serve: func(c *call) {
		c.w.Header().Set("Content-Length", "100000000")
		c.strike(afterTokens, 0.5, func(*call) { panic(http.ErrAbortHandler) })
	}}
}

// LongLine adds a field of so many bytes to the front of the first line. Generate's last line, with its context, grows
// that long; Ollama sets no limit.
func LongLine(bytes int) Fault {
	return Fault{Name: "long line", Success: true, Big: true, serve: func(c *call) {
		c.w = &padding{ResponseWriter: c.w, bytes: bytes}
		c.route()
	}}
}

// TooLongLine is a LongLine of over 64 MB, where a client may give up.
func TooLongLine() Fault {
	f := LongLine(65 << 20)
	f.Name, f.Success = "too long line", false
	f.Kinds = []ollama.Kind{ollama.NotOllama, ollama.Failed, ollama.Cut}
	return f
}

// begin gives a request its script, and the fault that it meets.
func (f *Fake) begin(path string) (Script, Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, ok := f.script.Faults[path]
	if !ok {
		path = ""
		fault = f.script.Faults[path]
	}
	switch left := fault; {
	case left.Times == 1:
		delete(f.script.Faults, path)
	case left.Times > 1:
		left.Times--
		f.script.Faults[path] = left
	}
	return f.script, fault
}

// wait keeps the connection open until somebody closes it.
func (c *call) wait() { <-c.r.Context().Done() }

// strike lets so many lines of the answer pass, or that share of an answer that is not a stream, and then calls then.
// The answer ends there.
func (c *call) strike(lines int, share float64, then func(*call)) {
	whole := c.w
	c.w = &striker{ResponseWriter: whole, lines: lines, share: share}
	c.route()
	if !c.answered && c.r.Context().Err() == nil {
		c.w = whole
		_ = http.NewResponseController(c.w).Flush()
		then(c)
	}
}

// striker fails to write more than so many lines, or that share of an answer in one piece.
type striker struct {
	http.ResponseWriter
	lines int
	share float64
}

var errStruck = errors.New("the fault strikes")

func (s *striker) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *striker) Write(p []byte) (int, error) {
	end := int(s.share * float64(len(p)))
	if strings.HasSuffix(s.Header().Get("Content-Type"), "ndjson") {
		for end = 0; s.lines > 0 && end < len(p); s.lines-- {
			end += bytes.IndexByte(p[end:], '\n') + 1
		}
		if end == len(p) {
			return s.ResponseWriter.Write(p)
		}
	}
	n, err := s.ResponseWriter.Write(p[:end])
	return n, errors.Join(err, errStruck)
}

// padding makes the first line long.
type padding struct {
	http.ResponseWriter
	bytes int
}

func (p *padding) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *padding) Write(b []byte) (int, error) {
	if p.bytes == 0 {
		return p.ResponseWriter.Write(b)
	}
	x := bytes.Repeat([]byte("x"), 1<<20)
	_, err := p.ResponseWriter.Write([]byte(`{"padding":"`))
	for ; p.bytes > 0 && err == nil; p.bytes -= len(x) {
		_, err = p.ResponseWriter.Write(x[:min(p.bytes, len(x))])
	}
	p.bytes = 0
	if err == nil {
		_, err = p.ResponseWriter.Write(append([]byte(`",`), b[1:]...))
	}
	return len(b), err
}
