package jobs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestEndAtTheDeadline ends calls at the very moment at which their wait is over, or a
// nanosecond or two from it, and a third are cancelled then too: each is an answer or a
// job, and all that its caller did not cancel have their result and their text, once.
func TestEndAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{})
		var answers, jobs int
		var mu sync.Mutex // guards answers and jobs
		var calls sync.WaitGroup
		for i := range 600 {
			calls.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i%3 == 0 {
					time.AfterFunc(time.Second, cancel)
				}
				j := table.Start(ctx, Call{Owner: fmt.Sprint(i)}, func(ctx context.Context, report Report) (Result, error) {
					report(Progress{Delta: "a"})
					err := sleep(ctx, time.Second)
					report(Progress{Delta: "b"})
					return Result{i, 1}, err
				})
				var told strings.Builder
				tell := func(u Update) { told.WriteString(u.Delta) }
				s, err := j.Wait(ctx, time.Second+time.Duration(i%5-2), tell)
				answer := s.State != Running
				if !answer && err == nil {
					s, err = j.Wait(t.Context(), time.Hour, tell)
				}
				mu.Lock()
				defer mu.Unlock()
				switch list := table.List(fmt.Sprint(i)); {
				case answer && s.ID == "":
					if answers++; len(list) != 0 {
						t.Errorf("call %d was answered and is listed: %+v", i, list)
					}
				default:
					if jobs++; len(list) != 1 {
						t.Errorf("call %d is a job and not listed", i)
					}
				}
				if err == nil && (told.String() != "ab" || s.Result.Value != i) {
					t.Errorf("call %d told %q with result %v; want ab, %[1]d", i, told.String(), s.Result.Value)
				}
			})
		}
		calls.Wait()
		if answers == 0 || jobs == 0 {
			t.Errorf("%d answers, %d jobs: this tests nothing", answers, jobs)
		}
	})
}

// TestMany runs 200 jobs at once, each with two watchers, and cancels a third of them.
func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{})
		before := heap()
		var all sync.WaitGroup
		for i := range 200 {
			owner := fmt.Sprint(i % 7)
			all.Go(func() {
				j := published(t, table, owner, chatty(100))
				for range 2 {
					all.Go(func() {
						n := 0
						for u := range j.Watch(t.Context(), 0) {
							n += len(u.Delta)
						}
						if text, from := j.Text(); len(text) != n || from != 0 {
							t.Errorf("watched %d bytes of %d", n, len(text))
						}
					})
				}
				want := Done
				if i%3 == 0 {
					time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
					want = Cancelled
					j.Cancel(t.Context())
				}
				<-j.done
				checkState(t, j, want)
				if _, err := table.Find(owner, j.Status().ID); err != nil {
					t.Errorf("Find: %v", err)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Hour)
		synctest.Wait()
		if jobs, bytes := kept(table); jobs != 0 || bytes != 0 {
			t.Errorf("%d jobs and %d bytes are kept, want none", jobs, bytes)
		}
		if after := heap(); after > before+10<<20 {
			t.Errorf("the heap has grown from %d to %d bytes", before, after)
		}
		runtime.KeepAlive(table) // else what it retains would be garbage too
	})
}

// chatty is work that reports n times 1 KiB within 10 s, more than a second of it.
func chatty(n int) Work {
	return func(ctx context.Context, report Report) (Result, error) {
		for i := range n {
			if err := sleep(ctx, time.Duration(50+rand.IntN(50))*time.Millisecond); err != nil {
				return Result{}, err
			}
			report(Progress{Phase: fmt.Sprint(i / 10), Delta: strings.Repeat("x", 1<<10)})
		}
		return Result{make([]byte, n<<10), int64(n) << 10}, nil
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
