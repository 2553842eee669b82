package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ollama-mcp/ollama/ollamatest"
)

// demo is the program that `make demo` runs, in front of this one.
func demo(ctx context.Context, t *testing.T) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("ollama-mcp")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", bin, "./demo").CombinedOutput(); err != nil {
		t.Fatalf("go build ./demo = %v\n%s", err, out)
	}
	return exec.CommandContext(ctx, bin, program)
}

// The demo does not go elsewhere when a person named the place.
func TestDemoOfANamedPlace(t *testing.T) {
	cmd := demo(t.Context(), t)
	cmd.Args = append(cmd.Args, "--ollama", "127.0.0.1:1")
	cmd.Env = environ()
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !bytes.Contains(out, []byte("127.0.0.1:1")) || !bytes.Contains(out, []byte("from --ollama")) {
		t.Errorf("demo --ollama 127.0.0.1:1 = %v, %s; want exit code 1 and the address with its origin", err, out)
	}
}

// TestDemo runs the demo on an Ollama that it did not start.
func TestDemo(t *testing.T) {
	address := ollamatest.NewReal(t).URL
	s := serve(t, address)
	s.must("load", `{"model":"tiny","keep_alive":"1h"}`)
	cmd := demo(s.ctx, t)
	cmd.Env = environ("OLLAMA_HOST=" + address)
	out, err := cmd.CombinedOutput()
	t.Logf("make demo printed:\n%s", out)
	if err != nil {
		t.Fatalf("make demo = %v", err)
	}
	for _, want := range []string{
		"find Ollama", "from OLLAMA_HOST", "start server", "list_models", "2 models installed, 1 loaded.", "load ", "generate", "96 written",
		"chat", "embed", "3 vectors of 64", "unload", "tiny-embed is unloaded", "nothing is left running",
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("make demo does not print %q", want)
		}
	}
	if bytes.ContainsAny(out, "\x1b\r") {
		t.Error("make demo prints control codes to a pipe")
	}
	if bytes.Contains(out, []byte("tiny is unloaded")) || !loaded(s, ollamatest.TinyModel) {
		t.Error("make demo unloads tiny, which was loaded before")
	}
	if loaded(s, ollamatest.TinyEmbedModel) {
		t.Error("make demo leaves tiny-embed loaded")
	}
}

// A model that is loaded for longer than callers may ask for is used, and stays so.
func TestDemoOfALongLoadedModel(t *testing.T) {
	for _, keepAlive := range []string{`"2h"`, `-1`} {
		fake := ollamatest.NewFake(ollamatest.Script{})
		defer fake.Close()
		r, err := http.Post(fake.URL+"/api/generate", "application/json", strings.NewReader(`{"model":"tiny","keep_alive":`+keepAlive+`}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		cmd := demo(t.Context(), t)
		cmd.Env = environ("OLLAMA_HOST=" + fake.URL)
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("nothing is left running")) {
			t.Errorf("make demo on a model loaded with keep_alive %s = %v, %s; want all of it shown", keepAlive, err, out)
		}
	}
}

// TestDemoStopped stops a demo in the middle of its answer.
func TestDemoStopped(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			fake := ollamatest.NewFake(ollamatest.Script{TokenDelay: sessionLimit})
			defer fake.Close()
			ctx, cancel := context.WithTimeout(t.Context(), sessionLimit)
			defer cancel()
			cmd := demo(ctx, t)
			cmd.Env = environ("OLLAMA_HOST=" + fake.URL)
			var stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = t.Output(), &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			err := fake.Await(ctx, func(s ollamatest.Seen) bool { return s.Active == 1 })
			if err := errors.Join(err, cmd.Process.Signal(signal)); err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(stderr.String(), "the demo was stopped") {
				t.Errorf("make demo = %v, %q; want exit code 1 and why", err, &stderr)
			}
			seen := fake.Seen()
			if seen.Active != 0 || seen.Loads != 1 || seen.Unloads != 1 {
				t.Errorf("left on Ollama: %d active, %d loads, %d unloads; want the one load undone", seen.Active, seen.Loads, seen.Unloads)
			}
			for path := range seen.Requests {
				if !strings.Contains("/api/version /api/tags /api/ps /api/show /api/generate", path) {
					t.Errorf("the demo asked for %s, want it to create and delete nothing", path)
				}
			}
		})
	}
}
