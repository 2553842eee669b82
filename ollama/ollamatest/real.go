package ollamatest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The models that NewReal creates.
const (
	// TinyModel is the zero Model: it completes and claims to use tools.
	TinyModel = "tiny:latest"
	// TinyEmbedModel is Model{Embedding: true}: it only embeds.
	TinyEmbedModel = "tiny-embed:latest"
)

const (
	startLimit = 30 * time.Second // from launch to the first answer
	stopLimit  = 5 * time.Second  // from SIGTERM to SIGKILL
	outputTail = 4 << 10          // bytes of Ollama's output that an error quotes
)

// Real is a running Ollama that has nothing in common with the user's: its own port, home and models, all of which
// Close removes. Safe for concurrent use.
type Real struct {
	URL string // "http://127.0.0.1:<port>"

	dir    string
	cmd    *exec.Cmd
	output *serverOutput
	exited chan struct{} // closed once the process is reaped
	client *http.Client
	close  func() error
}

// RealOptions are Start's choices. The zero value works.
type RealOptions struct {
	// Env adds KEY=value settings such as OLLAMA_NUM_PARALLEL=4. They win over what Start itself sets. Nothing named
	// OLLAMA_* is taken from the surrounding environment, and no proxy.
	Env []string
	// Log gets what Ollama and its runners print. Nil discards it.
	Log io.Writer
}

