package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth bounds the nesting of objects and arrays in JSON from outside, and maxValues
// the values in it: each takes 80 bytes or so, and its text as few as two.
const (
	maxDepth  = 64
	maxValues = 1_000_000
)

// A kind of JSON value; each is named by the first byte of such a value.
type kind byte

const (
	null    kind = 'n'
	boolean kind = 't'
	number  kind = '0'
	text    kind = '"'
	array   kind = '['
	object  kind = '{'
)

// A value is parsed JSON. Unlike encoding/json it keeps duplicate names and the order
// and source text of everything.
type value struct {
	kind  kind
	raw   []byte   // its JSON text, a part of what was parsed
	names []string // names of an object's members, decoded
	items []value  // an array's elements, or the values of names
}

// parse parses one JSON value that is valid UTF-8, nested at most maxDepth deep, and
// with all in it at most maxValues values.
func parse(data []byte) (value, error) {
	if !utf8.Valid(data) {
		return value{}, errors.New("not valid UTF-8")
	}
	if !json.Valid(data) {
		return value{}, fmt.Errorf("not valid JSON: %w", json.Unmarshal(data, new(json.RawMessage)))
	}
	depth, values := measure(data)
	if depth > maxDepth {
		return value{}, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	if values > maxValues {
		return value{}, fmt.Errorf("too many: %d values, and at most %d are taken", values, maxValues)
	}
	return (&parser{data: data}).value(), nil
}

// measure returns how deep objects and arrays are nested in valid JSON, and how many
// values there are, names of members not counted.
func measure(data []byte) (depth, values int) {
	values = 1
	now, last := 0, byte(0) // last but for white space
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', '[':
			now++
			depth = max(depth, now)
			values++
		case '}', ']':
			now--
			if last == '{' || last == '[' {
				values-- // it is empty
			}
		case ',':
			values++
		case '"':
			i = stringEnd(data, i) - 1
		}
		last = c
	}
	return depth, values
}

// stringEnd returns the index after the string that starts at data[start].
func stringEnd(data []byte, start int) int {
	for i := start + 1; ; i++ {
		i += bytes.IndexByte(data[i:], '"')
		escapes := 0
		for data[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i + 1
		}
	}
}

// A parser walks JSON that is known to be valid, so nothing in it can fail.
type parser struct {
	data []byte
	pos  int
}

// next skips white space and separators and returns the byte it stopped at.
func (p *parser) next() byte {
	for bytes.IndexByte([]byte(" \t\r\n,:"), p.data[p.pos]) >= 0 {
		p.pos++
	}
	return p.data[p.pos]
}

func (p *parser) value() value {
	first := p.next()
	start := p.pos
	var v value
	switch first {
	case '{':
		v = p.object()
	case '[':
		v = p.array()
	case '"':
		v.kind = text
		p.pos = stringEnd(p.data, p.pos)
	default:
		v.kind = scalar(first)
		p.pos = p.scalarEnd()
	}
	v.raw = p.data[start:p.pos]
	return v
}

func (p *parser) object() value {
	v := value{kind: object}
	p.pos++
	for p.next() != '}' {
		v.names = append(v.names, p.value().text())
		v.items = append(v.items, p.value())
	}
	p.pos++
	return v
}

func (p *parser) array() value {
	v := value{kind: array}
	p.pos++
	for p.next() != ']' {
		v.items = append(v.items, p.value())
	}
	p.pos++
	return v
}

func scalar(first byte) kind {
	switch first {
	case 'n':
		return null
	case 't', 'f':
		return boolean
	}
	return number
}

func (p *parser) scalarEnd() int {
	if n := bytes.IndexAny(p.data[p.pos:], " \t\r\n,]}"); n >= 0 {
		return p.pos + n
	}
	return len(p.data)
}

// text returns the string that v is.
func (v value) text() string {
	inner := v.raw[1 : len(v.raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if err := json.Unmarshal(v.raw, &s); err != nil {
		panic("schema: valid JSON string does not decode: " + err.Error()) // cannot happen
	}
	return s
}

// holds returns the value whose JSON text is exactly what the string v holds.
func (v value) holds() (value, bool) {
	s := []byte(v.text())
	held, err := parse(s)
	return held, err == nil && len(held.raw) == len(s)
}
