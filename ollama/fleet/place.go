package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/health"
	"ollama-mcp/ollama/fleet/queue"
	"ollama-mcp/ollama/fleet/route"
)

// visit is one try of a call on one host, from its placing to its end.
type visit struct {
	*member
	ctx    context.Context // of the try; ends earlier than the call's when the host is given up
	cancel context.CancelCauseFunc
	digest string // of the model that it runs on; "" when nobody knows which, and for none
	model  ollama.Name
	call   route.Call    // by which it was placed; the zero Call when it had no choice
	came   time.Time     // when it was placed
	waited time.Duration // for a slot
	sent   time.Time     // when it was sent; guarded by the member's mu
	others bool          // the fleet has more hosts
	forAll bool          // what it says of a missing model holds for all hosts
	remote bool          // ollama.com runs the model, whose failures are not the host's

	answered bool         // something has come; guarded by the member's mu
	on       *attempt     // the latest; nil when none is guarded
	heard    bool         // something has come of it; of the call's own goroutine, like timing
	timing   queue.Timing // what Ollama said in the end
	tokens   int          // generated
}

// errGone ends a try on a host that is down or removed, of which nothing had come.
var errGone = errors.New("the host is gone")

// PlaceError says that no host can take a call.
type PlaceError struct {
	Model ollama.Name
	Kind  ollama.Kind // Unreachable when one may be able to later, else MissingModel
	Hosts []string    // what is the matter with each, in words; empty when there are no hosts

	Restricted bool // there may be other hosts, which the caller may not use
}

func (e *PlaceError) Error() string {
	switch {
	case len(e.Hosts) == 0 && e.Restricted:
		return "there are no Ollama hosts at the moment that the caller may use"
	case len(e.Hosts) == 0:
		return "there are no Ollama hosts at the moment"
	}
	return fmt.Sprintf("no host can take %s: %s", e.Model, strings.Join(e.Hosts, "; "))
}

// place chooses the host for a call, and counts it in there. Leave what it returns.
func (f *Fleet) place(ctx context.Context, n *need, tried []string) (*visit, error) {
	for looked := false; ; looked = true {
		v, err := f.choose(ctx, n, tried)
		var none *route.Error
		if !errors.As(err, &none) {
			return v, err
		}
		if looked || len(none.Hosts) == 0 {
			return f.last(ctx, n, none, tried)
		}
		if err := f.look(ctx, n, none, tried); err != nil {
			return nil, err
		}
	}
}

// choose is place by what is known already. Its error is a [*route.Error].
func (f *Fleet) choose(ctx context.Context, n *need, tried []string) (*visit, error) {
	f.seen()
	f.mu.Lock()
	defer f.mu.Unlock()
	call := n.route(callerOf(ctx), len(f.members) > 1)
	call.Except = tried
	c, err := route.Choose(f.facts(), call, time.Now())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f.members, func(h *member) bool { return h.Client.Name() == c.Host.Name })
	v := f.members[i].begin(ctx, n, c.Model, call.Options)
	v.call, v.others = call, len(f.members) > 1
	if f.opts.Observe.Placed != nil {
		f.opts.Observe.Placed(v.Client.Name(), n.model, c.Why())
	}
	return v, nil
}

// seen notes that the fleet is called. After a time without calls less is known of the hosts.
func (f *Fleet) seen() {
	now := time.Now()
	if before := time.Unix(0, f.called.Swap(now.UnixNano())); now.Sub(before) < idleAfter {
		return
	}
	members, done := f.use(nil)
	defer done()
	for _, h := range members {
		if f.opts.Poll >= 0 {
			h.watcher.Check()
		}
	}
}

// route is a call as routing sees it. Only among several hosts affinity counts for something.
func (n *need) route(caller Caller, several bool) route.Call {
	c := route.Call{
		Model: n.model, Digest: n.digest, Options: spelt(n.options), Needs: caller.Tags, Spread: n.op == "embed",
	}
	if n.host != "" {
		c.Needs = append(slices.Clone(c.Needs), n.host)
	}
	if several && len(n.opening) > 0 {
		c.Affinity = route.Affinity(caller.Name, n.model, n.opening[0], n.opening[1])
	}
	return c
}

