package schema

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

func inputOf[T any](without ...string) (*Schema, error) {
	return Input(reflect.TypeFor[T](), without...)
}

func outputOf[T any]() (json.RawMessage, error) { return Output(reflect.TypeFor[T]()) }

// request has something of everything that a tool's input may have.
type request struct {
	Model    string            `json:"model" jsonschema:"minLength=1,maxLength=20,example=llama3" jsonschema_description:"Which one, if <any>"`
	Prompt   string            `json:"prompt"`
	Think    string            `json:"think,omitempty" jsonschema:"enum=off,enum=on,enum=low,enum=medium,enum=high"`
	Options  *options          `json:"options,omitempty"`
	Messages []message         `json:"messages,omitempty" jsonschema:"minItems=1"`
	Input    []string          `json:"input,omitempty" jsonschema:"maxItems=3"`
	Schema   json.RawMessage   `json:"schema,omitempty" jsonschema:"description=A JSON Schema"`
	Raw      bool              `json:"raw,omitempty" jsonschema:"default=false"`
	Labels   map[string]string `json:"labels,omitempty"`
	Before   time.Time         `json:"before,omitzero"`
	KeepFor  wait              `json:"keep_for,omitzero"`
	Size     size              `json:"size,omitzero" jsonschema:"type=string"`
	paging
	Hidden string `json:"-"`
}

type options struct {
	Temperature *float64 `json:"temperature,omitempty" jsonschema:"minimum=0,maximum=2,default=0.8"`
	Seed        *int64   `json:"seed,omitempty"`
	TopK        *int     `json:"top_k,omitempty" jsonschema:"minimum=1"`
	Level       *int     `json:"level,omitempty" jsonschema:"enum=1,enum=2"`
	Tiny        uint8    `json:"tiny,omitempty" jsonschema:"maximum=300"`
}

type message struct {
	Role   string   `json:"role" jsonschema:"enum=user,enum=assistant"`
	Images []string `json:"images,omitempty"`
}

type paging struct {
	Page int `json:"page,omitempty"`
}

// wait is a duration that is written as text.
type wait time.Duration

func (w wait) MarshalText() ([]byte, error) { return []byte(time.Duration(w).String()), nil }

func (w *wait) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*w = wait(d)
	return err
}

// size has a JSON form of its own.
type size struct{ text string }

func (s size) MarshalJSON() ([]byte, error) { return json.Marshal(s.text) }

func (s *size) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &s.text) }

// ranged describes itself.
type ranged int

func (ranged) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "integer", Minimum: "3"}
}

func input[T any](t testing.TB) *Schema {
	t.Helper()
	s, err := inputOf[T]()
	if err != nil {
		t.Fatalf("Input: %v", err)
	}
	return s
}

func indented(t *testing.T, schema []byte) string {
	t.Helper()
	if !json.Valid(schema) {
		t.Fatalf("not JSON: %s", schema)
	}
	// One property a line, with the order and the compactness left as they are.
	return strings.NewReplacer(`{"type"`, "\n"+`{"type"`).Replace(string(schema))
}

func TestInputGolden(t *testing.T) {
	want := `
{"type":"object","properties":{"model":
{"type":"string","description":"Which one, if <any>","minLength":1,"maxLength":20,"examples":["llama3"]},"prompt":
{"type":"string"},"think":
{"type":"string","enum":["off","on","low","medium","high"]},"options":
{"type":"object","properties":{"temperature":
{"type":"number","minimum":0,"maximum":2,"default":0.8},"seed":
{"type":"integer"},"top_k":
{"type":"integer","minimum":1},"level":
{"type":"integer","enum":[1,2]},"tiny":
{"type":"integer","maximum":300}},"additionalProperties":false},"messages":
{"type":"array","minItems":1,"items":
{"type":"object","properties":{"role":
{"type":"string","enum":["user","assistant"]},"images":
{"type":"array","items":
{"type":"string"}}},"required":["role"],"additionalProperties":false}},"input":
{"type":"array","maxItems":3,"items":
{"type":"string"}},"schema":
{"type":"object","description":"A JSON Schema"},"raw":
{"type":"boolean","default":false},"labels":
{"type":"object","additionalProperties":
{"type":"string"}},"before":
{"type":"string","format":"date-time"},"keep_for":
{"type":"string"},"size":
{"type":"string"},"page":
{"type":"integer"}},"required":["model","prompt"],"additionalProperties":false}`
	got := indented(t, input[request](t).JSON())
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("Input[request] (-want +got):\n%s", diff)
	}
}

func TestOutputGolden(t *testing.T) {
	type output struct {
		Text  string            `json:"text"`
		Whole ranged            `json:"whole"`
		Items []json.RawMessage `json:"items" jsonschema_description:"numbers, or text"`
		Any   json.RawMessage   `json:"any" jsonschema_description:"any JSON"`
		Sub   []struct {
			Name string `json:"name"`
			More any    `json:"more"`
		} `json:"sub"`
	}
	want := `
{"type":"object","properties":{"text":
{"type":"string"},"whole":
{"type":"integer","minimum":3},"items":
{"type":"array","description":"numbers, or text"},"any":{"description":"any JSON"},"sub":
{"type":"array","items":
{"type":"object","properties":{"name":
{"type":"string"},"more":
{"type":"object"}}}}}}`
	schema, err := outputOf[output]()
	if err != nil {
		t.Fatalf("Output: %v", err)
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(indented(t, schema), "\n")); diff != "" {
		t.Errorf("Output[output] (-want +got):\n%s", diff)
	}
}

