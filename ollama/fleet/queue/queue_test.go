package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// call is one call in a bubble.
type call struct {
	cancel context.CancelFunc

	mu  sync.Mutex // guards now
	now outcome
}

// outcome is what has become of a call.
type outcome struct {
	slot *Slot
	err  error
	over bool // Enter has returned
	told []Position
}

// enter makes a call that goes on by itself. It returns when that has a slot or waits.
func enter(ctx context.Context, q *Queue, what Call) *call {
	ctx, cancel := context.WithCancel(ctx)
	c := &call{cancel: cancel}
	go func() {
		slot, err := q.Enter(ctx, what, func(p Position) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.now.told = append(c.now.told, p)
		})
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now.slot, c.now.err, c.now.over = slot, err, true
	}()
	synctest.Wait()
	return c
}

// outcome waits until the call can do nothing at the moment.
func (c *call) outcome() outcome {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// leave gives the call's slot back, if it has one.
func (c *call) leave() {
	if slot := c.outcome().slot; slot != nil {
		slot.Leave(Timing{})
	}
}

// fill takes all slots of a queue that is idle.
func fill(t *testing.T, q *Queue) []*Slot {
	t.Helper()
	slots := make([]*Slot, q.Stats().Parallel)
	for i := range slots {
		slots[i] = take(t, q)
	}
	return slots
}

// take takes a slot that is free.
func take(t *testing.T, q *Queue) *Slot {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	slot, err := q.Enter(ctx, Call{}, func(p Position) { t.Errorf("Enter waits at %+v, want a slot at once; %+v", p, q.Stats()); cancel() })
	if err != nil {
		t.Fatalf("Enter = %v, want a slot", err)
	}
	return slot
}

// known lets a call through, so that the queue knows the mean.
func known(t *testing.T, q *Queue, service time.Duration) {
	t.Helper()
	slot := take(t, q)
	time.Sleep(service)
	slot.Leave(Timing{})
}

// step is one thing done to a queue.
type step struct {
	do    string
	which int
	call  Call
}

func steps() *rapid.Generator[[]step] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			do:    rapid.SampledFrom([]string{"enter", "enter", "enter", "leave", "leave", "cancel", "sleep"}).Draw(t, "do"),
			which: rapid.IntRange(0, 99).Draw(t, "which"),
			call: Call{
				Caller:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "caller"),
				Priority: rapid.SampledFrom(priorities).Draw(t, "priority"),
				Cost:     rapid.IntRange(0, 9).Draw(t, "cost"),
			},
		}
	}), 1, 60)
}

// books are what a test knows of a queue's calls.
type books struct {
	queue *Queue
	calls []*call
}

func (b *books) step(s step) {
	switch {
	case s.do == "enter":
		b.calls = append(b.calls, enter(context.Background(), b.queue, s.call))
	case s.do == "leave":
		held := slices.DeleteFunc(slices.Clone(b.calls), func(c *call) bool { return c.outcome().slot == nil })
		if len(held) > 0 {
			c := held[s.which%len(held)]
			c.leave()
			b.calls = slices.DeleteFunc(b.calls, func(d *call) bool { return c == d })
		}
	case s.do == "cancel" && len(b.calls) > 0:
		b.calls[s.which%len(b.calls)].cancel()
	case s.do == "sleep":
		time.Sleep(time.Duration(s.which) * time.Second)
	}
	synctest.Wait()
}

// check compares the queue with the books, and asks that no slot is idle while a call waits.
func (b *books) check(o Options) error {
	running, waiting := 0, 0
	for _, c := range b.calls {
		switch now := c.outcome(); {
		case now.slot != nil:
			running++
		case !now.over:
			waiting++
		}
	}
	got := b.queue.Stats()
	switch {
	case got.Running != running, got.Waiting != waiting:
		return fmt.Errorf("Stats = %+v, want %d running and %d waiting", got, running, waiting)
	case got.Running > o.Parallel:
		return fmt.Errorf("%d calls run, want at most %d", got.Running, o.Parallel)
	case got.Waiting > 0 && got.Running < o.Parallel:
		return fmt.Errorf("%d calls wait and %d of %d slots are taken", got.Waiting, got.Running, o.Parallel)
	case got.Waiting > o.Max, got.Waiting > got.Callers*o.MaxPerCaller:
		return fmt.Errorf("%d calls of %d callers wait, want at most %d, and %d of each", got.Waiting, got.Callers, o.Max, o.MaxPerCaller)
	}
	return nil
}

