package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

func TestSnapshotHoldsWhatTheHostSays(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		content := says{version: "0.34.4", models: []ollama.Model{{Name: "m", Digest: "d"}},
			loaded: []ollama.Running{{Name: "m", Digest: "d", ExpiresAt: time.Now().Add(time.Minute)}}}
		f := &fake{content: content}
		begin := time.Now()
		w := watch(t, f.host(), Options{})
		want := &Snapshot{State: Degraded, Since: begin, Why: "not asked yet", Breaker: Closed}
		if diff := cmp.Diff(want, w.Snapshot()); diff != "" {
			t.Errorf("Snapshot of a host that has not answered (-want +got):\n%s", diff)
		}
		pass(answer)
		want = &Snapshot{State: Up, Since: begin.Add(answer), Breaker: Closed,
			Version: content.version, Models: content.models, Loaded: content.loaded, Asked: begin}
		before := w.Snapshot()
		if diff := cmp.Diff(want, before); diff != "" {
			t.Errorf("Snapshot of a host that answers (-want +got):\n%s", diff)
		}
		f.change(says{version: "0.34.5"})
		pass(6*time.Second + answer)
		now := w.Snapshot()
		if len(now.Models) != 0 || len(now.Loaded) != 0 || len(before.Models) != 1 || len(before.Loaded) != 1 {
			t.Errorf("after the models have gone: now %v, %v, and the old snapshot %v, %v; want it unchanged, and none now",
				now.Models, now.Loaded, before.Models, before.Loaded)
		}
		f.change(content)
		pass(6*time.Second + answer)
		before = w.Snapshot()
		f.set("", errRefused)
		passUntil(t, w, Down)
		got := w.Snapshot()
		want = &Snapshot{State: Down, Since: got.Since, Why: errRefused.Error(), Breaker: Open, Failure: errRefused,
			Version: content.version, Models: content.models, Loaded: content.loaded, Asked: got.Asked}
		if diff := cmp.Diff(want, got, cmpopts.EquateErrors()); diff != "" || got.Asked.Before(before.Asked) || !got.Since.After(before.Since) {
			t.Errorf("Snapshot of a host that went down, with what it last said (-want +got):\n%s", diff)
		}
	})
}

