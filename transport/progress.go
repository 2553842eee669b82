package transport

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// The keys of _meta that tell a client which request a notification or result
// belongs to, its place in that request's order (from 1, without a gap), what
// the call is doing, and the text that came since the notification before.
const (
	metaRequestID = "ollama-mcp/requestId"
	metaSeq       = "ollama-mcp/seq"
	metaPhase     = "ollama-mcp/phase"
	metaDelta     = "ollama-mcp/delta"
)

// progressStep is what a notification adds to the value of the one before when
// nothing has moved, because the specification wants each to be greater:
// https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress
const progressStep = 0.001

// maxProgress is the largest progress sent, about where floats stop being exact
// for whole numbers.
const maxProgress = 1 << 53

const maxProgressMessage = 200 // characters

// answerDelay is how long after a call's last notification its answer goes out.
// Clients built on the TypeScript SDK hand notifications to a microtask but an
// answer to its call at once, and so lose progress that they read together with
// the answer: https://github.com/modelcontextprotocol/typescript-sdk/issues/2580
const answerDelay = 10 * time.Millisecond

// progress is what a call has to tell and has not told yet. Reports merge into
// it until the connection's writer takes it, so a client that reads slowly
// costs no more than the text it has still to get.
type progress struct {
	token     json.RawMessage // nil when the client wants none; never changes
	requestID string          // never changes

	mu      sync.Mutex // guards the fields below
	now     standing   // as reported last
	delta   []byte
	message func() string
	dirty   bool // something was reported since sent
	ended   bool
	seq     int      // of what was sent last
	told    standing // when that was sent
	value   float64  // in that
	sent    time.Time
	quiet   time.Time // since when nothing was sent
}

// standing is where a call stands.
type standing struct {
	done, total float64
	phase       string
}

// update is one progress notification, numbered and not yet encoded.
type update struct {
	from         *progress
	seq          int
	value, total float64
	phase, delta string
	message      func() string
}

// report merges one report. It tells whether there was nothing to send before.
func (p *progress) report(done, total float64, phase, delta string, message func() string) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	p.now, p.message = standing{done, total, phase}, message
	p.delta = append(p.delta, delta...)
	first, p.dirty = !p.dirty, true
	return first
}

// due returns when the next notification is to be sent.
func (p *progress) due(o *Options) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirty {
		return p.sent.Add(o.ProgressInterval)
	}
	return p.quiet.Add(o.Heartbeat)
}

// take numbers what is to be told now, or where the call stands if that is
// nothing new. It reports false once the call has ended.
func (p *progress) take(now time.Time) (update, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return update{}, false
	}
	whole := completeUTF8(p.delta)
	u := p.next(string(p.delta[:whole]))
	p.delta = append(p.delta[:0], p.delta[whole:]...)
	p.sent, p.quiet = now, now
	return u, true
}

// end makes later reports void. It returns the last update, if there is something
// new to say, the number that comes after it, and the time before which the
// answer must not follow: zero if nothing was ever sent.
func (p *progress) end(now time.Time) (last *update, seq int, answer time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if len(p.delta) > 0 || p.dirty && (p.seq == 0 || p.now != p.told) {
		u := p.next(string(p.delta))
		last, p.delta = &u, nil
		p.sent = now
	}
	if p.seq > 0 {
		answer = p.sent.Add(answerDelay)
	}
	return last, p.seq + 1, answer
}

// next must be called with mu held.
func (p *progress) next(delta string) update {
	value := min(max(p.now.done, 0), maxProgress)
	if math.IsNaN(value) {
		value = 0
	}
	if p.seq > 0 && value <= p.value {
		value = math.Round((p.value+progressStep)*1000) / 1000
		if value <= p.value { // the step was lost in rounding, beyond 2^43 or so
			value = math.Nextafter(p.value, math.Inf(1))
		}
	}
	p.seq++
	p.value, p.told, p.dirty = value, p.now, false
	u := update{from: p, seq: p.seq, value: value, phase: p.now.phase, delta: delta, message: p.message}
	if total := p.now.total; total > 0 && !math.IsInf(total, 0) {
		u.total = max(total, value)
	}
	return u
}

// completeUTF8 returns the length of b without a character cut off at its end.
func completeUTF8(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return len(b) - i
			}
			break
		}
	}
	return len(b)
}

// encode returns the notification. The token is the client's, byte for byte.
func (u update) encode() []byte {
	b := make([]byte, 0, 256+len(u.delta))
	b = append(b, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"_meta":{"`+metaRequestID+`":`...)
	b = appendString(b, u.from.requestID)
	b = append(b, `,"`+metaSeq+`":`...)
	b = strconv.AppendInt(b, int64(u.seq), 10)
	if u.phase != "" {
		b = appendString(append(b, `,"`+metaPhase+`":`...), u.phase)
	}
	if u.delta != "" {
		b = appendString(append(b, `,"`+metaDelta+`":`...), u.delta)
	}
	b = append(b, '}')
	if line := u.line(); line != "" {
		b = appendString(append(b, `,"message":`...), line)
	}
	b = append(b, `,"progress":`...)
	b = strconv.AppendFloat(b, u.value, 'f', -1, 64)
	b = append(b, `,"progressToken":`...)
	b = append(b, u.from.token...)
	if u.total > 0 {
		b = append(b, `,"total":`...)
		b = strconv.AppendFloat(b, u.total, 'f', -1, 64)
	}
	return append(b, `}}`...)
}

// line returns the message as one short line. A message that panics is left
// out: it would take the connection's writer with it.
func (u update) line() (line string) {
	if u.message == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			line = ""
		}
	}()
	n := 0
	return strings.Map(func(r rune) rune {
		if n == maxProgressMessage || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		n++
		return r
	}, u.message())
}

func appendString(b []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string always marshals
	return append(b, quoted...)
}
