// Package program builds ollama-mcp and runs it for the tests of this module.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startLimit = 10 * time.Second
	stopLimit  = 10 * time.Second // from SIGTERM to SIGKILL; what drains takes 3 s at most
)

// Build builds the program for the length of a test and returns its path.
func Build(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ollama-mcp")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags=conformance", "-o", path, ".")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return path
}

// Environ is the surrounding environment without settings of Ollama and of this
// program, and with the Ollama at address, a URL. An empty address is one where
// nothing listens.
func Environ(address string) []string {
	if address == "" {
		address = "http://127.0.0.1:9" // discard: RFC 863
	}
	var env []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "OLLAMA_") {
			env = append(env, setting)
		}
	}
	return append(env, "OLLAMA_HOST="+address)
}

// Serve runs `binary serve` on a free loopback port in front of the Ollama at
// address, and returns host and port once it answers. When the test ends it gets
// SIGTERM, and must exit with code 0.
func Serve(t testing.TB, binary, address string, flags ...string) (hostport string) {
	t.Helper()
	hostport = freePort(t)
	// Not t.Context(), which ends before the cleanup.
	cmd := exec.Command(binary, append([]string{"serve", "--listen", hostport}, flags...)...)
	cmd.Env = Environ(address)
	dieWithParent(cmd)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }() // the cleanup waits for it
	t.Cleanup(func() {
		if err := stop(cmd, exited); err != nil {
			t.Errorf("%v: %v, want it to exit with code 0 on SIGTERM", cmd, err)
		}
		if t.Failed() {
			t.Logf("output of %v:\n%s", cmd, &output)
		}
	})
	if err := waitHealthy(t.Context(), hostport); err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	return hostport
}

// freePort is an address that was free a moment ago.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func waitHealthy(ctx context.Context, hostport string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+hostport+"/healthz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("GET /healthz = %s", response.Status)
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return err
		}
	}
}

// stop ends a process by SIGTERM and, if it takes no notice, by SIGKILL.
func stop(cmd *exec.Cmd, exited <-chan error) error {
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-exited:
		return err
	case <-time.After(stopLimit):
		_ = cmd.Process.Kill()
		return errors.Join(errors.New("took no notice of SIGTERM"), <-exited)
	}
}
