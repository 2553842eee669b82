package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
)

// TestOffAndBack has a host fail under calls that end 20 ms after they were sent, or that the fleet worries about after
// 300 ms without an answer, in each of the ways of issue 5.
func TestOffAndBack(t *testing.T) {
	for name, fault := range map[string]error{
		"killed": errRefused, "hang": errHang, "cut": errCut, "500s": errBroken, "401s": errDenied,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := &fake{}
				w := settled(t, f.host(), Options{})
				pass(time.Duration(len(name)) * time.Second) // somewhere between two polls
				f.set("", fault)
				begin, off := time.Now(), time.Duration(-1)
				var wg sync.WaitGroup
				for time.Since(begin) < 30*time.Second {
					if w.Snapshot().State == Up {
						off = -1
						wg.Go(func() { call(w, fault) })
					} else if off < 0 {
						off = time.Since(begin)
					}
					pass(20 * time.Millisecond)
				}
				if off < 0 || off > time.Second {
					t.Errorf("the last call to a host that fails was sent %v after that, want 1s at most (-1: they never ended): %+v", off, w.Snapshot())
				}
				f.set("", nil)
				if took := passUntil(t, w, Up); took > 5*time.Second {
					t.Errorf("the host was up %v after its return, want 5s at most", took)
				}
				wg.Wait()
			})
		})
	}
}

// call is a call as the fleet makes it.
func call(w *Watcher, fault error) {
	if fault == errHang {
		time.Sleep(300 * time.Millisecond)
		w.Check()
		return
	}
	time.Sleep(20 * time.Millisecond)
	w.Report(fault)
}

func TestHangingPoll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hung, well := &fake{}, &fake{}
		var told news
		w, other := settled(t, hung.host(), Options{Changed: told.add}), settled(t, well.host(), Options{})
		hung.set("version", errHang)
		w.Check()
		pass(minBackoff) // it is being asked
		begin := time.Now()
		w.Report(nil)
		w.Check()
		done := w.Load()
		done()
		if s := w.Snapshot(); s.State != Up || time.Since(begin) != 0 {
			t.Errorf("beside a poll that hangs, Report, Check, Load and Snapshot took %v, and the host is %s", time.Since(begin), s.State)
		}
		pass(lateAfter)
		if s := w.Snapshot(); s.State != Degraded || s.Failure != nil {
			t.Errorf("a host whose version is late is %s with failure %v, want %s and no failure", s.State, s.Failure, Degraded)
		}
		if took := passUntil(t, w, Down); took > 3*2*time.Second {
			t.Errorf("down after another %v, want three times 2s at most", took)
		}
		want := &ollama.Error{Op: "version", Host: "h", Kind: ollama.Stalled, Message: "nothing came for 2s"}
		if diff := cmp.Diff(error(want), w.Snapshot().Failure); diff != "" {
			t.Errorf("failure of a host that hangs (-want +got):\n%s", diff)
		}
		if s := other.Snapshot(); s.State != Up || time.Since(s.Asked) > 6*time.Second+answer {
			t.Errorf("beside it another host is %s, asked %v ago; want it up and asked as ever", s.State, time.Since(s.Asked))
		}
		if states := told.states(); states[len(states)-1] != Down {
			t.Errorf("told %v, want the last to be %s", states, Down)
		}
	})
}

// TestHangInAPoll: the host hangs when version has been answered, so that no other is asked for seconds.
func TestHangInAPoll(t *testing.T) {
	for _, loading := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			f := &fake{}
			w := settled(t, f.host(), Options{})
			want := Degraded
			if loading {
				defer w.Load()()
				want = Loading // which explains it, until version is late
			}
			f.set("tags", errHang)
			w.Check()
			pass(minBackoff) // tags is being asked
			f.set("", errHang)
			w.Check()
			pass(lateAfter)
			if s := w.Snapshot(); s.State != want {
				t.Errorf("with a load: %v: in a poll that hangs at tags the host is %s, want %s", loading, s.State, want)
			}
			pass(2*2*time.Second + lateAfter)
			if s := w.Snapshot(); s.State != Degraded {
				t.Errorf("with a load: %v: when the next poll hangs at version the host is %s, want %s", loading, s.State, Degraded)
			}
			passUntil(t, w, Down)
		})
	}
}

func TestNeverTwoPollsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &fake{}
		w := settled(t, f.host(), Options{})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for i := range 1000 {
					if w.Check(); i%100 == 0 {
						w.Report(errRefused)
					}
					time.Sleep(7 * time.Millisecond)
				}
			})
		}
		time.AfterFunc(2*time.Second, func() { f.set("ps", errHang) })
		wg.Wait()
		polls, _ := f.seen()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.most != 1 {
			t.Errorf("%d questions at a time, want 1", f.most)
		}
		for i, gap := range gapsOf(polls) {
			if gap < minBackoff*4/5 {
				t.Errorf("poll %d came %v after the one before, want %v at least", i+1, gap, minBackoff*4/5)
			}
		}
	})
}

// TestLoadsAndChecksPollAtOnce: what we change is seen without waiting for the interval, and a poll that was running
// then does not count.
func TestLoadsAndChecksPollAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &fake{}
		w := settled(t, f.host(), Options{})
		pass(time.Second)
		done := w.Load()
		second := w.Load()
		f.change(says{loaded: []ollama.Running{{Name: "m"}}})
		done()
		pass(answer)
		if s := w.Snapshot(); s.State != Loading || len(s.Loaded) != 1 {
			t.Errorf("after the first of two loads the host is %s, with %v loaded; want %s, and one", s.State, s.Loaded, Loading)
		}
		second()
		if s := w.Snapshot(); s.State != Up {
			t.Errorf("after both loads the host is %s, want %s", s.State, Up)
		}
		pass(time.Second)
		w.Check()
		pass(answer - time.Millisecond/2) // ps has been asked
		f.change(says{})
		w.Check()
		pass(minBackoff + answer)
		if s := w.Snapshot(); len(s.Loaded) != 0 {
			t.Errorf("after an unload in the middle of a poll %v is loaded, want none", s.Loaded)
		}
	})
}

