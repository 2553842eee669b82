package transport

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"
)

// maxDepth is how deep objects and arrays of a message may nest.
const maxDepth = 64

// maxPlain is how long a number without an exponent can be and surely fit a
// float64, which ends at 1.8e308.
const maxPlain = 300

// scanner walks over one JSON text (RFC 8259) without building anything.
type scanner struct {
	data []byte
	pos  int

	msg                              message
	version, hasID, badID, hasMethod bool
	bad                              *rpcError // the first rule broken, other than the grammar
	tooLarge                         *rpcError // a number that no float64 holds
}

func (s *scanner) broken(err *rpcError) {
	if s.bad == nil {
		s.bad = err
	}
}

func (s *scanner) syntax(what string) *rpcError {
	return &rpcError{Code: mcp.PARSE_ERROR, Message: fmt.Sprintf("parse error at byte %d: %s", s.pos, what)}
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// value reads one value; a non-nil error ends the scan.
func (s *scanner) value(depth int, in place) *rpcError {
	switch c := s.peek(); {
	case c == '{' || c == '[':
		if depth == maxDepth {
			return invalid("message nests deeper than %d levels", maxDepth)
		}
		s.pos++
		if c == '{' {
			return s.object(depth, in)
		}
		return s.array(depth)
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if end := s.pos + len(word); end <= len(s.data) && string(s.data[s.pos:end]) == word {
			s.pos = end
			return nil
		}
	}
	return s.syntax("value expected")
}

func (s *scanner) array(depth int) *rpcError {
	if s.space(); s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		s.space()
		if err := s.value(depth+1, elsewhere); err != nil {
			return err
		}
		if done, err := s.next(']'); done || err != nil {
			return err
		}
	}
}

func (s *scanner) object(depth int, in place) *rpcError {
	if s.space(); s.peek() == '}' {
		s.pos++
		return nil
	}
	var seen keys
	for {
		if err := s.member(depth, in, &seen); err != nil {
			return err
		}
		if done, err := s.next('}'); done || err != nil {
			return err
		}
	}
}

// member reads one key and its value.
func (s *scanner) member(depth int, in place, seen *keys) *rpcError {
	s.space()
	if s.peek() != '"' {
		return s.syntax("key expected")
	}
	raw, err := s.str()
	if err != nil {
		return err
	}
	key := unquote(raw)
	if !seen.add(key) {
		s.broken(invalid("duplicate key %.64q", key))
	}
	if s.space(); s.peek() != ':' {
		return s.syntax("colon expected")
	}
	s.pos++
	s.space()
	start := s.pos
	if err := s.value(depth+1, in.enter(key)); err != nil {
		return err
	}
	if in != elsewhere {
		s.field(in, key, s.data[start:s.pos:s.pos])
	}
	return nil
}

// next reads a comma, or the closing bracket, which it reports.
func (s *scanner) next(closing byte) (done bool, err *rpcError) {
	s.space()
	switch s.peek() {
	case ',':
		s.pos++
		return false, nil
	case closing:
		s.pos++
		return true, nil
	}
	return false, s.syntax("comma or " + string(closing) + " expected")
}

// str reads a string and returns it with its quotes.
func (s *scanner) str() ([]byte, *rpcError) {
	start := s.pos
	ascii := true
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			raw := s.data[start:s.pos]
			if !ascii && !utf8.Valid(raw) {
				return nil, s.syntax("string is not UTF-8")
			}
			return raw, nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		case c < ' ':
			return nil, s.syntax("control character in string")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, s.syntax("unfinished string")
}

// escape reads an escape sequence up to, not including, its last byte.
func (s *scanner) escape() *rpcError {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		for range 4 {
			s.pos++
			switch c := s.peek(); {
			case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			default:
				return s.syntax("four hexadecimal digits expected")
			}
		}
		return nil
	}
	return s.syntax("unknown escape")
}

func (s *scanner) number() *rpcError {
	start := s.pos
	exponent := false
	if s.peek() == '-' {
		s.pos++
	}
	whole := s.pos
	if s.digits() == 0 || s.data[whole] == '0' && s.pos > whole+1 {
		return s.syntax("malformed number")
	}
	if s.peek() == '.' {
		s.pos++
		if s.digits() == 0 {
			return s.syntax("malformed number")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		exponent = true
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if s.digits() == 0 {
			return s.syntax("malformed number")
		}
	}
	if raw := s.data[start:s.pos]; exponent || len(raw) > maxPlain {
		s.fits(raw)
	}
	return nil
}

// fits finds numbers that mcp-go could not decode, which would answer in the words
// of encoding/json. What is too small for a float64 is 0 there.
func (s *scanner) fits(raw []byte) {
	if _, err := strconv.ParseFloat(string(raw), 64); err != nil {
		s.tooLarge = invalid("number %.40s is out of range: it must be between -1.7e308 and 1.7e308", raw)
	}
}

func (s *scanner) digits() (n int) {
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
		n++
	}
	return n
}

// keys is the set of keys of one object. Most objects have few.
type keys struct {
	few  [12][]byte
	n    int // of few
	many map[string]struct{}
}

// add reports whether key is new.
func (k *keys) add(key []byte) bool {
	for _, old := range k.few[:k.n] {
		if bytes.Equal(old, key) {
			return false
		}
	}
	if k.n < len(k.few) {
		k.few[k.n] = key
		k.n++
		return true
	}
	if k.many == nil {
		k.many = map[string]struct{}{}
	}
	_, old := k.many[string(key)]
	k.many[string(key)] = struct{}{}
	return !old
}
