package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const validNames = "model, prompt, think, options, messages, input, schema, raw, labels, before, keep_for, size, page"

// with is a valid request with more in it.
func with(more string) string { return `{"model":"m","prompt":"p",` + more + `}` }

func TestDecodeProblems(t *testing.T) {
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	tests := []struct {
		name string
		args string
		want []string
	}{
		{"no arguments", ``, []string{`missing argument "model"`, `missing argument "prompt"`}},
		{"null", ` null `, []string{`missing argument "model"`, `missing argument "prompt"`}},
		{"array", `[]`, []string{`the arguments must be an object, got an array`}},
		{"text", `"hi"`, []string{`the arguments must be an object, got the string "hi"`}},
		{"broken", `{"model"`, []string{`the arguments are not valid JSON: unexpected end of JSON input`}},
		{"two values", `{} {}`, []string{`the arguments are not valid JSON: invalid character '{' after top-level value`}},
		{"bad UTF-8", "{\"model\":\"\xff\"}", []string{`the arguments are not valid UTF-8`}},
		{"too deep", with(`"schema":{"x":` + deep + `}`), []string{`the arguments are nested more than 64 deep`}},
		{"unknown, near", with(`"modle":1`), []string{`unknown argument "modle": did you mean "model"? valid: ` + validNames}},
		{"unknown, far", with(`"frobnicate":1`), []string{`unknown argument "frobnicate": valid: ` + validNames}},
		{"wrong case", `{"MODEL":"m","prompt":"p"}`, []string{
			`unknown argument "MODEL": did you mean "model"? valid: ` + validNames, `missing argument "model"`,
		}},
		{"not for callers", with(`"Hidden":"x"`), []string{`unknown argument "Hidden": valid: ` + validNames}},
		{"names listed once", with(`"x1":1,"raww":2`), []string{
			`unknown argument "x1"`, `unknown argument "raww": did you mean "raw"? valid: ` + validNames,
		}},
		{"unknown inside", with(`"options":{"temprature":1}`), []string{
			`unknown argument "options.temprature": did you mean "options.temperature"? valid: temperature, seed, top_k, level, tiny`,
		}},
		{"belongs inside", with(`"temperature":1,"Top-K":2`), []string{
			`unknown argument "temperature": did you mean "options.temperature"?`,
			`unknown argument "Top-K": did you mean "options.top_k"? valid: ` + validNames,
		}},
		{"belongs at the top", with(`"options":{"keepFor":"5m"},"messages":[{"role":"user","think":"on"}]`), []string{
			`unknown argument "options.keepFor": did you mean "keep_for"? valid: temperature, seed, top_k, level, tiny`,
			`unknown argument "messages[0].think": did you mean "think"? valid: role, images`,
		}},
		{"belongs beside", with(`"messages":[{"role":"user","seed":1}]`), []string{
			`unknown argument "messages[0].seed": did you mean "options.seed"? valid: role, images`,
		}},
		{"belongs in one of many", with(`"role":"user"`), []string{`unknown argument "role": valid: ` + validNames}},
		{"duplicate", with(`"raw":true,"raw":false,"raw":true`), []string{`duplicate argument "raw"`}},
		{"duplicate by escape", with(`"r\u0061w":true,"raw":false`), []string{`duplicate argument "raw"`}},
		{"duplicates inside anything", with(`"schema":{"a":[{"b":1,"b":2}],"a":3}`), []string{
			`duplicate argument "schema.a"`, `duplicate argument "schema.a[0].b"`,
		}},
		{"null for required", `{"model":null,"prompt":"p"}`, []string{
			`"model" must be a string with a length from 1 to 20, got null`,
		}},
		{"null item", with(`"input":["a",null]`), []string{`"input[1]" must be a string, got null`}},
		{"number for text", `{"model":"m","prompt":5}`, []string{`"prompt" must be a string, got 5`}},
		{"number for described text", `{"model":7,"prompt":"p"}`, []string{
			`"model" must be a string with a length from 1 to 20 (Which one, if <any>), got 7`,
		}},
		{"object for text", `{"model":"m","prompt":{}}`, []string{`"prompt" must be a string, got an object`}},
		{"too short and long", `{"model":"","prompt":"p"}`, []string{`"model" must be a string with a length from 1 to 20, got ""`}},
		{"length in characters", `{"model":"ääääääääääääääääääää","prompt":5}`, []string{`"prompt" must be a string, got 5`}},
		{"text for number", with(`"options":{"temperature":"hot"}`), []string{
			`"options.temperature" must be a number from 0 to 2, got the string "hot"`,
		}},
		{"out of range", with(`"options":{"temperature":2.01,"top_k":0}`), []string{
			`"options.temperature" must be a number from 0 to 2, got 2.01`,
			`"options.top_k" must be an integer of at least 1, got 0`,
		}},
		{"integers", with(`"options":{"seed":9223372036854775808,"top_k":1.5,"level":3}`), []string{
			`"options.seed" must be an integer, got 9223372036854775808`,
			`"options.top_k" must be an integer of at least 1, got 1.5`,
			`"options.level" must be one of 1, 2, got 3`,
		}},
		{"not a float", with(`"options":{"temperature":1e999}`), []string{`"options.temperature" must be a number from 0 to 2, got 1e999`}},
		{"exponent for integer", with(`"page":1e2`), []string{`"page" must be an integer, got 1e2`}},
		{"spaced number in text", with(`"page":" 5"`), []string{`"page" must be an integer, got the string " 5"`}},
		{"Go type is narrower", with(`"options":{"tiny":299}`), []string{`"options.tiny" does not fit, got the number 299`}},
		{"enum", with(`"think":"max"`), []string{`"think" must be one of off, on, low, medium, high, got "max"`}},
		{"enum, other type", with(`"think":true`), []string{`"think" must be one of off, on, low, medium, high, got true`}},
		{"boolean", with(`"raw":"yes"`), []string{`"raw" must be true or false, got the string "yes"`}},
		{"number for boolean", with(`"raw":1`), []string{`"raw" must be true or false, got 1`}},
		{"items", with(`"messages":[]`), []string{`"messages" must be an array of objects with a length of at least 1, got one of length 0`}},
		{"too many items", with(`"input":["1","2","3","4"]`), []string{
			`"input" must be an array of strings with a length of at most 3, got one of length 4`,
		}},
		{"in items", with(`"messages":[{"role":"user"},{},{"role":"User"},7]`), []string{
			`missing argument "messages[1].role"`,
			`"messages[2].role" must be one of user, assistant, got "User"`,
			`"messages[3]" must be an object, got 7`,
		}},
		{"map", with(`"labels":{"a":1,"b":"c"}`), []string{`"labels.a" must be a string, got 1`}},
		{"array for anything", with(`"schema":[1]`), []string{`"schema" must be an object, got an array`}},
		{"text of a type", with(`"keep_for":"soon"`), []string{`"keep_for" is wrong: time: invalid duration "soon"`}},
		{"held numbers are not text", with(`"input":"[1]","think":"\"on\""`), []string{
			`"think" must be one of off, on, low, medium, high, got "\"on\""`,
		}},
		{"long ones are cut", with(`"think":"` + strings.Repeat("é", 500) + `"`), []string{
			`"think" must be one of off, on, low, medium, high, got "` + strings.Repeat("é", 60) + `…"`,
		}},
		{"control characters", with(`"think":"\u001b[31m"`), []string{
			`"think" must be one of off, on, low, medium, high, got "\x1b[31m"`,
		}},
		{"all at once", `{"modle":"m","options":{"temperature":9,"seed":"x"},"raw":[],"raw":1,"messages":"hi"}`, []string{
			`duplicate argument "raw"`,
			`"options.temperature" must be a number from 0 to 2, got 9`,
			`"options.seed" must be an integer, got the string "x"`,
			`"raw" must be true or false, got an array`,
			`"raw" must be true or false, got 1`,
			`"messages" must be an array of objects with a length of at least 1, got the string "hi"`,
			`unknown argument "modle": did you mean "model"? valid: ` + validNames,
			`missing argument "model"`,
			`missing argument "prompt"`,
		}},
	}
	s := input[request](t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := s.Decode(json.RawMessage(tt.args), new(request))
			wrong, _ := errors.AsType[*Error](err)
			if wrong == nil {
				t.Fatalf("Decode(%s) = %v, want *Error", tt.args, err)
			}
			if diff := cmp.Diff(tt.want, wrong.Problems); diff != "" {
				t.Errorf("Decode(%s) problems (-want +got):\n%s", tt.args, diff)
			}
			if got, want := err.Error(), strings.Join(tt.want, "; "); got != want {
				t.Errorf("Error() = %q, want %q", got, want)
			}
		})
	}
}