// TestQueue does random steps to a queue: never are more calls let through than may be, no
// slot is idle while a call waits, and in the end nothing is left.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		todo := steps().Draw(rt, "steps")
		o := Options{
			Parallel:     rapid.IntRange(1, 4).Draw(rt, "parallel"),
			Discipline:   rapid.SampledFrom([]Discipline{Fair, FIFO}).Draw(rt, "discipline"),
			Max:          10,
			MaxPerCaller: 5,
		}
		var failed error
		synctest.Test(t, func(*testing.T) {
			b := &books{queue: New(o)}
			for i, s := range todo {
				b.step(s)
				if err := b.check(o); err != nil && failed == nil {
					failed = fmt.Errorf("step %d, %+v: %w", i+1, s, err)
				}
			}
			for range todo { // all who wait get a turn
				b.step(step{do: "leave"})
			}
			if got := b.queue.Stats(); failed == nil && (got.Running != 0 || got.Waiting != 0 || got.Callers != 0) {
				failed = fmt.Errorf("Stats when all have left = %+v, want nobody", got)
			}
			for _, c := range b.calls { // so that the bubble ends also when some were forgotten
				c.cancel()
			}
		})
		if failed != nil {
			rt.Fatal(failed)
		}
	})
}

// TestConcurrent is for the race detector, and for calls that are let through in the very
// moment in which they give up.
func TestConcurrent(t *testing.T) {
	const parallel = 3
	q := New(Options{Parallel: parallel})
	var running, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithCancel(context.Background())
				if (i+j)%3 == 0 {
					go cancel()
				}
				slot, err := q.Enter(ctx, Call{Caller: fmt.Sprint(i % 7)}, nil)
				if err == nil {
					n := running.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					running.Add(-1)
					slot.Leave(Timing{})
				} else if !errors.Is(err, context.Canceled) {
					t.Errorf("Enter = %v, want a slot or %v", err, context.Canceled)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n > parallel {
		t.Errorf("%d calls ran at a time, want at most %d", n, parallel)
	}
	want := Stats{Parallel: parallel}
	if diff := cmp.Diff(want, q.Stats(), cmpopts.IgnoreFields(Stats{}, "Service")); diff != "" {
		t.Errorf("Stats when all have left (-want +got):\n%s", diff)
	}
}

// TestCancels ends a thousand calls at any time, waiting or running.
func TestCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Parallel: 4})
		random := rand.New(rand.NewPCG(1, 2))
		var wg sync.WaitGroup
		var waited, ran int
		var mu sync.Mutex // guards waited and ran
		for i := range 1000 {
			begin, patience := time.Duration(random.Int64N(100e9)), time.Duration(random.Int64N(10e9))
			wg.Go(func() {
				time.Sleep(begin)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(patience, cancel)
				slot, err := q.Enter(ctx, Call{Caller: fmt.Sprint(i % 10)}, nil)
				if err == nil {
					<-ctx.Done() // no call ends by itself
					slot.Leave(Timing{})
				}
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					ran++
				} else {
					waited++
				}
			})
		}
		wg.Wait()
		if ran < 100 || waited < 100 {
			t.Errorf("%d running and %d waiting calls were cancelled, want many of both", ran, waited)
		}
		fill(t, q)
		if got := q.Stats(); got.Running != 4 || got.Waiting != 0 {
			t.Errorf("Stats = %+v, want 4 calls running and none waiting", got)
		}
	})
}

func TestCancelledCallChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Parallel: 1})
		known(t, q, 10*time.Second)
		slots := fill(t, q)
		first, second, third := enter(t.Context(), q, Call{}), enter(t.Context(), q, Call{}), enter(t.Context(), q, Call{})
		second.cancel()
		if got := second.outcome(); !got.over || got.err != context.Canceled {
			t.Errorf("Enter of a call that was cancelled = %v, over: %t; want %v at once", got.err, got.over, context.Canceled)
		}
		want := Stats{Parallel: 1, Running: 1, Waiting: 2, Callers: 1, Service: 10 * time.Second, Wait: 20 * time.Second}
		if diff := cmp.Diff(want, q.Stats()); diff != "" {
			t.Errorf("Stats after the cancel (-want +got):\n%s", diff)
		}
		slots[0].Leave(Timing{})
		if first.outcome().slot == nil || third.outcome().over {
			t.Errorf("after a leave: %+v and %+v, want a slot for the first only", first.outcome(), third.outcome())
		}
		first.leave()
		first.leave()
		if got := q.Stats(); third.outcome().slot == nil || got.Running != 1 {
			t.Errorf("after a slot was left twice: %+v, %+v; want one call running", third.outcome(), got)
		}
	})
}

