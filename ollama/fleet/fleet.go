// Package fleet makes the Ollama hosts of a person or a team behave as one.
//
// It owns which host answers, what is loaded where, loads that are shared by all who
// wait for them, and the choice of a model when the caller names none. It knows nothing
// of MCP and nothing of HTTP bodies. So far a fleet has exactly one host.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/queue"
)

// Host is one host of a fleet, as its operator has set it up.
type Host struct {
	Client  *ollama.Client // its Name is the host's, and unique
	Address string         // the base URL, for errors
	Origin  string         // where the address came from, for errors: "--ollama", "OLLAMA_HOST", "the default"

	Weight    float64                // its share of the work, beside that of the others; 0 is 1
	Priority  int                    // a higher one comes first
	Parallel  int                    // calls that a model answers at a time, OLLAMA_NUM_PARALLEL; 0 learns it
	MaxLoaded int                    // models in memory, OLLAMA_MAX_LOADED_MODELS; 0: unknown
	May       func(ollama.Name) bool // which models it may run; nil: all
	Tags      []string               // what a policy may ask of a host

	Settings string // everything that was set, in any form: a host with the same settings is the same, see [Fleet.Update]
}

// Options say how a fleet behaves. The zero value works.
type Options struct {
	DefaultModel ollama.Name // the model for calls that name none
	NoCloud      bool        // refuse models that run on ollama.com
	Pins         map[ollama.Name]Pin
	AllowNumCtx  bool             // a call's num_ctx may differ from the pinned one
	WedgeAfter   time.Duration    // wait for a first token on a model that a cancel may have left wedged; 0 is DefaultWedgeAfter
	Queue        queue.Discipline // how calls of one priority take turns; "" is fair
	EmbedCache   int64            // bytes of vectors that are kept; 0: none
	ShareVectors bool             // kept vectors are for every caller, not only for the one who asked
	AnswerCache  int64            // bytes of answers that are kept; 0: none
	Changed      func()           // called when this fleet has changed what is loaded or installed; it must not block; nil: nobody cares
}

// Fleet is the hosts behaving as one. It is safe for concurrent use.
type Fleet struct {
	host Host
	opts Options

	life context.Context // ends with Close; loads live in it, not in the call that asked
	stop context.CancelFunc
	wg   sync.WaitGroup // running loads, transfers, recoveries and inquiries

	ps     *shared[[]ollama.Running]
	models *shared[[]Model]

	mu      sync.Mutex // guards what follows, and the attempts in traffic
	loads   map[loadKey]*load
	shown   map[string]*ollama.Shown // by digest
	loaded  map[string]loadOptions   // by digest: copies of a model run together
	traffic map[ollama.Name]*traffic // of the models that had calls or loads here
	calls   map[ollama.Name]Calls    // in progress

	transfers map[string]*transfer // by what was asked for
}

// Update makes these the hosts of the fleet. Calls that run on one that is no more among
// them go on to their end. The clients of hosts that stay as they were are closed, unused.
func (f *Fleet) Update(hosts []Host) {}

// New makes a fleet of hosts, at least one. Close it.
func New(hosts []Host, o Options) *Fleet {
	h := hosts[0]
	if o.WedgeAfter <= 0 {
		o.WedgeAfter = DefaultWedgeAfter
	}
	f := &Fleet{
		host: h, opts: o,
		loads: map[loadKey]*load{}, shown: map[string]*ollama.Shown{},
		loaded: map[string]loadOptions{}, traffic: map[ollama.Name]*traffic{}, calls: map[ollama.Name]Calls{},
		transfers: map[string]*transfer{},
	}
	f.life, f.stop = context.WithCancel(context.Background())
	f.ps = newShared(f.life, &f.wg, h.Client.PS)
	f.models = newShared(f.life, &f.wg, f.list)
	return f
}

// Close ends the loads and transfers that are running, waits for them and drops idle connections.
func (f *Fleet) Close() {
	f.stop()
	f.wg.Wait()
	f.host.Client.Close()
}

// Phase is where a call stands before its first token.
type Phase string

// The phases of a call, in their order. A tool adds thinking and generating.
const (
	Queued  Phase = "queued"  // accepted, nothing asked of Ollama yet
	Loading Phase = "loading" // the model is being loaded
	Prompt  Phase = "prompt"  // sent; Ollama reads the prompt or waits for a free slot

	Recovering Phase = "recovering" // the model was wedged and is being unloaded, to be loaded again

	Unloading Phase = "unloading" // of an unload or delete: asked for, and the model is still in memory
)

// Place says where a call runs.
type Place struct {
	Host          string        // the host's name
	ContextLength int           // tokens that the loaded model can hold; 0 when unknown
	Remote        bool          // ollama.com runs the model
	LoadWait      time.Duration // how long the call waited for the model to load
	Recovered     bool          // the model was wedged and had to be reloaded for this call
}

// Watch is told how a call goes, from the call's own goroutine. Nil functions are not called.
type Watch struct {
	Phase  func(Phase)
	Placed func(Place) // before the request is sent, and again after a recovery
}

func (w Watch) phase(p Phase) {
	if w.Phase != nil {
		w.Phase(p)
	}
}

func (w Watch) placed(p Place) {
	if w.Placed != nil {
		w.Placed(p)
	}
}

// Error is an *[ollama.Error] with what the caller needs to act on it.
type Error struct {
	Address   string        // base URL of the host that failed
	Origin    string        // where that address came from
	Model     ollama.Name   // the model asked for, "" when none was
	Installed []ollama.Name // for a missing model: what is installed, nil when that could not be learnt
	Remedy    *Remedy       // for what is too long; nil when nothing is known
	Err       error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the host's error.
func (e *Error) Unwrap() error { return e.Err }

// CloudError says that a model runs on ollama.com and the operator refuses that.
type CloudError struct{ Model ollama.Name }

func (e *CloudError) Error() string {
	return fmt.Sprintf("%s runs on ollama.com, which this server refuses", e.Model)
}

// fail adds to a host's error what the caller needs. Other errors pass unchanged.
func (f *Fleet) fail(ctx context.Context, model ollama.Name, err error) error {
	var oe *ollama.Error
	if !errors.As(err, &oe) {
		return err
	}
	fe := &Error{Address: f.host.Address, Origin: f.host.Origin, Model: model, Err: err}
	if oe.Kind == ollama.MissingModel {
		fe.Installed = f.installed(ctx)
	}
	return fe
}

// installed lists names for an error message; it gives up soon and never fails.
func (f *Fleet) installed(ctx context.Context) []ollama.Name {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	models, err := f.host.Client.Tags(ctx)
	if err != nil {
		return nil
	}
	names := make([]ollama.Name, 0, len(models))
	for _, m := range models {
		names = append(names, canonical(m.Name))
	}
	return names
}

// isKind reports whether err is a host's error of a kind.
func isKind(err error, k ollama.Kind) bool {
	return errors.Is(err, &ollama.Error{Kind: k})
}

// canonical is the canonical form of a name that Ollama itself sent.
func canonical(s string) ollama.Name {
	n, err := ollama.ParseName(s)
	if err != nil {
		return ollama.Name(strings.ToLower(s))
	}
	return n
}

// Caller is who makes a call, as far as fairness between callers needs to know.
type Caller struct {
	Name     string
	Priority queue.Priority // "" is normal
	Tags     []string       // that a host must have to take the caller's calls; a host's name is one of its tags
}

type callerKey struct{}

// WithCaller says in a context who makes the calls in it.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf is who makes the calls in a context; the zero Caller when it does not say.
func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
