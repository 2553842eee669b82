// Package fleet makes the Ollama hosts of a person or a team behave as one.
//
// It owns which host answers, what is loaded where, who waits for whom, loads that are
// shared by all who wait for them, which failures are tried again elsewhere, and the choice
// of a model when the caller names none. It knows nothing of MCP and nothing of HTTP bodies.
//
// A [Fleet] places calls on its members, one for each host. To choose one is the task of
// package route, to know how a host is that of package health, and to keep a line before each
// model of each host that of package queue.
//
// Locks are taken in this order: the fleet's, a member's, those of its queues and of the history;
// and a watcher's before its member's, so that no watcher is called with a member locked.
package fleet

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/cache"
	"ollama-mcp/ollama/fleet/queue"
	"ollama-mcp/ollama/fleet/route"
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
	Tags      []string               // what a caller may ask of a host

	Settings string // everything that was set, in any form: a host with the same settings is the same, see [Fleet.Update]
}

// Options say how a fleet behaves. The zero value works.
type Options struct {
	DefaultModel ollama.Name // the model for calls that name none
	NoCloud      bool        // refuse models that run on ollama.com
	Pins         map[ollama.Name]Pin
	AllowNumCtx  bool             // a call's num_ctx may differ from the pinned one
	WedgeAfter   time.Duration    // wait for a first token on a model that may be wedged, at least; 0 is DefaultWedgeAfter
	Poll         time.Duration    // between two looks at a host; 0 is 5 s; less: only when there is a reason
	NoPreload    bool             // load nothing but what calls need, whatever the pins say
	Queue        queue.Discipline // how calls of one priority take turns; "" is fair
	MaxQueue     int              // calls that wait for one model of one host; 0 is queue.DefaultMax
	EmbedCache   int64            // bytes of vectors that are kept; 0: none
	ShareVectors bool             // kept vectors are for every caller, not only for the one who asked
	AnswerCache  int64            // bytes of answers that are kept; 0: none
	Changed      func()           // called when this fleet has changed what is loaded or installed; it must not block; nil: nobody cares
	Observe      Observer
}

// Fleet is the hosts behaving as one. It is safe for concurrent use.
type Fleet struct {
	opts Options

	life context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // members that leave, rescues and preloads

	vectors *cache.Embeddings // nil: none are kept
	answers *cache.Answers    // likewise

	uses   history
	budget budget
	called atomic.Int64  // when the latest call came, in Unix nanoseconds
	warm   chan struct{} // a host may have to load what is to be preloaded

	// mu guards members and their order, by name. It is held while a call is placed, so that
	// it is counted where it goes before the next one is placed.
	mu      sync.Mutex
	members []*member
}

// New makes a fleet of hosts. Without any it answers that there are none until Update brings
// some. Close it.
func New(hosts []Host, o Options) *Fleet {
	if o.WedgeAfter <= 0 {
		o.WedgeAfter = DefaultWedgeAfter
	}
	f := &Fleet{opts: o, warm: make(chan struct{}, 1), vectors: cache.NewEmbeddings(o.EmbedCache), answers: cache.NewAnswers(o.AnswerCache)}
	f.called.Store(time.Now().UnixNano())
	f.life, f.stop = context.WithCancel(context.Background())
	f.Update(hosts)
	f.preload()
	return f
}

// Close ends the loads and transfers that are running, waits for them and drops idle
// connections. It must not overlap with calls or with Update.
func (f *Fleet) Close() {
	f.stop()
	f.wg.Wait()
	for _, h := range f.members {
		h.close()
	}
}

// Update makes these the hosts of the fleet. Calls that run on one that is no more among
// them go on to their end. A host with the same Settings as before stays what it was; the
// client that came for it is closed, unused.
func (f *Fleet) Update(hosts []Host) {
	f.mu.Lock()
	var left []*member
	before := f.members
	f.members = nil
	for _, host := range hosts {
		i := slices.IndexFunc(before, func(h *member) bool { return h.Client.Name() == host.Client.Name() })
		switch {
		case i >= 0 && before[i].Settings == host.Settings:
			f.members = append(f.members, before[i])
			host.Client.Close()
		default:
			h := newMember(f, host)
			if i >= 0 {
				h.inherit(before[i])
			}
			f.members = append(f.members, h)
		}
	}
	for _, h := range before {
		if !slices.Contains(f.members, h) {
			left = append(left, h)
		}
	}
	slices.SortFunc(f.members, func(a, b *member) int {
		if a.Client.Name() < b.Client.Name() {
			return -1
		}
		return 1
	})
	f.mu.Unlock()
	for _, h := range left {
		h.watcher.Drain()
		h.rescue(func(v *visit) bool { return v.sent.IsZero() })
		f.wg.Go(func() {
			h.users.Wait()
			h.close()
		})
	}
	f.rewarm()
}

// use returns the members, or those that which lets through, until done is called. They stay
// open for so long.
func (f *Fleet) use(which func(*member) bool) (members []*member, done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.members {
		if which == nil || which(h) {
			h.users.Add(1)
			members = append(members, h)
		}
	}
	return members, func() {
		for _, h := range members {
			h.users.Done()
		}
	}
}

// facts are what is known of the hosts. It wants mu locked.
func (f *Fleet) facts() []*route.Host {
	facts := make([]*route.Host, len(f.members))
	for i, h := range f.members {
		facts[i] = h.facts.Load()
	}
	return facts
}

// changed tells that what is loaded or installed has changed by our doing.
func (f *Fleet) changed() {
	if f.opts.Changed != nil {
		f.opts.Changed()
	}
}

// history is when models were wanted last, by digest, whatever the host. The zero value is
// ready for use.
type history struct {
	mu   sync.Mutex // guards what follows
	uses map[string][2]time.Time
}

// note notes that a model is wanted now.
func (y *history) note(digest string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.uses == nil {
		y.uses = map[string][2]time.Time{}
	}
	y.uses[digest] = [2]time.Time{y.uses[digest][1], time.Now()}
}

// before is when the call before the last one for a model began, zero when there was none.
func (y *history) before(digest string) time.Time {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.uses[digest][0]
}
