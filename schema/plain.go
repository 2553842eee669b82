package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// representable reports why t, found inside the types of parents, cannot be shown. It
// comes before invopop, which would panic, never return, or drop a tag silently.
func representable(t reflect.Type, parents []reflect.Type) error {
	if describesItself(t) || (&Schema{texts: texts{}}).ownForm(t) != nil {
		return nil
	}
	if slices.Contains(parents, t) {
		return fmt.Errorf("type %s contains itself", t)
	}
	parents = append(slices.Clip(parents), t)
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Uintptr:
		return fmt.Errorf("type %s has no JSON form", t)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return fmt.Errorf("type %s: keys must be strings", t)
		}
		return representable(t.Elem(), parents)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return representable(t.Elem(), parents)
	case reflect.Struct:
		return representableFields(t, parents)
	}
	return nil
}

func representableFields(t reflect.Type, parents []reflect.Type) error {
	for f := range t.Fields() {
		if f.Tag.Get("json") == "-" || f.Tag.Get("jsonschema") == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		err := errors.Join(knownTags(f.Tag.Get("jsonschema")), representable(f.Type, parents))
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	return nil
}

// knownTags reports the first part of a jsonschema tag that would have no effect, such
// as a misspelt name or what follows a comma in a description.
func knownTags(tag string) error {
	known := []string{
		"title", "description", "type", "enum", "minimum", "maximum", "minLength", "maxLength",
		"minItems", "maxItems", "default", "example", "format",
	}
	tag = strings.ReplaceAll(tag, `\,`, "")
	for part := range strings.SplitSeq(tag, ",") {
		name, _, ok := strings.Cut(part, "=")
		if part != "" && part != "required" && !(ok && slices.Contains(known, name)) {
			return fmt.Errorf("tag jsonschema: %q is not understood", part)
		}
	}
	return nil
}

// plain makes s and what is in it show one plain type each, and reports what cannot
// be so shown or would not be enforced. Of a schema that is not strict nothing is
// required.
func plain(s *jsonschema.Schema, strict bool, path string) error {
	if s.Type == "" && (strict || s.Description == "") {
		s.Type = "object" // a result may hold any JSON where words say so
	}
	if !strict {
		s.Required = nil
	}
	if rest := unsupported(s); rest != nil {
		return fmt.Errorf("%s: %s is not supported", subject(path), rest)
	}
	for name, of := range properties(s) {
		if err := plain(of, strict, member(path, name)); err != nil {
			return err
		}
	}
	if err := plainItems(s, strict, path); err != nil {
		return err
	}
	if more := s.AdditionalProperties; more != nil && more != jsonschema.FalseSchema {
		return plain(more, strict, path+".*")
	}
	return nil
}

// plainItems does the same for the items of an array. Results may hold arrays of
// anything, which then say nothing of their items; arguments may not.
func plainItems(s *jsonschema.Schema, strict bool, path string) error {
	switch {
	case s.Type != "array":
		return nil
	case s.Items == nil:
		s.Items = &jsonschema.Schema{}
	}
	if s.Items.Type == "" && !strict {
		s.Items = nil
		return nil
	}
	return plain(s.Items, strict, path+"[]")
}

// properties yields the properties of s in order.
func properties(s *jsonschema.Schema) iter.Seq2[string, *jsonschema.Schema] {
	if s.Properties == nil {
		return func(func(string, *jsonschema.Schema) bool) {}
	}
	return s.Properties.FromOldest()
}

// unsupported returns what s says beyond what [writer] writes, as JSON, or nil.
func unsupported(s *jsonschema.Schema) []byte {
	rest := new(jsonschema.Schema)
	*rest = *s
	if slices.Contains([]string{"object", "array", "string", "number", "integer", "boolean"}, s.Type) {
		rest.Type = ""
	}
	rest.Title, rest.Description, rest.Format, rest.ContentEncoding = "", "", "", ""
	rest.Enum, rest.Default, rest.Examples = nil, nil, nil
	rest.Minimum, rest.Maximum = "", ""
	rest.MinLength, rest.MaxLength, rest.MinItems, rest.MaxItems = nil, nil, nil, nil
	rest.Properties, rest.Required, rest.AdditionalProperties, rest.Items = nil, nil, nil, nil
	if reflect.ValueOf(rest).Elem().IsZero() {
		return nil
	}
	text, _ := json.Marshal(rest) // it goes into an error anyway
	return text
}