func TestDecodeNoArgumentsTaken(t *testing.T) {
	err := input[struct{}](t).Decode(json.RawMessage(`{"x":1}`), new(struct{}))
	if want := `unknown argument "x": valid: none`; err == nil || err.Error() != want {
		t.Errorf("Decode = %v, want %s", err, want)
	}
}

func TestDecodeProblemsAreBounded(t *testing.T) {
	s := input[request](t)
	var unknown, items []string
	for i := range 100_000 {
		unknown = append(unknown, fmt.Sprintf(`"k%d":1`, i))
		items = append(items, "1")
	}
	for name, args := range map[string]string{
		"unknown": with(strings.Join(unknown, ",")),
		"items":   with(`"messages":[` + strings.Join(items, ",") + `]`),
	} {
		err := s.Decode(json.RawMessage(args), new(request))
		wrong, _ := errors.AsType[*Error](err)
		if wrong == nil || len(wrong.Problems) < maxProblems || len(wrong.Problems) > maxProblems+1 || len(err.Error()) > 5000 {
			t.Errorf("%s: Decode = %v, want about %d problems", name, err, maxProblems)
		}
	}
}

func TestDecode(t *testing.T) {
	base := func(change func(*request)) request {
		r := request{Model: "m", Prompt: "p"}
		if change != nil {
			change(&r)
		}
		return r
	}
	big, half, on := int64(9007199254740993), 0.5, []string{"a"}
	tests := []struct {
		name string
		args string
		want request
	}{
		{"least", `{"model":"m","prompt":"p"}`, base(nil)},
		{"white space", " {\n\"model\" :\t\"m\" , \"prompt\":\"p\" } ", base(nil)},
		{"escaped name", `{"mod\u0065l":"m","prompt":"p"}`, base(nil)},
		{"null is absent", with(`"think":null,"options":null,"input":null,"schema":null,"raw":null,"size":null,"before":null`), base(nil)},
		{"arguments as text", `"{\"model\":\"m\",\"prompt\":\"p\"}"`, base(nil)},
		{"JSON in text stays text", `{"model":"m","prompt":"{\"a\":[5]}"}`, base(func(r *request) { r.Prompt = `{"a":[5]}` })},
		{"exact integer", with(`"options":{"seed":9007199254740993}`), base(func(r *request) { r.Options = &options{Seed: &big} })},
		{"exact integer with a point", with(`"options":{"seed":"9007199254740993.0"}`), base(func(r *request) { r.Options = &options{Seed: &big} })},
		{"number in text", with(`"options":{"temperature":"0.5"}`), base(func(r *request) { r.Options = &options{Temperature: &half} })},
		{"all in text", with(`"options":"{\"temperature\":\"0.5\"}"`), base(func(r *request) { r.Options = &options{Temperature: &half} })},
		{"boolean in text", with(`"raw":"true"`), base(func(r *request) { r.Raw = true })},
		{"one string", with(`"input":"a"`), base(func(r *request) { r.Input = on })},
		{"array in text", with(`"input":"[\"a\"]"`), base(func(r *request) { r.Input = on })},
		{"text that looks like an array", with(`"input":"[1]"`), base(func(r *request) { r.Input = []string{"[1]"} })},
		{"text that looks like a number", with(`"input":"5"`), base(func(r *request) { r.Input = []string{"5"} })},
		{"text that looks like an object", with(`"input":"{}"`), base(func(r *request) { r.Input = []string{"{}"} })},
		{"objects in text", with(`"messages":"[{\"role\":\"user\",\"images\":\"x\"}]"`), base(func(r *request) {
			r.Messages = []message{{Role: "user", Images: []string{"x"}}}
		})},
		{"anything is kept as it is", with(`"schema": {"b" : null, "a": 1e2} `), base(func(r *request) {
			r.Schema = json.RawMessage(`{"b" : null, "a": 1e2}`)
		})},
		{"anything in text", with(`"schema":"{\"a\":1}"`), base(func(r *request) { r.Schema = json.RawMessage(`{"a":1}`) })},
		{"map", with(`"labels":{"a \"b\"":"c"}`), base(func(r *request) { r.Labels = map[string]string{`a "b"`: "c"} })},
		{"own forms", with(`"keep_for":"5m","size":"7b","before":"2026-01-02T03:04:05Z"`), base(func(r *request) {
			r.KeepFor, r.Size.text = wait(5*time.Minute), "7b"
			r.Before = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		})},
		{"embedded", with(`"page":2`), base(func(r *request) { r.Page = 2 })},
	}
	s := input[request](t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got request
			if err := s.Decode(json.RawMessage(tt.args), &got); err != nil {
				t.Fatalf("Decode(%s) = %v", tt.args, err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(request{}, size{})); diff != "" {
				t.Errorf("Decode(%s) (-want +got):\n%s", tt.args, diff)
			}
		})
	}
}

