package fleet

import (
	"cmp"
	"errors"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/queue"
)

// enter waits for a slot of the model. waited reports whether that took time.
func (v *visit) enter(n *need, w Watch) (slot *queue.Slot, waited bool, err error) {
	caller := callerOf(v.ctx)
	start := time.Now()
	slot, err = v.line(n).Enter(v.ctx, queue.Call{Caller: caller.Name, Priority: caller.Priority, Came: v.came, Cost: n.cost()}, func(p queue.Position) {
		if !waited {
			w.phase(Queued)
		}
		waited = true
		if w.Line != nil {
			w.Line(p.Place, p.Wait)
		}
	})
	if waited {
		v.waited += time.Since(start)
		v.opts.Observe.queued(v.Client.Name(), n.model, v.waited, err)
	}
	return slot, waited, v.full(n, err)
}

// full makes an error of the line one of the host: to a caller it is all the same who is busy.
func (v *visit) full(n *need, err error) error {
	var full *queue.FullError
	var late *queue.TooLateError
	busy := &ollama.Error{Op: n.op, Host: v.Client.Name(), Kind: ollama.Busy, Err: err}
	switch {
	case errors.As(err, &full):
		busy.RetryAfter = full.Wait
	case errors.As(err, &late):
		busy.RetryAfter = late.Wait
	default:
		return err
	}
	return v.fail(v.ctx, n.model, busy)
}

// line is the line before the model. What the model can do must be known for it, of which
// older Ollamas say nothing in their lists. Where that cannot be learnt the call itself fails.
func (v *visit) line(n *need) *queue.Queue {
	v.mu.Lock()
	q := v.openLine(n, n.op != "embed" || v.digest == "")
	v.mu.Unlock()
	if q == nil {
		v.show(v.ctx, n.model, v.digest)
		v.mu.Lock()
		defer v.mu.Unlock()
		q = v.openLine(n, true)
	}
	return q
}

// openLine is line with mu locked: nil when the model could be one of those that embed alone,
// unless it is to be opened anyhow.
func (v *visit) openLine(n *need, anyhow bool) *queue.Queue {
	key := cmp.Or(v.digest, string(n.model))
	q := v.queues[key]
	if q == nil {
		if !anyhow && v.capabilities() == nil {
			return nil
		}
		q = queue.New(queue.Options{Parallel: v.parallel(), Discipline: v.opts.Queue, Max: v.opts.MaxQueue})
		v.queues[key] = q
	}
	return q
}

// parallel is how many calls the model answers at a time, 0 when that is to be learnt. Of
// those that can only embed Ollama runs one (0.17.4, server/sched.go). It wants mu locked.
func (v *visit) parallel() int {
	if isEmbedding(v.capabilities()) {
		return 1
	}
	return v.Parallel
}

// capabilities are what the model can do, nil when nobody has asked yet. It wants mu locked.
func (v *visit) capabilities() []string {
	if s := v.shown[v.digest]; s != nil {
		return s.Capabilities
	}
	for i := range v.known.tags {
		if t := &v.known.tags[i]; t.Digest == v.digest {
			return t.Capabilities
		}
	}
	return nil
}

// outputTokens is what an answer costs a line, about, as long as nobody knows its length.
const outputTokens = 256

// cost is what a call costs in the line: about its tokens.
func (n *need) cost() int {
	cost := n.bytes()/4 + imageTokens*n.images
	if n.op == "embed" {
		return cost
	}
	if n.options != nil && n.options.NumPredict != nil && *n.options.NumPredict > 0 {
		return cost + *n.options.NumPredict
	}
	return cost + outputTokens
}
