package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const person = `{"type":"object","required":["name","age"],"additionalProperties":false,"properties":{
	"name":{"type":"string","minLength":1},"age":{"type":"integer","minimum":0,"maximum":1500000},
	"role":{"enum":["cook","smith"]},"nick":{"anyOf":[{"type":"string"},{"type":"null"}]},
	"friends":{"type":"array","items":{"$ref":"#"}}}}`

func TestValidate(t *testing.T) {
	tests := []struct {
		name, schema, value string
		want                []string
	}{
		{"valid", person, `{"name":"a","age":5.0,"role":"cook","nick":null,"friends":[{"name":"b","age":1}]}`, nil},
		{"all at once", person, `{"name":5,"nick":1,"role":"king","friends":[{"name":"b","age":-1,"x":1,"w":2},7]}`, []string{
			`"friends[0]" must not have w, x`,
			`"friends[0].age" must be at least 0, got -1`,
			`"friends[1]" must be object, got number`,
			`"name" must be string, got number`,
			`"nick" fits none of anyOf: "nick" must be null, got number | "nick" must be string, got number`,
			`"role" is wrong: value must be one of 'cook', 'smith'`,
			`the value misses age`,
		}},
		{"root", `{"type":["array","null"]}`, `3`, []string{`the value must be null or array, got number`}},
		{"large numbers in full", person, `{"name":"b","age":1500001}`, []string{`"age" must be at most 1500000, got 1500001`}},
		{"fractions", `{"minimum":0.5}`, `0.25`, []string{`the value must be at least 0.5, got 0.25`}},
		{"exact numbers", `{"const":9007199254740993}`, `9007199254740992`, []string{`the value is wrong: value must be 9007199254740993`}},
		{"both of oneOf", `{"oneOf":[{},{}]}`, `1`, []string{`the value is wrong: 'oneOf' failed, subschemas 0, 1 matched`}},
		{"none of oneOf", `{"oneOf":[{"type":"string"},{"minimum":2}]}`, `1`, []string{
			`the value fits none of oneOf: the value must be at least 2, got 1 | the value must be string, got number`,
		}},
		{"draft 7", `{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"a":{"type":"string"}},"items":{"$ref":"#/definitions/a"}}`, `[1]`, []string{
			`"[0]" must be string, got number`,
		}},
		{"formats are not asserted", `{"format":"email"}`, `"x"`, nil},
		{"not JSON", person, `{"name":`, []string{`the value is not valid JSON: unexpected end of JSON input`}},
		{"not UTF-8", person, "\"\xff\"", []string{`the value is not valid UTF-8`}},
		{"prose", person, "Here it is: {}", []string{`the value is not valid JSON: invalid character 'H' looking for beginning of value`}},
		{"deep", `{}`, strings.Repeat("[", 65) + strings.Repeat("]", 65), []string{`the value is nested more than 64 deep`}},
		{"long", `{}`, `"` + strings.Repeat("x", maxValue) + `"`, []string{`the value is longer than 1048576 bytes`}},
		{"costly number", `{"type":"integer"}`, `[1e1000000000]`, []string{`the value has a number that is too long: 1e1000000000`}},
		{"costly small number", `{"type":"integer"}`, `1E-401`, []string{`the value has a number that is too long: 1E-401`}},
		{"bad schema", `{"type":`, `1`, []string{`the schema is not valid JSON: unexpected end of JSON input`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Validate(json.RawMessage(tt.schema), []byte(tt.value))); diff != "" {
				t.Errorf("Validate(%s, %s) (-want +got):\n%s", cut(tt.schema), cut(tt.value), diff)
			}
		})
	}
}

func TestValidateProblemsAreBounded(t *testing.T) {
	problems := Validate(json.RawMessage(`{"items":{"type":"string"}}`), []byte("[1"+strings.Repeat(",1", 1000)+"]"))
	if len(problems) != maxProblems+1 || problems[maxProblems] != "and more" {
		t.Errorf("Validate = %d problems %q, want %d and more", len(problems), problems, maxProblems)
	}
}

