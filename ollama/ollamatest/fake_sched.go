package ollamatest

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"time"
)

// runner is a model in memory. Fake.mu guards what changes: slots, until it is loaded, and the second group.
type runner struct {
	model   FakeModel
	options loadOptions
	slots   chan struct{} // one element per slot in use, who waits is served in order; nil while it loads

	users     int           // requests that have it or wait for a slot
	keepAlive time.Duration // how long it stays without users
	expires   time.Time     // when it goes, once users is 0
}

const (
	defaultKeepAlive = 5 * time.Minute
	forever          = time.Duration(math.MaxInt64)
)

// enter gives the request of ctx, a user of the runner, a slot. Give it back with release. The error is the context's.
func (f *Fake) enter(ctx context.Context, r *runner) error {
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		f.leave(r)
		return ctx.Err()
	}
}

func (f *Fake) release(r *runner) {
	<-r.slots
	f.leave(r)
}

// load returns the model's runner with one more user, who may enter. One load runs at a time, and those who wait for theirs are
// served in order; what is loaded already is free to use meanwhile. As in Ollama, a load ends with the request that
// asked for it, and the next one starts from zero.
func (f *Fake) load(ctx context.Context, m FakeModel, o loadOptions, keepAlive *time.Duration) (*runner, error) {
	if r := f.join(m, o, keepAlive); r != nil {
		return r, nil
	}
	select {
	case f.gate <- struct{}{}:
		defer func() { <-f.gate }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r := f.join(m, o, keepAlive); r != nil {
		return r, nil
	}
	if err := f.evict(ctx, m); err != nil {
		return nil, err
	}
	if err := f.makeRoom(ctx); err != nil {
		return nil, err
	}
	return f.loadNow(ctx, m, o, keepAlive)
}

// join adds a user to the model's runner, if it is loaded with these options.
func (f *Fake) join(m FakeModel, o loadOptions, keepAlive *time.Duration) *runner {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	r := f.runners[m.Name]
	if r == nil || r.slots == nil || !o.fits(r.options) {
		return nil
	}
	r.users++
	if keepAlive != nil {
		r.keepAlive = *keepAlive
	}
	return r
}

// evict unloads a model that is loaded with other options, once its users are gone.
func (f *Fake) evict(ctx context.Context, m FakeModel) error {
	f.unload(m)
	return f.await(ctx, func() bool { return f.runners[m.Name] == nil })
}

// makeRoom unloads models until one more may be loaded.
func (f *Fake) makeRoom(ctx context.Context) error {
	for {
		f.mu.Lock()
		f.expire()
		full := f.script.MaxLoaded > 0 && len(f.runners) >= f.script.MaxLoaded
		var r *runner
		if full {
			r = f.victim()
			f.seen.Evictions++
		}
		f.mu.Unlock()
		if !full {
			return nil
		}
		f.unload(r.model)
		if err := f.await(ctx, func() bool { return f.runners[r.model.Name] != r }); err != nil {
			return err
		}
	}
}

// victim is the idle model of the shortest keep_alive, else the busy one, which is waited for
// (v0.34.4, server/sched.go, findRunnerToUnload). It wants f.mu locked.
func (f *Fake) victim() *runner {
	return slices.MinFunc(slices.Collect(maps.Values(f.runners)), func(a, b *runner) int {
		return cmp.Or(cmp.Compare(min(a.users, 1), min(b.users, 1)), cmp.Compare(a.keepAlive, b.keepAlive),
			cmp.Compare(a.model.Name, b.model.Name))
	})
}

// loadNow loads. While it does, the model is listed as running already: so does Ollama
// (v0.17.4, server/sched.go, load enters it before WaitUntilRunning).
func (f *Fake) loadNow(ctx context.Context, m FakeModel, o loadOptions, keepAlive *time.Duration) (*runner, error) {
	r := &runner{model: m, options: o, users: 1, keepAlive: defaultKeepAlive}
	if keepAlive != nil {
		r.keepAlive = *keepAlive
	}
	f.mu.Lock()
	delay, slots := f.script.LoadDelay, f.script.slots(m)
	f.runners[m.Name] = r
	f.mu.Unlock()

	err := sleep(ctx, delay)

	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.notify()
	if err != nil {
		delete(f.runners, m.Name)
		f.seen.LoadsAborted++
		return nil, err
	}
	r.slots = make(chan struct{}, slots)
	f.seen.Loads++
	f.seen.model(m.Name, func(s *SeenModel) { s.Loads++ })
	return r, nil
}

// slots is how many requests a model serves at once. Embedding models serve one
// (v0.17.4, server/sched.go, load: "Some architectures are not safe with num_parallel > 1").
func (s *Script) slots(m FakeModel) int {
	if !m.can("completion") {
		return 1
	}
	return max(s.Slots, 1)
}

// leave takes a user off. The last one starts the keep_alive.
func (f *Fake) leave(r *runner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.users--
	if r.users == 0 {
		r.expires = later(r.keepAlive)
	}
	f.expire()
	f.notify()
}

// unload takes a model out of memory, now or with its last user.
func (f *Fake) unload(m FakeModel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.runners[m.Name]; r != nil {
		r.keepAlive, r.expires = 0, time.Now()
	}
	f.expire()
	f.notify()
}

// expire drops what nobody uses any more. Everybody who looks at f.runners calls it first, so no timer is needed. It
// wants f.mu locked.
func (f *Fake) expire() {
	now := time.Now()
	for name, r := range f.runners {
		if r.users == 0 && !now.Before(r.expires) {
			delete(f.runners, name)
			f.seen.Unloads++
		}
	}
}

// loadAtStart loads the models that the script calls loaded.
func (f *Fake) loadAtStart() {
	for _, m := range f.script.Models {
		if !m.Loaded {
			continue
		}
		m = m.complete()
		f.runners[m.Name] = &runner{
			model:     m,
			options:   defaultLoadOptions(),
			slots:     make(chan struct{}, f.script.slots(m)),
			keepAlive: defaultKeepAlive,
			expires:   later(defaultKeepAlive),
		}
	}
}

// Wedge takes the free slots of a model away, as clients that leave at the wrong moment do to Ollama: the model stays
// listed as running, tags, ps and version answer, and nothing that it should generate ever comes. Unloading it, once the
// clients that wait have left, is the way out (https://github.com/ollama/ollama/issues/17131). It reports how many slots
// it took: 0 when the model is not loaded.
func (f *Fake) Wedge(model string) (slots int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	r := f.runners[canonical(model)]
	if r == nil {
		return 0
	}
	for {
		select {
		case r.slots <- struct{}{}:
			slots++
		default: // none is free, or the model is still loading
			return slots
		}
	}
}

// later is a time from now that does not overflow.
func later(d time.Duration) time.Time {
	const century = 100 * 365 * 24 * time.Hour
	return time.Now().Add(min(d, century))
}

// sleep waits for d, or for the end of ctx, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
