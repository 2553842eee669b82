package resources

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"ollama-mcp/transport/auth"
)

// DefaultPoll is how often a Watcher looks.
const DefaultPoll = 5 * time.Second

// Change is news for those who subscribed to a resource.
type Change struct {
	URI string                     // "" is the list of resources
	Seq int                        // counts the changes of a job from 1; 0 for other resources
	May func(context.Context) bool // whether the caller in ctx may hear of it; nil: everybody may
}

// WatchOptions tune a Watcher. The zero value works.
type WatchOptions struct {
	Poll time.Duration   // how often to look; 0 is DefaultPoll
	Look <-chan struct{} // each value makes it look at once: something here has changed what is loaded or installed
}

// Watcher finds out what changes. Make it with NewWatcher.
type Watcher struct {
	catalog *Catalog
	o       WatchOptions
	wake    chan struct{} // of capacity 1: something was told

	mu   sync.Mutex        // guards told
	told map[string]Change // what waits to be passed on, the latest of each URI; nil while nobody watches
}

// NewWatcher makes a Watcher of a catalog's resources.
func NewWatcher(c *Catalog, o WatchOptions) *Watcher {
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	return &Watcher{catalog: c, o: o, wake: make(chan struct{}, 1)}
}

// TellJob passes on the change of a job, numbered seq, to its owner. It never blocks. Of
// changes that wait it keeps each job's latest by number: that says all that the others
// would. While nobody watches it does nothing.
func (w *Watcher) TellJob(owner, id string, seq int) {
	may := w.may(jobsTool)
	c := Change{URI: JobURI(id), Seq: seq, May: func(ctx context.Context) bool { return auth.FromContext(ctx).Name == owner && may(ctx) }}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told == nil || w.told[c.URI].Seq > seq {
		return
	}
	w.told[c.URI] = c
	select {
	case w.wake <- struct{}{}:
	default: // who wakes will see this change too
	}
}

// listen keeps what is told from now on, or, with nil, nothing more. It returns what was kept.
func (w *Watcher) listen(told map[string]Change) (before map[string]Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, w.told = w.told, told
	return before
}

// firstPatience bounds how long a first look may hold up who wants to watch.
const firstPatience = time.Second / 2

// Watch looks, and yields what changes from then on until ctx ends. It is for one caller at
// a time. Its goroutine ends with the loop, which must be run.
func (w *Watcher) Watch(ctx context.Context) iter.Seq[Change] {
	w.listen(map[string]Change{})
	first, cancel := context.WithTimeout(ctx, firstPatience)
	defer cancel()
	before := w.look(first)
	return func(yield func(Change) bool) {
		ctx, stop := context.WithCancel(ctx)
		var polling sync.WaitGroup
		defer polling.Wait()
		defer stop()
		defer w.listen(nil)
		looks := make(chan *state)
		polling.Go(func() { w.poll(ctx, looks) })
		for {
			var changes []Change
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
				changes = slices.Collect(maps.Values(w.listen(map[string]Change{})))
			case now := <-looks:
				changes = w.diff(before, now)
				before = now.since(before)
			}
			for _, c := range changes {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// poll looks again and again.
func (w *Watcher) poll(ctx context.Context, looks chan<- *state) {
	for timer := time.NewTimer(w.o.Poll); ; timer.Reset(w.o.Poll) {
		select {
		case <-timer.C:
		case <-w.o.Look:
			timer.Stop()
		case <-ctx.Done():
			return
		}
		now := w.look(ctx)
		if now == nil {
			continue
		}
		select {
		case looks <- now:
		case <-ctx.Done():
			return
		}
	}
}