// Each of these would run for minutes or for ever, or take all memory, without a budget.
func TestValidateBombs(t *testing.T) {
	var doubling strings.Builder
	for i := range 60 {
		fmt.Fprintf(&doubling, `"a%d":{"anyOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]},`, i, i+1, i+1)
	}
	doubled := `{"$defs":{` + doubling.String() + `"a60":{"type":"string"}},`
	nested := strings.Repeat(`{"x":`, 60) + `1` + strings.Repeat("}", 60)
	tests := []struct{ name, schema, value string }{
		{"references that double", doubled + `"$ref":"#/$defs/a0"}`, `3`},
		{"the same where errors are not listed", doubled + `"not":{"$ref":"#/$defs/a0"}}`, `3`},
		{"the same under if", doubled + `"if":{"$ref":"#/$defs/a0"}}`, `3`},
		{"doubling by depth", `{"properties":{"x":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}`, nested},
		{"long enum of numbers", `{"items":{"enum":[1` + strings.Repeat(",2", 15000) + `]}}`, `[3` + strings.Repeat(",3", 500_000) + `]`},
		{"many failures", `{"items":{"allOf":[` + strings.Repeat(`{"type":"null"},`, 1000) + `{}]}}`, `[3` + strings.Repeat(",3", 500_000) + `]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := []string{"the value is too much to check by this schema"}
			if diff := cmp.Diff(want, Validate(json.RawMessage(tt.schema), []byte(tt.value))); diff != "" {
				t.Errorf("Validate(%s, %s) (-want +got):\n%s", cut(tt.schema), cut(tt.value), diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	tests := []struct{ name, schema, want string }{
		{"object", person, ""},
		{"boolean", `true`, ""},
		{"own id", `{"$id":"https://example.com/a","$ref":"#/$defs/b","$defs":{"b":{}}}`, ""},
		{"recursion", `{"properties":{"x":{"$ref":"#"}}}`, ""},
		{"metaschema", `{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, ""},
		{"empty", ``, "is not valid JSON: unexpected end of JSON input"},
		{"number", `3`, "is not a JSON Schema: the value must be boolean or object, got number"},
		{"keyword", `{"properties":{"a":{"minimum":"x"}}}`, `is not a JSON Schema: "properties.a.minimum" must be number, got string`},
		{"pattern", `{"pattern":"("}`, `is not a JSON Schema: "pattern" is wrong: '(' is not valid regex: error parsing regexp: missing closing ): ` + "`(`"},
		{"network", `{"$ref":"http://127.0.0.1:1/x"}`, `refers to "http://127.0.0.1:1/x", and only what is within it can be used`},
		{"file", `{"$ref":"file:///etc/passwd"}`, `refers to "file:///etc/passwd", and only what is within it can be used`},
		{"relative", `{"$ref":"other.json"}`, `refers to "other.json", and only what is within it can be used`},
		{"relative to an id", `{"$id":"https://example.com/a","$ref":"b"}`, `refers to "https://example.com/b", and only what is within it can be used`},
		{"metaschema elsewhere", `{"$schema":"https://example.com/a"}`, `refers to "https://example.com/a", and only what is within it can be used`},
		{"dangling", `{"$ref":"#/nope"}`, `cannot be used: json-pointer in "#/nope" not found`},
		{"deep", strings.Repeat(`{"not":`, 65) + `{}` + strings.Repeat("}", 65), "is nested more than 64 deep"},
		{"long", `{"title":"` + strings.Repeat("x", maxSchema) + `"}`, "is longer than 32768 bytes"},
		{"costly number", `{"minimum":1e999999999}`, "has a number that is too long: 1e999999999"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := Check(json.RawMessage(tt.schema)); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("Check(%s) = %q, want %q", cut(tt.schema), got, tt.want)
			}
		})
	}
}

// The library's own loader would read this file.
func TestCheckReadsNoFile(t *testing.T) {
	path := filepath.ToSlash(filepath.Join(t.TempDir(), "a.json"))
	if err := os.WriteFile(path, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ref := "file:///" + strings.TrimPrefix(path, "/")
	if err := Check(fmt.Appendf(nil, `{"$ref":%q}`, ref)); err == nil {
		t.Errorf("Check of a reference to %s = nil, want an error", ref)
	}
}

func TestShielded(t *testing.T) {
	err := shielded(func() error { panic("deep inside") })
	if want := "cannot be checked: deep inside"; err == nil || err.Error() != want {
		t.Errorf("shielded = %v, want %s", err, want)
	}
	sentinel := errors.New("plain")
	if err := shielded(func() error { return sentinel }); !errors.Is(err, sentinel) {
		t.Errorf("shielded = %v, want %v", err, sentinel)
	}
}

// Validate never panics, and says of a value the same every time.
func FuzzValidate(f *testing.F) {
	f.Add([]byte(person), []byte(`{"name":5,"friends":[{}]}`))
	f.Add([]byte(`{"$ref":"#"}`), []byte(`1`))
	f.Add([]byte(`{"uniqueItems":true,"contains":{"type":"null"}}`), []byte(`[1,1.0]`))
	f.Add([]byte(`{"if":{"minimum":1},"then":false,"multipleOf":0.1}`), []byte(`1e3`))
	f.Fuzz(func(t *testing.T, schema, value []byte) {
		first := Validate(schema, value)
		if diff := cmp.Diff(first, Validate(schema, value)); diff != "" {
			t.Fatalf("Validate(%q, %q) differs the second time:\n%s", schema, value, diff)
		}
		if err := Check(schema); err != nil && len(first) == 0 {
			t.Fatalf("Validate(%q, %q) = nil, but Check = %v", schema, value, err)
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if p := Validate(json.RawMessage(person), []byte(`{"name":"a","age":5}`)); p != nil {
			b.Fatal(p)
		}
	}
}
