package schema

import (
	"bytes"
	"encoding/json"

	"github.com/invopop/jsonschema"
)

// A writer writes plain schemas as JSON: type first, and several times faster than
// invopop's MarshalJSON, which scans each schema again for every level that it is deep.
type writer struct {
	out bytes.Buffer
	err error
}

func (w *writer) schema(s *jsonschema.Schema) {
	w.out.WriteByte('{')
	w.keyword("type", s.Type, s.Type != "")
	w.keyword("title", s.Title, s.Title != "")
	w.keyword("description", s.Description, s.Description != "")
	w.keyword("enum", s.Enum, len(s.Enum) > 0)
	w.keyword("minimum", s.Minimum, s.Minimum != "")
	w.keyword("maximum", s.Maximum, s.Maximum != "")
	w.keyword("minLength", s.MinLength, s.MinLength != nil)
	w.keyword("maxLength", s.MaxLength, s.MaxLength != nil)
	w.keyword("minItems", s.MinItems, s.MinItems != nil)
	w.keyword("maxItems", s.MaxItems, s.MaxItems != nil)
	w.keyword("format", s.Format, s.Format != "")
	w.keyword("contentEncoding", s.ContentEncoding, s.ContentEncoding != "")
	w.keyword("default", s.Default, s.Default != nil)
	w.keyword("examples", s.Examples, len(s.Examples) > 0)
	w.properties(s)
	w.keyword("required", s.Required, len(s.Required) > 0)
	switch s.AdditionalProperties {
	case nil:
	case jsonschema.FalseSchema:
		w.out.WriteString(`,"additionalProperties":false`)
	default:
		w.out.WriteString(`,"additionalProperties":`)
		w.schema(s.AdditionalProperties)
	}
	if s.Items != nil {
		w.out.WriteString(`,"items":`)
		w.schema(s.Items)
	}
	w.out.WriteByte('}')
}

func (w *writer) properties(s *jsonschema.Schema) {
	if s.Properties == nil {
		return
	}
	w.out.WriteString(`,"properties":{`)
	first := true
	for name, of := range properties(s) {
		if !first {
			w.out.WriteByte(',')
		}
		first = false
		w.value(name)
		w.out.WriteByte(':')
		w.schema(of)
	}
	w.out.WriteByte('}')
}

func (w *writer) keyword(name string, v any, given bool) {
	if !given {
		return
	}
	if b := w.out.Bytes(); b[len(b)-1] != '{' {
		w.out.WriteByte(',')
	}
	w.out.WriteString(`"` + name + `":`)
	w.value(v)
}

func (w *writer) value(v any) {
	e := json.NewEncoder(&w.out)
	e.SetEscapeHTML(false) // "<" is one byte of tools/list, "\u003c" six
	if err := e.Encode(v); err != nil {
		w.err = err
		return
	}
	w.out.Truncate(w.out.Len() - 1) // Encode's newline
}
