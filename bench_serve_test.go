package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// served is a server in a process of its own that is driven over HTTP.
type served struct {
	process
	url    *url.URL
	client *http.Client
}

var listening = regexp.MustCompile(`http://[0-9.]+:[0-9]+/`)

// daemon starts an HTTP server in front of the Ollama at address, until the end of b. It
// has to say on standard error where it listens.
func daemon(b *testing.B, address, program string, arguments ...string) *served {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), childLimit)
	s := &served{process: process{b, exec.CommandContext(ctx, program, arguments...)}}
	s.cmd.Env = environ("OLLAMA_HOST="+address, benchSettings(b, address))
	output, err := s.cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewReader(output)
	for s.url == nil {
		line, err := lines.ReadString('\n')
		if err != nil {
			b.Fatalf("%s ended its output before it said where it listens: %v", program, err)
		}
		if at := listening.FindString(line); at != "" {
			if s.url, err = url.Parse(at); err != nil {
				b.Fatal(err)
			}
		}
	}
	var drained sync.WaitGroup
	drained.Go(func() { _, _ = io.Copy(io.Discard, lines) })
	transport := &http.Transport{MaxIdleConnsPerHost: floodWidth, DisableCompression: true, ReadBufferSize: 64 << 10}
	s.client = &http.Client{Transport: transport}
	b.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		drained.Wait()
		_ = s.cmd.Wait() // killed
	})
	return s
}

func (s *served) request(method, path string, header http.Header, body string) *http.Request {
	return &http.Request{Method: method, URL: s.url.JoinPath(path), Header: header,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// floodWidth is how many requests a flood keeps in flight.
const floodWidth = 16

// flood asks n times, with floodWidth requests in flight on connections that are kept, and
// returns how long that took. An answer without want in it is a fault.
func (s *served) flood(n int, ask func(worker int) *http.Request, want string) time.Duration {
	s.b.Helper()
	begin := time.Now()
	var workers sync.WaitGroup
	for worker := range floodWidth {
		workers.Go(func() {
			var body bytes.Buffer
			for range n / floodWidth {
				if err := s.exchange(ask(worker), &body); err != nil || !bytes.Contains(body.Bytes(), []byte(want)) {
					s.b.Errorf("%s answered %.300q, %v, want %s in it", s.cmd.Path, body.Bytes(), err, want)
					return
				}
			}
		})
	}
	workers.Wait()
	return time.Since(begin)
}

// exchange reads the whole answer into body.
func (s *served) exchange(r *http.Request, body *bytes.Buffer) error {
	body.Reset()
	res, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	_, err = body.ReadFrom(res.Body)
	return err
}

// serveOurs starts ours, with bearer tokens.
func serveOurs(b *testing.B, p programs, address string, flags ...string) *mcpServer {
	b.Helper()
	tokens := filepath.Join(b.TempDir(), "tokens.yaml")
	token, err := exec.CommandContext(b.Context(), p.ours, "token", "new", "bench", "--tokens", tokens).Output()
	if err != nil {
		b.Fatalf("token new: %v", err)
	}
	flags = append([]string{"serve", "--listen", "127.0.0.1:0", "--tokens", tokens}, flags...)
	m := &mcpServer{served: daemon(b, address, p.ours, flags...)}
	m.header = http.Header{
		"Authorization": {"Bearer " + strings.TrimSpace(string(token))},
		"Content-Type":  {"application/json"},
		"Accept":        {"application/json, text/event-stream"},
	}
	m.initialize()
	return m
}

// mcpServer is ours, with a session of 2025-11-25.
type mcpServer struct {
	*served
	header http.Header
}

func (m *mcpServer) initialize() {
	m.b.Helper()
	res, err := m.client.Do(m.post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`))
	if err != nil {
		m.b.Fatal(err)
	}
	res.Body.Close()
	session := res.Header.Get("Mcp-Session-Id")
	if res.StatusCode != http.StatusOK || session == "" {
		m.b.Fatalf("initialize: %s with session %q", res.Status, session)
	}
	m.header.Set("Mcp-Session-Id", session)
	m.header.Set("Mcp-Protocol-Version", "2025-11-25")
}

// useHTTP2 makes further requests on one connection of HTTP/2 in cleartext, with little
// room for an answer that nobody reads.
func (s *served) useHTTP2() {
	s.b.Helper()
	transport := &http.Transport{
		Protocols: new(http.Protocols),
		HTTP2:     &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	connection, err := transport.NewClientConn(s.b.Context(), "http", s.url.Host)
	if err != nil {
		s.b.Fatal(err)
	}
	s.client = &http.Client{Transport: connection}
	s.b.Cleanup(func() { connection.Close() })
}

func (m *mcpServer) post(body string) *http.Request {
	return m.request(http.MethodPost, "mcp", m.header, body)
}

// call makes the n-th of the calls in flight.
func (m *mcpServer) call(name, arguments string) func(n int) *http.Request {
	params := toolCall(name, arguments, "")
	return func(n int) *http.Request {
		return m.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":%s}`, n, params))
	}
}