func TestStates(t *testing.T) {
	after := func(d time.Duration) func(*Watcher, *fake) { return func(*Watcher, *fake) { pass(d) } }
	report := func(errs ...error) func(*Watcher, *fake) {
		return func(w *Watcher, _ *fake) {
			for _, err := range errs {
				w.Report(err)
			}
		}
	}
	poll := func(question string, err error) func(*Watcher, *fake) {
		return func(w *Watcher, f *fake) {
			f.set(question, err)
			w.Check()
			pass(minBackoff + answer)
		}
	}
	var done func()
	load := func(w *Watcher, _ *fake) { done = w.Load() }
	type step struct {
		do   func(*Watcher, *fake)
		want State
		why  string // part of it
	}
	for name, steps := range map[string][]step{
		"a poll is refused": {
			{poll("version", errRefused), Down, "unreachable"},
			{poll("version", nil), Up, ""},
		},
		"a call is refused": {
			{report(errRefused), Down, "unreachable"},
			{after(minBackoff*6/5 + answer), Up, ""}, // nothing but a reset: the next poll heals it
		},
		"version fails, but is not refused": {
			{poll("version", errBroken), Degraded, "failed"},
			{poll("version", errBroken), Degraded, "failed"},
			{poll("version", errBroken), Down, "failed"},
			{poll("version", nil), Up, ""},
		},
		"not an Ollama": {
			{poll("version", &ollama.Error{Kind: ollama.NotOllama, Status: 404}), Degraded, "not ollama"},
		},
		"calls fail": {
			{report(errCut), Degraded, "cut"},
			{report(errBroken), Degraded, "HTTP 500"},
			{report(errCut), Down, "cut"},
		},
		"calls fail and succeed": {
			{report(errCut, errCut), Degraded, "cut"},
			{report(nil), Up, ""},
			{report(errCut, errCut), Degraded, "cut"},
		},
		"calls fail again after a try": {
			{report(errCut, errCut), Degraded, "cut"},
			{after(minBackoff*2*6/5 + answer), Up, ""},
			{report(errCut), Down, "cut"}, // the third in a row
		},
		"a late success of a host that is down": {
			{report(errRefused, nil), Down, "unreachable"},
		},
		"tags fail": {
			{poll("tags", errBroken), Degraded, "failed"},
			{poll("tags", errBroken), Degraded, "failed"},
			{poll("tags", errBroken), Degraded, "failed"}, // never down: version is answered
			{poll("tags", nil), Up, ""},
		},
		"it goes down between the questions": {
			{poll("ps", errRefused), Down, "unreachable"},
		},
		"ps hangs": {
			{poll("ps", errHang), Up, ""},
			{after(2 * time.Second), Degraded, "ps on h: stalled: nothing came for 2s"},
			{load, Loading, "loaded"}, // that is why
		},
		"credentials are refused": {
			{poll("", errDenied), Unauthorized, "401"},
			{poll("", errHang), Unauthorized, "401"},
			{poll("", nil), Unauthorized, "401"}, // still asked, in vain
			{after(6 * time.Second), Up, ""},
		},
		"a call's credentials are refused, not the host's": {
			{report(errDenied), Up, ""},
			{after(minBackoff + answer), Up, ""},
		},
		"a call's credentials are refused, and the host's": {
			{func(_ *Watcher, f *fake) { f.set("", errDenied) }, Up, ""},
			{report(errDenied), Up, ""},
			{after(minBackoff + answer), Unauthorized, "401"},
		},
		"rate-limited": {
			{report(errLimited), RateLimited, "429"},
			{poll("version", nil), RateLimited, "429"}, // polls are not limited
			{report(nil), RateLimited, "429"},          // a call from before
			{report(errOverload), RateLimited, "429"},  // the longer holds
			{after(19 * time.Second), RateLimited, "429"},
			{after(time.Second), Up, ""},
		},
		"overloaded": {
			{report(errOverload), Busy, "503"},
			{after(999 * time.Millisecond), Busy, "503"},
			{after(time.Millisecond + answer), Up, ""},
		},
		"a proxy without a host behind it": {
			{poll("", errOverload), Busy, "503"},
			{after(time.Minute), Busy, "503"},
			{func(_ *Watcher, f *fake) { f.set("", nil) }, Busy, "503"},
			{after(time.Second + answer), Up, ""},
		},
		"a load": {
			{load, Loading, "loaded"},
			{after(time.Minute), Loading, "loaded"},
			{func(*Watcher, *fake) { done(); done() }, Up, ""},
			{load, Loading, "loaded"},
			{report(errCut), Degraded, "cut"},
		},
		"draining": {
			{func(w *Watcher, _ *fake) { w.Drain() }, Draining, "removed"},
			{report(errRefused), Draining, "removed"},
			{after(time.Minute), Draining, "removed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := &fake{}
				w := settled(t, f.host(), Options{})
				since := w.Snapshot()
				for i, s := range steps {
					s.do(w, f)
					got := w.Snapshot()
					if got.State != s.want || !strings.Contains(got.Why, s.why) || (got.Why == "") != (got.State == Up) {
						t.Fatalf("after step %d the host is %s: %q, want %s: …%s…", i, got.State, got.Why, s.want, s.why)
					}
					if since.State == got.State && got.State != Up && !got.Since.Equal(since.Since) {
						t.Errorf("after step %d the host is %s since %v, want since %v", i, got.State, got.Since, since.Since)
					}
					if paused := got.State == Busy || got.State == RateLimited; got.Until.IsZero() == paused {
						t.Errorf("after step %d the host is %s until %v", i, got.State, got.Until)
					}
					since = got
				}
			})
		})
	}
}

func TestUsable(t *testing.T) {
	want := map[State]bool{Up: true, Loading: true, Degraded: true,
		Busy: false, RateLimited: false, Unauthorized: false, Down: false, Draining: false}
	for s, want := range want {
		if got := s.Usable(); got != want {
			t.Errorf("%s: Usable = %v, want %v", s, got, want)
		}
	}
}

