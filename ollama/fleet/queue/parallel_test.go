package queue

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// host is an Ollama with some slots for a model.
type host struct {
	slots chan struct{}
	calls int // guarded by mu
	late  int // of those, the ones that waited for a slot; guarded by mu
	mu    sync.Mutex
}

// serve runs one call, and says what Ollama says of it.
func (h *host) serve(eval time.Duration) Timing {
	came := time.Now()
	h.slots <- struct{}{}
	waited := time.Since(came)
	time.Sleep(eval)
	<-h.slots
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	if waited > 0 {
		h.late++
	}
	return Timing{Total: waited + eval, Eval: eval}
}

// use has callers make one call after the other for a time, and returns the mean of the
// limit over its second half and the highest of it.
func use(t *testing.T, q *Queue, h *host, callers int, length time.Duration) (mean float64, most int) {
	t.Helper()
	var wg sync.WaitGroup
	until := time.Now().Add(length)
	for i := range callers {
		wg.Go(func() {
			for j := 0; time.Now().Before(until); j++ {
				slot, err := q.Enter(t.Context(), Call{Caller: fmt.Sprint(i)}, nil)
				if err != nil {
					t.Errorf("Enter = %v, want a slot", err)
					return
				}
				slot.Leave(h.serve(time.Second + time.Duration((i*7+j*13)%10)*100*time.Millisecond))
			}
		})
	}
	n := 0
	for time.Now().Before(until) {
		time.Sleep(time.Second)
		if limit := q.Stats().Parallel; time.Until(until) < length/2 {
			mean, most, n = mean+float64(limit), max(most, limit), n+1
		}
	}
	wg.Wait()
	return mean / float64(n), most
}

// TestLearn has more callers than there are slots: the limit has to stay near these.
func TestLearn(t *testing.T) {
	for _, slots := range []int{1, 2, 4, 16} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &host{slots: make(chan struct{}, slots)}
				mean, most := use(t, New(Options{}), h, 40, 10*time.Minute)
				t.Logf("the limit is %.1f in the mean and %d at the most; %d of %d calls waited at the host", mean, most, h.late, h.calls)
				if low, high := 0.85*float64(slots), 1+slots*11/10; mean < low || most > high {
					t.Errorf("the limit is %.1f in the mean and %d at the most, want %.1f at the least and %d at the most", mean, most, low, high)
				}
			})
		})
	}
}

// TestLearnGivesWay has another program take most slots, and give them back.
func TestLearnGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, h := New(Options{}), &host{slots: make(chan struct{}, 8)}
		use(t, q, h, 20, 4*time.Minute)
		for range 6 {
			h.slots <- struct{}{}
		}
		if mean, _ := use(t, q, h, 20, 4*time.Minute); mean > 3 {
			t.Errorf("the limit is %.1f in the mean with 2 slots left, want at most 3", mean)
		}
		for range 6 {
			<-h.slots
		}
		if mean, _ := use(t, q, h, 20, 4*time.Minute); mean < 7 {
			t.Errorf("the limit is %.1f in the mean with 8 slots again, want at least 7", mean)
		}
	})
}

func TestParallelLearns(t *testing.T) {
	clean, late := Timing{Total: time.Second, Load: 100 * time.Millisecond, Prompt: 300 * time.Millisecond, Eval: 560 * time.Millisecond},
		Timing{Total: 3 * time.Second, Eval: 2 * time.Second}
	tests := []struct {
		name      string
		p         parallel
		alongside int
		timing    Timing
		calls     int
		want      int
	}{
		{"too few calls", newParallel(0), 4, clean, growAfter - 1, 4},
		{"enough calls", newParallel(0), 4, clean, growAfter, 5},
		{"more calls for a large limit", parallel{limit: 20}, 20, clean, 19, 20},
		{"enough calls for a large limit", parallel{limit: 20}, 20, clean, 20, 21},
		{"the limit was not reached", newParallel(0), 3, clean, 100, 4},
		{"a wait", newParallel(0), 4, late, 1, 3},
		{"a wait though few ran", newParallel(0), 1, late, 1, 3},
		{"once for all that were let through", parallel{limit: 20}, 20, late, 20, 16},
		{"the least", parallel{limit: 1}, 1, late, 1, 1},
		{"the most", parallel{limit: maxParallel}, maxParallel, clean, 1000, maxParallel},
		{"nothing is said", newParallel(0), 4, Timing{}, 100, 4},
		{"fixed", newParallel(7), 7, late, 100, 7},
		{"a tenth of a long call", newParallel(0), 4, Timing{Total: 10 * time.Second, Eval: 9 * time.Second}, 1, 4},
		{"more than a tenth", newParallel(0), 4, Timing{Total: 10 * time.Second, Eval: 8900 * time.Millisecond}, 1, 3},
		{"a tenth of a second", newParallel(0), 4, Timing{Total: 200 * time.Millisecond, Eval: 100 * time.Millisecond}, 1, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.p
			s := &Slot{alongside: tt.alongside, era: p.era}
			for range tt.calls {
				p.learn(s, tt.timing)
			}
			if p.limit != tt.want {
				t.Errorf("limit after %d calls of %+v beside %d = %d, want %d", tt.calls, tt.timing, tt.alongside, p.limit, tt.want)
			}
		})
	}
}

// TestShrinkBelowWhatRuns shrinks a limit of ten that is reached: no call goes until two
// of the nine others have left, and those who wait are told so.
func TestShrinkBelowWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{})
		q.parallel.limit = 10
		known(t, q, 9*time.Second)
		slots := make([]*Slot, 10)
		for i := range slots {
			slots[i] = take(t, q)
			time.Sleep(time.Second)
		}
		slots[9].Leave(Timing{Total: 10 * time.Second, Eval: 5 * time.Second})
		c := enter(t.Context(), q, Call{})
		want := Stats{Parallel: 8, Running: 9, Waiting: 1, Callers: 1, Service: 8 * time.Second}
		if diff := cmp.Diff(want, q.Stats()); diff != "" {
			t.Errorf("Stats (-want +got):\n%s", diff)
		}
		q.service = 20 * time.Second
		if got, want := q.Stats().Wait, 11*time.Second; got != want {
			t.Errorf("expected wait when the call that began 9 s ago has to end = %s, want %s", got, want)
		}
		slots[0].Leave(Timing{})
		if c.outcome().over {
			t.Errorf("Enter returned with 8 calls running, want it to wait; %+v", q.Stats())
		}
		slots[1].Leave(Timing{})
		if c.outcome().slot == nil {
			t.Errorf("Enter waits with 7 other calls running, want a slot; %+v", q.Stats())
		}
	})
}
