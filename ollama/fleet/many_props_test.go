package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// setting is a host as it is drawn.
type setting struct {
	parallel, maxLoaded int
	barred              []int // models that it may not run
	tags                []string
	loaded              int // model; -1: none
}

// act is something that is done to a fleet.
type act struct {
	do     string
	model  int
	host   int
	need   string // a tag, "" for none
	caller string
	after  time.Duration
}

const drawnModels = 3

func settings() *rapid.Generator[[]setting] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) setting {
		return setting{
			parallel:  rapid.IntRange(1, 3).Draw(t, "parallel"),
			maxLoaded: rapid.IntRange(0, 2).Draw(t, "max loaded"),
			barred:    rapid.SliceOfNDistinct(rapid.IntRange(0, drawnModels-1), 0, 2, rapid.ID).Draw(t, "barred"),
			tags:      rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"gpu", "mac"}), 0, 2, rapid.ID).Draw(t, "tags"),
			loaded:    rapid.IntRange(-1, drawnModels-1).Draw(t, "loaded"),
		}
	}), 2, 3)
}

func acts(kinds ...string) *rapid.Generator[[]act] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
		return act{
			do:     rapid.SampledFrom(kinds).Draw(t, "do"),
			model:  rapid.IntRange(0, drawnModels-1).Draw(t, "model"),
			host:   rapid.IntRange(0, 2).Draw(t, "host"),
			need:   rapid.SampledFrom([]string{"", "", "", "gpu", "b"}).Draw(t, "need"),
			caller: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "caller"),
			after:  time.Duration(rapid.IntRange(0, 3000).Draw(t, "after")) * time.Millisecond,
		}
	}), 1, 16)
}

// drawn is a fleet that acts are done to, and what must hold of it.
type drawn struct {
	*rig
	all    []setting
	strict bool // nothing is done to the hosts: what one may run is answered
	wg     sync.WaitGroup

	out  map[int]time.Time // hosts that are removed, and since when
	back map[int]bool      // hosts that were removed once, and may still have calls of then

	mu     sync.Mutex // guards failed
	failed []string
}

func (d *drawn) fail(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = append(d.failed, fmt.Sprintf(format, args...))
}

func begin(t testing.TB, all []setting) *drawn {
	d := &drawn{all: all, out: map[int]time.Time{}, back: map[int]bool{}}
	d.rig = newRig(t, len(all), fleet.Options{}, func(i int, s *ollamatest.Script, h *fleet.Host) {
		one := all[i]
		serving(one.parallel)(i, s, h)
		s.Models, s.MaxLoaded = models(drawnModels), one.maxLoaded
		if one.loaded >= 0 {
			s.Models[one.loaded].Loaded = true
		}
		h.MaxLoaded, h.Tags = one.maxLoaded, one.tags
		h.May = func(n ollama.Name) bool { return !one.bars(n) }
	})
	d.settle()
	return d
}

func (s *setting) bars(n ollama.Name) bool {
	return slices.ContainsFunc(s.barred, func(m int) bool { return model(m) == n })
}

func (s *setting) fits(name string, a act) bool {
	return !slices.Contains(s.barred, a.model) && (a.need == "" || a.need == name || slices.Contains(s.tags, a.need))
}

// do does an act; what it begins goes on.
func (d *drawn) do(a act) {
	i := a.host % len(d.nodes)
	switch a.do {
	case "call", "cancel":
		d.wg.Go(func() { d.call(a) })
	case "sleep":
		time.Sleep(a.after)
	case "remove", "restore":
		d.toggle(i, a.do == "remove")
	case "kill", "crash", "heal":
		faults := map[string]ollamatest.Fault{"kill": ollamatest.Killed(), "crash": ollamatest.Crash()}
		if f, ok := faults[a.do]; ok {
			d.nodes[i].fault(&f)
		} else {
			d.nodes[i].fault(nil)
		}
	}
	synctest.Wait()
}

