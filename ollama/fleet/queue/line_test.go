package queue

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// epoch is when the tests of a line begin: it is told the time.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newLine(fifo bool) *line {
	return &line{fifo: fifo, ageing: DefaultAgeing, of: map[string]int{}}
}

// add puts a call in that came at the epoch.
func (l *line) add(caller string, p Priority, cost int) *waiter {
	w := &waiter{caller: caller, cost: cost}
	l.push(w, p, epoch)
	return w
}

var priorities = []Priority{Low, Normal, High}

// TestFair has callers that always have calls waiting. Some have one, and come back when it
// has been let through, some give one up now and then. Of what calls cost none may get
// ahead of another by more than the dearest call.
func TestFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLine(false)
		callers := rapid.IntRange(2, 8).Draw(t, "callers")
		dearest := rapid.SampledFrom([]int{1, 2, 10, 5000}).Draw(t, "dearest")
		cost := rapid.IntRange(1, dearest)
		for i := range callers {
			for range rapid.IntRange(1, 3).Draw(t, "waiting") {
				l.add(fmt.Sprint(i), Normal, cost.Draw(t, "cost"))
			}
		}
		served := make([]int, callers)
		for range rapid.IntRange(1, 100).Draw(t, "calls") {
			w := l.pop(epoch)
			var i int
			fmt.Sscan(w.caller, &i)
			served[i] += w.cost
			if ahead := slices.Max(served) - slices.Min(served); ahead > dearest {
				t.Fatalf("served %v: one caller is ahead by %d, want at most %d", served, ahead, dearest)
			}
			f := l.add(w.caller, Normal, cost.Draw(t, "cost")).flow
			if len(f.calls) > 1 && rapid.IntRange(0, 9).Draw(t, "give up") == 0 {
				l.remove(f.calls[0])
				l.add(w.caller, Normal, cost.Draw(t, "cost"))
			}
		}
	})
}

// TestNewcomer has a caller come who had no call waiting: it goes before those who have.
func TestNewcomer(t *testing.T) {
	l := newLine(false)
	for range 5 {
		l.add("a", Normal, 3)
		l.add("b", Normal, 5)
	}
	l.pop(epoch)
	l.pop(epoch)
	l.pop(epoch)
	want := l.add("c", Normal, 1000)
	if got := l.pop(epoch); got != want {
		t.Errorf("pop = a call of %s, want c's", got.caller)
	}
	for range l.size {
		l.add("c", Normal, 1000)
		if got := l.pop(epoch); got.caller == "c" {
			t.Fatal("pop = a call of c, who has not waited as long as its first call cost")
		}
	}
}

// TestDebtsAreForgotten has callers come once, while the line is never empty.
func TestDebtsAreForgotten(t *testing.T) {
	l := newLine(false)
	l.add("low", Low, 1)
	for i := range 1000 {
		now := epoch.Add(time.Duration(i) * time.Second)
		l.push(&waiter{caller: fmt.Sprint(i), cost: 1000}, High, now)
		gone := &waiter{caller: "gone", cost: 1}
		l.push(gone, Normal, now)
		l.remove(gone)
		if w := l.pop(now); w.caller == "low" {
			l.push(w, Low, now)
			l.pop(now)
		}
		if want := 1 + int(l.ageing/time.Second); len(l.flows) > want || len(l.of) != 1 {
			t.Fatalf("%d flows after %d calls, and %d callers with calls; want at most %d and 1", len(l.flows), i+1, len(l.of), want)
		}
	}
	want := len(l.flows)
	for i := range 10 { // and with no turn for anybody
		l.remove(l.add(fmt.Sprint("gone ", i), Normal, 1))
	}
	if len(l.flows) != want {
		t.Errorf("%d flows after ten calls that did not wait, want %d", len(l.flows), want)
	}
}

// TestComingBackIsNoWait has a caller call again before its debt is gone: the time between
// does not raise its priority.
func TestComingBackIsNoWait(t *testing.T) {
	l := newLine(false)
	l.add("a", Normal, 5)
	want := l.add("a", Normal, 5)
	b := l.add("b", Normal, 1)
	l.pop(epoch)
	l.pop(epoch)
	l.push(b, Normal, epoch.Add(DefaultAgeing-time.Second))
	if got := l.pop(epoch.Add(DefaultAgeing)); got != want {
		t.Errorf("pop = a call of %s, want a's, which has waited all the time", got.caller)
	}
}

