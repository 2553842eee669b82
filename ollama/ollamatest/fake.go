package ollamatest

import (
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"ollama-mcp/ollama"
)

// Script is what a fake does. The zero value is a quick, healthy Ollama with DefaultModels.
type Script struct {
	Models   []FakeModel // nil is DefaultModels; pull, create, copy and delete change it
	Registry []FakePull  // what can be pulled, besides the models that are there
	Version  string      // what it answers as; "" is 0.34.4. Fields that came later are left out of its answers.
	TLS      bool        // serve https with a certificate that nobody trusts; fixed at the start

	LoadDelay   time.Duration // how long a model takes to load
	FirstDelay  time.Duration // from a slot to the first token, or to the vectors
	TokenDelay  time.Duration // between tokens; 0 streams them in large pieces, as fast as they are read
	AnswerDelay time.Duration // before every answer that is not text: tags, ps, show, version, an embed, an unload

	Tokens     []string                     // the text of an answer, piece by piece, repeated up to TokenCount; nil is words
	TokenCount int                          // tokens of an answer that num_predict does not end earlier; 0 is len(Tokens), or 16
	Thinking   []string                     // streamed first by a model that can think, unless asked not to
	ToolCalls  []ollama.ToolCall            // the answer to a chat that offers tools, instead of text
	Answers    []string                     // texts of the first, second, … answer with a format; the last one stays. nil fits the format.
	Vector     func(input string) []float32 // an input's embedding before it is normalised; nil derives it from the text

	Slots     int              // OLLAMA_NUM_PARALLEL, taken when a model loads; 0 is 1. Requests beyond it wait.
	MaxLoaded int              // OLLAMA_MAX_LOADED_MODELS: a load beyond it waits until another model has left; 0 is no limit
	Faults    map[string]Fault // what goes wrong, by path ("/api/generate"), "" for all other paths
}

// FakeModel is an installed model. Every field but Name may be left out.
type FakeModel struct {
	Name            string    // any spelling; listed in lower case with its tag
	Capabilities    []string  // nil is completion and tools
	Size            int64     // bytes on disk and in memory; 0 is 500 kB
	Digest          string    // "" is derived from the name
	ModifiedAt      time.Time // the zero time is one in 2025
	Family          string    // "" is llama
	ParameterSize   string    // "" is 121K
	Quantization    string    // "" is unknown
	ContextLength   int       // what it was trained for; 0 is 2048
	EmbeddingLength int       // 0 is 64
	RemoteModel     string    // set for a model that ollama.com runs: it needs no load
	RemoteHost      string    // "https://ollama.com:443"
	Loaded          bool      // loaded when the fake starts

	Template   string // "" is "{{ .Prompt }}"
	System     string
	License    string
	Parameters map[string]any
	Messages   []ollama.Message
}

// DefaultModels are the models of a zero Script, the two that NewReal creates.
func DefaultModels() []FakeModel {
	return []FakeModel{
		{Name: TinyModel},
		{Name: TinyEmbedModel, Capabilities: []string{"embedding"}},
	}
}

// Fake is a fake Ollama that runs. Safe for concurrent use.
type Fake struct {
	URL string // "http://127.0.0.1:<port>"; the one of a pipe fake leads nowhere without Dial

	listen func() (net.Listener, dialFunc, error)
	gate   chan struct{} // holds the one load at a time; who waits for it is served in order

	life   sync.Mutex // guards up and closed; held while the fake comes up or goes down
	up     *uplink    // nil while the fake is down
	closed bool

	mu        sync.Mutex // guards everything below
	script    Script
	seen      Seen
	runners   map[string]*runner   // by canonical name: the loaded ones and the one that is loading
	downloads map[string]*download // by canonical name: those that run
	partial   map[string]int64     // by canonical name: bytes that downloads brought
	formats   int                  // answers with a format so far
	changed   chan struct{}        // closed and replaced when something changed that can be waited for
}

// dialFunc connects to the listener that it came with.
type dialFunc func(context.Context) (net.Conn, error)

// NewFake starts a fake on a free loopback port, and panics where there is none. Close it.
func NewFake(s Script) *Fake {
	addr := "127.0.0.1:0"
	f := newFake(s, func() (net.Listener, dialFunc, error) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		addr = l.Addr().String() // a host that comes back has its old port
		dial := func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
		return l, dial, nil
	})
	f.URL += addr
	return f
}