// TestOverAsItIsLetThrough has a call whose context ends before it takes the slot that it
// got: the next in line must get that.
func TestOverAsItIsLetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Parallel: 1})
		slot := take(t, q)
		ctx, cancel := context.WithCancel(t.Context())
		var next *call
		got, err := q.Enter(ctx, Call{}, func(Position) {
			next = enter(t.Context(), q, Call{})
			slot.Leave(Timing{})
			cancel()
		})
		if got != nil || err != context.Canceled {
			t.Errorf("Enter = %v, %v; want no slot, %v", got, err, context.Canceled)
		}
		if next.outcome().slot == nil {
			t.Errorf("the next in line: %+v, want a slot; %+v", next.outcome(), q.Stats())
		}
		next.leave()
		if got, err := q.Enter(ctx, Call{}, nil); got != nil || err != context.Canceled {
			t.Errorf("Enter with a context that is over = %v, %v; want no slot, %v", got, err, context.Canceled)
		}
		take(t, q)
	})
}

func TestPanicOfWatchLosesNoSlot(t *testing.T) {
	q := New(Options{Parallel: 1})
	slot := take(t, q)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Enter did not panic, want what watch did")
			}
		}()
		q.Enter(t.Context(), Call{}, func(Position) { panic("watch") })
	}()
	slot.Leave(Timing{})
	take(t, q)
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Parallel: 1})
		known(t, q, 10*time.Second)
		slot := take(t, q)
		time.Sleep(8500 * time.Millisecond)
		enter(t.Context(), q, Call{})
		call := enter(t.Context(), q, Call{}) // told now and after 1, 2 and 3 s
		time.Sleep(1500 * time.Millisecond)
		slot.Leave(Timing{})
		time.Sleep(time.Second)
		enter(t.Context(), q, Call{Priority: High})
		time.Sleep(time.Second)
		want := []Position{
			{2, 11500 * time.Millisecond},
			{2, 10500 * time.Millisecond},
			{1, 9500 * time.Millisecond},
			{2, 18500 * time.Millisecond},
		}
		if diff := cmp.Diff(want, call.outcome().told); diff != "" {
			t.Errorf("positions told (-want +got):\n%s", diff)
		}
	})
}

// TestExpectedWait compares what calls are told when they come with what they wait, when all
// calls take the same time.
func TestExpectedWait(t *testing.T) {
	for _, parallel := range []int{1, 3, 4} {
		synctest.Test(t, func(t *testing.T) {
			q := New(Options{Parallel: parallel})
			known(t, q, 10*time.Second)
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 700 * time.Millisecond)
					var told []Position
					came := time.Now()
					slot, err := q.Enter(t.Context(), Call{}, func(p Position) { told = append(told, p) })
					if err != nil {
						t.Errorf("Enter = %v, want a slot", err)
						return
					}
					if waited := time.Since(came); waited > 0 && told[0].Wait != waited {
						t.Errorf("call %d on %d slots was told %+v and waited %s", i, parallel, told[0], waited)
					}
					time.Sleep(10 * time.Second)
					slot.Leave(Timing{})
				})
			}
			wg.Wait()
		})
	}
}

