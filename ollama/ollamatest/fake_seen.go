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
	// RequestIDs are the X-Request-ID headers of the latest 1000 requests, "" where there was none.
	RequestIDs []string

	Aborts       []Abort // clients that left before their answer ended
	Loads        int     // loads that ended well; those at the start do not count
	LoadsAborted int     // loads that ended because the client who asked left
	Unloads      int     // by request, by reload, and by keep_alive
	Downloads    int     // transfers that began; pulls that share one count once
	Active       int     // generations, chats and embeddings that have a slot now
	Waiting      int     // those that wait for a load or a slot now
	Peak         int     // the largest Active so far
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

const requestIDsKept = 1000

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
	s.RequestIDs = slices.Clone(s.RequestIDs)
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
	if len(s.RequestIDs) == requestIDsKept {
		s.RequestIDs = slices.Delete(s.RequestIDs, 0, 1)
	}
	s.RequestIDs = append(s.RequestIDs, r.Header.Get("X-Request-ID"))
}
