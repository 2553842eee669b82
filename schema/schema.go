// Package schema turns Go struct types into plain JSON Schemas, decodes arguments
// strictly by them, and finds the words that tell a model what was wrong with its
// arguments, all of it at once. It also checks values against JSON Schemas that a
// user gave.
//
// It must not know what a tool is, and it knows nothing of MCP.
//
// # From a Go type to a schema
//
// Properties come in the order of the struct's fields, under their json names. A
// field without omitempty or omitzero is required. Descriptions and limits come from
// the tags jsonschema_description:"…" (commas need no escape) and
// jsonschema:"title=…,enum=…,minimum=…,maximum=…,minLength=…,maxLength=…,minItems=…,
// maxItems=…,default=…,example=…,format=…,type=…"; enum and example may be repeated,
// and on a slice of scalars they speak of its items. A default and a format are
// shown, never applied. The schema has one plain type for each property: pointers
// show as what they point to, there are no unions, no references, and no schema that
// is a bare true.
//
//   - A type that is an [encoding.TextUnmarshaler], as [time.Time], is a string, and its
//     UnmarshalText decides what is valid; a duration is best made such a type.
//   - A type with a JSON form of its own ([json.RawMessage], any [json.Marshaler] or
//     [json.Unmarshaler]) and any are an object, or what the field's tag type=… says. In a result, one
//     that has a description may be of any type: the words say which.
//   - A type with the method JSONSchema() *jsonschema.Schema of
//     github.com/invopop/jsonschema describes itself.
package schema

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/invopop/jsonschema"
)

// Schema is the JSON Schema of a Go struct type, with what [Schema.Decode] needs of
// it. Make it with [Input]. It is immutable and safe for concurrent use.
type Schema struct {
	goType reflect.Type
	root   *jsonschema.Schema
	texts  texts
	json   json.RawMessage
}

// Input returns the strict schema of the struct type t, for arguments, of which those of the
// names in without are not offered. An error is a mistake in the program: t cannot be shown as
// a plain schema, has a tag that Decode would not enforce, or lacks one of these names.
func Input(t reflect.Type, without ...string) (*Schema, error) { return build(t, true, without...) }

// Output returns the schema of the struct type t, for results: every property is
// optional and others are allowed, so that any answer fits. Errors are as for [Input].
func Output(t reflect.Type) (json.RawMessage, error) {
	s, err := build(t, false)
	if err != nil {
		return nil, err
	}
	return s.json, nil
}

func build(t reflect.Type, strict bool, without ...string) (*Schema, error) {
	s := &Schema{goType: t, texts: texts{}}
	if err := s.reflect(strict, without); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t, err)
	}
	return s, nil
}

// JSON returns the schema as compact JSON, the same bytes every time. The caller must
// not change them.
func (s *Schema) JSON() json.RawMessage { return s.json }
