package queue

import (
	"cmp"
	"slices"
	"time"
)

// line is the calls that wait. It is not safe for concurrent use.
//
// Calls of one caller and priority are a flow, and go in the order in which they came. Among
// flows of one level goes deficit round robin (Shreedhar and Varghese, "Efficient fair
// queueing using deficit round robin", SIGCOMM 1995), as it is in RFC 8290, 4.2: a flow
// without debt goes and then owes what its call costs, and in each round every debt is
// lessened by a quantum. So a caller who comes now and then goes next, before those who always
// wait. The quantum is 1: of two flows that both wait none gets ahead by more than the dearest
// call. Rounds in which nobody can go are made at once. A larger quantum would find the
// next packet in constant time; calls are a thousand times rarer than packets.
//
// Higher levels go first. A flow that has no turn for a time rises by one, to the highest
// at most, until it has one. That its calls have waited long does not count: those
// of a caller with many always have.
//
// First come, first served is the same with one flow for all callers.
type line struct {
	fifo   bool
	ageing time.Duration
	flows  []*flow // in the order in which they began to wait
	size   int
	of     map[string]int // calls by caller
}

// flow is calls that go one after another. When it has none left it is kept until its debt
// is gone, or too old, lest who comes back at once goes before the others again.
type flow struct {
	caller string
	level  int
	calls  []*waiter
	debt   int
	since  time.Time // the latest turn, or when the flow began to wait
}

// waiter is a call that waits. The queue's mu guards slot until admitted is closed.
type waiter struct {
	caller   string
	came     time.Time
	cost     int
	flow     *flow
	slot     *Slot
	admitted chan struct{} // closed when slot is set
}

// turn orders calls, and names the flow of one.
type turn struct {
	level int // the higher goes first
	owes  int // the debt of the flow when it comes to this call; the lesser goes first
	flow  int // index in flows
}

func (t turn) before(u turn) bool {
	return cmp.Or(cmp.Compare(u.level, t.level), cmp.Compare(t.owes, u.owes), cmp.Compare(t.flow, u.flow)) < 0
}

const highest = 2

func level(p Priority) int {
	switch p {
	case Low:
		return 0
	case High:
		return highest
	default:
		return 1
	}
}

// risen is the level of a flow after its ageing.
func (l *line) risen(f *flow, now time.Time) int {
	return min(highest, f.level+int(now.Sub(f.since)/l.ageing))
}

// push puts a call at the end of its flow.
func (l *line) push(w *waiter, p Priority, now time.Time) {
	want := flow{caller: w.caller, level: level(p), since: now}
	if l.fifo {
		want.caller = ""
	}
	i := slices.IndexFunc(l.flows, func(f *flow) bool { return f.caller == want.caller && f.level == want.level })
	if i < 0 {
		i = len(l.flows)
		l.flows = append(l.flows, &want)
	}
	f := l.flows[i]
	if len(f.calls) == 0 {
		f.since = now
	}
	at := len(f.calls) // usually: only calls that came earlier and entered later go before others
	for at > 0 && f.calls[at-1].came.After(w.came) {
		at--
	}
	f.calls = slices.Insert(f.calls, at, w)
	w.flow = f
	l.size++
	l.of[w.caller]++
}

// pop takes the next call out of a line that is not empty.
func (l *line) pop(now time.Time) *waiter {
	var next turn
	var w *waiter
	for i, f := range l.flows {
		t := turn{l.risen(f, now), f.debt, i}
		if len(f.calls) > 0 && (w == nil || t.before(next)) {
			next, w = t, f.calls[0]
		}
	}
	for _, f := range l.flows {
		if l.risen(f, now) == next.level {
			f.debt = max(0, f.debt-next.owes)
		}
	}
	w.flow.debt = w.cost
	w.flow.since = now
	l.remove(w)
	l.flows = slices.DeleteFunc(l.flows, func(f *flow) bool {
		return len(f.calls) == 0 && (f.debt == 0 || now.Sub(f.since) >= l.ageing)
	})
	return w
}

// remove takes a call out that waits.
func (l *line) remove(w *waiter) {
	f := w.flow
	i := slices.Index(f.calls, w)
	f.calls = slices.Delete(f.calls, i, i+1)
	l.size--
	if l.of[w.caller]--; l.of[w.caller] == 0 {
		delete(l.of, w.caller)
	}
	switch {
	case l.size == 0: // nobody is left to be fair to
		l.flows = nil
	case len(f.calls) == 0 && f.debt == 0:
		i = slices.Index(l.flows, f)
		l.flows = slices.Delete(l.flows, i, i+1)
	}
}

// place is when a call goes: 1 is next.
func (l *line) place(w *waiter, now time.Time) int {
	var own turn
	l.each(now, func(u *waiter, t turn) {
		if u == w {
			own = t
		}
	})
	place := 1
	l.each(now, func(_ *waiter, t turn) {
		if t.before(own) {
			place++
		}
	})
	return place
}

// each visits all calls, flow by flow.
func (l *line) each(now time.Time, visit func(*waiter, turn)) {
	for i, f := range l.flows {
		t := turn{l.risen(f, now), f.debt, i}
		for _, w := range f.calls {
			visit(w, t)
			t.owes += w.cost
		}
	}
}

// first is the place of a caller's first call. It must have one.
func (l *line) first(caller string, now time.Time) int {
	first := l.size
	for _, f := range l.flows {
		if i := slices.IndexFunc(f.calls, func(w *waiter) bool { return w.caller == caller }); i >= 0 {
			first = min(first, l.place(f.calls[i], now))
		}
	}
	return first
}
