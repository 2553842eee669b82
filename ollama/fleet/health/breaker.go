package health

import (
	"errors"
	"math/rand/v2"
	"net"
	"time"
)

// Breaker is where the circuit breaker of a host stands.
type Breaker string

// The states of a breaker.
const (
	Closed   Breaker = "closed"    // calls go through
	Open     Breaker = "open"      // no calls
	HalfOpen Breaker = "half-open" // no calls but the one that tries the host: a poll
)

// How long a breaker waits until the host is tried again. It doubles with each failure in a
// row, up to a limit that leaves, jittered, less than 5 s from the start of a try to the next.
const minBackoff, maxBackoff = 250 * time.Millisecond, 4 * time.Second

// breaker counts failures in a row. Polls are its only probes, so that no call has to be.
// It is of our own because failsafe-go's adds 147 kB to the program.
type breaker struct {
	state    Breaker
	failures int       // in a row, until a success proves that the host is well
	doubt    error     // the latest failure, nil when a try since then went well
	suspect  bool      // calls failed in a way that a poll cannot prove to be over
	hold     time.Time // tries that begin before prove nothing
}

// fail counts a failure and returns when to try again. One that shows that nobody is there
// opens the breaker at once.
func (b *breaker) fail(err error, at time.Time, limit int) time.Time {
	b.failures++
	b.doubt, b.hold = err, latest(b.hold, at)
	if b.failures >= limit || b.state != Closed || Refused(err) {
		b.state = Open
	}
	return at.Add(jittered(min(minBackoff<<min(b.failures-1, 16), maxBackoff)))
}

// failCall is fail for a call: if the host answered, or took the connection, then it is left
// alone until the next try.
func (b *breaker) failCall(err error, at time.Time, limit int) time.Time {
	again := b.fail(err, at, limit)
	if !Refused(err) {
		b.suspect, b.hold = true, latest(b.hold, again)
	}
	return again
}

// succeedCall counts a call that went well, and reports whether that is news.
func (b *breaker) succeedCall() bool {
	if b.state != Closed || b.failures == 0 && b.doubt == nil {
		return false
	}
	*b = breaker{state: Closed}
	return true
}

// try begins a probe, and reports whether its success would count.
func (b *breaker) try(at time.Time) bool {
	if at.Before(b.hold) {
		return false
	}
	if b.state == Open {
		b.state = HalfOpen
	}
	return true
}

// pass ends well a poll that began at a time, and counts for nothing when something failed
// since. Where calls have failed, and it does not prove that they go well again, the failures
// stay counted: the next one opens the breaker for longer.
func (b *breaker) pass(began time.Time, proven bool) {
	if b.state == Open || began.Before(b.hold) {
		return
	}
	failures := b.failures
	if proven || !b.suspect {
		failures = 0
	}
	*b = breaker{state: Closed, failures: failures}
}

// Refused reports whether there was no connection: nobody listens, there is no route or no
// such name. Windows has error numbers of its own, hence not ECONNREFUSED.
func Refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// jittered is d, 20 % more or less, so that many hosts are not polled in step.
func jittered(d time.Duration) time.Duration {
	return d - d/5 + rand.N(d/5*2+1)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
