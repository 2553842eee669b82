package fleet

import (
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/health"
	"ollama-mcp/ollama/fleet/queue"
)

// Running is a loaded model.
type Running struct {
	ollama.Running
	Canonical ollama.Name // of copies that run together, the one that Ollama names
	Host      string
}

// Running lists the loaded models by name and host, also those that are not installed any
// more. Hosts that do not answer are left out, if another does. The slice is the caller's.
func (f *Fleet) Running(ctx context.Context) ([]Running, error) {
	g, err := gather(ctx, f, "", func(ctx context.Context, h *member) ([]ollama.Running, error) {
		all, err := h.ps.get(ctx)
		return all, h.fail(ctx, "", err)
	})
	if err != nil {
		return nil, err
	}
	running := []Running{}
	for _, a := range g.answers {
		for _, r := range a.answer {
			running = append(running, Running{r, canonical(r.Name), a.host.Client.Name()})
		}
	}
	sort.SliceStable(running, func(i, j int) bool { return running[i].Canonical < running[j].Canonical })
	return running, nil
}

// Probe asks the hosts who they are: the version of Ollama and the number of models of the
// first that answers, by name. The error is there when none does.
func (f *Fleet) Probe(ctx context.Context) (version string, models int, err error) {
	type answer struct {
		version string
		models  int
	}
	g, err := gather(ctx, f, "", func(ctx context.Context, h *member) (answer, error) {
		version, err := h.Client.Version(ctx)
		if err != nil {
			return answer{}, h.fail(ctx, "", err)
		}
		tags, err := h.tags.get(ctx)
		return answer{version, len(tags)}, h.fail(ctx, "", err)
	})
	if len(g.answers) == 0 {
		return "", 0, err
	}
	return g.answers[0].answer.version, g.answers[0].answer.models, err
}

// HostStatus is how a host is, and what it and the fleet do there at the moment.
type HostStatus struct {
	Name    string
	Address string // the base URL
	Tags    []string

	State   health.State
	Since   time.Time      // when State began
	Why     string         // of State; "" when the host is up
	Breaker health.Breaker // whether calls are sent
	Failure error          // the latest that counted against the host; nil when there was none

	Version string                // Ollama's; "" when it does not answer
	Err     error                 // why it does not
	Loaded  []InMemory            // by name; nil when the host did not say
	Loading []ollama.Name         // the models that this fleet loads, by name; they are not among Loaded
	Calls   map[ollama.Name]Calls // of the models that have any
	Lines   []Line                // of the models that have calls that run or wait, by name
}

// InMemory is a loaded model.
type InMemory struct {
	ollama.Running
	Canonical ollama.Name
}

// Calls are how many calls of this fleet a model has.
type Calls struct {
	Running int // sent to Ollama
	Waiting int // for the model to be loaded, or for a slot
}

// Line is the line before a model.
type Line struct {
	Model ollama.Name
	queue.Stats
}

// Hosts asks every host who it is and what it has loaded, by name, and says what is known of
// it. One that does not answer soon is listed with its error.
func (f *Fleet) Hosts(ctx context.Context) []HostStatus {
	members, done := f.use(within(ctx, ""))
	defer done()
	all, _ := askEach(ctx, members, func(own context.Context, h *member) (HostStatus, error) {
		s := h.status(own)
		if errors.Is(s.Err, context.DeadlineExceeded) && ctx.Err() == nil {
			s.Err = h.stalled()
		}
		return s, nil
	})
	return all
}

func (h *member) status(ctx context.Context) HostStatus {
	s := HostStatus{Name: h.Client.Name(), Address: h.Address, Tags: h.Tags}
	var running []ollama.Running
	if s.Version, s.Err = h.Client.Version(ctx); s.Err == nil {
		running, s.Err = h.ps.get(ctx)
	}
	s.Loading, s.Calls, s.Lines = h.work() // after ps, so that a load which has just begun is among them
	known := h.watcher.Snapshot()
	if known.Asked.IsZero() && known.Failure == nil { // nobody has looked yet: how it is would be a guess
		select {
		case <-h.watcher.Check():
		case <-ctx.Done():
		}
		known = h.watcher.Snapshot()
	}
	s.State, s.Since, s.Why, s.Breaker, s.Failure = known.State, known.Since, known.Why, known.Breaker, known.Failure
	if s.Err != nil {
		s.Err = h.fail(ctx, "", s.Err)
		return s
	}
	s.Loaded = []InMemory{}
	for _, r := range running {
		// Ollama lists a model as running while it still loads (0.17.4, server/sched.go).
		if name := canonical(r.Name); !slices.Contains(s.Loading, name) {
			s.Loaded = append(s.Loaded, InMemory{r, name})
		}
	}
	sort.Slice(s.Loaded, func(i, j int) bool { return s.Loaded[i].Canonical < s.Loaded[j].Canonical })
	return s
}
