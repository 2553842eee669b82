// Package cli holds the commands beside serving, one file each.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/config"
	"ollama-mcp/schema"
	"ollama-mcp/tools"
)

// Streams are a command's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // whether Out is a terminal: words instead of JSON
	Progress bool // whether Err is a terminal: a progress line on it
}

// Call calls one tool in this process. On a terminal it prints the tool's words, without
// what could steer the terminal; elsewhere the structured result as JSON. It returns the
// exit code: 0, 1 when the tool failed, 2 when the call was wrong.
func Call(ctx context.Context, set []tools.Tool, c config.CallCommand, s Streams) int {
	i := slices.IndexFunc(set, func(t tools.Tool) bool { return t.Name == c.Tool })
	if i < 0 {
		fmt.Fprintf(s.Err, "ollama-mcp: %s\n", unknownTool(c.Tool, set))
		return 2
	}
	args := []byte(c.Arguments)
	if c.Arguments == "-" {
		var err error
		if args, err = readAll(ctx, s.In); err != nil {
			fmt.Fprintf(s.Err, "ollama-mcp: read arguments: %v\n", err)
			return 2
		}
	}
	line := newProgressLine(s.Err, s.Progress)
	result := set[i].Call(ctx, args, "call", line.report)
	line.close()
	return printResult(result, s)
}

// readAll reads r to its end, or until ctx ends: nothing interrupts a read of a terminal,
// so the goroutine is left behind for the program's end.
func readAll(ctx context.Context, r io.Reader) ([]byte, error) {
	var all []byte
	done := make(chan error, 1)
	go func() {
		var err error
		all, err = io.ReadAll(r)
		done <- err
	}()
	select {
	case err := <-done:
		return all, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func unknownTool(name string, set []tools.Tool) string {
	names := make([]string, len(set))
	for i, t := range set {
		names[i] = t.Name
	}
	words := fmt.Sprintf("unknown tool %q;", name)
	if near := schema.Nearest(name, names); near != "" {
		words += fmt.Sprintf(" did you mean %s?", near)
	}
	return words + " valid: " + strings.Join(names, ", ")
}

// printResult prints what came of a call and returns the exit code.
func printResult(r *mcp.CallToolResult, s Streams) int {
	code := 0
	if p := tools.ProblemOf(r); p != nil {
		code = 1
		if p.Kind == tools.InvalidArguments {
			code = 2
		}
	}
	if s.Terminal {
		for _, c := range r.Content {
			if t, ok := c.(mcp.TextContent); ok {
				fmt.Fprintln(s.Out, printable(t.Text))
			}
		}
		return code
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r.StructuredContent); err != nil {
		fmt.Fprintf(s.Err, "ollama-mcp: encode the result: %v\n", err)
		return 1
	}
	if _, err := s.Out.Write(b.Bytes()); err != nil {
		return 1
	}
	return code
}

// progressLine shows where a call stands on one line of a terminal that is written over
// and over, so that a quiet call is seen to be alive.
type progressLine struct {
	out  io.Writer
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex // guards message
	message func() string
}

// newProgressLine starts the line; on false it shows nothing.
func newProgressLine(out io.Writer, on bool) *progressLine {
	l := &progressLine{out: out, stop: make(chan struct{}), done: make(chan struct{})}
	if !on {
		close(l.done)
		return l
	}
	go l.show()
	return l
}

func (l *progressLine) report(p tools.Progress) {
	l.mu.Lock()
	l.message = p.Message
	l.mu.Unlock()
}

func (l *progressLine) show() {
	defer close(l.done)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			fmt.Fprint(l.out, "\r\x1b[K")
			return
		case <-tick.C:
			l.mu.Lock()
			message := l.message
			l.mu.Unlock()
			if message != nil {
				fmt.Fprintf(l.out, "\r\x1b[K%s", printable(message()))
			}
		}
	}
}

// close wipes the line.
func (l *progressLine) close() {
	close(l.stop)
	<-l.done
}

// printable is text without what could steer a terminal: lines and tabs stay.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, s)
}
