package fleet

import (
	"context"
	"sort"
	"time"

	"ollama-mcp/ollama"
)

// Running is a loaded model.
type Running struct {
	ollama.Running
	Canonical ollama.Name // of copies that run together, the one that Ollama names
	Host      string
}

// Running lists the loaded models by name, also those that are not installed any more. The
// slice is the caller's.
func (f *Fleet) Running(ctx context.Context) ([]Running, error) {
	all, err := f.ps.get(ctx)
	if err != nil {
		return nil, f.fail(ctx, "", err)
	}
	running := make([]Running, len(all))
	for i, r := range all {
		running[i] = Running{r, canonical(r.Name), f.host.Client.Name()}
	}
	sort.Slice(running, func(i, j int) bool { return running[i].Canonical < running[j].Canonical })
	return running, nil
}

// HostStatus is how a host is.
type HostStatus struct {
	Name    string
	Address string // the base URL
	Version string // Ollama's; "" when it does not answer
	Err     error  // why it does not
}

// hostPatience bounds how long Hosts waits for a host.
const hostPatience = 3 * time.Second

// Hosts asks every host who it is. One that does not answer is listed with its error.
func (f *Fleet) Hosts(ctx context.Context) []HostStatus {
	ctx, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	s := HostStatus{Name: f.host.Client.Name(), Address: f.host.Address}
	version, err := f.host.Client.Version(ctx)
	s.Version, s.Err = version, f.fail(ctx, "", err)
	return []HostStatus{s}
}

// changed tells that what is loaded or installed has changed by our doing.
func (f *Fleet) changed() {
	if f.opts.Changed != nil {
		f.opts.Changed()
	}
}