// The own level of an object comes before what is inside or above it.
func TestDecodeHintsAtTheNearestLevel(t *testing.T) {
	type inner struct {
		Name string `json:"name,omitempty"`
		Size int    `json:"size,omitempty"`
	}
	type outer struct {
		Deep struct {
			Inner inner `json:"inner,omitzero"`
		} `json:"deep,omitzero"`
		Name string `json:"name,omitempty"`
		Sise int    `json:"sise,omitempty"`
	}
	tests := []struct{ args, want string }{
		{`{"NAME":"x"}`, `did you mean "name"?`},
		{`{"size":1}`, `did you mean "deep.inner.size"?`}, // although "sise" is near
		{`{"deep":{"name":"x"}}`, `did you mean "deep.inner.name"?`},
		{`{"deep":{"inner":{"NAME":"x"}}}`, `did you mean "deep.inner.name"?`},
		{`{"deep":{"inner":{"sise":1}}}`, `did you mean "sise"?`},
	}
	s := input[outer](t)
	for _, tt := range tests {
		if err := s.Decode(json.RawMessage(tt.args), new(outer)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Decode(%s) = %v, want %s", tt.args, err, tt.want)
		}
	}
}

func TestDecodeQuotesADescription(t *testing.T) {
	type described struct {
		Text string `json:"text" jsonschema_description:"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"`
		Mode string `json:"mode,omitempty" jsonschema:"enum=on,enum=off" jsonschema_description:"on is best"`
	}
	err := input[described](t).Decode(json.RawMessage(`{"text":-1,"mode":1}`), new(described))
	if want := `"text" must be a string (` + strings.Repeat("0123456789", 12) + `…), got -1; "mode" must be one of on, off, got 1`; err == nil || err.Error() != want {
		t.Errorf("Decode = %v, want %s", err, want)
	}
}

