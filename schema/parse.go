package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth bounds the nesting of objects and arrays in JSON from outside.
const maxDepth = 64

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

// parse parses one JSON value that is valid UTF-8 and nested at most maxDepth deep.
func parse(data []byte) (value, error) {
	if !utf8.Valid(data) {
		return value{}, errors.New("not valid UTF-8")
	}
	if !json.Valid(data) {
		return value{}, fmt.Errorf("not valid JSON: %w", json.Unmarshal(data, new(json.RawMessage)))
	}
	if depth(data) > maxDepth {
		return value{}, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	return (&parser{data: data}).value(), nil
}

// depth returns how deep objects and arrays are nested in valid JSON.
func depth(data []byte) int {
	deepest, now := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			now++
			deepest = max(deepest, now)
		case '}', ']':
			now--
		case '"':
			i = stringEnd(data, i) - 1
		}
	}
	return deepest
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
