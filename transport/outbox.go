package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// maxWaiting is how many messages may wait for a client that does not read
// before no more of its own are taken.
const maxWaiting = 1024

// sink is where a connection's messages go, whole and in order. It is used by
// one goroutine.
type sink interface {
	// write calls it.done before the end of what it writes.
	write(it item) error
	flush() error
	// ping writes something that no client takes for a message, after a silence
	// of the connection. It is called only if Options.KeepAlive is set.
	ping() error
}

// item is one message on its way out.
type item struct {
	call  *Call    // whose it is; nil for the connection's own
	parts [][]byte // the message, in parts so that large ones need no copy
	last  bool     // the answer to a request
	code  int      // of a JSON-RPC error; 0: none
	news  bool     // a broadcast: one that waits already is not queued again
}

// done gives back what the call of an answer holds. A sink calls it just before the
// answer is complete: what a client does not read counts, but its next request may come
// as soon as it has the answer.
func (it item) done() {
	if it.last && it.call != nil {
		it.call.release()
	}
}

// outbox is the one ordered queue of what a connection sends. Messages are
// queued; progress is fetched from the calls when it is due and the sink is
// free, so no call ever waits for the client, and what was not sent yet merges.
type outbox struct {
	sink   sink
	o      *Options
	failed func(error)   // called once, when the sink fails; all later output is dropped
	wake   chan struct{} // of capacity 1
	done   chan struct{} // closed when run returns
	lost   atomic.Bool   // nobody reads any more: what is queued is dropped

	mu      sync.Mutex // guards the fields below
	queue   []item
	news    map[newsKey]bool   // the broadcasts in queue
	watched map[*Call]struct{} // the calls that want progress
	due     time.Time          // when one of them has something to send; zero: look
	told    bool               // what was taken last is progress
	full    chan struct{}      // closed when there is room again; nil while there is
	closed  bool
}

func newOutbox(s sink, o *Options, failed func(error)) *outbox {
	return &outbox{
		sink: s, o: o, failed: failed,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		news: map[newsKey]bool{}, watched: map[*Call]struct{}{},
	}
}

// put queues a message. It never blocks.
func (b *outbox) put(it item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if it.news {
		key := it.key()
		if b.news[key] {
			return
		}
		b.news[key] = true
	}
	b.queue = append(b.queue, it)
	if len(b.queue) >= maxWaiting && b.full == nil {
		b.full = make(chan struct{})
	}
	b.signal()
}

// newsKey identifies a broadcast. Streams have broadcasts of their own, also one that
// has the id of a cancelled one.
type newsKey struct {
	call *Call
	text string
}

func (it item) key() newsKey { return newsKey{it.call, string(it.parts[0])} }

// room waits while the client leaves too much unread.
func (b *outbox) room(ctx context.Context) {
	b.mu.Lock()
	full := b.full
	b.mu.Unlock()
	if full == nil {
		return
	}
	select {
	case <-full:
	case <-ctx.Done():
	}
}

// watch sends the progress of c, and its heartbeats, until unwatch.
func (b *outbox) watch(c *Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched[c] = struct{}{}
	b.look()
}

func (b *outbox) unwatch(c *Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.watched, c)
}

// poke says that a watched call has something new.
func (b *outbox) poke() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look()
}

// look must be called with mu held.
func (b *outbox) look() {
	b.due = time.Time{}
	b.signal()
}

func (b *outbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// close lets run return once all that is queued was written.
func (b *outbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.signal()
}

// drop lets go of all output, now and later.
func (b *outbox) drop() { b.lost.Store(true) }

// run writes until close. It is the only user of the sink.
func (b *outbox) run() {
	defer close(b.done)
	spoke, written := time.Now(), false
	for {
		it, wait, ok := b.next()
		var err error
		switch {
		case b.lost.Load():
			it.done()
		case ok:
			written = true
			err = b.emit(it)
		case written:
			spoke, written = time.Now(), false
			err = b.sink.flush()
		case b.o.KeepAlive > 0 && time.Since(spoke) >= b.o.KeepAlive:
			spoke = time.Now()
			err = b.sink.ping()
		}
		if err != nil && !b.lost.Swap(true) {
			b.failed(err)
		}
		if !ok && !b.sleep(b.silence(spoke, wait)) {
			return
		}
	}
}

// silence returns when to wake if nothing happens before: when progress is due, or
// a silence since spoke must end. Zero is never.
func (b *outbox) silence(spoke, due time.Time) time.Time {
	if b.o.KeepAlive <= 0 || b.lost.Load() {
		return due
	}
	if quiet := spoke.Add(b.o.KeepAlive); due.IsZero() || quiet.Before(due) {
		return quiet
	}
	return due
}

// emit writes it, unless its call was cancelled meanwhile.
func (b *outbox) emit(it item) error {
	defer it.done() // when it is not written whole
	if it.call != nil && it.call.silent.Load() {
		return nil
	}
	return b.sink.write(it)
}

// sleep waits for something to do until the given time, for ever if that is
// zero. It reports false when there will never be anything.
func (b *outbox) sleep(until time.Time) bool {
	b.mu.Lock()
	over := b.closed && len(b.queue) == 0
	b.mu.Unlock()
	if over {
		return false
	}
	var alarm <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-b.wake:
	case <-alarm:
	}
	return true
}

// next returns what to write now, or when to look again. Progress and the queue
// take turns: to a slow client there is always progress that is due.
func (b *outbox) next() (it item, wait time.Time, ok bool) {
	b.mu.Lock()
	var c *Call
	var u update
	told := !b.told || len(b.queue) == 0
	if told {
		c, u, told = b.dueProgress()
	}
	if b.told = told; !told && len(b.queue) > 0 {
		it, ok = b.pop(), true
	}
	wait = b.due
	b.mu.Unlock()

	if told {
		return item{call: c, parts: [][]byte{u.encode()}}, wait, true
	}
	return it, wait, ok
}

// pop must be called with mu held and a queue that is not empty.
func (b *outbox) pop() item {
	it := b.queue[0]
	b.queue[0] = item{} // lets go of the bytes
	if b.queue = b.queue[1:]; len(b.queue) == 0 {
		b.queue = nil
	}
	if it.news {
		delete(b.news, it.key())
	}
	if b.full != nil && len(b.queue) < maxWaiting/2 {
		close(b.full)
		b.full = nil
	}
	return it
}

// dueProgress takes an update that is due, and sets when the next one is. It
// must be called with mu held.
func (b *outbox) dueProgress() (*Call, update, bool) {
	if len(b.watched) == 0 {
		b.due = time.Time{}
		return nil, update{}, false
	}
	now := time.Now()
	if b.due.After(now) {
		return nil, update{}, false
	}
	b.due = time.Time{}
	for c := range b.watched {
		due := c.progress.due(b.o)
		if !due.After(now) {
			if u, ok := c.progress.take(now); ok {
				b.due = time.Time{} // another may be due too
				return c, u, true
			}
			continue
		}
		if b.due.IsZero() || due.Before(b.due) {
			b.due = due
		}
	}
	return nil, update{}, false
}
