package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// chats is the model that all hosts of a siege have, beside the one that embeds.
const chats = ollama.Name("m0:latest")

// siege is a fleet under load while one of its hosts falls ill.
type siege struct {
	*rig
	begun time.Time
	sick  *node

	mu     sync.Mutex // guards what follows
	lost   []string   // generations that ended in an error, past their first token
	failed []error    // what must not fail
}

// besiege begins a load of all kinds that three hosts bear and two can, too.
func besiege(t *testing.T, ctx context.Context, wg *sync.WaitGroup) *siege {
	s := &siege{rig: newRig(t, 3, fleet.Options{}, func(_ int, script *ollamatest.Script, h *fleet.Host) {
		h.Parallel, h.MaxLoaded = 4, 2
		*script = ollamatest.Script{
			Models:     []ollamatest.FakeModel{{Name: string(chats), Loaded: true}, {Name: "e", Capabilities: []string{"embedding"}, Loaded: true}},
			Slots:      4,
			FirstDelay: 200 * time.Millisecond, TokenDelay: 50 * time.Millisecond, LoadDelay: 500 * time.Millisecond,
			AnswerDelay: 5 * time.Millisecond,
		}
	})}
	s.sick = s.nodes[1]
	s.settle()
	s.begun = time.Now()
	for i := range 4 {
		s.repeat(ctx, wg, func(ctx context.Context) error {
			o := s.generate(ctx, chats, fmt.Sprint("prompt of ", i))
			return s.judge(o)
		})
		s.repeat(ctx, wg, func(ctx context.Context) error {
			return s.judge(s.chat(ctx, chats, fmt.Sprint("message of ", i)))
		})
	}
	s.repeat(ctx, wg, func(ctx context.Context) error { // of what the fleet asks all the time anyway: not marked
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		models, _, err := s.Models(ctx)
		if err == nil && len(models) == 0 {
			err = errors.New("no models")
		}
		return wrap("list", err)
	})
	s.repeat(ctx, wg, func(ctx context.Context) error {
		ctx, cancel := s.mark(ctx)
		defer cancel()
		_, err := s.Show(ctx, chats, false)
		return wrap("show", err)
	})
	s.repeat(ctx, wg, func(ctx context.Context) error { return wrap("embed", s.embed(ctx, "e:latest", 3)) })
	s.repeat(ctx, wg, s.rank)
	return s
}

// repeat makes calls one after the other until ctx ends; those that have begun end by themselves.
func (s *siege) repeat(ctx context.Context, wg *sync.WaitGroup, call func(context.Context) error) {
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := call(context.WithoutCancel(ctx)); err != nil {
				s.mu.Lock()
				s.failed = append(s.failed, fmt.Errorf("%v after the start: %w", time.Since(s.begun), err))
				s.mu.Unlock()
			}
			time.Sleep(150 * time.Millisecond)
		}
	})
}

func wrap(op string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", op, err)
	}
	return err
}

// judge lets pass a generation that was lost past its first token, and ended in an error of the host.
func (s *siege) judge(o outcome) error {
	var e *ollama.Error
	switch {
	case o.err == nil && o.text != "":
		return nil
	case o.text == "", !errors.As(o.err, &e), e.Host != s.sick.name():
		return fmt.Errorf("a generation on %s: got %q, %w; want text, or lost on %s past the first token", o.host(), o.text, o.err, s.sick.name())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = append(s.lost, fmt.Sprintf("%q and then %v", o.text, o.err))
	return nil
}

// rank embeds as rank does: many small requests at once, of which none may fail.
func (s *siege) rank(ctx context.Context) error {
	const chunks = 5
	errs := make([]error, chunks)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = s.embed(ctx, "e:latest", 8) })
	}
	wg.Wait()
	return wrap("rank", errors.Join(errs...))
}

// TestOneOfThreeFallsIll: nothing that can be made again fails, no call goes to the host a second after it fell ill, and
// calls go there within 5 s when it is well again.
func TestOneOfThreeFallsIll(t *testing.T) {
	cut, crash := ollamatest.CutAfter(3), ollamatest.Crash()
	denied := ollamatest.Status("401", http.StatusUnauthorized, "application/json", `{"error":"unauthorized"}`, ollama.Unauthorized)
	killed, hang, cutAtOnce := ollamatest.Killed(), ollamatest.Hang(), ollamatest.CutAfter(0)
	for _, test := range []struct {
		name  string
		fault ollamatest.Fault
		paths []string // nil: all
		lost  int      // generations that may be lost
		late  int      // calls that may still reach it
	}{
		{"killed", killed, nil, 4, 0},
		{"hangs", hang, nil, 4, 0},
		{"cuts", cut, nil, 8, 0},
		{"cuts before the first line", cutAtOnce, nil, 0, 0},
		{"500", crash, nil, 0, 0},
		{"401", denied, nil, 0, 0},
		// Where all looks well, calls alone can try the host: now and then.
		{"500 of what models do", crash, []string{"/api/generate", "/api/chat", "/api/embed"}, 0, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var wg sync.WaitGroup
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				s := besiege(t, ctx, &wg)
				time.Sleep(7300 * time.Millisecond) // between polls, and in mid-call
				begun := time.Now()
				if s.sick.fault(&test.fault, test.paths...); len(s.sick.arrivals(time.Time{}, begun)) == 0 {
					t.Error("no call reached the host when it was well")
				}
				time.Sleep(12 * time.Second)
				over := time.Now()
				s.sick.fault(nil)
				s.bringBack(ctx)
				time.Sleep(6 * time.Second)
				stop()
				wg.Wait()
				s.idle()
				late := s.sick.arrivals(begun.Add(time.Second), over)
				if test.paths != nil {
					late = slices.DeleteFunc(late, func(a arrival) bool { return !slices.Contains(test.paths, a.path) })
				}
				if len(late) > test.late {
					t.Errorf("%d calls reached %s more than a second after it fell ill, want at most %d: %v",
						len(late), s.sick.name(), test.late, s.tell(late, begun))
				}
				if len(s.sick.arrivals(over, over.Add(5*time.Second))) == 0 {
					t.Errorf("no call reached %s within 5 s when it was well again", s.sick.name())
				}
				if len(s.failed) > 0 {
					t.Errorf("%d calls failed, want none: %q", len(s.failed), s.failed[:min(5, len(s.failed))])
				}
				if len(s.lost) > test.lost {
					t.Errorf("%d generations were lost, want at most %d: %q", len(s.lost), test.lost, s.lost)
				}
			})
		})
	}
}

// tell says what came when after a time.
func (s *siege) tell(all []arrival, since time.Time) (told []string) {
	for _, a := range all {
		began, _ := s.began.Load(a.call)
		told = append(told, fmt.Sprintf("%s %s after %v, of a call begun after %v", a.call, a.path, a.at.Sub(since), began.(time.Time).Sub(since)))
	}
	return told
}

// bringBack makes calls that only the sick host may take, because what it had loaded may be gone and the others are as
// good, until one is answered.
func (s *siege) bringBack(ctx context.Context) {
	begun := time.Now()
	ctx = fleet.WithCaller(ctx, fleet.Caller{Name: "picky", Tags: []string{s.sick.name()}})
	for {
		o := s.generate(ctx, chats, "are you well?")
		if o.err == nil {
			if o.host() != s.sick.name() {
				s.t.Errorf("a call for %s ran on %s", s.sick.name(), o.host())
			}
			return
		}
		if time.Since(begun) > 20*time.Second {
			s.t.Errorf("a call for %s, 20 s after it was well again: %v", s.sick.name(), o.err)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
