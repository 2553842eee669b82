package fleet

import (
	"context"
	"errors"
	"slices"
	"sync"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/route"
)

// AllHosts is a host's name that stands for all, in pulls and creates.
const AllHosts = "all"

// CheckSource refuses a model of a registry that the operator does not allow, before
// anything is asked of a host. Its errors are *[Error].
func (f *Fleet) CheckSource(op string, model ollama.Name) error {
	members, done := f.use(nil)
	defer done()
	for _, h := range members { // the same registries are allowed on all
		return h.fail(f.life, model, h.Client.CheckSource(op, string(model)))
	}
	return nil
}

// Find returns an installed model, nil when it is not installed on any host that answers, or
// on the one that is named. Where hosts have other content under the name it is what calls
// would find.
func (f *Fleet) Find(ctx context.Context, model ollama.Name, host string) (*Model, error) {
	if err := f.checkHost(ctx, host); err != nil {
		return nil, err
	}
	g, err := gather(ctx, f, host, func(ctx context.Context, h *member) (*ollama.Model, error) { return h.find(ctx, model) })
	if err != nil {
		return nil, err
	}
	digest := f.localDigest(ctx, model, "")
	var found *Model
	for _, a := range g.answers {
		switch {
		case a.answer == nil:
			continue
		case found == nil || found.Digest != digest && a.answer.Digest == digest:
			found = &Model{Model: *a.answer, Canonical: model}
		}
	}
	if found == nil {
		return nil, nil
	}
	for _, a := range g.answers {
		if a.answer != nil && a.answer.Digest == found.Digest {
			found.Hosts = append(found.Hosts, a.host.Client.Name())
		}
	}
	return found, nil
}

// Pull has hosts fetch a model, under the name as it is spelt, see [ollama.Spelling], and
// checks that it is installed then. host is where: a host's name, [AllHosts], or "" for those
// that have it, and for as many as its pin preloads it on, one at the least: always the same
// ones, as long as they are well, so that what broke off is found again.
//
// Pulls of one name share one transfer, whose spelling is the first's and which ends with the
// last of them: a caller that wants it to go on keeps its ctx alive. watch is told how far it
// is, at most twice a second, and at the end. What broke off is a [*TransferError], and resumes
// when asked for again.
func (f *Fleet) Pull(ctx context.Context, model, host string, watch func(ollama.TransferState)) (*Moved, error) {
	name, err := ollama.ParseName(model)
	if err != nil {
		return nil, err
	}
	if err := f.opts.allowed(name, ""); err != nil {
		return nil, err
	}
	return f.deliver(ctx, delivery{model: name, host: host, do: func(h *member, watch func(ollama.TransferState)) (*Moved, error) {
		return h.pull(ctx, model, watch)
	}}, watch)
}

// Create makes a model of another, which must be installed: Ollama would pull it unasked.
// Else it is as Pull; without a host it is made where the other one is.
func (f *Fleet) Create(ctx context.Context, r *ollama.CreateRequest, host string, watch func(ollama.TransferState)) (*Moved, error) {
	if err := f.CheckSource("create", r.From); err != nil {
		return nil, err
	}
	from, _, err := f.have(ctx, r.From, host)
	if err != nil {
		return nil, err
	}
	return f.deliver(ctx, delivery{model: r.Model, host: host, among: from, do: func(h *member, watch func(ollama.TransferState)) (*Moved, error) {
		return h.create(ctx, r, watch)
	}}, watch)
}

// Push has a host send an installed model to the registry in its name, as Pull fetches.
func (f *Fleet) Push(ctx context.Context, model ollama.Name, watch func(ollama.TransferState)) (*Moved, error) {
	if err := f.CheckSource("push", model); err != nil {
		return nil, err
	}
	v, err := f.place(ctx, &need{op: "show", model: model}, nil)
	if err != nil {
		return nil, err
	}
	defer v.leave(context.Canceled) // which says nothing of the host, as a registry's failures do
	return v.push(ctx, model, watch)
}

// Copy gives an installed model a second name, in the place of a model that had it, on every
// host that has it, and says which. Where it fails it stops.
func (f *Fleet) Copy(ctx context.Context, source, destination ollama.Name) (Reached, error) {
	return f.everywhere(ctx, source, func(h *member) error { return h.copy(ctx, source, destination) })
}

// Delete removes a model from the memory and the disk of every host that has it, and checks
// that it is gone; it returns which. One that calls still run on is not deleted, but
// busy; w is told as of Unload. Where it fails it stops.
func (f *Fleet) Delete(ctx context.Context, model ollama.Name, w Watch) (Reached, error) {
	return f.everywhere(ctx, model, func(h *member) error { return h.delete(ctx, model, w) })
}

