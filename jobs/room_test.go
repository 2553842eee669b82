package jobs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// kept is what a table keeps: jobs, and bytes of theirs and of calls.
func kept(t *Table) (jobs int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.jobs), t.bytes
}

// sized is work of a second with a result of n bytes.
func sized(n int64) Work {
	return func(ctx context.Context, _ Report) (Result, error) { return Result{n, n}, sleep(ctx, time.Second) }
}

func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{MaxBytes: 100})
		first := published(t, table, "ann", sized(100))
		<-first.done
		second := published(t, table, "ann", sized(101))
		<-second.done
		if s := second.Status(); s.State != Failed || !errors.Is(s.Err, ErrTooLarge) || s.Result != (Result{}) {
			t.Errorf("a result of 101 bytes, of 100: %+v; want failed", s)
		}
		if _, err := table.Find("ann", first.Status().ID); err != nil {
			t.Errorf("Find of the one before: %v; want it kept, as nothing is won without it", err)
		}
		answer, err := table.Start(t.Context(), Call{}, sized(101)).Wait(t.Context(), time.Hour, nil)
		if answer.State != Done || err != nil {
			t.Errorf("an answer, which is not kept: %s, %v; want done", answer.State, err)
		}
	})
}

// One owner cannot take all the room.
func TestFullOfOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{MaxRunning: 1})
		first := published(t, table, "ann", answers(nil, "a", "b", "c"))
		published(t, table, "bob", answers(nil, "a"))
		j := table.Start(t.Context(), Call{Owner: "ann"}, answers(nil, "a", "b", "c", "d"))
		if s, err := j.Wait(t.Context(), 0, nil); !errors.Is(err, ErrFull) || s.ID != "" {
			t.Errorf("Wait of an owner with as many jobs as may run = %+v, %v; want %v", s, err, ErrFull)
		}
		<-first.done
		if s, err := j.Wait(t.Context(), 0, nil); err != nil || s.ID == "" {
			t.Errorf("Wait after the owner's job has ended = %+v, %v; want a job", s, err)
		}
	})
}

// What jobs were called with takes room while they run, half of it at most and a quarter for
// one owner: then a call does not become a job, and goes on being waited for.
func TestInputsTakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{MaxBytes: 100})
		call := func(owner string, n int64) (*Job, Status, error) {
			j := table.Start(t.Context(), Call{Owner: owner, Bytes: n}, answers(nil, "a"))
			s, err := j.Wait(t.Context(), 0, nil)
			return j, s, err
		}
		checkBytes := func(want int64) {
			t.Helper()
			if _, bytes := kept(table); bytes != want {
				t.Errorf("%d bytes are kept, want %d", bytes, want)
			}
		}
		<-published(t, table, "eve", sized(60)).done
		for _, test := range []struct {
			owner string
			bytes int64
			err   error
		}{{"ann", 26, ErrFull}, {"ann", 20, nil}, {"ann", 6, ErrFull}, {"bob", 25, nil}, {"cem", 6, ErrFull}, {"cem", 5, nil}} {
			if _, s, err := call(test.owner, test.bytes); !errors.Is(err, test.err) || (s.ID == "") != (test.err != nil) {
				t.Errorf("%s calls with %d bytes: %+v, %v; want %v", test.owner, test.bytes, s, err, test.err)
			}
		}
		if list := table.List("eve"); len(list) != 0 {
			t.Errorf("%+v is kept of what had ended, want nothing: there was no room", list)
		}
		checkBytes(50)
		j, _, _ := call("ann", 26)
		if s, err := j.Wait(t.Context(), time.Hour, nil); s.State != Done || s.ID != "" || err != nil {
			t.Errorf("Wait again for a call that found no room: %+v, %v; want its answer", s, err)
		}
		synctest.Wait()
		checkBytes(6) // text and result of three jobs
		if _, s, err := call("ann", 25); s.ID == "" || err != nil {
			t.Errorf("a call when the jobs have ended: %+v, %v; want a job", s, err)
		}
	})
}

// Work that its caller gives up is stopped where it cannot be listed, also if it outlives
// its caller: else it would run beside all limits.
func TestGivenUpWithNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{MaxRunning: 1})
		gone, giveUp := context.WithCancelCause(t.Context())
		giveUp(errBroken)
		for i, want := range []State{Running, Cancelled, Cancelled} {
			j := table.Start(gone, Call{Owner: "ann", Outlives: true}, answers(nil, "a", "b"))
			s, err := j.Wait(gone, time.Minute, nil)
			if s.State != want || (s.ID != "") != (want == Running) || errors.Is(err, context.Canceled) != (want == Running) {
				t.Errorf("Wait for number %d, of which one may run, given up: %+v, %v; want %s", i+1, s, err, want)
			}
		}
		if list := table.List("ann"); len(list) != 1 || len(table.running) != 1 {
			t.Errorf("%d run, and %+v are listed; want the same one", len(table.running), list)
		}
	})
}

