package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/health"
	"ollama-mcp/ollama/fleet/queue"
	"ollama-mcp/ollama/fleet/route"
)

// member is one host of a fleet: what is known of it, and what the fleet does there.
type member struct {
	Host
	fleet *Fleet
	opts  *Options

	life  context.Context // ends with close; loads live in it, not in the call that asked
	stop  context.CancelFunc
	wg    sync.WaitGroup // running loads, transfers, recoveries and inquiries
	users sync.WaitGroup // what keeps it open, see [Fleet.use]
	turn  chan struct{}  // holds one thing while a load is asked of Ollama: it does one at a time anyway

	watcher *health.Watcher
	facts   atomic.Pointer[route.Host] // stored with mu held

	ps     *shared[[]ollama.Running]
	tags   *shared[[]ollama.Model]
	models *shared[[]Model]

	mu      sync.Mutex // guards what follows, and the attempts in traffic
	loads   map[loadKey]*load
	took    map[string]time.Duration // how long the latest load took, by digest
	shown   map[string]*ollama.Shown // by digest
	loaded  map[string]loadOptions   // by digest: copies of a model run together
	traffic map[ollama.Name]*traffic // of the models that had calls or loads here
	calls   map[ollama.Name]Calls    // in progress

	transfers map[string]*transfer // by what was asked for

	visits map[*visit]struct{}
	queues map[string]*queue.Queue // by digest
	known  known
	room   room
}

// known is what the facts of a host are made of.
type known struct {
	health  *health.Snapshot
	tags    []ollama.Model
	models  map[ollama.Name]route.Model // of tags
	running []ollama.Running
	visits  map[string]*bookings // by digest
	evicted []time.Time          // when models left that nobody had unloaded and whose time was not over

	tagsAsked, psAsked time.Time
}

// bookings are the calls that are placed on a model of a host.
type bookings struct {
	calls   int
	options string // of the latest, spelt as [route.Call] has them
}

func newMember(f *Fleet, host Host) *member {
	h := &member{
		Host: host, fleet: f, opts: &f.opts,
		turn:  make(chan struct{}, 1),
		loads: map[loadKey]*load{}, took: map[string]time.Duration{}, shown: map[string]*ollama.Shown{},
		loaded: map[string]loadOptions{}, traffic: map[ollama.Name]*traffic{}, calls: map[ollama.Name]Calls{},
		transfers: map[string]*transfer{}, visits: map[*visit]struct{}{}, queues: map[string]*queue.Queue{},
		known: known{visits: map[string]*bookings{}, health: &health.Snapshot{State: health.Degraded}},
		room:  newRoom(),
	}
	h.life, h.stop = context.WithCancel(f.life)
	h.ps = newShared(h.life, &h.wg, h.askRunning)
	h.tags = newShared(h.life, &h.wg, h.askTags)
	h.models = newShared(h.life, &h.wg, h.list)
	h.mu.Lock()
	h.publish()
	h.mu.Unlock()
	h.watcher = health.New(health.Host{
		Name: host.Client.Name(), Version: host.Client.Version, Tags: h.tags.get, PS: h.ps.get, Probe: h.probe,
	}, health.Options{Interval: f.opts.Poll, Idle: h.unused, Changed: h.healthChanged})
	return h
}

// inherit takes over what is known of the host from the member in whose place h comes, so that
// calls go on to where their models are loaded, and its lines, so that both together send the
// host no more calls than it answers.
func (h *member) inherit(old *member) {
	if h.Address != old.Address {
		return
	}
	old.mu.Lock()
	queues, loaded, took := maps.Clone(old.queues), maps.Clone(old.loaded), maps.Clone(old.took)
	known := old.known
	old.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loaded, h.took = loaded, took; h.Parallel == old.Parallel {
		h.queues = queues
	}
	if h.known.psAsked.IsZero() {
		h.known.running, h.known.psAsked = known.running, known.psAsked
	}
	if h.known.models == nil && known.models != nil {
		h.has(known.tags)
	}
}

// close ends what runs and waits for it.
func (h *member) close() {
	h.stop()
	h.watcher.Close()
	h.wg.Wait()
	h.Client.Close()
}

// idleAfter is how long nobody calls before hosts are looked at less often.
const idleAfter = time.Minute

// unused reports whether nobody has called the fleet for long.
func (h *member) unused() bool {
	return time.Since(time.Unix(0, h.fleet.called.Load())) > idleAfter
}

// healthChanged is told of news by the watcher, which is locked meanwhile.
func (h *member) healthChanged(old, now *health.Snapshot) {
	h.mu.Lock()
	h.known.health = now
	h.publish()
	h.mu.Unlock()
	if old.State == now.State {
		return
	}
	h.opts.Observe.state(h.Client.Name(), old, now)
	switch {
	case now.State == health.Down && h.life.Err() == nil:
		h.wg.Go(h.abandon)
	case now.State.Usable() && (old.Asked.IsZero() || !old.State.Usable()):
		h.fleet.rewarm()
		if h.life.Err() == nil {
			h.wg.Go(h.fleet.abandon)
		}
	}
}

