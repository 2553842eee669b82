package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// node is a fake Ollama, and the host that it is to a fleet.
type node struct {
	*ollamatest.Fake
	rig  *rig
	host fleet.Host
	lag  atomic.Int64 // how long a connection takes

	mu    sync.Mutex // guards dials
	dials []arrival
}

// arrival is a call of a rig that reaches a node, or tries to.
type arrival struct {
	at   time.Time
	call string // its ID
	path string // "" of a connection
}

// dial notes connections that are made for a call of a rig, not those for questions of the fleet.
func (n *node) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if id, ok := ctx.Value(callKey{}).(string); ok {
		n.mu.Lock()
		n.dials = append(n.dials, arrival{at: time.Now(), call: id})
		n.mu.Unlock()
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Duration(n.lag.Load())):
		return n.Dial(ctx, network, addr)
	}
}

// fault makes everything at the node go wrong, or what is asked of the paths; nil makes nothing go wrong any more.
func (n *node) fault(f *ollamatest.Fault, paths ...string) {
	n.Change(func(s *ollamatest.Script) {
		clear(s.Faults)
		if f != nil && len(paths) == 0 {
			s.Faults[""] = *f
		}
		for _, path := range paths {
			s.Faults[path] = *f
		}
	})
}

// arrivals are the calls of the rig that reached the node after from and until to.
func (n *node) arrivals(from, to time.Time) (all []arrival) {
	n.mu.Lock()
	all = slices.Clone(n.dials)
	n.mu.Unlock()
	for _, a := range n.Seen().Arrivals {
		if strings.HasPrefix(a.RequestID, callPrefix) {
			all = append(all, arrival{a.At, a.RequestID, a.Path})
		}
	}
	return slices.DeleteFunc(all, func(a arrival) bool { return !a.at.After(from) || a.at.After(to) })
}

// newcomers are the arrivals since a time of calls that began after it.
func (n *node) newcomers(since time.Time) []arrival {
	return slices.DeleteFunc(n.arrivals(since, time.Now()), func(a arrival) bool {
		began, _ := n.rig.began.Load(a.call)
		return !began.(time.Time).After(since)
	})
}

type callKey struct{}

const callPrefix = "call-"

// rig is a fleet of fakes, in the time of a bubble.
type rig struct {
	*fleet.Fleet
	t     testing.TB
	nodes []*node
	calls atomic.Int64
	began sync.Map // time, by the ID of a call
}

// newRig makes a fleet of n hosts with the names a, b, c and so on. each, unless nil, gives every one its script and
// settings.
func newRig(t testing.TB, n int, o fleet.Options, each func(i int, s *ollamatest.Script, h *fleet.Host)) *rig {
	t.Helper()
	r := &rig{t: t}
	var hosts []fleet.Host
	for i := range n {
		hosts = append(hosts, r.add(string(rune('a'+i)), func(s *ollamatest.Script, h *fleet.Host) {
			if each != nil {
				each(i, s, h)
			}
		}).host)
	}
	r.Fleet = fleet.New(hosts, o)
	t.Cleanup(func() {
		r.Close()
		for _, n := range r.nodes {
			n.Close()
		}
	})
	return r
}

// add makes a node, which is not yet in the fleet.
func (r *rig) add(name string, edit func(*ollamatest.Script, *fleet.Host)) *node {
	r.t.Helper()
	n := &node{rig: r}
	s, h := ollamatest.Script{}, fleet.Host{Origin: "the test", Settings: name}
	edit(&s, &h)
	n.Fake = ollamatest.NewPipeFake(s)
	h.Address = n.URL
	n.host = h
	n.host.Client = n.client(r.t, name)
	r.nodes = append(r.nodes, n)
	return n
}

