package jobs

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// Each change of phase and the end are told, in order and numbered, of jobs and not of calls.
func TestChanges(t *testing.T) {
	phases := func(ctx context.Context, report Report) (Result, error) {
		for _, phase := range []string{"queued", "loading", "loading", "generating", "generating"} {
			report(Progress{Phase: phase, Message: func() string { return phase }})
			if err := sleep(ctx, time.Second); err != nil {
				return Result{}, err
			}
		}
		return Result{}, nil
	}
	synctest.Test(t, func(t *testing.T) {
		var got []Change
		table := newTable(t, Options{Changed: func(c Change) { got = append(got, c) }})
		table.Start(t.Context(), Call{Owner: "ann"}, phases).Wait(t.Context(), time.Hour, nil)
		j := table.Start(t.Context(), Call{Owner: "ann"}, phases)
		s, _ := j.Wait(t.Context(), time.Second/2, nil)
		if s.Message == nil || s.Message() != "queued" {
			t.Errorf("Status of a job that is queued has message %p, want the one reported", s.Message)
		}
		<-j.done
		want := []Change{
			{"ann", s.ID, 1, Running, "loading"},
			{"ann", s.ID, 2, Running, "generating"},
			{"ann", s.ID, 3, Done, "generating"},
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if s := j.Status(); s.Seq != 3 || s.Message != nil {
			t.Errorf("after the end: Seq %d, Message %p; want 3 and none", s.Seq, s.Message)
		}
	})
}

// The end of the work does not overtake the news of a phase that another goroutine reports.
func TestChangesAreToldInOrder(t *testing.T) {
	begin, telling := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var got []int
	table := newTable(t, Options{Changed: func(c Change) {
		if c.State == Running {
			close(telling)
			for range 1000 { // the end may come now
				runtime.Gosched()
			}
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, c.Seq)
	}})
	var reporting sync.WaitGroup
	j := table.Start(t.Context(), Call{Owner: "ann"}, func(_ context.Context, report Report) (Result, error) {
		<-begin
		reporting.Go(func() { report(Progress{Phase: "generating"}) })
		<-telling
		return Result{}, nil
	})
	if s, err := j.Wait(t.Context(), 0, nil); err != nil || s.ID == "" {
		t.Fatalf("Wait(0) = %+v, %v, want a job", s, err)
	}
	close(begin)
	<-j.done
	reporting.Wait()
	if want := []int{1, 2}; !slices.Equal(got, want) {
		t.Errorf("numbers of the changes, as told = %v, want %v", got, want)
	}
}

// The last update has the message that was reported last, as it was at the end; one that
// panics harms nobody.
func TestLastMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{})
		told := func(message func() string) (last func() string) {
			j := table.Start(t.Context(), Call{Owner: "ann"}, func(_ context.Context, report Report) (Result, error) {
				report(Progress{Phase: "one", Message: func() string { return "first" }})
				report(Progress{Phase: "two", Message: message})
				return Result{}, nil
			})
			j.Wait(t.Context(), time.Hour, func(u Update) { last = u.Message })
			return last
		}
		start := time.Now()
		last := told(func() string { return time.Since(start).String() })
		time.Sleep(time.Hour)
		if last == nil || last() != "0s" {
			t.Errorf("the message an hour after the end is %q, want the last as it was then", last())
		}
		told(func() string { panic("no words") })
	})
}

// Several watchers, one of them slow, one late, one that leaves, and each gets the text.
func TestWatch(t *testing.T) {
	const text = "abcdefghij"
	synctest.Test(t, func(t *testing.T) {
		j := published(t, newTable(t, Options{}), "ann", answers(nil, strings.Split(text, "")...))
		watch := func(ctx context.Context, offset int, pause time.Duration) string {
			var b strings.Builder
			for u := range j.Watch(ctx, offset) {
				b.WriteString(u.Delta)
				time.Sleep(pause)
			}
			return b.String()
		}
		check := func(who, got, want string) {
			if got != want {
				t.Errorf("%s has seen %q, want %q", who, got, want)
			}
		}
		var watching sync.WaitGroup
		watching.Go(func() { check("the first", watch(t.Context(), 0, 0), text) })
		watching.Go(func() { check("the slow one", watch(t.Context(), 0, 3*time.Second), text) })
		watching.Go(func() { check("one from 4 on", watch(t.Context(), 4, 0), text[4:]) })
		watching.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
			defer cancel()
			check("the one who leaves", watch(ctx, 0, 0), text[:3])
		})
		<-j.done
		if took := j.Status().Ended.Sub(j.started); took != time.Duration(len(text))*time.Second {
			t.Errorf("the work took %s: a watcher held it up", took)
		}
		watching.Wait()
		check("one after the end", watch(t.Context(), 0, 0), text)
		check("one from beyond the end", watch(t.Context(), 99, 0), "")
		for u := range j.table.Start(t.Context(), Call{}, answers(nil)).Watch(t.Context(), 0) {
			t.Errorf("a call that reported nothing yielded %+v", u)
		}
		synctest.Wait()
		if n := len(j.watchers); n != 0 {
			t.Errorf("%d watchers are left", n)
		}
	})
}

// A text that grows too long loses its beginning, at a character; who watches misses nothing.
func TestLongText(t *testing.T) {
	tests := []struct {
		name     string
		o        Options
		words    []string
		text     string
		from     int
		followed string
	}{
		{"fits", Options{MaxText: 8}, []string{"abcd", "efgh"}, "abcdefgh", 0, "abcdefgh"},
		{"half goes", Options{MaxText: 8}, []string{"abcd", "efgh", "i"}, "efghi", 4, "abcdefghi"},
		{"characters stay whole", Options{MaxText: 8}, []string{"a€€", "bc"}, "€bc", 4, "a€€bc"},
		{"memory is short", Options{MaxBytes: 8}, []string{"abcd", "efgh", "i"}, "efghi", 4, "abcdefghi"},
		{"one is too long", Options{MaxText: 8}, []string{"abc", "0123456789", "d"}, "d", 13, "abcd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := newTable(t, test.o)
				j := published(t, table, "ann", answers(nil, test.words...))
				var followed strings.Builder
				for u := range j.Watch(t.Context(), 0) {
					followed.WriteString(u.Delta)
				}
				text, from := j.Text()
				if text != test.text || from != test.from || followed.String() != test.followed {
					t.Errorf("Text = %q from %d, followed %q; want %q from %d, %q",
						text, from, followed.String(), test.text, test.from, test.followed)
				}
			})
		})
	}
}

// What a wait was told that its caller gave up is told again: joined, what answered waits
// were told is the text.
func TestGivenUpWaitIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, Options{})
		j := published(t, table, "ann", func(_ context.Context, report Report) (Result, error) {
			for _, word := range []string{"a", "b", "c"} {
				report(Progress{Delta: word})
				time.Sleep(time.Second)
			}
			return Result{}, nil
		})
		var lost, heard strings.Builder
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err := j.Wait(ctx, time.Hour, func(u Update) { lost.WriteString(u.Delta) }); !errors.Is(err, context.DeadlineExceeded) || lost.Len() == 0 {
			t.Errorf("a wait that was given up = %v, told %q; want its context's error, and a part of the text", err, &lost)
		}
		for range 3 {
			if _, err := j.Wait(t.Context(), time.Second, func(u Update) { heard.WriteString(u.Delta) }); err != nil {
				t.Errorf("Wait = %v", err)
			}
		}
		if got := heard.String(); got != "abc" {
			t.Errorf("waits after one that was given up were told %q, want the text", got)
		}
	})
}
