// Package cache keeps what Ollama answered, for calls that ask the same again: vectors of
// texts, which are also shared while they are on their way, and answers that would come out
// the same. It owns what may be kept, for whom, and how much. It knows neither hosts nor
// which calls want to be answered from memory.
package cache

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// sum stands for all that an answer depends on. SHA-256 holds against somebody who looks for
// two questions with one sum.
type sum [sha256.Size]byte

// lru keeps values of up to max bytes in all; those that were not put for the longest time go
// first. It is safe for concurrent use; it must be made by newLRU.
type lru struct {
	max int64

	mu    sync.Mutex // guards what follows, and the pages
	bytes int64      // of all pages
	pages list.List  // of *page, the last one put first
	at    map[sum]place
}

// page is what was put at a time: one piece of memory, which goes as a whole.
type page struct {
	value  any
	bytes  int64
	places []place
	left   int // of them, those that no later page has
}

// place is where in which page something is.
type place struct {
	sum  sum
	i    int
	page *list.Element
}

func newLRU(max int64) *lru {
	return &lru{max: max, at: map[sum]place{}}
}

// placeBytes is about what a place costs, in its page and in the map.
const placeBytes = 192

// put keeps a value of some bytes, in which a place's i is what its sum stands for. Earlier
// pages no longer have these sums: whoever uses something puts it again. It owns places now.
func (l *lru) put(value any, bytes int64, places []place) {
	bytes += int64(len(places)) * placeBytes
	if len(places) == 0 || bytes > l.max {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &page{value: value, bytes: bytes, places: places}
	e := l.pages.PushFront(p)
	l.bytes += bytes
	for i := range places {
		places[i].page = e
		p.left++
		l.release(places[i].sum)
		l.at[places[i].sum] = places[i]
	}
	for l.bytes > l.max {
		l.remove(l.pages.Back())
	}
}

// release takes a sum from the page that has it, and that away when it was the last.
func (l *lru) release(s sum) {
	had, ok := l.at[s]
	if !ok {
		return
	}
	p := had.page.Value.(*page)
	if p.left--; p.left == 0 {
		l.remove(had.page)
	}
}

func (l *lru) remove(e *list.Element) {
	p := l.pages.Remove(e).(*page)
	l.bytes -= p.bytes
	for _, at := range p.places {
		if l.at[at.sum].page == e {
			delete(l.at, at.sum)
		}
	}
}

// find returns the value that has a sum, and where in it.
func (l *lru) find(s sum) (value any, i int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.at[s]
	if !ok {
		return nil, 0, false
	}
	return at.page.Value.(*page).value, at.i, true
}

// Stats are a moment of a cache.
type Stats struct {
	Bytes, Max int64 // held, and allowed
	Entries    int   // texts or answers
}

func (l *lru) stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Bytes: l.bytes, Max: l.max, Entries: len(l.at)}
}
