package schema

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/invopop/jsonschema"
)

// Decode checks args, a JSON object, by s and stores it in into, a pointer to the
// struct type that s was made from. Empty args and null are an empty object; a null for
// an optional argument leaves it out; what is left out keeps its value in into.
//
// Names must match exactly and occur once, at any depth; JSON must be valid UTF-8 and
// nested at most 64 deep, with at most a million values. Beyond what s shows only what [Wider] lists is taken. If args
// are wrong, the error is an [*Error] with everything that is, and what into points to
// is unspecified. Any other error is a mistake in the program.
func (s *Schema) Decode(args json.RawMessage, into any) error {
	if want := reflect.PointerTo(s.goType); reflect.TypeOf(into) != want {
		return fmt.Errorf("schema: decode into %T, want %s", into, want)
	}
	if args = bytes.TrimSpace(args); len(args) == 0 || string(args) == "null" {
		args = json.RawMessage("{}")
	}
	v, err := parse(args)
	if err != nil {
		return &Error{Problems: []string{"the arguments are " + err.Error()}}
	}
	d := decoding{root: s.root, texts: s.texts}
	d.value(s.root, v, "")
	if len(d.problems) > 0 {
		return &Error{Problems: d.problems}
	}
	if err := json.Unmarshal(d.out.Bytes(), into); err != nil {
		return &Error{Problems: []string{misfit(err)}}
	}
	return nil
}

// misfit words what only the Go type knew: an int8 of 300, bad base64, an error of an
// UnmarshalJSON.
func misfit(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%s does not fit, got the %s", subject(wrong.Field), cut(wrong.Value))
	}
	return "the arguments do not fit: " + cut(err.Error())
}

// A decoding checks values and writes them out as encoding/json wants them.
type decoding struct {
	root     *jsonschema.Schema
	texts    texts
	problems []string
	out      bytes.Buffer
}

// problem notes a problem; of too many it drops the rest.
func (d *decoding) problem(msg string) {
	switch n := len(d.problems); {
	case n < maxProblems:
		d.problems = append(d.problems, msg)
	case n == maxProblems:
		d.problems = append(d.problems, "and more")
	}
}

// value checks v by s; a nil s takes anything.
func (d *decoding) value(s *jsonschema.Schema, v value, path string) {
	if s == nil {
		d.unique(v, path)
		d.out.Write(v.raw)
		return
	}
	v = widen(s, v)
	if v.kind != due(s) || !within(s, v) {
		d.problem(mismatch(s, v, path))
		return
	}
	switch v.kind {
	case object:
		d.object(s, v, path)
	case array:
		d.array(s, v, path)
	default:
		d.text(s, v, path)
		d.out.Write(v.raw)
	}
}

// text lets the Go type of a string have its say.
func (d *decoding) text(s *jsonschema.Schema, v value, path string) {
	t, ok := d.texts[s]
	if !ok {
		return
	}
	into := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	if err := into.UnmarshalText([]byte(v.text())); err != nil {
		d.problem(fmt.Sprintf("%s is wrong: %s", subject(path), cut(err.Error())))
	}
}

func (d *decoding) array(s *jsonschema.Schema, v value, path string) {
	d.out.WriteByte('[')
	for i, item := range v.items {
		if i > 0 {
			d.out.WriteByte(',')
		}
		d.value(s.Items, item, element(path, i))
	}
	d.out.WriteByte(']')
}

func (d *decoding) object(s *jsonschema.Schema, v value, path string) {
	if s.Properties == nil && s.AdditionalProperties == nil {
		d.value(nil, v, path)
		return
	}
	d.duplicates(v, path)
	d.out.WriteByte('{')
	var strange []string
	for i, name := range v.names {
		if !d.member(s, name, v.items[i], path) && len(strange) < maxProblems {
			strange = append(strange, name)
		}
	}
	d.out.WriteByte('}')
	for _, problem := range d.unknown(s, strange, path) {
		d.problem(problem)
	}
	for _, name := range s.Required {
		if !slices.Contains(v.names, name) {
			d.problem("missing argument " + quote(member(path, name)))
		}
	}
}

// member checks a member of an object at path and reports whether s knows its name.
func (d *decoding) member(s *jsonschema.Schema, name string, v value, path string) bool {
	of, known := property(s, name)
	switch {
	case known && v.kind == null && !slices.Contains(s.Required, name):
		return true
	case !known && s.AdditionalProperties == jsonschema.FalseSchema:
		return false
	case !known:
		of = s.AdditionalProperties
	}
	if last := d.out.Bytes()[d.out.Len()-1]; last != '{' {
		d.out.WriteByte(',')
	}
	key, _ := json.Marshal(name) // a string cannot fail
	d.out.Write(key)
	d.out.WriteByte(':')
	d.value(of, v, member(path, name))
	return true
}

func property(s *jsonschema.Schema, name string) (*jsonschema.Schema, bool) {
	if s.Properties == nil { // a map
		return nil, false
	}
	return s.Properties.Get(name)
}

// unique notes the duplicate names in v, of which nothing else is known.
func (d *decoding) unique(v value, path string) {
	d.duplicates(v, path)
	for i, item := range v.items {
		if v.kind == array {
			d.unique(item, element(path, i))
		} else {
			d.unique(item, member(path, v.names[i]))
		}
	}
}

func (d *decoding) duplicates(v value, path string) {
	count := make(map[string]int, len(v.names))
	for _, name := range v.names {
		if count[name]++; count[name] == 2 {
			d.problem("duplicate argument " + quote(member(path, name)))
		}
	}
}

// within reports whether v, of the kind that s asks for, keeps to its enum and limits.
func within(s *jsonschema.Schema, v value) bool {
	switch v.kind {
	case text:
		if s.Enum == nil && s.MinLength == nil && s.MaxLength == nil {
			return true // it may be long
		}
		t := v.text()
		return listed(s, t) && counted(utf8.RuneCountInString(t), s.MinLength, s.MaxLength)
	case array:
		return counted(len(v.items), s.MinItems, s.MaxItems)
	case number:
		n := json.Number(v.raw)
		return numeric(s, n) && listed(s, n) &&
			(s.Minimum == "" || compare(n, s.Minimum) >= 0) &&
			(s.Maximum == "" || compare(n, s.Maximum) <= 0)
	}
	return true
}

// listed reports whether s has no enum or t, a string or json.Number, is in it.
func listed(s *jsonschema.Schema, t any) bool {
	return len(s.Enum) == 0 || slices.ContainsFunc(s.Enum, func(e any) bool {
		a, isNumber := e.(json.Number)
		b, both := t.(json.Number)
		if isNumber && both {
			return compare(a, b) == 0
		}
		return e == t
	})
}

func counted(n int, least, most *uint64) bool {
	return (least == nil || uint64(n) >= *least) && (most == nil || uint64(n) <= *most)
}

// numeric reports whether n has a place among 64-bit integers or floats, whichever s
// asks for.
func numeric(s *jsonschema.Schema, n json.Number) bool {
	_, err := n.Float64()
	if s.Type == "integer" {
		_, err = n.Int64()
	}
	return err == nil
}

// compare compares integers exactly and other numbers as floats.
func compare(a, b json.Number) int {
	x, errX := strconv.ParseInt(string(a), 10, 64)
	y, errY := strconv.ParseInt(string(b), 10, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	f, _ := a.Float64()
	g, _ := b.Float64()
	return cmp.Compare(f, g)
}