// NewPipeFake starts a fake that is reached through Dial alone, in memory. In a testing/synctest bubble it must be
// made there; all its delays are then the bubble's time. Close it.
func NewPipeFake(s Script) *Fake {
	f := newFake(s, listenPipe)
	f.URL += "ollama.invalid:11434" // a name that no resolver knows: RFC 6761, section 6.4
	return f
}

func newFake(s Script, listen func() (net.Listener, dialFunc, error)) *Fake {
	f := &Fake{
		URL:       "http://",
		gate:      make(chan struct{}, 1),
		script:    s.clone(),
		runners:   map[string]*runner{},
		downloads: map[string]*download{},
		partial:   map[string]int64{},
		changed:   make(chan struct{}),
		listen:    listen,
	}
	if s.TLS {
		f.URL = "https://"
		f.listen = func() (net.Listener, dialFunc, error) { return untrusted(listen()) }
	}
	f.loadAtStart()
	f.follow()
	return f
}

// Dial connects to the fake, whatever the address, so that it fits ollama.ClientOptions.Dial.
func (f *Fake) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	f.life.Lock()
	up := f.up
	f.life.Unlock()
	if up == nil {
		return nil, errRefused
	}
	return up.dial(ctx)
}

// Change edits the script while the fake runs. Answers that have begun keep the script that they began with; a Fault
// that takes the host down or lets it come back has done so when Change returns.
func (f *Fake) Change(edit func(*Script)) {
	f.mu.Lock()
	s := f.script.clone()
	edit(&s)
	f.script = s
	f.notify()
	f.mu.Unlock()
	f.follow()
}

// Close takes the fake down and waits for its handlers. What it saw stays readable.
func (f *Fake) Close() {
	f.life.Lock()
	defer f.life.Unlock()
	f.closed = true
	f.goDown()
}

// follow makes the fake listen or not, as the script says.
func (f *Fake) follow() {
	f.life.Lock()
	defer f.life.Unlock()
	f.mu.Lock()
	fault := f.script.Faults[""]
	f.mu.Unlock()
	switch {
	case fault.down:
		f.goDown()
		if fault.killed {
			f.forget()
		}
	case !f.closed && f.up == nil:
		f.comeUp()
	}
}

// clone copies what an edit in place would change under a running answer.
func (s Script) clone() Script {
	if s.Models == nil {
		s.Models = DefaultModels()
	}
	s.Models = slices.Clone(s.Models)
	s.Faults = maps.Clone(s.Faults)
	if s.Faults == nil {
		s.Faults = map[string]Fault{}
	}
	return s
}

// uplink is a server from the time that the fake comes up to the time that it goes down.
type uplink struct {
	dial   dialFunc
	server *http.Server
	cancel context.CancelCauseFunc // tells the handlers that the fake ends their calls, not the client
	served sync.WaitGroup          // the accept loop and every connection
}

var errClosed = errors.New("the fake went down")

// comeUp wants f.life locked. Not to get its port back is a fault of the machine, and panics.
func (f *Fake) comeUp() {
	l, dial, err := f.listen()
	if err != nil {
		panic("ollamatest: " + err.Error())
	}
	f.up = serve(l, f)
	f.up.dial = dial
}

func serve(l net.Listener, h http.Handler) *uplink {
	ctx, cancel := context.WithCancelCause(context.Background())
	up := &uplink{cancel: cancel}
	up.server = &http.Server{
		Handler:     h,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState:   up.connState,
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	up.served.Go(func() { _ = up.server.Serve(l) }) // it ends with ErrServerClosed
	return up
}

// close ends all calls and waits for their handlers.
func (up *uplink) close() {
	up.cancel(errClosed)
	_ = up.server.Close() // the listener is closed in any case
	up.served.Wait()
}

// connState counts connections, not handlers: a new one is counted by the accept loop, so never from zero up.
func (up *uplink) connState(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		up.served.Add(1)
	case http.StateClosed, http.StateHijacked:
		up.served.Done()
	}
}

// goDown wants f.life locked.
func (f *Fake) goDown() {
	if f.up == nil {
		return
	}
	f.up.close()
	f.up = nil
}

// forget drops what is in memory, of a fake that is down.
func (f *Fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.runners)
	f.notify()
}
