package fleet

import (
	"context"
	"sync"
	"time"
)

// shared asks a host one question for many callers at a time, and yet nobody gets an
// answer that is older than their call: those who come while the question is being
// answered wait until it can be asked again, and share that answer. It must be made by
// newShared. The answers are shared and must not be changed.
type shared[T any] struct {
	life context.Context // ends what runs
	wg   *sync.WaitGroup // what runs
	ask  func(context.Context) (T, error)

	mu   sync.Mutex // guards what follows
	last *inquiry[T]
	next *inquiry[T] // not asked yet, so that callers may join it; nil when nobody waits
}

// inquiry is one time of asking.
type inquiry[T any] struct {
	done   chan struct{} // closed when what follows is final
	answer T
	err    error
}

// patience is how long an answer that does not come holds up the next time of asking.
const patience = 50 * time.Millisecond

func newShared[T any](life context.Context, wg *sync.WaitGroup, ask func(context.Context) (T, error)) *shared[T] {
	asked := &inquiry[T]{done: make(chan struct{})}
	close(asked.done)
	return &shared[T]{life: life, wg: wg, ask: ask, last: asked}
}

// get asks and waits for the answer, at most until ctx ends. What it began goes on then,
// because others may wait for it.
func (s *shared[T]) get(ctx context.Context) (answer T, err error) {
	i := s.join(ctx)
	select {
	case <-i.done:
		return i.answer, i.err
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// join returns the next inquiry. Of its callers the first lends it the values of ctx.
func (s *shared[T]) join(ctx context.Context) *inquiry[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		i, before := &inquiry[T]{done: make(chan struct{})}, s.last
		s.next = i
		s.wg.Go(func() {
			await(before.done, patience)
			s.run(context.WithoutCancel(ctx), i)
		})
	}
	return s.next
}

func (s *shared[T]) run(ctx context.Context, i *inquiry[T]) {
	defer close(i.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	s.mu.Lock()
	s.last, s.next = i, nil // whoever comes from here on may know more than the answer does
	s.mu.Unlock()
	i.answer, i.err = s.ask(ctx)
}

// await waits for done, but no longer than d.
func await(done <-chan struct{}, d time.Duration) {
	select {
	case <-done: // usually at once, and needs no timer
		return
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