// Who has much in a full table, by number or by bytes, makes room with what is his own.
func TestNobodyThrowsOutOthers(t *testing.T) {
	tests := []struct {
		name    string
		o       Options
		running int   // jobs of bob
		bytes   int64 // of each of his results
		kept    int   // of his, with those that run
	}{
		{"bytes", Options{MaxBytes: 100}, 0, 60, 1},
		{"number", Options{Max: 3}, 0, 1, 2},
		{"number with those that run", Options{Max: 3}, 1, 1, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := newTable(t, test.o)
				ended := func(owner string, n int64) *Job {
					j := published(t, table, owner, sized(n))
					<-j.done
					return j
				}
				ann := ended("ann", 10)
				for range test.running {
					published(t, table, "bob", func(ctx context.Context, _ Report) (Result, error) { return Result{}, sleep(ctx, time.Hour) })
				}
				for range 4 {
					last := ended("bob", test.bytes)
					if _, err := table.Find("bob", last.Status().ID); err != nil {
						t.Errorf("Find of bob's latest: %v", err)
					}
				}
				if _, err := table.Find("ann", ann.Status().ID); err != nil {
					t.Errorf("Find of ann's only one: %v; want it kept", err)
				}
				if n := len(table.List("bob")); n != test.kept {
					t.Errorf("bob has %d jobs, want %d", n, test.kept)
				}
			})
		})
	}
}

// Nothing is dropped where dropping all would not do.
func TestNothingIsDroppedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{MaxBytes: 100})
		ended := published(t, table, "ann", sized(50))
		<-ended.done
		running := published(t, table, "bob", answers(nil, strings.Repeat("x", 45), "", ""))
		time.Sleep(1500 * time.Millisecond)
		large := published(t, table, "bob", sized(60))
		<-large.done
		checkState(t, running, Running)
		checkState(t, large, Failed)
		if _, err := table.Find("ann", ended.Status().ID); err != nil {
			t.Errorf("Find of what had ended, after a result for which there is no room without it either: %v", err)
		}
	})
}

// A full table makes room of what has ended, and of nothing else.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{Max: 2})
		ended := published(t, table, "ann", answers(nil, "short"))
		published(t, table, "bob", answers(nil, "a", "b", "c", "d"))
		<-ended.done
		published(t, table, "ann", answers(nil, "a", "b", "c", "d"))
		if _, err := table.Find("ann", ended.Status().ID); !errors.Is(err, ErrNoJob) {
			t.Errorf("Find of the ended one: %v, want %v", err, ErrNoJob)
		}
		j := table.Start(t.Context(), Call{Owner: "ann"}, answers(nil, "a", "b"))
		var told strings.Builder
		tell := func(u Update) { told.WriteString(u.Delta) }
		if s, err := j.Wait(t.Context(), 1500*time.Millisecond, tell); !errors.Is(err, ErrFull) || s.ID != "" || s.State != Running {
			t.Errorf("Wait with a full table = %+v, %v; want %v", s, err, ErrFull)
		}
		if s, err := j.Wait(t.Context(), time.Hour, tell); s.State != Done || err != nil || told.String() != "ab" {
			t.Errorf("Wait again = %s, %v, told %q; want done, ab", s.State, err, told.String())
		}
	})
}

func TestExpire(t *testing.T) {
	latestFirst := func(a, b Status) int { return b.Started.Compare(a.Started) }
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{TTL: time.Minute})
		start := time.Now()
		for range 3 { // they end 1, 2 and 3 s from now
			published(t, table, "ann", answers(nil, "a"))
			time.Sleep(time.Second)
		}
		time.Sleep(57500 * time.Millisecond)
		for _, want := range []int{3, 2, 1, 0} {
			list := table.List("ann")
			if len(list) != want || !slices.IsSortedFunc(list, latestFirst) {
				t.Errorf("%s after the first end the jobs are %+v, want %d, the latest first", time.Since(start)-time.Second, list, want)
			}
			time.Sleep(time.Second)
		}
		if jobs, bytes := kept(table); jobs != 0 || bytes != 0 {
			t.Errorf("%d jobs and %d bytes are kept, want none", jobs, bytes)
		}
	})
}