func TestChangedTellsNewsOnly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var told news
		f := &fake{}
		w := settled(t, f.host(), Options{Changed: told.add})
		if told == nil {
			t.Fatal("nothing was told of the first answer")
		}
		before := len(told)
		pass(time.Minute)
		for range 100 {
			w.Report(nil)
			w.Report(context.Canceled)
		}
		if len(told) != before {
			t.Errorf("a minute in which nothing happened: told %+v", told[before])
		}
		f.change(says{models: []ollama.Model{{Name: "m"}}})
		pass(6*time.Second + answer)
		if len(told) != before+1 || len(told[before].Models) != 1 {
			t.Errorf("of a new model was told %+v, want once, with the model", told[before:])
		}
	})
}

func TestCloseEndsAPoll(t *testing.T) {
	for _, question := range []string{"", "tags", "ps", "probe"} {
		inBubble(t, func(t *testing.T) {
			f := &fake{}
			h := f.host()
			h.Probe = func(ctx context.Context) error { return f.ask(ctx, "probe") }
			var told news
			w := New(h, Options{Changed: told.add})
			pass(answer)
			f.set(question, errHang)
			w.Report(errCut)
			pass(minBackoff*6/5 + answer) // it hangs
			n, before, begin := len(told), w.Snapshot(), time.Now()
			w.Close()
			if time.Since(begin) != 0 || len(told) != n || w.Snapshot() != before {
				t.Errorf("Close while %q hangs took %v and told %d times %+v; want it at once, without news", question, time.Since(begin), len(told)-n, w.Snapshot())
			}
			w.Report(errCut) // by a call that ends late
			w.Check()
			w.Drain()
			if s := w.Snapshot(); s.State != Draining {
				t.Errorf("after Close and Drain the host is %s, want %s", s.State, Draining)
			}
		})
	}
}

func TestCloseWaitsForAPoll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ended := false // not guarded: Close orders it
		h := (&fake{}).host()
		h.Version = func(ctx context.Context) (string, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
			return "", ctx.Err()
		}
		w := New(h, Options{})
		synctest.Wait() // it is being asked
		if w.Close(); !ended {
			t.Error("Close returned before the poll had ended")
		}
	})
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &fake{}
		w := watch(t, f.host(), Options{Changed: func(_, _ *Snapshot) {}})
		var wg sync.WaitGroup
		for _, err := range []error{nil, errRefused, errCut, errDenied, errLimited, context.Canceled} {
			wg.Go(func() {
				for range 50 {
					done := w.Load()
					w.Report(err)
					time.Sleep(time.Millisecond)
					done()
					_ = w.Snapshot().State.Usable()
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if took := passUntil(t, w, Up); took > errLimited.RetryAfter+try {
			t.Errorf("up after %v, want %v at most", took, errLimited.RetryAfter+try)
		}
	})
}

func BenchmarkReport(b *testing.B) {
	for _, c := range []struct {
		name string
		err  error
	}{{"success", nil}, {"cancel", fmt.Errorf("chat on h: %w", context.Canceled)}, {"failure", errCut}} {
		b.Run(c.name, func(b *testing.B) {
			w := benched(b)
			b.ReportAllocs()
			for b.Loop() {
				w.Report(c.err)
			}
		})
	}
}

func BenchmarkReportParallel(b *testing.B) {
	w := benched(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.Report(nil)
		}
	})
}

// BenchmarkSnapshots reads those of 100 hosts.
func BenchmarkSnapshots(b *testing.B) {
	var hosts [100]*Watcher
	for i := range hosts {
		hosts[i] = benched(b)
	}
	usable := 0
	for b.Loop() {
		for _, w := range hosts {
			if w.Snapshot().State.Usable() {
				usable++
			}
		}
	}
	b.ReportMetric(float64(usable)/float64(b.N), "usable")
}

// BenchmarkPoll is what this package adds to the three questions, for a host of 100 models. 100 hosts are polled 20 times
// a second.
func BenchmarkPoll(b *testing.B) {
	w := benched(b)
	w.Close()
	w.life = context.Background()
	b.ReportAllocs()
	for b.Loop() {
		w.poll()
	}
}

// benched is a watched host of 100 models that answers at once.
func benched(b *testing.B) *Watcher {
	b.Helper()
	models := func() []ollama.Model {
		m := make([]ollama.Model, 100)
		for i := range m {
			m[i] = ollama.Model{Name: fmt.Sprint("model-", i), Digest: fmt.Sprint("sha256:", i), Capabilities: []string{"completion"}}
		}
		return m
	}
	first, second := models(), models()
	polled := make(chan struct{}, 1)
	w := watch(b, Host{
		Name:    "h",
		Version: func(context.Context) (string, error) { return "0.34.4", nil },
		Tags: func(context.Context) ([]ollama.Model, error) {
			first, second = second, first // equal, and yet to be compared
			return first, nil
		},
		PS: func(context.Context) ([]ollama.Running, error) { return nil, errors.ErrUnsupported },
	}, Options{Interval: time.Hour, Changed: func(_, _ *Snapshot) {
		select {
		case polled <- struct{}{}:
		default:
		}
	}})
	<-polled
	return w
}
