package ollama

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// lineKind is where the lines of a stream carry their text.
type lineKind struct {
	before, after string // what stands around the texts of a line in mid-stream
}

var (
	generateLine = lineKind{`,"response":"`, `,"done":false}`}
	chatLine     = lineKind{`,"message":{"role":"assistant","content":"`, `},"done":false}`}
)

var (
	errShape   = errors.New("not an answer of this kind")
	errTooLong = errors.New("a line is too long")
)

// lineReader reads lines of up to maxLine, in linear time and with a buffer that is as
// large as the longest line so far.
type lineReader struct {
	r    *bufio.Reader
	long []byte // a line that is longer than the buffer of r
}

// next returns a line, valid until the next call, and with it the error that ended it,
// if it was not a line feed.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return bytes.TrimSuffix(line, []byte("\n")), err
	}
	l.long = append(l.long[:0], line...)
	for err == bufio.ErrBufferFull {
		if len(l.long) > maxLine {
			return nil, errTooLong
		}
		line, err = l.r.ReadSlice('\n')
		l.long = append(l.long, line...)
	}
	return bytes.TrimSuffix(l.long, []byte("\n")), err
}

// more tells whether the next line has come already.
func (l *lineReader) more() bool {
	b, _ := l.r.Peek(l.r.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}

// delta is what a stream has brought and its consumer has not yet taken.
type delta struct {
	text, thinking []byte
	calls          []ToolCall
	lines          int
	done           *Done
}

// take empties d, keeping its buffers.
func (d *delta) take() Chunk {
	c := Chunk{Text: string(d.text), Thinking: string(d.thinking), ToolCalls: d.calls, Tokens: d.lines, Done: d.done}
	*d = delta{text: d.text[:0], thinking: d.thinking[:0]}
	return c
}

// add adds one line. An error leaves d as it was.
func (d *delta) add(kind lineKind, line []byte) error {
	if !d.scan(kind, line) {
		if err := d.decode(line); err != nil {
			return err
		}
	}
	d.lines++
	return nil
}

// scan adds a line that is exactly as Ollama writes a token in mid-stream, about twenty
// times as fast as decode does. It takes nothing of any other line.
func (d *delta) scan(kind lineKind, line []byte) bool {
	_, rest, ok := cutString(line, `{"model":"`)
	if !ok {
		return false
	}
	if _, rest, ok = cutString(rest, `,"created_at":"`); !ok {
		return false
	}
	text, rest, ok := cutString(rest, kind.before)
	if !ok {
		return false
	}
	var thinking []byte
	if t, r, ok := cutString(rest, `,"thinking":"`); ok {
		thinking, rest = t, r
	}
	if string(rest) != kind.after {
		return false
	}
	d.text = append(d.text, text...)
	d.thinking = append(d.thinking, thinking...)
	return true
}

// cutString cuts prefix, which ends in a quote, and the JSON string that it opens, from
// the front of b, and returns the string's value.
func cutString(b []byte, prefix string) (value, rest []byte, ok bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return nil, nil, false
	}
	rest = b[len(prefix):]
	plain, ascii := true, true
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			value, whole := rest[:i], b[len(prefix)-1:len(prefix)+i+1]
			if plain && (ascii || utf8.Valid(value)) {
				return value, rest[i+1:], true
			}
			var s string
			err := json.Unmarshal(whole, &s)
			return []byte(s), rest[i+1:], err == nil
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			plain = false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, nil, false
}

// decode adds any line of Ollama's.
func (d *delta) decode(line []byte) error {
	var l struct {
		Response  string          `json:"response"`
		Thinking  string          `json:"thinking"`
		ToolCalls []ToolCall      `json:"tool_calls"`
		Message   Message         `json:"message"`
		Last      *bool           `json:"done"`
		Error     json.RawMessage `json:"error"`
		Done
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return err
	}
	if l.Last == nil || l.Error != nil {
		return errShape
	}
	d.text = append(append(d.text, l.Response...), l.Message.Content...)
	d.thinking = append(append(d.thinking, l.Thinking...), l.Message.Thinking...)
	d.calls = append(append(d.calls, l.ToolCalls...), l.Message.ToolCalls...)
	if *l.Last {
		done := l.Done // not &l.Done, which would keep the line
		d.done = &done
	}
	return nil
}
