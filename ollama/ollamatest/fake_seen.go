package ollamatest

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Seen is what a fake saw, up to one moment. All maps are by path.
type Seen struct {
	Requests map[string]int         // that arrived whole
	Answered map[string]int         // whose answer was written to its end
	Last     map[string]SeenRequest // the latest one
	Arrivals []Arrival              // the latest 10,000 requests
	Models   map[string]SeenModel   // by canonical name: those of which something was asked

	Aborts       []Abort // clients that left before their answer ended
	Loads        int     // loads that ended well; those at the start do not count
	LoadsAborted int     // loads that ended because the client who asked left
	Unloads      int     // by request, by reload, by keep_alive, and to make room
	Evictions    int     // those to make room
	Downloads    int     // transfers that began; pulls that share one count once
	Active       int     // generations, chats and embeddings that have a slot now
	Waiting      int     // those that wait for a load or a slot now
	Peak         int     // the largest Active so far
}

// Arrival is a request that arrived whole.
type Arrival struct {
	Path      string
	RequestID string // its X-Request-ID, "" where there was none
	At        time.Time
}

// SeenModel is what was asked of a model. Calls are generations, chats and embeds, not those that only load or unload.
type SeenModel struct {
	Calls int
	Now   int // calls that run, or wait for a load or slot, now
	Most  int // the largest Now so far
	Loads int // that ended well
}

// SeenRequest is what a request carried.
type SeenRequest struct {
	Header        http.Header
	Body          []byte
	ContentLength int64 // -1 when the body came in chunks
}

// Abort is a client that closed its connection before the answer ended.
type Abort struct {
	Path string
	At   time.Time // when the fake noticed
}

const arrivalsKept = 10_000

// Seen returns what the fake saw so far.
func (f *Fake) Seen() Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshot()
}

// snapshot wants f.mu locked.
func (f *Fake) snapshot() Seen {
	s := f.seen
	s.Requests = maps.Clone(s.Requests)
	s.Answered = maps.Clone(s.Answered)
	s.Last = maps.Clone(s.Last)
	s.Arrivals = slices.Clip(s.Arrivals) // what is there is never changed
	s.Models = maps.Clone(s.Models)
	s.Aborts = slices.Clone(s.Aborts)
	return s
}

// Await waits until ok says yes to what was seen so far. Its error is the context's.
func (f *Fake) Await(ctx context.Context, ok func(Seen) bool) error {
	return f.await(ctx, func() bool { return ok(f.snapshot()) })
}

// await waits until ok, called with f.mu locked, says yes.
func (f *Fake) await(ctx context.Context, ok func() bool) error {
	for {
		f.mu.Lock()
		yes, changed := ok(), f.changed
		f.mu.Unlock()
		if yes {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notify wakes who awaits. It wants f.mu locked.
func (f *Fake) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// note records something in f.seen.
func (f *Fake) note(record func(*Seen)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	record(&f.seen)
	f.notify()
}

// arrived records a request.
func (s *Seen) arrived(r *http.Request, body []byte) {
	if s.Requests == nil {
		s.Requests, s.Answered, s.Last = map[string]int{}, map[string]int{}, map[string]SeenRequest{}
	}
	path := r.URL.Path
	s.Requests[path]++
	s.Last[path] = SeenRequest{Header: r.Header.Clone(), Body: body, ContentLength: r.ContentLength}
	if len(s.Arrivals) == arrivalsKept {
		s.Arrivals = s.Arrivals[1:]
	}
	s.Arrivals = append(s.Arrivals, Arrival{Path: path, RequestID: r.Header.Get("X-Request-ID"), At: time.Now()})
}

// model changes what was seen of a model.
func (s *Seen) model(name string, change func(*SeenModel)) {
	if s.Models == nil {
		s.Models = map[string]SeenModel{}
	}
	m := s.Models[name]
	change(&m)
	s.Models[name] = m
}

// calling counts a call of a model from now until the function that it returns is called.
func (f *Fake) calling(model string) (over func()) {
	count := func(n int) {
		f.note(func(s *Seen) {
			s.model(model, func(m *SeenModel) {
				m.Calls += max(n, 0)
				m.Now += n
				m.Most = max(m.Most, m.Now)
			})
		})
	}
	count(1)
	return func() { count(-1) }
}