// TestRounds compares the order with that of deficit round robin as it is written, with one
// queue per flow and a round for each quantum.
func TestRounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLine(false)
		queues := make([][]*waiter, rapid.IntRange(1, 5).Draw(t, "flows"))
		left := 0
		for i := range queues {
			for range rapid.IntRange(0, 6).Draw(t, "calls") {
				queues[i] = append(queues[i], l.add(fmt.Sprint(i), Normal, rapid.IntRange(1, 9).Draw(t, "cost")))
				left++
			}
		}
		deficit := make([]int, len(queues))
		for left > 0 {
			for i := range queues {
				for len(queues[i]) > 0 && deficit[i] >= 0 {
					want := queues[i][0]
					if got := l.pop(epoch); got != want {
						t.Fatalf("pop = a call of %s that costs %d, want of %s, %d", got.caller, got.cost, want.caller, want.cost)
					}
					deficit[i] -= want.cost
					queues[i] = queues[i][1:]
					left--
				}
				deficit[i]++
			}
		}
		if l.size != 0 || len(l.flows) != 0 || len(l.of) != 0 {
			t.Fatalf("the line at the end: %+v, want empty", l)
		}
	})
}

// TestPlacesAreTheOrder brings a line into any state; then the places that calls are told
// must be the order in which they go.
func TestPlacesAreTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLine(rapid.Bool().Draw(t, "fifo"))
		var waiting []*waiter
		drop := func(w *waiter) { waiting = slices.DeleteFunc(waiting, func(u *waiter) bool { return u == w }) }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch do := rapid.IntRange(0, 5).Draw(t, "do"); {
			case do < 3 || l.size == 0:
				caller := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "caller")
				waiting = append(waiting, l.add(caller, rapid.SampledFrom(priorities).Draw(t, "priority"), rapid.IntRange(1, 5).Draw(t, "cost")))
			case do < 5:
				drop(l.pop(epoch))
			default:
				w := rapid.SampledFrom(waiting).Draw(t, "gives up")
				l.remove(w)
				drop(w)
			}
		}
		places := map[*waiter]int{}
		for _, w := range waiting {
			places[w] = l.place(w, epoch)
		}
		for want := 1; l.size > 0; want++ {
			if w := l.pop(epoch); places[w] != want {
				t.Fatalf("the call at place %d of %d went as number %d", places[w], len(waiting), want)
			}
		}
	})
}

func TestFIFO(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLine(true)
		var want []*waiter
		for range rapid.IntRange(1, 30).Draw(t, "calls") {
			want = append(want, l.add(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "caller"), Normal, rapid.IntRange(1, 9).Draw(t, "cost")))
		}
		for i, w := range want {
			if got := l.pop(epoch); got != w {
				t.Fatalf("call %d of %d did not go as number %d", i+1, len(want), i+1)
			}
		}
	})
}

// TestPriorities lets two calls of each priority through, at the seconds that are given.
func TestPriorities(t *testing.T) {
	tests := []struct {
		name string
		at   [6]int
		want []Priority
	}{
		{"at once", [6]int{}, []Priority{High, High, Normal, Normal, Low, Low}},
		{"before any has risen", [6]int{29, 29, 29, 29, 29, 29}, []Priority{High, High, Normal, Normal, Low, Low}},
		{"one rise makes normal high", [6]int{30, 30, 30, 30, 30, 30}, []Priority{Normal, High, High, Low, Normal, Low}},
		{"two make low high", [6]int{60, 60, 60, 60, 60, 60}, []Priority{Low, Normal, High, High, Normal, Low}},
		{"nothing rises above high", [6]int{900, 900, 900, 900, 900, 900}, []Priority{Low, Normal, High, High, Normal, Low}},
		{"a turn ends the rise", [6]int{60, 60, 119, 119, 119, 119}, []Priority{Low, Normal, High, Normal, High, Low}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLine(false)
			is := map[*waiter]Priority{}
			for range 2 {
				for _, p := range priorities {
					is[l.add("somebody", p, 1)] = p
				}
			}
			var got []Priority
			for _, at := range tt.at {
				got = append(got, is[l.pop(epoch.Add(time.Duration(at)*time.Second))])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("calls let through at %v s (-want +got):\n%s", tt.at, diff)
			}
		})
	}
}

// TestNobodyStarves keeps calls of high priority coming: a call of low priority must go
// when it has risen and each of the others has had a turn.
func TestNobodyStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLine(rapid.Bool().Draw(t, "fifo"))
		others, cost := rapid.IntRange(1, 5).Draw(t, "others"), rapid.IntRange(1, 5)
		for i := range others {
			l.add(fmt.Sprint(i), High, cost.Draw(t, "cost"))
			l.add(fmt.Sprint(i), High, cost.Draw(t, "cost"))
		}
		low := l.add("low", Low, cost.Draw(t, "cost of low"))
		every := time.Duration(rapid.IntRange(100, 20_000).Draw(t, "ms between calls")) * time.Millisecond
		limit := epoch.Add(2*DefaultAgeing + every*time.Duration(1+others))
		for now := epoch; ; now = now.Add(every) {
			w := l.pop(now)
			if w == low {
				return
			}
			if now.After(limit) {
				t.Fatalf("after %s the call still waits, want at most %s", now.Sub(epoch), limit.Sub(epoch))
			}
			l.add(w.caller, High, cost.Draw(t, "cost"))
		}
	})
}