// dialTimeout says of itself, as the net package's does, that it is a context's deadline.
var dialTimeout = &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}

func TestWhatCountsAgainstAHost(t *testing.T) {
	kind := func(k ollama.Kind, status int) error {
		return fmt.Errorf("as the fleet wraps it: %w", &ollama.Error{Op: "chat", Kind: k, Status: status})
	}
	for _, c := range []struct {
		err  error
		want State
	}{
		{nil, Up},
		{context.Canceled, Up},
		{fmt.Errorf("chat on h: %w", context.DeadlineExceeded), Up},
		{errors.New("anything else"), Up},
		{kind(ollama.MissingModel, 404), Up},
		{kind(ollama.Invalid, 400), Up},
		{kind(ollama.Invalid, 500), Up},
		{kind(ollama.Unsupported, 400), Up},
		{kind(ollama.TooLong, 400), Up},
		{kind(ollama.LoadFailed, 500), Up},
		{kind(ollama.LoadFailed, 200), Up},
		{kind(ollama.NotOllama, 404), Up},
		{kind(ollama.NotOllama, 502), Down},
		{kind(ollama.NotOllama, 200), Down},
		{kind(ollama.NotOllama, 0), Down},
		{kind(ollama.Failed, 500), Down},
		{kind(ollama.Failed, 200), Up}, // an error line
		{kind(ollama.Stalled, 0), Down},
		{kind(ollama.Cut, 200), Down},
		{kind(ollama.Unreachable, 0), Down},
		{&ollama.Error{Kind: ollama.Unreachable, Err: dialTimeout}, Down},
		{kind(ollama.Unauthorized, 401), Up}, // for a poll to say
		{kind(ollama.Unauthorized, 403), Up},
		{kind(ollama.Busy, 200), Up}, // a transfer
		{kind(ollama.Busy, 429), RateLimited},
		{kind(ollama.Busy, 503), Busy},
	} {
		inBubble(t, func(t *testing.T) {
			w := settled(t, (&fake{}).host(), Options{})
			for range 3 {
				w.Report(c.err)
			}
			if got := w.Snapshot(); got.State != c.want {
				t.Errorf("after three times %v the host is %s (%s), want %s", c.err, got.State, got.Why, c.want)
			}
		})
	}
}

func TestPauseIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := settled(t, (&fake{}).host(), Options{})
		w.Report(&ollama.Error{Kind: ollama.Busy, Status: 429, RetryAfter: 24 * time.Hour})
		if got := time.Until(w.Snapshot().Until); got != maxPause {
			t.Errorf("a host that is rate-limited for a day is left alone for %v, want %v", got, maxPause)
		}
	})
}

// TestWithAClient has the errors of the real client, for a host that goes down and returns.
func TestWithAClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		host := ollamatest.NewPipeFake(ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "m", Loaded: true}}})
		t.Cleanup(host.Close)
		at, err := ollama.ParseHost(host.URL)
		if err != nil {
			t.Fatal(err)
		}
		c := ollama.NewClient(ollama.ClientOptions{Host: at, Dial: host.Dial})
		t.Cleanup(c.Close)
		w := settled(t, Host{Name: c.Name(), Version: c.Version, Tags: c.Tags, PS: c.PS}, Options{})
		passUntil(t, w, Up)
		if s := w.Snapshot(); len(s.Models) != 1 || len(s.Loaded) != 1 {
			t.Errorf("models %v, loaded %v, want one each", s.Models, s.Loaded)
		}
		down := func(f ...ollamatest.Fault) {
			host.Change(func(s *ollamatest.Script) {
				s.Faults = map[string]ollamatest.Fault{}
				for _, f := range f {
					s.Faults[""] = f
				}
			})
		}
		down(ollamatest.Down())
		_, err = c.PS(t.Context())
		if w.Report(err); w.Snapshot().State != Down {
			t.Errorf("after %v the host is %s, want %s", err, w.Snapshot().State, Down)
		}
		pass(time.Minute)
		down()
		if took := passUntil(t, w, Up); took > 5*time.Second {
			t.Errorf("the host was up %v after it had returned, want 5s at most", took)
		}
	})
}