// everywhere does something to a model on one host after the other, of those that have it.
// Where none has, the first says so.
func (f *Fleet) everywhere(ctx context.Context, model ollama.Name, do func(*member) error) (r Reached, err error) {
	names, silent, err := f.have(ctx, model, "")
	if err != nil {
		return r, err
	}
	members, done := f.use(within(ctx, ""))
	defer done()
	for _, h := range members {
		if slices.Contains(silent, h.Client.Name()) && h.mayHave(model) {
			r.Silent = append(r.Silent, h.Client.Name())
		}
	}
	if len(names) > 0 {
		members = slices.DeleteFunc(slices.Clone(members), func(h *member) bool { return !slices.Contains(names, h.Client.Name()) })
	}
	if len(names) == 0 && len(members) > 0 { // one that answers says so
		for _, h := range members {
			if slices.Contains(r.Silent, h.Client.Name()) {
				return r, h.outOfReach(model)
			}
		}
		i := slices.IndexFunc(members, func(h *member) bool { return h.facts.Load().Down == "" })
		members = members[max(i, 0):][:1]
	}
	for _, h := range members {
		if err := do(h); err != nil {
			return r, err
		}
		r.Hosts = append(r.Hosts, h.Client.Name())
	}
	return r, nil
}

// have lists the hosts that have a model, whatever its content, and those that do not say.
func (f *Fleet) have(ctx context.Context, model ollama.Name, host string) (names, silent []string, err error) {
	if host == AllHosts {
		host = ""
	}
	if err := f.checkHost(ctx, host); err != nil {
		return nil, nil, err
	}
	g, err := gather(ctx, f, host, func(ctx context.Context, h *member) (*ollama.Model, error) { return h.find(ctx, model) })
	for _, a := range g.answers {
		if a.answer != nil {
			names = append(names, a.host.Client.Name())
		}
	}
	for _, s := range g.silent {
		silent = append(silent, s.Host)
	}
	return names, silent, err
}

// delivery is a model that is to be brought to hosts.
type delivery struct {
	model ollama.Name
	host  string   // as of [Fleet.Pull]
	among []string // the hosts it can be brought to; nil: all
	do    func(h *member, watch func(ollama.TransferState)) (*Moved, error)
}

// targets are the hosts that a model is brought to.
func (f *Fleet) targets(ctx context.Context, d *delivery) func(*member) bool {
	if d.host != "" && d.host != AllHosts {
		return within(ctx, d.host)
	}
	may := within(ctx, "")
	f.mu.Lock()
	defer f.mu.Unlock()
	var have, others, down []*route.Host
	for _, h := range f.members {
		facts := h.facts.Load()
		_, has := facts.Models[d.model]
		switch {
		case !may(h), h.May != nil && !h.May(d.model), len(d.among) > 0 && !slices.Contains(d.among, facts.Name):
		case facts.Down != "":
			down = append(down, facts)
		case has:
			have = append(have, facts)
		default:
			others = append(others, facts)
		}
	}
	most := max(1, len(have), f.opts.Pins[d.model].Preload)
	targets := slices.Concat(have, route.Homes(others, d.model), route.Homes(down, d.model))
	if d.host == "" {
		targets = targets[:min(len(targets), most)]
	}
	return func(h *member) bool {
		return slices.ContainsFunc(targets, func(r *route.Host) bool { return r.Name == h.Client.Name() })
	}
}

// deliver brings a model to hosts, at the same time. It ends when all have it or have failed; the
// error is that of the first that failed.
func (f *Fleet) deliver(ctx context.Context, d delivery, watch func(ollama.TransferState)) (*Moved, error) {
	if d.host != AllHosts {
		if err := f.reach(ctx, d.model, d.host); err != nil {
			return nil, err
		}
	}
	members, done := f.use(f.targets(ctx, &d))
	defer done()
	switch len(members) {
	case 0:
		return nil, nowhere(ctx, d.model)
	case 1:
		return d.do(members[0], watch)
	}
	sum := sum{states: make([]ollama.TransferState, len(members)), watch: watch}
	moved, errs := make([]*Moved, len(members)), make([]error, len(members))
	var wg sync.WaitGroup
	for i, h := range members {
		wg.Go(func() {
			moved[i], errs[i] = d.do(h, func(s ollama.TransferState) { sum.set(i, s) })
		})
	}
	wg.Wait()
	return sum.moved(moved, errs)
}

// sum is how far transfers to several hosts are.
type sum struct {
	watch  func(ollama.TransferState)
	mu     sync.Mutex // guards states, and the order of reports
	states []ollama.TransferState
}

func (s *sum) set(i int, state ollama.TransferState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[i] = state
	s.watch(s.total())
}

// total adds up the states. Its phase is that of the one that has most before it.
func (s *sum) total() (t ollama.TransferState) {
	for i, state := range s.states {
		t.Done += state.Done
		t.Total += state.Total
		t.Rate += state.Rate
		t.Left = max(t.Left, state.Left)
		if left := state.Total - state.Done; i == 0 || state.Phase != "" && left > 0 {
			t.Phase = state.Phase
		}
	}
	return t
}

func (s *sum) moved(all []*Moved, errs []error) (*Moved, error) {
	sum := &Moved{State: s.total()}
	var first error
	for i, m := range all {
		if errs[i] != nil {
			if first == nil {
				first = errs[i]
			}
			continue
		}
		sum.Hosts = append(sum.Hosts, m.Hosts...)
		sum.Model = m.Model
	}
	var broke *TransferError
	if errors.As(first, &broke) {
		broke.State, broke.Arrived = sum.State, sum.Hosts
	}
	if first != nil {
		return nil, first
	}
	return sum, nil
}
