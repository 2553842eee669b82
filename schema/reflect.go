package schema

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/invopop/jsonschema"
)

// texts finds the Go type of a string schema whose UnmarshalText decides.
type texts map[*jsonschema.Schema]reflect.Type

// reflect fills in s from its Go type, but for the properties of these names.
func (s *Schema) reflect(strict bool, without []string) error {
	if s.goType.Kind() != reflect.Struct {
		return errors.New("not a struct")
	}
	if err := representable(s.goType, nil); err != nil {
		return err
	}
	r := jsonschema.Reflector{
		Anonymous:                 true,
		DoNotReference:            true,
		AllowAdditionalProperties: !strict,
		Mapper:                    s.ownForm,
	}
	s.root = r.ReflectFromType(s.goType)
	s.root.Version = ""
	if s.root.Type != "object" {
		return errors.New("not shown as an object")
	}
	for _, name := range without {
		if _, was := s.root.Properties.Delete(name); !was || slices.Contains(s.root.Required, name) {
			return fmt.Errorf("%s is not an optional property", name)
		}
	}
	if err := plain(s.root, strict, ""); err != nil {
		return err
	}
	var w writer
	w.schema(s.root)
	s.json = w.out.Bytes()
	return w.err
}

// ownForm returns the schema of a type that has a JSON form of its own, else nil.
func (s *Schema) ownForm(t reflect.Type) *jsonschema.Schema {
	if t.PkgPath() == "" && t.Kind() != reflect.Struct {
		return nil // it has no methods
	}
	own := &jsonschema.Schema{}
	switch {
	case describesItself(t):
		return nil
	case t == reflect.TypeFor[time.Time]():
		own.Format = "date-time"
		fallthrough
	case implements[encoding.TextUnmarshaler](t):
		own.Type = "string"
		s.texts[own] = t
		return own
	case implements[json.Unmarshaler](t), implements[json.Marshaler](t):
		return own
	}
	return nil
}

func describesItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[interface{ JSONSchema() *jsonschema.Schema }]())
}

func implements[I any](t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[I]())
}
