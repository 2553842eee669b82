package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// process is a server in a process of its own.
type process struct {
	b   *testing.B
	cmd *exec.Cmd
}

// child is an MCP server that is driven over its pipes by one goroutine, so that nothing
// but the server takes the time that is measured.
type child struct {
	process
	in      io.WriteCloser
	out     *bufio.Reader
	lastID  int
	started time.Duration // from before the process was made to the answer to initialize
}

// childLimit bounds a child that hangs.
const childLimit = 2 * time.Minute

// start starts a server in front of the Ollama at address, until end or the end of b.
func start(b *testing.B, program, address string) *child {
	b.Helper()
	// Not of b's context, which ends before the cleanup and would kill the server.
	ctx, cancel := context.WithTimeout(context.Background(), childLimit)
	c := &child{process: process{b, exec.CommandContext(ctx, program)}}
	c.cmd.Env = environ("OLLAMA_HOST="+address, benchSettings(b, address))
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	c.out = bufio.NewReaderSize(out, 64<<10)
	begin := time.Now()
	if err := c.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.end(); cancel() })
	c.request("initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}`)
	line := c.line()
	c.started = time.Since(begin)
	c.decode(line)
	c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return c
}

// end lets the server end by itself, and waits for that.
func (c *child) end() {
	if c.cmd.ProcessState == nil {
		_ = c.in.Close()
		_, _ = io.Copy(io.Discard, c.out)
		_ = c.cmd.Wait() // how it ends is not measured
	}
}

// toolCall is the parameters of a call, which wants progress if there is a token.
func toolCall(name, arguments, token string) string {
	if token == "" {
		return fmt.Sprintf(`{"name":%q,"arguments":%s}`, name, arguments)
	}
	return fmt.Sprintf(`{"name":%q,"arguments":%s,"_meta":{"progressToken":%q}}`, name, arguments, token)
}

func (c *child) request(method, params string) {
	c.b.Helper()
	c.lastID++
	c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, c.lastID, method, params))
}

func (c *child) send(line string) {
	c.b.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.b.Fatal(err)
	}
}

func (c *child) line() []byte {
	c.b.Helper()
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		c.b.Fatalf("%s ended its output: %v", c.cmd.Path, err)
	}
	return line
}

func (c *child) decode(line []byte) (m message) {
	c.b.Helper()
	if err := json.Unmarshal(line, &m); err != nil || m.Error != nil || m.Result != nil && m.Result.IsError {
		c.b.Fatalf("%s sent %.1000s (%v), want a success", c.cmd.Path, line, err)
	}
	return m
}

// answer is the answer to the latest request, and the text that came with progress
// before it. An answer to any other request is a fault.
func (c *child) answer() (r *result, deltas string) {
	c.b.Helper()
	var b strings.Builder
	for {
		m := c.decode(c.line())
		if m.ID == nil {
			b.WriteString(m.Params.Meta.Delta)
			continue
		}
		if string(m.ID) != strconv.Itoa(c.lastID) {
			c.b.Fatalf("%s answered %s, want only %d answered", c.cmd.Path, m.ID, c.lastID)
		}
		return m.Result, b.String()
	}
}

// generating waits until the latest call has text. An answer to any call is a fault.
func (c *child) generating() {
	c.b.Helper()
	for latest := false; ; {
		m := c.decode(c.line())
		if m.ID != nil {
			c.b.Fatalf("%s answered %s, want progress only", c.cmd.Path, m.ID)
		}
		// Until its first progress comes, what comes is left from the call before.
		latest = latest || m.Params.Meta.Seq == 1
		if latest && m.Params.Meta.Phase == "generating" {
			return
		}
	}
}

// roundTrip is how long a request takes that is answered without progress.
func (c *child) roundTrip(method, params string) time.Duration {
	c.b.Helper()
	begin := time.Now()
	c.request(method, params)
	line := c.line()
	took := time.Since(begin)
	c.decode(line)
	return took
}

// flood keeps so many calls in flight until n are answered, and returns how long that took.
func (c *child) flood(n, inFlight int, params string) time.Duration {
	c.b.Helper()
	begin := time.Now()
	for range inFlight {
		c.request("tools/call", params)
	}
	for answered := 0; answered < n; {
		if c.decode(c.line()).ID == nil {
			continue
		}
		if answered++; answered <= n-inFlight {
			c.request("tools/call", params)
		}
	}
	return time.Since(begin)
}

// cpu is the processor time that the server has used, in steps of 10 ms.
func (p process) cpu() time.Duration {
	p.b.Helper()
	// pid (name) state … utime stime, fields 14 and 15: proc_pid_stat(5). The name may hold anything.
	stat := p.proc("stat")
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			p.b.Fatal(err)
		}
		ticks += n
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture that Go supports
	return time.Duration(ticks) * tick
}

// memory is what the server holds in memory and the most that it ever held, in MiB.
func (p process) memory() (now, peak float64) {
	p.b.Helper()
	for line := range strings.Lines(string(p.proc("status"))) {
		var kB float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kB); err == nil {
			now = kB / 1024
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kB); err == nil {
			peak = kB / 1024
		}
	}
	return now, peak
}

// proc reads a file of Linux's /proc, the only place that tells these things of a
// process that runs.
func (p process) proc(name string) []byte {
	p.b.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
	if err != nil {
		p.b.Fatal(err)
	}
	return content
}

// benchSettings names a file with settings for ours: no line before the fake, as there is none
// before the controls', and no vectors kept of texts that come again and again.
func benchSettings(b *testing.B, address string) string {
	b.Helper()
	file := filepath.Join(b.TempDir(), "config.yaml")
	text := fmt.Sprintf("embed-cache: 0\nhosts: [{name: bench, url: %q, parallel: 1024}]\n", address)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return "OLLAMA_MCP_CONFIG=" + file
}
