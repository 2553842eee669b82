package fleet

import (
	"time"

	"ollama-mcp/ollama"
)

// room is what keeps Ollama from making room itself. It would have a busy model go once its
// calls are over, and meanwhile hold up all that is not loaded; a call that comes for the busy
// one with a keep_alive of its own then makes it stay, and the wait is for ever
// (github.com/ollama/ollama/issues/17408, and /pull/14407 for a reload). So a model goes by our
// own unload, while no call is on it, and none is sent before it is loaded again.
//
// The member's mu guards it.
type room struct {
	sent    map[string]int       // calls on a model, by digest
	since   map[string]time.Time // when a model was loaded here, by digest
	leaving string               // digest of the model that is to go
	gone    chan struct{}        // closed when it is gone, or stays after all
	news    chan struct{}        // holds one thing when a call is over that may have been waited for
}

func newRoom() room {
	return room{sent: map[string]int{}, since: map[string]time.Time{}, news: make(chan struct{}, 1)}
}

// A model that calls wait for stays for at least that long once it is loaded, and for some
// times what its load took, so that models that take turns are not loaded all the time.
const (
	minStay    = 2 * time.Second
	stayFactor = 4
)

// keep has the model stay in memory until leave is called. It is made ready first if it must
// be again, or has left, or once it has left if it is about to.
func (v *visit) keep(again bool, ready func() error) (leave func(), err error) {
	for sure := false; ; again = true {
		if again {
			if err := ready(); err != nil {
				return nil, err
			}
			sure = true
		}
		var gone <-chan struct{}
		if leave, gone = v.stay(sure); leave != nil {
			return leave, nil
		}
		select {
		case <-gone:
		case <-v.ctx.Done():
			return nil, v.ctx.Err()
		}
	}
}

// stay is keep for a model that is there; else it returns what is closed when it is to be
// made ready again. sure says that it has just been seen.
func (v *visit) stay(sure bool) (leave func(), gone <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.digest == "": // nobody knows which it is
		return func() {}, nil
	case v.room.leaving == v.digest:
		return nil, v.room.gone
	case !sure && !v.runs(v.digest):
		gone := make(chan struct{})
		close(gone)
		return nil, gone
	}
	v.room.sent[v.digest]++
	return v.left, nil
}

// left takes back stay.
func (v *visit) left() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.room.sent[v.digest]--; v.room.sent[v.digest] == 0 {
		delete(v.room.sent, v.digest)
	}
	v.room.tell()
}

// tell wakes who waits for a model to be idle.
func (r *room) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// makeRoom unloads models until one more fits, where it is known how many do: the one that has
// not been wanted for longest of those that no call is for, else, when its stay is over, that
// which has been there for longest. It waits for that. Where a model does not go, because
// another program uses it, Ollama sees to the rest. The error is that of the member's end.
func (h *member) makeRoom() error {
	for h.MaxLoaded > 0 {
		all, err := h.ps.get(h.life)
		if err != nil || len(all) < h.MaxLoaded {
			break
		}
		r, wait := h.victim(all)
		if r == nil {
			if err := h.pause(wait); err != nil {
				return err
			}
			continue
		}
		if gone, err := h.clear(r); !gone || err != nil {
			return err
		}
	}
	return h.life.Err()
}

// victim is the model that is to go, or nil: then it is to be looked for again after a time.
func (h *member) victim(all []ollama.Running) (r *ollama.Running, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var before time.Time
	for i := range all {
		at := h.fleet.uses.before(all[i].Digest)
		if h.known.visits[all[i].Digest] == nil && (r == nil || at.Before(before)) {
			r, before = &all[i], at
		}
	}
	if r != nil {
		return r, 0
	}
	for i := range all {
		digest := all[i].Digest
		left := time.Until(h.room.since[digest].Add(max(minStay, stayFactor*h.took[digest])))
		if r == nil || left < wait {
			r, wait = &all[i], left
		}
	}
	if wait > 0 {
		return nil, wait
	}
	return r, 0
}

// clear unloads a model once its calls are over; those that have not been sent wait. It
// reports whether the model is gone. The error is that of the member's end.
func (h *member) clear(r *ollama.Running) (gone bool, err error) {
	over := make(chan struct{})
	h.mu.Lock()
	h.room.leaving, h.room.gone = r.Digest, over
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.room.leaving = ""
		h.mu.Unlock()
		close(over)
	}()
	for h.busy(r.Digest) {
		if err := h.pause(unloadWait); err != nil {
			return false, err
		}
	}
	state, err := h.unload(h.life, canonical(r.Name), Watch{})
	return err == nil && state != Pending, h.life.Err()
}

func (h *member) busy(digest string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.room.sent[digest] > 0
}

// pause waits until a call is over, but not for longer than d.
func (h *member) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-h.life.Done():
		return h.life.Err()
	case <-timer.C:
	case <-h.room.news:
	}
	return nil
}
