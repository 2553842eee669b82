package health

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"ollama-mcp/ollama"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Outcomes of a question or a call.
var (
	errRefused = &ollama.Error{Op: "version", Host: "h", Kind: ollama.Unreachable,
		Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}
	errHang     = errors.New("no answer until the context ends")
	errBroken   = &ollama.Error{Op: "chat", Host: "h", Kind: ollama.Failed, Status: 500}
	errCut      = &ollama.Error{Op: "chat", Host: "h", Kind: ollama.Cut}
	errDenied   = &ollama.Error{Op: "tags", Host: "h", Kind: ollama.Unauthorized, Status: 401}
	errLimited  = &ollama.Error{Op: "chat", Host: "h", Kind: ollama.Busy, Status: 429, RetryAfter: 20 * time.Second}
	errOverload = &ollama.Error{Op: "chat", Host: "h", Kind: ollama.Busy, Status: 503}
)

// says is what a host that is well answers.
type says struct {
	version string
	models  []ollama.Model
	loaded  []ollama.Running
}

// fake is a host whose answers a test sets.
type fake struct {
	mu      sync.Mutex // guards what follows
	faults  map[string]error
	content says
	polls   []time.Time // when version was asked
	probes  []time.Time
	asking  int
	most    int // questions at a time
}

// set changes what a question comes to, "" being all but the probe; nil is an answer.
func (f *fake) set(question string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults == nil {
		f.faults = map[string]error{}
	}
	f.faults[question] = err
}

func (f *fake) ask(ctx context.Context, question string) error {
	f.mu.Lock()
	f.asking++
	f.most = max(f.most, f.asking)
	switch question {
	case "version":
		f.polls = append(f.polls, time.Now())
	case "probe":
		f.probes = append(f.probes, time.Now())
	}
	err := f.faults[question]
	if err == nil && question != "probe" {
		err = f.faults[""]
	}
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.asking--; f.mu.Unlock() }()
	if err == errHang {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-time.After(time.Millisecond):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fake) seen() (polls, probes []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.polls), slices.Clone(f.probes)
}

func (f *fake) host() Host {
	return Host{
		Name:    "h",
		Version: func(ctx context.Context) (string, error) { return f.says().version, f.ask(ctx, "version") },
		Tags:    func(ctx context.Context) ([]ollama.Model, error) { return f.says().models, f.ask(ctx, "tags") },
		PS:      func(ctx context.Context) ([]ollama.Running, error) { return f.says().loaded, f.ask(ctx, "ps") },
	}
}

func (f *fake) says() says {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.content
}

func (f *fake) change(s says) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content = s
}

// answer is how long a poll of a fake takes.
const answer = 3 * time.Millisecond

func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// watch begins to watch a host, which ends with the test.
func watch(t testing.TB, h Host, o Options) *Watcher {
	t.Helper()
	w := New(h, o)
	t.Cleanup(w.Close)
	return w
}

// settled is watch of a host that has been polled once.
func settled(t testing.TB, h Host, o Options) *Watcher {
	t.Helper()
	w := watch(t, h, o)
	pass(answer)
	return w
}

// pass lets time pass, and what is due at its end happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// passUntil lets time pass until the host's state is s, for a minute at most, and returns how long that took.
func passUntil(t testing.TB, w *Watcher, s State) time.Duration {
	t.Helper()
	begin := time.Now()
	for w.Snapshot().State != s {
		if time.Since(begin) > time.Minute {
			t.Fatalf("after a minute the host is %+v, want %s", w.Snapshot(), s)
		}
		pass(time.Millisecond)
	}
	return time.Since(begin)
}

// news keeps what a watcher tells. The watcher's lock and [synctest.Wait] order it.
type news []*Snapshot

func (n *news) add(_, now *Snapshot) { *n = append(*n, now) }

func (n *news) breakers() (walk []Breaker) {
	for _, s := range *n {
		walk = append(walk, s.Breaker)
	}
	return slices.Compact(walk)
}

func (n *news) states() (walk []State) {
	for _, s := range *n {
		walk = append(walk, s.State)
	}
	return slices.Compact(walk)
}