func TestEmptyInputHasProperties(t *testing.T) {
	want := `{"type":"object","properties":{},"additionalProperties":false}`
	if got := string(input[struct{}](t).JSON()); got != want {
		t.Errorf("Input[struct{}] = %s, want %s", got, want)
	}
}

// Model providers reject unions, references and a bare true.
func TestSchemasArePlain(t *testing.T) {
	output, err := outputOf[request]()
	if err != nil {
		t.Fatalf("Output: %v", err)
	}
	for name, schema := range map[string]json.RawMessage{"input": input[request](t).JSON(), "output": output} {
		if err := Check(schema); err != nil {
			t.Errorf("%s: Check = %v, want nil", name, err)
		}
		var doc map[string]any
		if err := json.Unmarshal(schema, &doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		assertPlain(t, name, doc)
	}
}

func assertPlain(t *testing.T, path string, schema any) {
	t.Helper()
	s, ok := schema.(map[string]any)
	if !ok {
		t.Errorf("%s = %v, want an object", path, schema)
		return
	}
	anything := s["type"] == nil && s["description"] != nil && strings.HasPrefix(path, "output")
	if _, ok := s["type"].(string); !ok && !anything {
		t.Errorf("%s: type = %v, want one string", path, s["type"])
	}
	for _, bad := range []string{"$ref", "$defs", "$schema", "$id", "anyOf", "oneOf", "allOf", "not"} {
		if v, ok := s[bad]; ok {
			t.Errorf("%s: %s = %v, want none", path, bad, v)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for name, of := range properties {
		assertPlain(t, path+"."+name, of)
	}
	if items, ok := s["items"]; ok {
		assertPlain(t, path+"[]", items)
	}
	if more, ok := s["additionalProperties"]; ok && more != false {
		assertPlain(t, path+".*", more)
	}
}

type recursive struct {
	Children []recursive `json:"children"`
}

func TestInputRefuses(t *testing.T) {
	errOf := func(_ *Schema, err error) error { return err }
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"not a struct", errOf(inputOf[string]()), "schema of string: not a struct"},
		{"text", errOf(inputOf[time.Time]()), "schema of time.Time: not shown as an object"},
		{"recursion", errOf(inputOf[recursive]()), "field Children: type schema.recursive contains itself"},
		{"func", errOf(inputOf[struct{ F func() }]()), "field F: type func() has no JSON form"},
		{"map keys", errOf(inputOf[struct{ F []map[int]int }]()), "field F: type map[int]int: keys must be strings"},
		{"misspelt tag", errOf(inputOf[struct {
			F int `jsonschema:"minimun=1"`
		}]()), `field F: tag jsonschema: "minimun=1" is not understood`},
		{"comma in a description", errOf(inputOf[struct {
			F int `jsonschema:"description=one, two"`
		}]()), `field F: tag jsonschema: " two" is not understood`},
		{"union", errOf(inputOf[struct {
			F int `jsonschema:"nullable"`
		}]()), `"nullable" is not understood`},
		{"not enforced", errOf(inputOf[struct{ F patterned }]()), `"F": {"pattern":"^a$"} is not supported`},
		{"unknown type", errOf(inputOf[struct {
			F json.RawMessage `jsonschema:"type=null"`
		}]()), `"F": {"type":"null"} is not supported`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
				t.Errorf("Input = %v, want an error with %q", tt.err, tt.want)
			}
		})
	}
}

type patterned string

func (patterned) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: "^a$"}
}

func TestEscapedCommaInTag(t *testing.T) {
	type in struct {
		F int `json:"f" jsonschema:"description=one\\, two"`
	}
	if got, want := string(input[in](t).JSON()), `"description":"one, two"`; !strings.Contains(got, want) {
		t.Errorf("Input = %s, want it to contain %s", got, want)
	}
}

func BenchmarkInput(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inputOf[request](); err != nil {
			b.Fatal(err)
		}
	}
}

func TestInputWithout(t *testing.T) {
	type request struct {
		Model string `json:"model"`
		Host  string `json:"host,omitempty"`
	}
	s, err := inputOf[request]("host")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(s.JSON()), "host") {
		t.Errorf("Input without host = %s", s.JSON())
	}
	var r request
	if err := s.Decode([]byte(`{"model":"m","host":"h"}`), &r); err == nil || !strings.Contains(err.Error(), `"host"`) {
		t.Errorf("Decode of what is not offered: %v, want it unknown", err)
	}
	for _, name := range []string{"model", "gpu"} {
		if _, err := inputOf[request](name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Input without %s: %v, want an error: it is needed, or not there", name, err)
		}
	}
}
