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
	if t.runningOf(j.call.Owner) >= t.opts.MaxRunning || len(t.jobs) >= t.opts.Max && !t.evict() {
		return false
	}
	j.id = strings.ToLower(rand.Text()) // base32 of at least 128 random bits
	t.jobs[j.id] = j
	return true
}

// runningOf returns how many jobs of an owner run.
func (t *Table) runningOf(owner string) (n int) {
	for j := range t.running {
		if j.id != "" && j.call.Owner == owner {
			n++
		}
	}
	return n
}

// evict drops the job that ended first, if any has.
func (t *Table) evict() bool {
	if len(t.ended) == 0 {
		return false
	}
	j := t.ended[0]
	t.ended = slices.Delete(t.ended, 0, 1)
	delete(t.jobs, j.id)
	t.bytes -= int64(len(j.text)) + j.result.Bytes
	return true
}

// room drops ended jobs until there is room for n more bytes, if it can.
func (t *Table) room(n int64) bool {
	for t.bytes+n > t.opts.MaxBytes {
		if n > t.opts.MaxBytes || !t.evict() {
			return false
		}
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
		t.evict()
	}
	t.arm()
}