// NewReal gives a test an Ollama with TinyModel and TinyEmbedModel, stopped when the test ends. It builds Ollama if
// that was never done on this machine, which takes minutes. Whatever goes wrong fails the test.
func NewReal(tb testing.TB) *Real {
	tb.Helper()
	r := startFor(tb, RealOptions{})
	ctx := tb.Context()
	err := errors.Join(r.Create(ctx, TinyModel, Model{}), r.Create(ctx, TinyEmbedModel, Model{Embedding: true}))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// NewReals gives a test several, as NewReal one, whose models are the same: each would else give them digests of
// its own. They read one folder, so that nothing may be installed or deleted.
func NewReals(tb testing.TB, n int) []*Real {
	tb.Helper()
	all := []*Real{NewReal(tb)}
	for len(all) < n {
		models := "OLLAMA_MODELS=" + filepath.Join(all[0].dir, "models")
		all = append(all, startFor(tb, RealOptions{Env: []string{models, "OLLAMA_NOPRUNE=1"}}))
	}
	return all
}

func startFor(tb testing.TB, o RealOptions) *Real {
	tb.Helper()
	bin, err := Build(tb.Context(), tb.Output())
	if err != nil {
		tb.Fatal(err)
	}
	r, err := Start(tb.Context(), bin, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// Start runs `bin serve` on a free loopback port and returns once it answers. ctx bounds the start, as does a limit
// of 30 s; the server then lives until Close. On Linux it also ends, by SIGTERM, when this process dies.
func Start(ctx context.Context, bin string, opts RealOptions) (*Real, error) {
	dir, err := os.MkdirTemp("", "ollamatest-")
	if err != nil {
		return nil, fmt.Errorf("start Ollama: %w", err)
	}
	output := &serverOutput{forward: opts.Log, listening: make(chan string, 1)}
	cmd := exec.Command(bin, "serve")
	cmd.Dir = dir
	cmd.Env = serverEnv(dir, opts.Env)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = time.Second // a runner that outlives the server holds its output open
	ownProcessGroup(cmd)
	r := &Real{
		dir:    dir,
		cmd:    cmd,
		output: output,
		exited: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, // and no proxy
	}
	r.close = sync.OnceValue(r.stop)
	if err := r.launch(); err != nil {
		return nil, errors.Join(fmt.Errorf("start Ollama: %w", err), os.RemoveAll(dir))
	}
	if err := r.waitReady(ctx); err != nil {
		err = fmt.Errorf("start Ollama (%s): %w; its last output:\n%s", bin, err, output.last())
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// serverEnv is the surrounding environment without what could make Ollama act for its user.
func serverEnv(dir string, extra []string) []string {
	env := slices.DeleteFunc(os.Environ(), func(setting string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(setting), "=")
		return strings.HasPrefix(name, "OLLAMA_") || strings.HasSuffix(name, "_PROXY")
	})
	env = append(env,
		"HOME="+dir,
		"USERPROFILE="+dir,
		"TMPDIR="+dir,
		"OLLAMA_MODELS="+filepath.Join(dir, "models"),
		"OLLAMA_HOST=127.0.0.1:0", // the kernel picks: no port is free only until somebody else takes it
		"OLLAMA_NO_CLOUD=1",       // never ask ollama.com anything
		"GIN_MODE=release",        // or the end of its output is a list of routes
	)
	return append(env, extra...)
}

// launch starts the process and the goroutine that reaps it.
func (r *Real) launch() error {
	started := make(chan error)
	go func() {
		// Linux sends the parent's death signal when the thread that forked ends, and a thread of Go's may end early:
		// with a goroutine that was locked to it. So this goroutine keeps the thread to itself while the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := r.cmd.Start()
		started <- err
		if err == nil {
			_ = r.cmd.Wait() // how it ended matters to nobody: Close asked for it, or a request finds it gone
			close(r.exited)
		}
	}()
	return <-started
}

// waitReady learns the address from Ollama's output and asks for its version there.
func (r *Real) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("no answer within %v", startLimit))
	defer cancel()
	select {
	case address := <-r.output.listening:
		r.URL = "http://" + address
	case <-r.exited:
		return fmt.Errorf("it ended (%v)", r.cmd.ProcessState)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := r.do(ctx, http.MethodGet, "/api/version", nil); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}

// Pid is the process id of `ollama serve`, also after it ended.
func (r *Real) Pid() int { return r.cmd.Process.Pid }

// Close stops Ollama and its runners, by SIGKILL if five seconds after SIGTERM it still runs, and removes its files.
// Further calls return what the first returned. That Ollama died before is no error.
func (r *Real) Close() error { return r.close() }

func (r *Real) stop() error {
	terminate(r.cmd.Process)
	select {
	case <-r.exited:
	case <-time.After(stopLimit):
	}
	killProcessGroup(r.cmd.Process) // a runner that was still loading is not on the server's list
	<-r.exited
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("stop Ollama: %w", err)
	}
	return nil
}

// chatTemplate says what TinyModel is prompted with. That it names .Tools is what makes Ollama accept tools.
const chatTemplate = `{{ if .Tools }}tools: {{ .Tools }}
{{ end }}{{ range .Messages }}{{ .Role }}: {{ .Content }}
{{ end }}assistant:`

const chatSystem = "You are a tiny model made of noise."

// Create uploads m and gives it name, replacing what had the name before. A chat model gets a template that takes a
// system prompt, messages and tools, so that Ollama lists the capabilities "completion" and "tools".
func (r *Real) Create(ctx context.Context, name string, m Model) error {
	var file bytes.Buffer
	if err := WriteModel(&file, m); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(file.Bytes()))
	request := map[string]any{
		"model":  name,
		"files":  map[string]string{"tiny.gguf": digest},
		"stream": false,
		// Threads of the runner spin while they wait for each other: on a busy machine two are 100 times slower than one.
		"parameters": map[string]any{"num_thread": 1},
	}
	if !m.Embedding {
		request["template"] = chatTemplate
		request["system"] = chatSystem
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	if err := r.do(ctx, http.MethodPost, "/api/blobs/"+digest, file.Bytes()); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	if err := r.do(ctx, http.MethodPost, "/api/create", body); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

// do sends one request and returns an error unless the answer is a success.
func (r *Real) do(ctx context.Context, method, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, r.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode/100 != 2 || bytes.Contains(answer, []byte(`"error"`)) {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, bytes.TrimSpace(answer))
	}
	return nil
}

// serverOutput takes what a server prints: it forwards it, keeps the end, and looks out for the server's address.
type serverOutput struct {
	forward   io.Writer   // may be nil
	listening chan string // gets host:port, once; has room for it

	mu   sync.Mutex // guards what follows
	buf  []byte
	seen bool // the address was found
}

var listeningLine = regexp.MustCompile(`Listening on (\S+:\d+) `)

// Write never fails, lest a broken log stop the server.
func (o *serverOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.forward != nil {
		_, _ = o.forward.Write(p)
	}
	o.buf = append(o.buf, p...)
	if !o.seen {
		if match := listeningLine.FindSubmatch(o.buf); match != nil {
			o.seen = true
			o.listening <- string(match[1])
		}
	}
	o.buf = o.buf[max(0, len(o.buf)-outputTail):]
	return len(p), nil
}

func (o *serverOutput) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(bytes.TrimSpace(o.buf))
}
