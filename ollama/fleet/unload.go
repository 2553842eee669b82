package fleet

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"ollama-mcp/ollama"
)

// UnloadState is what an unload came to.
type UnloadState string

// The states after an unload.
const (
	Unloaded  UnloadState = "unloaded"   // ps no longer lists the model
	Pending   UnloadState = "pending"    // asked for; calls still run on the model
	NotLoaded UnloadState = "not_loaded" // ps did not list it
)

// unloadWait bounds how long Unload watches ps before it says Pending.
const unloadWait = 10 * time.Second

// longPause is between two looks at ps, after some shorter ones.
const longPause = 250 * time.Millisecond

// Reached is on which hosts something was done, and which hosts it should have been done on too,
// had they answered. Both are by name.
type Reached struct{ Hosts, Silent []string }

// Unload frees a model's memory on every host, or on a named one, and says what ps says of it
// afterwards and on which hosts it was loaded. It is Pending when it is on one. w hears of
// [Unloading] when that takes longer than a runner takes to end: calls still run on the model.
func (f *Fleet) Unload(ctx context.Context, model ollama.Name, host string, w Watch) (UnloadState, Reached, error) {
	if host == AllHosts {
		host = ""
	}
	if err := f.reach(ctx, model, host); err != nil {
		return "", Reached{}, err
	}
	members, done := f.use(within(ctx, host))
	defer done()
	if len(members) == 0 {
		return "", Reached{}, nowhere(ctx, model)
	}
	up := slices.ContainsFunc(members, func(h *member) bool { return !h.away() })
	members = slices.DeleteFunc(slices.Clone(members), func(h *member) bool { return up && h.away() && !h.mayHave(model) })
	states, errs := make([]UnloadState, len(members)), make([]error, len(members))
	var wg sync.WaitGroup
	var mu sync.Mutex // of w
	together := Watch{Phase: func(p Phase) {
		mu.Lock()
		defer mu.Unlock()
		w.phase(p)
	}}
	for i, h := range members {
		if up && h.away() {
			errs[i] = h.outOfReach(model)
			continue
		}
		wg.Go(func() { states[i], errs[i] = h.unloadOf(ctx, model, together, len(members)) })
	}
	wg.Wait()
	return unloaded(members, states, errs)
}

// unloadOf is unload on one of so many hosts: the others are not held up by one that hangs.
func (h *member) unloadOf(ctx context.Context, model ollama.Name, w Watch, hosts int) (UnloadState, error) {
	if hosts > 1 {
		soon, cancel := context.WithTimeout(ctx, hostPatience)
		defer cancel()
		if _, err := h.ps.get(soon); err != nil && soon.Err() != nil && ctx.Err() == nil {
			return "", h.stalled()
		}
	}
	return h.unload(ctx, model, w)
}

// unloaded sums up what unloads on several hosts came to. That one fails or does not have the
// model is an error only when none did better.
func unloaded(members []*member, states []UnloadState, errs []error) (sum UnloadState, r Reached, err error) {
	for i, h := range members {
		switch missing := isKind(errs[i], ollama.MissingModel); {
		case errs[i] != nil:
			if err == nil || isKind(err, ollama.MissingModel) && !missing {
				err = errs[i]
			}
			if !missing {
				r.Silent = append(r.Silent, h.Client.Name())
			}
		case states[i] == NotLoaded:
			sum = cmp.Or(sum, NotLoaded)
		default:
			r.Hosts = append(r.Hosts, h.Client.Name())
			if sum != Pending {
				sum = states[i]
			}
		}
	}
	if sum != "" {
		err = nil
	}
	return sum, r, err
}

func (h *member) unload(ctx context.Context, model ollama.Name, w Watch) (UnloadState, error) {
	loaded, err := h.running(ctx, model)
	if err != nil {
		return "", err
	}
	if loaded == nil {
		_, err := h.describe(ctx, model) // a name that is not installed is a mistake, not "not loaded"
		if isKind(err, ollama.MissingModel) {
			err = h.missing(ctx, "unload", model)
		}
		return NotLoaded, err
	}
	if err := h.Client.Unload(ctx, model); err != nil {
		return "", h.fail(ctx, model, err)
	}
	// Ollama answers at once, loaded or not: ps alone knows when the memory is free.
	deadline := time.Now().Add(unloadWait)
	told := false
	for pause := 10 * time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, longPause) {
		all, err := h.ps.get(ctx)
		if err != nil {
			return "", h.fail(ctx, model, err)
		}
		if !slices.ContainsFunc(all, func(r ollama.Running) bool { return r.Name == loaded.Name }) {
			h.fleet.changed()
			return Unloaded, nil
		}
		if pause == longPause && !told {
			w.phase(Unloading)
			told = true
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(pause):
		}
	}
	return Pending, nil
}