// 2^53+1 and 2^53 are the same float.
func TestDecodeLimitsAreExact(t *testing.T) {
	type limited struct {
		Least int64 `json:"least,omitempty" jsonschema:"minimum=9007199254740993"`
		Most  int64 `json:"most,omitempty" jsonschema:"maximum=9007199254740992"`
		One   int64 `json:"one,omitempty" jsonschema:"enum=9007199254740993"`
	}
	s := input[limited](t)
	for _, args := range []string{`{"least":9007199254740992}`, `{"most":9007199254740993}`, `{"one":9007199254740992}`} {
		if err := s.Decode(json.RawMessage(args), new(limited)); err == nil {
			t.Errorf("Decode(%s) succeeded, want an error", args)
		}
	}
	for _, args := range []string{`{"least":9007199254740993}`, `{"most":9007199254740992}`, `{"one":9007199254740993}`} {
		if err := s.Decode(json.RawMessage(args), new(limited)); err != nil {
			t.Errorf("Decode(%s) = %v", args, err)
		}
	}
}

// Numbers that are not both integers are compared as floats, past 2^53 too.
func TestCompare(t *testing.T) {
	tests := []struct {
		a, b json.Number
		want int
	}{
		{"9007199254740993", "9007199254740992", 1},
		{"-9223372036854775808", "-9223372036854775807", -1},
		{"9007199254740993", "9007199254740992.0", 0},
		{"9223372036854775807", "1e19", -1},
		{"1e3", "1000", 0},
		{"0.5", "0.25", 1},
	}
	for _, tt := range tests {
		if got := compare(tt.a, tt.b); got != tt.want {
			t.Errorf("compare(%s, %s) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := compare(tt.b, tt.a); got != -tt.want {
			t.Errorf("compare(%s, %s) = %d, want %d", tt.b, tt.a, got, -tt.want)
		}
	}
}

func TestDecodeKeepsWhatIsLeftOut(t *testing.T) {
	r := request{Think: "low"}
	if err := input[request](t).Decode(json.RawMessage(with(`"think":null`)), &r); err != nil || r.Think != "low" {
		t.Errorf("Decode: think = %q, error %v, want low, nil", r.Think, err)
	}
}

func TestDecodeIntoAnotherType(t *testing.T) {
	err := input[request](t).Decode(nil, new(message))
	if _, wrong := errors.AsType[*Error](err); err == nil || wrong {
		t.Errorf("Decode into *message = %v, want an error that is no *Error", err)
	}
}

func TestDecodeRoundTrip(t *testing.T) {
	s := input[request](t)
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Int64().Draw(t, "seed")
		temperature := rapid.Float64Range(0, 2).Draw(t, "temperature")
		want := request{
			Model:    rapid.StringN(1, 20, -1).Draw(t, "model"),
			Prompt:   rapid.String().Draw(t, "prompt"),
			Think:    rapid.SampledFrom([]string{"", "off", "high"}).Draw(t, "think"),
			Options:  &options{Seed: &seed, Temperature: &temperature, Tiny: rapid.Uint8().Draw(t, "tiny")},
			Messages: []message{{Role: "user", Images: rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "images")}},
			Labels:   rapid.MapOfN(rapid.String(), rapid.String(), 1, 3).Draw(t, "labels"),
			Raw:      rapid.Bool().Draw(t, "raw"),
			KeepFor:  wait(rapid.Int64().Draw(t, "keep_for")),
		}
		args, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got request
		if err := s.Decode(args, &got); err != nil {
			t.Fatalf("Decode(%s) = %v", args, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(request{}, size{})); diff != "" {
			t.Fatalf("Decode(%s) (-want +got):\n%s", args, diff)
		}
	})
}

