package policy

import (
	"context"
	"sync"
	"time"
)

// Limiter counts calls. It must be safe for concurrent use. A store that several
// processes share can stand behind it.
type Limiter interface {
	// Take asks for one call under key, of perMinute calls a minute with at most burst of
	// them at once, both above 0. It returns 0 when the call may go ahead, else how long
	// until one may, having taken nothing. With an error nothing is known.
	Take(ctx context.Context, key string, perMinute, burst int) (wait time.Duration, err error)
}

// MemoryLimiter is a [Limiter] of this process: the generic cell rate algorithm, in its
// virtual scheduling form (ITU-T I.371, annex A; for rate limits: brandur.org/rate-limiting).
// It keeps one time per key, for at most burst/perMinute minutes after the key's latest
// call. The zero value works.
type MemoryLimiter struct {
	mu      sync.Mutex           // guards what follows
	arrives map[string]time.Time // when a key's next call would be due at an even pace
	sweepAt int                  // at how many keys the expired ones are dropped
}

// How many keys are kept. A sweep that finds half of them expired has paid for itself.
const (
	firstSweep = 1 << 10
	maxKeys    = 1 << 16
)

// Take never fails. When more keys than it keeps are in use, new ones have to wait.
func (m *MemoryLimiter) Take(_ context.Context, key string, perMinute, burst int) (time.Duration, error) {
	interval := time.Minute / time.Duration(perMinute)
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	due, known := m.arrives[key]
	if due.Before(now) {
		due = now
	}
	if wait := due.Sub(now) - time.Duration(burst-1)*interval; wait > 0 {
		return wait, nil
	}
	if !known && !m.room(now) {
		return interval, nil
	}
	m.arrives[key] = due.Add(interval)
	return 0, nil
}

// room makes room for one more key, if it can. It wants m.mu locked.
func (m *MemoryLimiter) room(now time.Time) bool {
	if m.arrives == nil {
		m.arrives, m.sweepAt = map[string]time.Time{}, firstSweep
	}
	if len(m.arrives) >= m.sweepAt {
		for key, due := range m.arrives {
			if !due.After(now) {
				delete(m.arrives, key)
			}
		}
		m.sweepAt = min(max(firstSweep, 2*len(m.arrives)), maxKeys)
	}
	return len(m.arrives) < maxKeys
}
