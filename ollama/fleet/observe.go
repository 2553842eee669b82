package fleet

import (
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/health"
)

// Observer is told what a fleet does, for logs, metrics and traces. Nil functions are not
// called. They must not block, and are called from many goroutines at a time.
type Observer struct {
	State     func(host string, old, now *health.Snapshot)                                 // a host's state has changed
	Placed    func(host string, model ollama.Name, why string)                             // a call goes to a host
	Queued    func(host string, model ollama.Name, wait time.Duration, err error)          // a call that waited for a slot has got it, or not
	Loaded    func(host string, model ollama.Name, took time.Duration, err error)          // a load is over
	First     func(host string, model ollama.Name, after time.Duration)                    // something of an answer came, so long after the call was sent
	Ended     func(host string, model ollama.Name, op string, took time.Duration, e Ended) // a try of a call is over
	Retried   func(host string, model ollama.Name, err error)                              // a call is tried again after it failed on a host
	Recovered func(host string, model ollama.Name)                                         // a wedged model was unloaded
}

// Ended is what came of a try.
type Ended struct {
	Err    error
	Tokens int           // generated
	Eval   time.Duration // that took
}

func (o *Observer) state(host string, old, now *health.Snapshot) {
	if o.State != nil {
		o.State(host, old, now)
	}
}

func (o *Observer) queued(host string, model ollama.Name, wait time.Duration, err error) {
	if o.Queued != nil {
		o.Queued(host, model, wait, err)
	}
}

func (o *Observer) loaded(host string, model ollama.Name, took time.Duration, err error) {
	if o.Loaded != nil {
		o.Loaded(host, model, took, err)
	}
}

func (o *Observer) ended(v *visit, n *need, took time.Duration, err error) {
	if o.Ended != nil {
		o.Ended(v.Client.Name(), n.model, n.op, took, Ended{err, v.tokens, v.timing.Eval})
	}
}

func (o *Observer) retried(v *visit, n *need, err error) {
	if o.Retried != nil {
		o.Retried(v.Client.Name(), n.model, err)
	}
}

func (o *Observer) recovered(host string, model ollama.Name) {
	if o.Recovered != nil {
		o.Recovered(host, model)
	}
}