// askRunning asks what is loaded, and takes it in.
func (h *member) askRunning(ctx context.Context) ([]ollama.Running, error) {
	asked := time.Now()
	running, err := h.Client.PS(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if asked.Before(h.known.psAsked) { // what is known is newer
		return running, nil
	}
	h.known.psAsked = asked
	h.known.noteEvictions(running, asked, len(h.loads) > 0)
	h.known.running = running
	h.publish()
	return running, nil
}

// askTags asks what is installed, and takes it in.
func (h *member) askTags(ctx context.Context) ([]ollama.Model, error) {
	asked := time.Now()
	tags, err := h.Client.Tags(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if asked.Before(h.known.tagsAsked) {
		return tags, nil
	}
	h.known.tagsAsked = asked
	if h.known.models != nil && sameTags(h.known.tags, tags) {
		return tags, nil
	}
	h.has(tags)
	return tags, nil
}

// has takes in what is installed. It wants mu locked.
func (h *member) has(tags []ollama.Model) {
	h.known.tags = tags
	h.known.models = make(map[ollama.Name]route.Model, len(tags))
	for _, t := range tags {
		n := canonical(t.Name)
		h.known.models[n] = route.Model{Digest: t.Digest, Size: t.Size, Remote: t.RemoteHost != "", Barred: h.May != nil && !h.May(n)}
	}
	h.publish()
}

func sameTags(a, b []ollama.Model) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Digest != b[i].Digest {
			return false
		}
	}
	return true
}

// lately is for how long an eviction says something of a host.
const lately = 5 * time.Minute

// noteEvictions counts the models that are gone from memory before their time, while another
// was being loaded.
func (k *known) noteEvictions(now []ollama.Running, at time.Time, loading bool) {
	for len(k.evicted) > 0 && at.Sub(k.evicted[0]) > lately {
		k.evicted = k.evicted[1:]
	}
	if !loading {
		return
	}
	here := map[string]bool{}
	for i := range now {
		here[now[i].Digest] = true
	}
	for i := range k.running {
		if r := &k.running[i]; !here[r.Digest] && r.ExpiresAt.After(at) {
			k.evicted = append(k.evicted, at)
		}
	}
}

// publish makes the facts of what is known. It wants mu locked.
func (h *member) publish() {
	s := h.known.health
	facts := &route.Host{
		Name: h.Client.Name(), Tags: h.Tags, Priority: h.Priority, Weight: h.Weight, MaxLoaded: h.MaxLoaded,
		Models: h.known.models, Evictions: len(h.known.evicted),
		Since: s.Since, Doubtful: s.State == health.Degraded && !s.Asked.IsZero(),
	}
	if !s.State.Usable() {
		facts.Down, facts.Until = outage(s), s.Until
	}
	if n := len(h.known.running) + len(h.known.visits); n > 0 {
		facts.Loaded = h.inMemory(make([]route.Loaded, 0, n))
	}
	h.facts.Store(facts)
}

// outage says why a host takes no calls, without the words of others that may be in its errors.
func outage(s *health.Snapshot) string {
	var e *ollama.Error
	if s.State == health.Down && errors.As(s.Failure, &e) {
		return fmt.Sprintf("%s, %s", s.State, strings.ReplaceAll(string(e.Kind), "_", " "))
	}
	return string(s.State)
}

// inMemory adds what is loaded, and what calls have been placed on to be loaded. It wants mu
// locked.
func (h *member) inMemory(all []route.Loaded) []route.Loaded {
	for i := range h.known.running {
		r := &h.known.running[i]
		l := route.Loaded{Digest: r.Digest, Options: h.optionsOf(r), Slots: h.slots(r.Digest), Before: h.fleet.uses.before(r.Digest)}
		if b := h.known.visits[r.Digest]; b != nil {
			l.InFlight = b.calls
		}
		l.Loading = h.loadingDigest(r.Digest)
		all = append(all, l)
	}
	for digest, b := range h.known.visits {
		if !h.runs(digest) {
			all = append(all, route.Loaded{Digest: digest, Options: b.options, InFlight: b.calls, Loading: true, Before: h.fleet.uses.before(digest)})
		}
	}
	return all
}

func (h *member) runs(digest string) bool {
	for i := range h.known.running {
		if h.known.running[i].Digest == digest {
			return true
		}
	}
	return false
}

// slots is how many calls a model answers at a time, 0 when nobody knows. It wants mu locked.
func (h *member) slots(digest string) int {
	if q := h.queues[digest]; q != nil {
		return q.Stats().Parallel
	}
	return 0
}

// loadingDigest reports whether a load of ours of the content is in progress. It wants mu
// locked.
func (h *member) loadingDigest(digest string) bool {
	for key := range h.loads {
		if h.known.models[key.model].Digest == digest {
			return true
		}
	}
	return false
}

// optionsOf are the load-time options with which a model is loaded, as far as is known. It
// wants mu locked.
func (h *member) optionsOf(r *ollama.Running) string {
	if l, ok := h.loaded[r.Digest]; ok && l.contextLength == r.ContextLength {
		return l.spelt
	}
	return fmt.Sprintf(`{"num_ctx":%d}`, r.ContextLength)
}

// spelt are load-time options as routing compares them, "" for none.
func spelt(o *ollama.Options) string {
	if o = o.LoadTime(); o == nil {
		return ""
	}
	text, _ := json.Marshal(o) // plain numbers: cannot fail
	return string(text)
}

// refresh asks the host again what it has and, if it is down, whether it is back, and waits
// for that for hostPatience at most. What it has not answered by then is among the facts.
func (h *member) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	if h.facts.Load().Down == "" {
		ps := h.ps.join(ctx) // where a model is loaded is where a call on it goes
		_, err := h.tags.get(ctx)
		h.blame(err)
		select {
		case <-ps.done:
		case <-ctx.Done():
		}
		return
	}
	select {
	case <-h.watcher.Check():
	case <-ctx.Done():
	}
}
