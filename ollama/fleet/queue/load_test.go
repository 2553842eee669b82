package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// traffic is the calls of several callers to one queue. Each holds its slot for 0.5 to 1.5 s.
type traffic struct {
	queue *Queue
	until time.Time
	wg    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	most   Stats      // the highest figures seen
	flows  int        // likewise
	failed int        // calls of the polite
	waits  []time.Duration
	all    []time.Duration // from the call to its end
}

// call makes one call, and writes down how it went if it is a polite one.
func (c *traffic) call(t *testing.T, caller string, service time.Duration, polite bool) {
	came := time.Now()
	slot, err := c.queue.Enter(t.Context(), Call{Caller: caller}, nil)
	waited := time.Since(came)
	if err == nil {
		time.Sleep(service)
		slot.Leave(Timing{})
	}
	now := c.queue.Stats()
	c.queue.mu.Lock()
	flows := len(c.queue.line.flows)
	c.queue.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most.Waiting, c.most.Running = max(c.most.Waiting, now.Waiting), max(c.most.Running, now.Running)
	c.flows = max(c.flows, flows)
	switch {
	case !polite:
	case err != nil:
		c.failed++
	default:
		c.waits = append(c.waits, waited)
		c.all = append(c.all, time.Since(came))
	}
}

// polite makes one call after the other, with a pause before each.
func (c *traffic) polite(t *testing.T, i int, pause time.Duration) {
	random := rand.New(rand.NewPCG(uint64(i), 0))
	c.wg.Go(func() {
		for time.Now().Before(c.until) {
			time.Sleep(time.Duration(random.Int64N(2 * int64(pause))))
			c.call(t, fmt.Sprint(i), 500*time.Millisecond+time.Duration(random.Int64N(1e9)), true)
		}
	})
}

// greedy makes calls at a rate, whatever becomes of them.
func (c *traffic) greedy(t *testing.T, perSecond int) {
	random := rand.New(rand.NewPCG(99, 0))
	c.wg.Go(func() {
		for time.Now().Before(c.until) {
			time.Sleep(time.Second / time.Duration(perSecond))
			service := 500*time.Millisecond + time.Duration(random.Int64N(1e9))
			c.wg.Go(func() { c.call(t, "greedy", service, false) })
		}
	})
}

// run lets nine polite callers, and perhaps a greedy one, use a queue for five minutes.
func (c *traffic) run(t *testing.T, pause time.Duration, greedy bool) {
	c.queue, c.until = New(Options{Parallel: 4}), time.Now().Add(5*time.Minute)
	for i := range 9 {
		c.polite(t, i, pause)
	}
	if greedy {
		c.greedy(t, 5*4)
	}
	c.wg.Wait()
}

// p95 is the 95th percentile.
func p95(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)*95/100]
}

// TestGreedyCaller lets nine callers, who make one call after the other, share four slots
// with one who makes five times as many calls as there is capacity for. A slot is not
// taken from a call that runs, so a call waits for the next to end, also where it
// would find one free without the greedy caller: waits are compared when the nine alone keep nine slots of
// ten busy, and times to the answer also when they leave half of them idle.
func TestGreedyCaller(t *testing.T) {
	tests := []struct {
		pause time.Duration
		waits bool
	}{
		{1500 * time.Millisecond, true},
		{4 * time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.pause.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var alone, loaded traffic
				alone.run(t, tt.pause, false)
				loaded.run(t, tt.pause, true)
				t.Logf("p95 of the wait %s, with the greedy caller %s; of the whole call %s and %s; %d and %d calls",
					p95(alone.waits), p95(loaded.waits), p95(alone.all), p95(loaded.all), len(alone.all), len(loaded.all))
				if loaded.failed*100 > len(loaded.all) {
					t.Errorf("%d polite calls failed and %d did not, want at least 99 %%", loaded.failed, len(loaded.all))
				}
				if got, want := p95(loaded.waits), 2*p95(alone.waits); tt.waits && got > want {
					t.Errorf("p95 of the wait = %s, want at most %s", got, want)
				}
				if got, want := p95(loaded.all), 2*p95(alone.all); got > want {
					t.Errorf("p95 of the time to the answer = %s, want at most %s", got, want)
				}
				if want := (Stats{Running: 4, Waiting: DefaultMax/4 + 9}); loaded.most.Running > want.Running || loaded.most.Waiting > want.Waiting || loaded.flows > 10 {
					t.Errorf("at the most %+v and %d flows, want %+v and 10", loaded.most, loaded.flows, want)
				}
			})
		})
	}
}