// Whatever Decode takes, it takes again after encoding/json wrote it, with the same result.
func FuzzDecode(f *testing.F) {
	for _, args := range []string{
		with(`"options":"{\"seed\":\"5.0\",\"temperature\":1}"`), with(`"input":"a","messages":[{"role":"user"}]`),
		with(`"schema":{"a":{"a":null}},"labels":{"":""},"before":"2026-01-02T03:04:05Z","keep_for":"1s"`),
		`"{}"`, `{"model":"\\\"","model":"\ud800"}`, "{\"a\":\"\xff\"}", ``,
	} {
		f.Add([]byte(args))
	}
	s := input[request](f)
	f.Fuzz(func(t *testing.T, args []byte) {
		var first, second request
		if err := s.Decode(args, &first); err != nil {
			if wrong, ok := errors.AsType[*Error](err); !ok || len(wrong.Problems) == 0 {
				t.Fatalf("Decode(%q) = %v, want an *Error with problems", args, err)
			}
			return
		}
		once, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("Marshal of what Decode(%q) gave: %v", args, err)
		}
		if err := s.Decode(once, &second); err != nil {
			t.Fatalf("Decode(%q) of what was taken as %q = %v", once, args, err)
		}
		if twice, err := json.Marshal(second); err != nil || string(twice) != string(once) {
			t.Fatalf("Decode(%q) then gave %q, %v", once, twice, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	s := input[request](b)
	for name, args := range map[string]string{
		"small": with(`"options":{"temperature":0.5,"seed":7},"messages":[{"role":"user"}]`),
		"10MB":  with(`"think":"on","schema":{"x":"` + strings.Repeat("0123456789", 1<<20) + `"}`),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(args)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Decode(json.RawMessage(args), new(request)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
