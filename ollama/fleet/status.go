package fleet

import (
	"context"
	"maps"
	"slices"
	"sort"

	"ollama-mcp/ollama"
)

// Status is what a fleet does at the moment.
type Status struct {
	Host    string
	Address string
	Version string                // Ollama's
	Loaded  []InMemory            // by name; nil when the host did not say
	Loading []ollama.Name         // the models that this fleet loads, by name; they are not among Loaded
	Calls   map[ollama.Name]Calls // of the models that have any
}

// InMemory is a loaded model.
type InMemory struct {
	ollama.Running
	Canonical ollama.Name
}

// Calls are how many calls of this fleet a model has.
type Calls struct {
	Running int // sent to Ollama, which may hold some back until a slot is free
	Waiting int // for the model to be loaded
}

// Status asks the host who it is and what it has loaded. With an error it holds what is
// known without the host.
func (f *Fleet) Status(ctx context.Context) (Status, error) {
	s := Status{Host: f.host.Client.Name(), Address: f.host.Address}
	var running []ollama.Running
	version, err := f.host.Client.Version(ctx)
	if err == nil {
		s.Version = version
		running, err = f.ps.get(ctx)
	}
	s.Loading, s.Calls = f.work() // after ps, so that a load which has just begun is among them
	if err != nil {
		return s, f.fail(ctx, "", err)
	}
	s.Loaded = []InMemory{}
	for _, r := range running {
		// Ollama lists a model as running while it still loads (0.17.4, server/sched.go).
		if name := canonical(r.Name); !slices.Contains(s.Loading, name) {
			s.Loaded = append(s.Loaded, InMemory{r, name})
		}
	}
	sort.Slice(s.Loaded, func(i, j int) bool { return s.Loaded[i].Canonical < s.Loaded[j].Canonical })
	return s, nil
}

// work is the loads and the calls in progress.
func (f *Fleet) work() ([]ollama.Name, map[ollama.Name]Calls) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var loading []ollama.Name
	for key := range f.loads {
		loading = append(loading, key.model)
	}
	slices.Sort(loading)
	return slices.Compact(loading), maps.Clone(f.calls)
}

// count adds to the calls of a model, and forgets one that has none.
func (f *Fleet) count(model ollama.Name, running, waiting int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.calls[model]
	c.Running += running
	c.Waiting += waiting
	if f.calls[model] = c; c == (Calls{}) {
		delete(f.calls, model)
	}
}