func (n *node) client(t testing.TB, name string) *ollama.Client {
	t.Helper()
	h, err := ollama.ParseHost(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	return ollama.NewClient(ollama.ClientOptions{Host: h, Name: name, Dial: n.dial})
}

func (n *node) name() string { return n.host.Client.Name() }

// settle lets the fleet get to know its hosts.
func (r *rig) settle() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

// patience is how long a call of a rig may take, so that one that hangs fails and does not hold up the test.
const patience = time.Hour

// mark makes a call of a context known as the rig's, and bounds it.
func (r *rig) mark(ctx context.Context) (context.Context, context.CancelFunc) {
	id := fmt.Sprint(callPrefix, r.calls.Add(1))
	r.began.Store(id, time.Now())
	ctx = ollama.WithRequestID(context.WithValue(ctx, callKey{}, id), id)
	return context.WithTimeout(ctx, patience)
}

// outcome is what became of a generation.
type outcome struct {
	text   string
	done   bool // Ollama said so
	places []fleet.Place
	took   time.Duration
	first  time.Duration // to the first piece of text
	err    error
}

func (o outcome) host() string {
	if len(o.places) == 0 {
		return ""
	}
	return o.places[len(o.places)-1].Host
}

// generate runs a generation to its end.
func (r *rig) generate(ctx context.Context, model ollama.Name, prompt string) outcome {
	return r.request(ctx, &ollama.GenerateRequest{Model: model, Prompt: prompt, KeepAlive: "24h"})
}

// request is generate for any request.
func (r *rig) request(ctx context.Context, q *ollama.GenerateRequest) outcome {
	ctx, cancel := r.mark(ctx)
	defer cancel()
	return follow(func(w fleet.Watch) iter.Seq2[ollama.Chunk, error] { return r.Generate(ctx, q, w) })
}

// chat is generate for a chat.
func (r *rig) chat(ctx context.Context, model ollama.Name, prompt string) outcome {
	q := &ollama.ChatRequest{Model: model, Messages: []ollama.Message{{Role: "user", Content: prompt}}, KeepAlive: "24h"}
	ctx, cancel := r.mark(ctx)
	defer cancel()
	return follow(func(w fleet.Watch) iter.Seq2[ollama.Chunk, error] { return r.Chat(ctx, q, w) })
}

func follow(begin func(fleet.Watch) iter.Seq2[ollama.Chunk, error]) (o outcome) {
	begun := time.Now()
	for c, err := range begin(fleet.Watch{Placed: func(p fleet.Place) { o.places = append(o.places, p) }}) {
		if o.first == 0 && err == nil {
			o.first = time.Since(begun)
		}
		o.text += c.Text
		o.done = o.done || c.Done != nil
		o.err = err
	}
	o.took = time.Since(begun)
	if o.err == nil && !o.done {
		o.err = errors.New("the answer ended without an error, and without done")
	}
	return o
}

// embed embeds so many inputs that nobody has asked for, and checks how many vectors come.
func (r *rig) embed(ctx context.Context, model ollama.Name, inputs int) error {
	ctx, cancel := r.mark(ctx)
	defer cancel()
	q := &ollama.EmbedRequest{Model: model}
	first := r.calls.Add(int64(inputs))
	for i := range inputs {
		q.Input = append(q.Input, fmt.Sprint("input ", first+int64(i)))
	}
	got, err := r.Embed(ctx, q, "", fleet.Watch{})
	if err == nil && got.Embeddings.Len() != inputs {
		err = fmt.Errorf("%d vectors, want %d", got.Embeddings.Len(), inputs)
	}
	return err
}

// loads sums what was loaded and evicted on all nodes.
func (r *rig) loads() (loads, aborted, evictions int) {
	for _, n := range r.nodes {
		s := n.Seen()
		loads, aborted, evictions = loads+s.Loads, aborted+s.LoadsAborted, evictions+s.Evictions
	}
	return loads, aborted, evictions
}

// idle checks that nothing is left at the nodes.
func (r *rig) idle() {
	r.t.Helper()
	synctest.Wait()
	for _, n := range r.nodes {
		if s := n.Seen(); s.Active != 0 || s.Waiting != 0 {
			r.t.Errorf("when all calls are over: %d run and %d wait on %s, want none", s.Active, s.Waiting, n.name())
		}
	}
}

// bubble runs a test in fake time, on one processor: with more the race detector crashed in one of five runs. All
// timers of a bubble share one state of it, whichever thread runs them (Go 1.26.8, runtime/time.go, unlockAndRun).
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, test)
}

// models is so many models with the names m0, m1 and so on.
func models(n int) []ollamatest.FakeModel {
	all := make([]ollamatest.FakeModel, n)
	for i := range all {
		all[i].Name = string(model(i))
	}
	return all
}

func model(i int) ollama.Name { return ollama.Name(fmt.Sprintf("m%d:latest", i)) }