func TestDeadline(t *testing.T) {
	tests := []struct {
		name    string
		mean    time.Duration
		waiting int
		left    time.Duration
		want    error // nil: the call waits
	}{
		{"in time", 10 * time.Second, 1, 21 * time.Second, nil},
		{"just in time", 10 * time.Second, 1, 20 * time.Second, nil},
		{"too late", 10 * time.Second, 1, 19 * time.Second, &TooLateError{Position{2, 20 * time.Second}, 19 * time.Second}},
		{"far too late", 10 * time.Second, 5, time.Second, &TooLateError{Position{6, time.Minute}, time.Second}},
		{"nothing is known of the wait", 0, 5, time.Second, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := New(Options{Parallel: 1})
				if tt.mean > 0 {
					known(t, q, tt.mean)
				}
				take(t, q)
				for range tt.waiting {
					enter(t.Context(), q, Call{})
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.left)
				defer cancel()
				call := enter(ctx, q, Call{})
				got := call.outcome()
				if diff := cmp.Diff(tt.want, got.err); diff != "" || got.over != (tt.want != nil) {
					t.Errorf("Enter, over: %t (-want +got):\n%s", got.over, diff)
				}
				time.Sleep(tt.left)
				if got := call.outcome(); tt.want == nil && got.err != context.DeadlineExceeded {
					t.Errorf("Enter = %v at its deadline, want %v", got.err, context.DeadlineExceeded)
				}
				if got := q.Stats().Waiting; got != tt.waiting {
					t.Errorf("%d calls wait, want the %d others", got, tt.waiting)
				}
			})
		})
	}
}

func TestFull(t *testing.T) {
	o := Options{Parallel: 1, Max: 6, MaxPerCaller: 3}
	tests := []struct {
		name    string
		mean    time.Duration
		waiting string // callers, in their order
		want    error  // for a call of a
	}{
		{"room", 10 * time.Second, "aabbb", nil},
		{"full", 10 * time.Second, "bbbccc", &FullError{Caller: "a", Limit: 6, Wait: 10 * time.Second}},
		{"full of one caller's", 10 * time.Second, "bcaaa", &FullError{Caller: "a", PerCaller: true, Limit: 3, Wait: 30 * time.Second}},
		{"come back, but not at once", 0, "bcaaa", &FullError{Caller: "a", PerCaller: true, Limit: 3, Wait: time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := New(o)
				if tt.mean > 0 {
					known(t, q, tt.mean)
				}
				take(t, q)
				for _, c := range tt.waiting {
					enter(t.Context(), q, Call{Caller: string(c)})
				}
				got := enter(t.Context(), q, Call{Caller: "a"}).outcome()
				if diff := cmp.Diff(tt.want, got.err); diff != "" || got.over != (tt.want != nil) {
					t.Errorf("Enter of a, over: %t (-want +got):\n%s", got.over, diff)
				}
			})
		})
	}
}

// TestService says what the mean is made of: the time that slots are held, without loads.
func TestService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Parallel: 1})
		slot := take(t, q)
		time.Sleep(time.Minute)
		slot.Leave(Timing{Total: time.Minute, Load: 50 * time.Second, Eval: 10 * time.Second})
		known(t, q, 2*time.Second)
		if got, want := q.Stats().Service, 9*time.Second; got != want {
			t.Errorf("mean of 10 s and then 2 s = %s, want %s", got, want)
		}
	})
}

// BenchmarkUncontended is a call that need not wait.
func BenchmarkUncontended(b *testing.B) {
	q := New(Options{Parallel: 4})
	b.ReportAllocs()
	for b.Loop() {
		slot, _ := q.Enter(b.Context(), Call{Caller: "a"}, nil)
		slot.Leave(Timing{})
	}
}

// BenchmarkLine is a call that passes a line of others, of ten callers.
func BenchmarkLine(b *testing.B) {
	for _, waiting := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			l := newLine(false)
			for i := range waiting {
				l.add(fmt.Sprint(i%10), Normal, 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				w := l.pop(epoch)
				l.push(w, Normal, epoch)
				l.place(w, epoch)
			}
		})
	}
}

// Of one caller the call that came first goes first, whichever entered first.
func TestOrderOfComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Options{Parallel: 1})
		running, err := q.Enter(t.Context(), Call{Caller: "a"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		var order []int
		var wg sync.WaitGroup
		for _, came := range []int{3, 1, 4, 2} {
			wg.Go(func() {
				slot, err := q.Enter(t.Context(), Call{Caller: "a", Came: begun.Add(time.Duration(came))}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, came)
				slot.Leave(Timing{})
			})
			synctest.Wait()
		}
		running.Leave(Timing{})
		wg.Wait()
		if want := []int{1, 2, 3, 4}; !slices.Equal(order, want) {
			t.Errorf("calls that came in the order of their numbers went as %v, want %v", order, want)
		}
	})
}
