package jobs

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// All functions of this file but expire want t.mu held.

// publish makes a call a job if there is room, and reports whether it has.
func (t *Table) publish(j *Job) bool {
	if !t.mayRun(j.call) || !t.room(j.call.Bytes) || len(t.jobs) >= t.opts.Max && !t.evict((*Job).one) {
		return false
	}
	j.id = strings.ToLower(rand.Text()) // base32 of at least 128 random bits
	t.jobs[j.id] = j
	t.bytes += j.call.Bytes
	return true
}

// mayRun reports whether one more job may run. What the jobs that run hold must leave room
// for text and results, and those of one owner for others.
func (t *Table) mayRun(c Call) bool {
	number, own, all := 0, c.Bytes, c.Bytes
	for j := range t.running {
		if j.id == "" {
			continue
		}
		all += j.call.Bytes
		if j.call.Owner == c.Owner {
			own += j.call.Bytes
			number++
		}
	}
	return number < t.opts.MaxRunning && all <= t.opts.MaxBytes/2 && own <= t.opts.MaxBytes/4
}

// evict drops an ended job, if there is one: the oldest of the owner whose jobs, those that run
// too, hold most of what there is too much of. So who holds little loses nothing to who
// holds much.
func (t *Table) evict(holds func(*Job) int64) bool {
	held := map[string]int64{}
	for _, j := range t.jobs {
		held[j.call.Owner] += holds(j)
	}
	at := 0
	for i, j := range t.ended {
		if held[j.call.Owner] > held[t.ended[at].call.Owner] {
			at = i
		}
	}
	return t.forget(at)
}

// one and bytes are what a job holds of the table.
func (j *Job) one() int64 { return 1 }
func (j *Job) bytes() int64 {
	n := int64(len(j.text)) + j.result.Bytes
	if j.state == Running {
		n += j.call.Bytes
	}
	return n
}

// forget drops the i-th of the ended, if there are so many.
func (t *Table) forget(i int) bool {
	if i >= len(t.ended) {
		return false
	}
	j := t.ended[i]
	t.ended = slices.Delete(t.ended, i, i+1)
	delete(t.jobs, j.id)
	t.bytes -= j.bytes()
	return true
}

// room makes room for n more bytes of what has ended, if that is enough.
func (t *Table) room(n int64) bool {
	over := t.bytes + n - t.opts.MaxBytes
	if over <= 0 {
		return true
	}
	for _, j := range t.ended {
		over -= j.bytes()
	}
	if over > 0 {
		return false
	}
	for t.bytes+n > t.opts.MaxBytes {
		t.evict((*Job).bytes)
	}
	return true
}

// write appends to the text of a job. Its end is worth more than its beginning, which
// whoever watches has seen.
func (t *Table) write(j *Job, delta string) {
	room := t.room(int64(len(delta)))
	if !room || len(j.text)+len(delta) > t.opts.MaxText {
		t.drop(j, len(j.text)/2)
		room = t.room(int64(len(delta)))
	}
	if !room || len(j.text)+len(delta) > t.opts.MaxText {
		t.drop(j, len(j.text))
		j.dropped += len(delta)
		return
	}
	j.text = append(j.text, delta...)
	t.bytes += int64(len(delta))
}

// drop drops the first n bytes of a job's text, and the rest of a character cut there.
func (t *Table) drop(j *Job, n int) {
	for n < len(j.text) && !utf8.RuneStart(j.text[n]) {
		n++
	}
	j.text = slices.Clone(j.text[n:])
	j.dropped += n
	t.bytes -= int64(n)
}

// keep takes over what has ended: all of a job, nothing of a call.
func (t *Table) keep(j *Job) {
	if j.id == "" {
		t.bytes -= int64(len(j.text))
		return
	}
	t.bytes -= j.call.Bytes
	if !t.room(j.result.Bytes) {
		j.state, j.result, j.err = Failed, Result{}, ErrTooLarge
	}
	t.bytes += j.result.Bytes
	t.ended = append(t.ended, j)
	t.arm()
}

// arm sets the timer for the job that expires first.
func (t *Table) arm() {
	if len(t.ended) == 0 || t.closed {
		return
	}
	d := time.Until(t.ended[0].ended.Add(t.opts.TTL))
	if t.sweep == nil {
		t.sweep = time.AfterFunc(d, t.expire)
		return
	}
	t.sweep.Reset(d)
}

// expire drops the jobs whose time is over.
func (t *Table) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.ended) > 0 && time.Since(t.ended[0].ended) >= t.opts.TTL {
		t.forget(0)
	}
	t.arm()
}
