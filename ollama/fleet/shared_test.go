package fleet

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// counting is a shared question whose answers count up; each takes as long as takes says.
func counting(t *testing.T, takes func(n int) time.Duration) *shared[int] {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	asked := 0
	return newShared(ctx, &wg, func(ctx context.Context) (int, error) {
		asked++
		n := asked
		select {
		case <-time.After(takes(n)):
			return n, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
}

func TestSharedAnswerIsNoOlderThanTheCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := counting(t, func(int) time.Duration { return 11 * time.Millisecond })
		var wg sync.WaitGroup
		got, at := make([]int, 9), make([]time.Duration, 9)
		begin := time.Now()
		for i := range got {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 4 * time.Millisecond) // asked at 0, 11, 22, 33, when nobody calls
				got[i], _ = s.get(t.Context())
				at[i] = time.Since(begin) / time.Millisecond
			})
		}
		wg.Wait()
		if diff := cmp.Diff([]int{1, 2, 2, 3, 3, 3, 4, 4, 4}, got); diff != "" {
			t.Errorf("answers to calls 4 ms apart, of questions of 11 ms (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{11, 22, 22, 33, 33, 33, 44, 44, 44}, at); diff != "" {
			t.Errorf("ms at which they came (-want +got):\n%s", diff)
		}
	})
}

func TestSlowAnswerHoldsUpNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := counting(t, func(n int) time.Duration {
			if n == 1 {
				return time.Hour
			}
			return 0
		})
		begin := time.Now()
		i := s.join(t.Context())
		synctest.Wait() // it is being asked
		if n, err := s.get(t.Context()); n != 2 || err != nil || time.Since(begin) != patience {
			t.Errorf("get beside a slow answer = %d, %v after %v, want 2 after %v", n, err, time.Since(begin), patience)
		}
		if <-i.done; i.answer != 1 || time.Since(begin) != time.Hour {
			t.Errorf("the slow answer = %d after %v, want 1 after 1h", i.answer, time.Since(begin))
		}
	})
}

func TestSharedQuestionOutlivesWhoAskedItFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := counting(t, func(int) time.Duration { return 10 * time.Millisecond })
		before := s.join(t.Context())
		synctest.Wait() // it is being asked
		ctx, cancel := context.WithCancel(t.Context())
		var first error
		var wg sync.WaitGroup
		wg.Go(func() { _, first = s.get(ctx) })
		synctest.Wait()
		second := s.join(t.Context())
		<-before.done
		synctest.Wait() // the two are being answered
		cancel()
		if <-second.done; second.answer != 2 || second.err != nil {
			t.Errorf("the second caller got %d, %v, want 2", second.answer, second.err)
		}
		if wg.Wait(); !errors.Is(first, context.Canceled) {
			t.Errorf("the first caller, who left, got %v, want %v", first, context.Canceled)
		}
	})
}

func TestCloseEndsSharedQuestions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := start(t, ollamatest.Script{AnswerDelay: time.Second}, Options{})
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := f.Models(t.Context()); !errors.Is(err, context.Canceled) {
				t.Errorf("Models while the fleet closes: %v, want %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		f.Close()
		if wg.Wait(); time.Since(begin) != 0 {
			t.Errorf("Close took %v, want it at once", time.Since(begin))
		}
	})
}

func TestCallsInFlightShareWhatTheyAskFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const calls = 16
		f, fake := start(t, ollamatest.Script{Slots: calls, AnswerDelay: 10 * time.Millisecond,
			Models: []ollamatest.FakeModel{{Name: "m", Loaded: true}}}, Options{})
		var wg sync.WaitGroup
		for range calls {
			wg.Go(func() {
				if _, err := text(t.Context(), f, &ollama.GenerateRequest{Model: "m:latest", Prompt: "x"}); err != nil {
					t.Errorf("Generate: %v", err)
				}
			})
			wg.Go(func() {
				if models, _, err := f.Models(t.Context()); len(models) != 1 || err != nil {
					t.Errorf("Models = %v, %v, want one", models, err)
				}
			})
		}
		wg.Wait()
		asked := fake.Seen().Requests
		if asked["/api/generate"] != calls || asked["/api/ps"] > 4 || asked["/api/tags"] > 3 {
			t.Errorf("%d generates and as many Models at once asked %v, want each generate, and ps and tags for all of them", calls, asked)
		}
	})
}
