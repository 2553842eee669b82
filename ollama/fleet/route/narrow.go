package route

import (
	"math"
	"time"
)

// candidate is a host that can take a call, and what the choice looks at.
type candidate struct {
	host   *Host
	model  Model
	loaded *Loaded // as the call wants it, or on its way there; nil: to be loaded, or remote
	other  *Loaded // with other options: it has to leave before it can come back
	calls  int     // in flight on the host

	// What [candidate.assess] finds out of a host where the model is to be loaded:
	room  room
	idle  *Loaded // the idle model that has not been wanted for longest; nil: none is idle
	inWay int     // calls and loads that the load would disturb
}

func newCandidate(h *Host, m Model, call *Call) candidate {
	c := candidate{host: h, model: m}
	for i := range h.Loaded {
		l := &h.Loaded[i]
		c.calls += l.InFlight
		switch {
		case l.Digest != m.Digest:
		case call.Options == "" || call.Options == l.Options:
			c.loaded = l
		default:
			c.other = l
		}
	}
	return c
}

// room is whether one more model fits into a host's memory.
type room int

const (
	free    room = iota // as far as is known
	crowded             // others had to leave of late
	full
)

// assess finds out what a load would meet.
func (c *candidate) assess() {
	h := c.host
	switch {
	case c.other != nil, h.MaxLoaded > 0 && len(h.Loaded) >= h.MaxLoaded, h.Room != 0 && h.Room < c.model.Size:
		c.room = full
	case h.Evictions > 0 && len(h.Loaded) > 0:
		c.room = crowded
	}
	c.inWay = c.calls
	for i := range h.Loaded {
		l := &h.Loaded[i]
		switch {
		case l.Loading:
			c.inWay++
		case c.room == free, l.InFlight > 0, c.other != nil && c.other != l:
		case c.idle == nil || l.longer(c.idle):
			c.idle = l
		}
	}
}

// longer reports whether l should go before another idle model: its last call but one is
// longer ago (LRU-2: O'Neil, O'Neil and Weikum, The LRU-K Page Replacement Algorithm, 1993),
// or, in a tie, its digest is the first.
func (l *Loaded) longer(other *Loaded) bool {
	if l.Before.Equal(other.Before) {
		return l.Digest < other.Digest
	}
	return l.Before.Before(other.Before)
}

// warm reports whether a call can begin at once, if a slot is free.
func (c *candidate) warm() bool { return c.model.Remote || c.loaded != nil && !c.loaded.Loading }

// slotFree reports whether the model answers one more call at once, as far as is known.
func (c *candidate) slotFree() bool {
	return c.loaded == nil || c.loaded.Slots == 0 || c.loaded.InFlight < c.loaded.Slots
}

// list is the candidates that are left.
type list struct {
	left  []candidate
	of    int
	most  string
	steps [11]step
	taken int // of the steps
}

// least keeps the candidates of the least cost, and notes the reason if some had more.
func (l *list) least(why reason, cost func(*candidate) float64) {
	before := len(l.left)
	if before == 1 {
		return
	}
	best, n := math.Inf(1), 0
	for i := range l.left {
		x := cost(&l.left[i])
		if x < best {
			best, n = x, 0
		}
		if x == best {
			if n < i { // in a tie of all nothing is copied
				l.left[n] = l.left[i]
			}
			n++
		}
	}
	if l.left = l.left[:n]; n < before {
		l.steps[l.taken] = step{why, n}
		l.taken++
	}
}

// spread leaves hosts that have room for the model in the place of those that answer already
// as many calls as they can, if it is so with all that have it loaded.
func (l *list) spread() {
	roomy := false
	for i := range l.left {
		c := &l.left[i]
		if c.loaded != nil && c.slotFree() {
			return
		}
		if c.loaded == nil {
			c.assess()
			roomy = roomy || c.room == free
		}
	}
	if roomy {
		l.least(spare, func(c *candidate) float64 { return cost(c.loaded != nil || c.room != free) })
	}
}

// loaded narrows hosts where the model is loaded, or all of which are loading it.
func (l *list) loaded(affinity uint64) {
	l.least(slot, func(c *candidate) float64 { return cost(!c.slotFree()) })
	if affinity != 0 && l.left[0].slotFree() {
		bound := l.bound()
		l.least(bounded, func(c *candidate) float64 { return cost(float64(c.calls) >= math.Ceil(bound*c.host.weight())) })
		l.least(prefix, func(c *candidate) float64 { return c.host.rank(affinity) })
	}
	l.least(priority, byPriority)
	l.least(fewest, func(c *candidate) float64 { return float64(c.calls+1) / c.host.weight() })
}

// unloaded narrows hosts where the model would have to be loaded.
func (l *list) unloaded(now time.Time) {
	for i := range l.left {
		l.left[i].assess()
	}
	l.least(fits, func(c *candidate) float64 { return float64(c.room) })
	l.least(undisturbed, func(c *candidate) float64 {
		if c.room == full && c.idle == nil { // the load has to wait for them
			return math.MaxInt32 + float64(c.inWay)
		}
		return float64(c.inWay)
	})
	longest := time.Duration(0)
	for i := range l.left {
		longest = max(longest, l.left[i].idleFor(now))
	}
	l.least(unwanted, func(c *candidate) float64 { return cost(c.idleFor(now) < longest/patience) })
	l.least(priority, byPriority)
}

// patience is how many times as long as the model to unload another one may have gone
// unwanted. In strict order, models of which one too many are called in turn would each be
// unloaded just before their call. Within these bounds the hash of the model to load
// decides: two models then take turns in one place, and the others stay in theirs.
const patience = 2

func (c *candidate) idleFor(now time.Time) time.Duration {
	if c.idle == nil {
		return 0
	}
	return now.Sub(c.idle.Before)
}

func byPriority(c *candidate) float64 { return -float64(c.host.Priority) }

func cost(bad bool) float64 {
	if bad {
		return 1
	}
	return 0
}

func (l *list) choice() Choice {
	c := &l.left[0]
	choice := Choice{Host: c.host, Model: c.model, Loaded: c.loaded, most: l.most, of: l.of, steps: l.steps}
	if c.room == full && c.idle != nil {
		choice.Unload = c.idle.Digest
	}
	return choice
}
