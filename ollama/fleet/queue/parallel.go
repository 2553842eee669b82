package queue

import "time"

// Timing is what Ollama says at the end of a generation. The zero value says nothing, which
// is also right for embeddings: of those Ollama does not say how long it worked.
type Timing struct{ Total, Load, Prompt, Eval time.Duration }

// waited reports whether the call waited for a slot in Ollama. What else it does beside
// loading, reading the prompt and generating took 5 to 80 ms, and at most 2 % of calls of more
// than a second, when measured with v0.17.4; a call too many on n slots waits for an nth of
// a call.
func (t Timing) waited() bool {
	return t.Total-t.Load-t.Prompt-t.Eval > max(100*time.Millisecond, t.Total/10)
}

// How the limit is learnt.
const (
	startParallel = 4
	maxParallel   = 64 // no host is known to run so many; a bound for the case that timings hide the wait
	growAfter     = 8  // calls, so that few find out that a small limit was the right one
)

// parallel is how many calls are let through at a time: fixed, or learnt by additive
// increase and multiplicative decrease (AIMD), which is stable and ends in fair shares where
// several programs use a host (Chiu and Jain, "Analysis of the increase and decrease
// algorithms for congestion avoidance in computer networks", 1989). As in TCP a limit is
// proven only by calls that ran while it was reached (RFC 7661), and is lessened once for
// all calls that were let through under it (RFC 5681). It is lessened to 0.8, not to a half: a
// call too many only waits where it cannot be seen, a slot that is idle costs throughput.
type parallel struct {
	limit int
	fixed bool
	era   int // counts the changes of limit
	clean int // calls of this era in a row that did not wait in Ollama though the limit was reached
}

func newParallel(limit int) parallel {
	if limit <= 0 {
		return parallel{limit: startParallel}
	}
	return parallel{limit: limit, fixed: true}
}

// learn takes in how a call went.
func (p *parallel) learn(s *Slot, t Timing) {
	switch {
	case p.fixed || t.Total <= 0 || s.era != p.era:
	case t.waited():
		p.set(max(1, p.limit*4/5))
	case s.alongside >= p.limit:
		if p.clean++; p.clean >= max(growAfter, p.limit) {
			p.set(min(maxParallel, p.limit+1))
		}
	}
}

func (p *parallel) set(limit int) {
	p.limit = limit
	p.era++
	p.clean = 0
}
