package schema

import (
	"bytes"
	"slices"

	"github.com/invopop/jsonschema"
)

// A Widening is something that [Schema.Decode] takes although the schema does not show
// it, because models send it and it can mean only one thing.
type Widening struct {
	Given string // what is sent
	Due   string // what the schema asks for
	From  string // JSON of an example
	To    string // JSON of what the example is taken for

	apply func(*jsonschema.Schema, value) (value, bool)
}

// widenings is never written to.
var widenings = [...]Widening{
	{
		Given: "a string that holds exactly the value that is due, as JSON",
		Due:   "a number, integer, boolean, array or object",
		From:  `"0.5"`, To: `0.5`, apply: unquote,
	},
	{
		Given: "a string that holds no array of strings",
		Due:   "an array of strings",
		From:  `"why?"`, To: `["why?"]`, apply: wrap,
	},
	{
		Given: "a number without a fraction, written with one",
		Due:   "an integer",
		From:  `5.0`, To: `5`, apply: truncate,
	},
}

// Wider returns everything that Decode takes beyond the schema, in the order in which it
// is tried. One may follow upon another: "5.0" is taken for the integer 5. Whatever is
// not in this table is an error.
func Wider() []Widening { return slices.Clone(widenings[:]) }

// widen returns v as s wants it, where the table knows how, else v.
func widen(s *jsonschema.Schema, v value) value {
	for _, w := range &widenings {
		if wider, ok := w.apply(s, v); ok {
			v = wider
		}
	}
	return v
}

func unquote(s *jsonschema.Schema, v value) (value, bool) {
	if v.kind != text || s.Type == "string" {
		return v, false
	}
	held, ok := v.holds()
	if !ok || held.kind != due(s) {
		return v, false
	}
	if stringArray(s) {
		for _, item := range held.items {
			ok = ok && item.kind == text
		}
	}
	return held, ok
}

func wrap(s *jsonschema.Schema, v value) (value, bool) {
	if v.kind != text || !stringArray(s) {
		return v, false
	}
	return value{kind: array, raw: v.raw, items: []value{v}}, true
}

func truncate(s *jsonschema.Schema, v value) (value, bool) {
	if v.kind != number || s.Type != "integer" {
		return v, false
	}
	whole, fraction, ok := bytes.Cut(v.raw, []byte("."))
	if !ok || len(bytes.Trim(fraction, "0")) > 0 {
		return v, false
	}
	return value{kind: number, raw: whole}, true
}

func stringArray(s *jsonschema.Schema) bool {
	return s.Type == "array" && s.Items.Type == "string"
}

// due returns the kind of value that s asks for.
func due(s *jsonschema.Schema) kind {
	switch s.Type {
	case "object":
		return object
	case "array":
		return array
	case "string":
		return text
	case "boolean":
		return boolean
	}
	return number
}