// call makes a call, and checks where it ran.
func (d *drawn) call(a act) {
	c := fleet.Caller{Name: a.caller}
	if a.need != "" {
		c.Tags = []string{a.need}
	}
	ctx, cancel := context.WithCancel(fleet.WithCaller(d.t.Context(), c))
	defer cancel()
	if a.do == "cancel" {
		defer time.AfterFunc(a.after, cancel).Stop()
	}
	o := d.generate(ctx, model(a.model), "hi")
	can := false
	for i, n := range d.nodes {
		fits := d.all[i].fits(n.name(), a)
		can = can || fits
		if !fits && slices.ContainsFunc(o.places, func(p fleet.Place) bool { return p.Host == n.name() }) {
			d.fail("%+v was placed on %s, which may not take it", a, n.name())
		}
	}
	if !can && o.err == nil {
		d.fail("%+v was answered, though no host may take it", a)
	}
	if can && o.err != nil && a.do == "call" && d.strict {
		d.fail("%+v: %v, though a host may take it and all are well", a, o.err)
	}
}

// toggle removes a host from the fleet, or brings it back. One host stays.
func (d *drawn) toggle(i int, remove bool) {
	since, gone := d.out[i]
	if gone == remove || remove && len(d.out) == len(d.nodes)-1 {
		return
	}
	if remove {
		d.out[i] = time.Now()
	} else {
		d.ranOut(i, since)
		delete(d.out, i)
		d.back[i] = true
	}
	var hosts []fleet.Host
	for j, n := range d.nodes {
		if _, gone := d.out[j]; gone {
			continue
		}
		h := n.host
		h.Client = n.client(d.t, n.name())
		hosts = append(hosts, h)
	}
	d.Update(hosts)
}

// ranOut checks that a host which was removed got no call since.
func (d *drawn) ranOut(i int, since time.Time) {
	if late := d.nodes[i].newcomers(since); len(late) > 0 {
		d.fail("calls reached %s that began after it was removed: %v", d.nodes[i].name(), late)
	}
}

// check holds the nodes to what was set. exact: also of what ran at a time between the acts.
func (d *drawn) check(exact bool) {
	for i, n := range d.nodes {
		for name, seen := range n.Seen().Models {
			at := seen.Now
			if exact {
				at = seen.Most
			}
			switch {
			case at > d.all[i].parallel && !d.back[i]:
				d.fail("%d calls for %s at a time on %s, want at most %d", at, name, n.name(), d.all[i].parallel)
			case d.all[i].bars(ollama.Name(name)) && seen.Calls+seen.Loads > 0:
				d.fail("%+v for %s on %s, which may not run it", seen, name, n.name())
			}
		}
	}
}

// end lets all calls come to their end, on hosts that are well.
func (d *drawn) end() {
	for i := range d.nodes {
		d.nodes[i].fault(nil)
	}
	d.wg.Wait()
	time.Sleep(20 * time.Second) // for loads that nobody waits for
	for i, since := range d.out {
		d.ranOut(i, since)
	}
	synctest.Wait()
	for _, n := range d.nodes {
		if s := n.Seen(); s.Active != 0 || s.Waiting != 0 {
			d.fail("in the end %d calls run and %d wait on %s", s.Active, s.Waiting, n.name())
		}
	}
}

// TestDrawnFleets does random things to fleets of random hosts: no host is ever sent more calls than it answers at a
// time, nor one for a model or caller that is not for it, nor any when it was removed. What nothing hinders is answered.
func TestDrawnFleets(t *testing.T) {
	for name, kinds := range map[string][]string{
		"cancels": {"call", "call", "cancel", "sleep"},
		"updates": {"call", "call", "call", "sleep", "remove", "restore"},
		"faults":  {"call", "call", "call", "cancel", "sleep", "kill", "crash", "heal", "remove", "restore"},
	} {
		t.Run(name, func(t *testing.T) {
			exact := name == "updates" // what is given up is still there for a moment
			rapid.Check(t, func(rt *rapid.T) {
				all, todo := settings().Draw(rt, "hosts"), acts(kinds...).Draw(rt, "acts")
				var failed []string
				bubble(t, func(t *testing.T) {
					d := begin(t, all)
					d.strict = name == "cancels"
					for _, a := range todo {
						d.do(a)
						d.check(exact)
					}
					d.end()
					d.check(exact)
					failed = d.failed
				})
				if len(failed) > 0 {
					rt.Fatalf("%q", failed)
				}
			})
		})
	}
}
