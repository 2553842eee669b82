// Package health knows how one Ollama host is: whether it can be sent calls, and if not,
// since when and why; what it has installed and loaded.
//
// A [Watcher] asks the host every few seconds, is told how calls to it went, and sums both
// up in a [Snapshot] that is read without waiting. It does not know what the calls are, nor
// how the host is reached.
package health

import (
	"cmp"
	"context"
	"time"

	"ollama-mcp/ollama"
)

// State is how a host is.
type State string

// The states of a host. Where several hold, the first of draining, down,
// unauthorized, rate-limited or busy, degraded by a failure or a
// late version, loading, degraded otherwise is told.
const (
	Up           State = "up"
	Loading      State = "loading"      // a load of ours is in progress; what is loaded goes on answering
	Degraded     State = "degraded"     // something failed lately, is late or was not asked yet: others first
	Busy         State = "busy"         // it said 503, and is to be left alone until Until
	RateLimited  State = "rate-limited" // it said 429, likewise
	Unauthorized State = "unauthorized" // it refuses our credentials
	Down         State = "down"         // the breaker is not closed
	Draining     State = "draining"     // it is being removed: no new calls
)

// Usable reports whether calls may be sent to a host in this state. Those that are Up or
// Loading come first, the Degraded after them.
func (s State) Usable() bool { return s == Up || s == Loading || s == Degraded }

// Snapshot is what is known of a host at a time. It is shared and must not be changed.
type Snapshot struct {
	State   State
	Since   time.Time // when State began
	Why     string    // of State; "" when the host is up
	Until   time.Time // of Busy and RateLimited: when the host is asked again; else zero
	Breaker Breaker
	Failure error // the latest that counted against the host, also when it is over; nil when there was none

	Version string // Ollama's; what follows is as it was last told, also of a host that is down
	Models  []ollama.Model
	Loaded  []ollama.Running
	Asked   time.Time // when Version, Models and Loaded were last asked for with success; zero: never
}

// Host is the questions that a host is asked. They must end soon after their context does.
type Host struct {
	Name    string // for errors
	Version func(context.Context) (string, error)
	Tags    func(context.Context) ([]ollama.Model, error)
	PS      func(context.Context) ([]ollama.Running, error)

	// Probe tries the way that calls take, where nothing else tells: calls have failed, and the
	// questions above are answered. An error that would count of a call counts; with any other,
	// as where it cannot tell on a host with much to do, and with a nil Probe, the next calls
	// show.
	Probe func(context.Context) error
}

// Options say how a host is watched. The zero value works.
type Options struct {
	Interval time.Duration // between two polls of a host that is well, ±20 %; 0 is 5 s; less: only when there is a reason
	Idle     func() bool   // reports that nobody calls: the host is polled less often; nil: never; it must not block
	Timeout  time.Duration // of each question, and a tenth of a probe's; 0 is 2 s
	Failures int           // in a row that open the breaker, at least; 0 is 3

	// Changed is told of all news but Asked and Failure, in order. It runs while the watcher is
	// locked: it must neither block nor call the watcher, Snapshot apart. Nil: nobody cares.
	Changed func(old, now *Snapshot)
}

func (o Options) withDefaults() Options {
	o.Interval = cmp.Or(o.Interval, 5*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	o.Failures = cmp.Or(o.Failures, 3)
	return o
}