// look asks the hosts anew that would take a call if what is known of them were wrong: the
// model has just been installed there, or they are back.
func (f *Fleet) look(ctx context.Context, n *need, none *route.Error, tried []string) error {
	members, done := f.use(func(h *member) bool {
		i := slices.IndexFunc(none.Hosts, func(r route.Refusal) bool { return r.Host.Name == h.Client.Name() })
		return i >= 0 && slices.Contains([]route.Reason{route.Unknown, route.Missing, route.Down}, none.Hosts[i].Reason)
	})
	var wg sync.WaitGroup
	for _, h := range members {
		wg.Go(func() { h.refresh(ctx) }) // what fails is among the facts then
	}
	all := make(chan struct{})
	f.wg.Go(func() {
		defer done()
		wg.Wait()
		close(all)
	})
	await(all, lookPatience)
	if !f.elsewhere(ctx, n, tried) {
		<-all
	}
	return ctx.Err()
}

// lookPatience is how long a look at all hosts waits for those that are slow, if one that is
// not can take the call.
const lookPatience = 500 * time.Millisecond

// last is place for a call that no host can take, as far as is known. Where one may know
// more, as of a model of ollama.com that nobody has installed, it is asked all the same, and
// its answer is the best there is for a model that is missing, too.
func (f *Fleet) last(ctx context.Context, n *need, none *route.Error, tried []string) (*visit, error) {
	tags := callerOf(ctx).Tags
	none.Hosts = slices.DeleteFunc(none.Hosts, func(r route.Refusal) bool { return !r.Host.Fits(tags) })
	if err := resting(n, none); err != nil {
		return nil, err
	}
	e := nowhere(ctx, n.model)
	e.Kind = ollama.MissingModel
	alone := len(none.Hosts) == 1 && len(tried) == 0 // it has the better words for what is the matter
	speaker := ""
	for _, r := range none.Hosts {
		if n.host == "" || r.Reason != route.Unfit { // that others are not the one that is named, goes without saying
			e.Hosts = append(e.Hosts, r.String())
		}
		switch r.Reason {
		case route.Missing:
			if r.Host.Down == "" || alone {
				speaker = cmp.Or(speaker, r.Host.Name)
			}
		case route.Down, route.Unknown:
			e.Kind = ollama.Unreachable
			if alone {
				speaker = r.Host.Name
			}
		}
	}
	if len(none.Hosts) == 0 || e.Kind == ollama.Unreachable && !alone {
		e.Kind, speaker = ollama.Unreachable, ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.members {
		if h.Client.Name() == speaker && (h.May == nil || h.May(n.model)) {
			v := h.begin(ctx, n, route.Model{}, "")
			v.forAll = len(f.members) > 1 && n.host == ""
			return v, nil
		}
	}
	return nil, e
}

// resting is the error where hosts that could take a call have asked to be left alone for a while,
// and the others are out of reach, else nil.
func resting(n *need, none *route.Error) error {
	var first *route.Host
	for _, r := range none.Hosts {
		if r.Reason == route.Down && r.Has && !r.Host.Until.IsZero() && (first == nil || r.Host.Until.Before(first.Until)) {
			first = r.Host
		}
	}
	if first == nil || len(none.Hosts) == 1 { // one host speaks for itself
		return nil
	}
	return &Error{Model: n.model, Err: &ollama.Error{Op: n.op, Host: first.Name, Kind: ollama.Busy,
		RetryAfter: max(time.Second, time.Until(first.Until)), Message: "all hosts that have the model and can be reached have asked to be left alone for a while"}}
}

// begin counts a call in that is placed on the host. It wants the fleet's mu locked.
func (h *member) begin(ctx context.Context, n *need, m route.Model, options string) *visit {
	v := &visit{member: h, model: n.model, remote: m.Remote, came: time.Now()}
	v.ctx, v.cancel = context.WithCancelCause(ctx)
	h.users.Add(1)
	if !m.Remote && n.op != "show" {
		v.digest = m.Digest
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.visits[v] = struct{}{}
	if v.digest == "" {
		return v
	}
	h.fleet.uses.note(v.digest)
	b := h.known.visits[v.digest]
	if b == nil {
		b = &bookings{}
		h.known.visits[v.digest] = b
	}
	b.calls++
	b.options = options
	v.openLine(n, n.op != "embed") // how many calls it lets through is among the facts
	h.publish()
	return v
}

// leave counts a call out, and tells the watcher how it went.
func (v *visit) leave(err error) {
	v.cancel(nil) // a cause that it has stays
	h := v.member
	h.mu.Lock()
	delete(h.visits, v)
	if b := h.known.visits[v.digest]; b != nil && v.digest != "" {
		if b.calls--; b.calls == 0 {
			delete(h.known.visits, v.digest)
			h.room.tell()
		}
		h.publish()
	}
	h.mu.Unlock()
	if v.tells(err) {
		h.watcher.Report(err)
	}
	h.users.Done()
}

// tells reports whether the end of the call says something of its host, that is not known
// already. What ollama.com answers says nothing.
func (v *visit) tells(err error) bool {
	var e *ollama.Error
	switch {
	case err == nil:
		return v.digest != ""
	case errors.Is(context.Cause(v.ctx), errGone), v.remote && errors.As(err, &e) && e.Status != 0:
		return false
	}
	return counts(err)
}

// counts reports whether the end of a call says something of its host. A model that does not
// load says nothing. Nor, on a host where models fail, does a success that needed none.
func counts(err error) bool {
	var e *ollama.Error
	return err == nil || errors.As(err, &e) && e.Kind != ollama.LoadFailed && (e.Op != "load" || e.Kind != ollama.Failed)
}

// rescue ends the calls of which nothing has come, and which choose names, if another host can
// take them.
func (h *member) rescue(which func(*visit) bool) {
	h.fleet.mu.Lock()
	others := h.fleet.facts()
	h.fleet.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.visits {
		if v.answered || v.call.Model == "" || !which(v) {
			continue
		}
		call := v.call
		call.Except = append(slices.Clip(call.Except), h.Client.Name())
		if _, err := route.Choose(others, call, time.Now()); err == nil {
			v.cancel(errGone)
		}
	}
}

// abandon is rescue, if the host still takes no calls: of all calls where it is down, else, as
// where it has said 429 or 503, of those that it has not been sent. It answers the others.
func (h *member) abandon() {
	if h.facts.Load().Down != "" {
		h.mu.Lock()
		down := h.known.health.State == health.Down // the watcher itself may only be about to be made
		h.mu.Unlock()
		h.rescue(func(v *visit) bool { return down || v.sent.IsZero() })
	}
}

// abandon has the calls on hosts that are down moved to one that is back.
func (f *Fleet) abandon() {
	members, done := f.use(func(h *member) bool { return h.facts.Load().Down != "" })
	defer done()
	for _, h := range members {
		h.abandon()
	}
}

// UnknownHostError says that there is no host of a name.
type UnknownHostError struct {
	Name  string
	Hosts []string // those there are, for the caller
}

func (e *UnknownHostError) Error() string {
	return fmt.Sprintf("there is no host %q; there are: %s", e.Name, strings.Join(e.Hosts, ", "))
}

// checkHost refuses the name of a host that there is not, for the caller. "" is a name of all.
func (f *Fleet) checkHost(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	members, done := f.use(within(ctx, ""))
	defer done()
	e := &UnknownHostError{Name: name}
	for _, h := range members {
		if h.Client.Name() == name {
			return nil
		}
		e.Hosts = append(e.Hosts, h.Client.Name())
	}
	if len(members) == 0 {
		return nowhere(ctx, "")
	}
	return e
}

// reach refuses the name of a host that there is not, and of one that is down still, which is
// found out at once and not after the patience of a call. "" is a name of all.
func (f *Fleet) reach(ctx context.Context, model ollama.Name, host string) error {
	if err := f.checkHost(ctx, host); err != nil || host == "" {
		return err
	}
	members, done := f.use(func(h *member) bool { return h.Client.Name() == host && h.away() })
	defer done()
	for _, h := range members {
		h.refresh(ctx)
		if h.away() {
			return h.outOfReach(model)
		}
	}
	return nil
}

// away reports whether the host is out of reach. One that only wants to be left alone for a while,
// by calls, is not.
func (h *member) away() bool {
	facts := h.facts.Load()
	return facts.Down != "" && facts.Until.IsZero()
}

// outOfReach is the error of a host that is away, or that did not answer.
func (h *member) outOfReach(model ollama.Name) error {
	facts := h.facts.Load()
	if facts.Down == "" {
		return h.stalled()
	}
	_, has := facts.Models[model]
	return &PlaceError{Model: model, Kind: ollama.Unreachable, Hosts: []string{route.Refusal{Host: facts, Reason: route.Down, Has: has}.String()}}
}

// mayHave reports whether the model is, as far as is known, on the host, or that is not known.
func (h *member) mayHave(model ollama.Name) bool {
	models := h.facts.Load().Models
	_, has := models[model]
	return has || models == nil
}
