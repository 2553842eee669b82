package resources

import (
	"context"
	"iter"
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
	told    chan Change
}

// maxTold is how many changes may wait to be passed on.
const maxTold = 1024

// NewWatcher makes a Watcher of a catalog's resources.
func NewWatcher(c *Catalog, o WatchOptions) *Watcher {
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	return &Watcher{c, o, make(chan Change, maxTold)}
}

// TellJob passes on the change of a job, numbered seq, to its owner. It never blocks. While
// nobody watches it does nothing that lasts.
func (w *Watcher) TellJob(owner, id string, seq int) {
	may := w.may(jobsTool)
	c := Change{URI: JobURI(id), Seq: seq, May: func(ctx context.Context) bool { return auth.FromContext(ctx).Name == owner && may(ctx) }}
	select {
	case w.told <- c:
	default:
	}
}

// firstPatience bounds how long a first look may hold up who wants to watch.
const firstPatience = time.Second / 2

// Watch looks, and yields what changes from then on until ctx ends. It is for one caller at
// a time. Its goroutine ends with the loop; a loop must be run, or ctx end.
func (w *Watcher) Watch(ctx context.Context) iter.Seq[Change] {
	w.forget()
	first, cancel := context.WithTimeout(ctx, firstPatience)
	defer cancel()
	before := w.look(first)
	return func(yield func(Change) bool) {
		ctx, stop := context.WithCancel(ctx)
		var polling sync.WaitGroup
		defer polling.Wait()
		defer stop()
		looks := make(chan *state)
		polling.Go(func() { w.poll(ctx, looks) })
		for {
			var changes []Change
			select {
			case <-ctx.Done():
				return
			case c := <-w.told:
				changes = append(changes, c)
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

// forget drops what was told while nobody watched.
func (w *Watcher) forget() {
	for range len(w.told) {
		<-w.told
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
