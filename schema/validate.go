package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	fault "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

const (
	maxSchema = 32 << 10 // bytes of a schema from outside
	maxValue  = 1 << 20  // bytes of a value checked by it
	maxDigits = 400      // of a number, which is compared exactly; also its exponent
	maxWork   = 1 << 20  // comparisons of a part of the value with a part of the schema

	// base is where a schema from outside is taken to be; nothing can be loaded from there.
	base = "schema:///"
)

// Check reports why [Validate] cannot use schema, a JSON Schema from outside: it is not
// one, it refers to something outside itself (nothing is ever loaded), or it is longer
// than 32 KiB or nested more than 64 deep.
func Check(schema json.RawMessage) error {
	_, err := compile(schema, &budget{})
	return err
}

// Validate returns what is wrong with value, which should be JSON, under schema, for
// which [Check] reports nothing; nil means that value is valid. Numbers are compared
// exactly; formats are not asserted. A value is also invalid if it is longer than 1 MiB,
// nested more than 64 deep, or more work than a second or so to check.
func Validate(schema json.RawMessage, value []byte) []string {
	steps := &budget{left: maxWork}
	s, err := compile(schema, steps)
	if err != nil {
		return []string{"the schema " + err.Error()}
	}
	doc, err := document(value, maxValue)
	if err != nil {
		return []string{"the value " + err.Error()}
	}
	err = shielded(func() error { return s.Validate(doc) })
	if steps.left < 0 {
		return []string{"the value is too much to check by this schema"}
	}
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []string{err.Error()}
	}
	return brief(failures(invalid))
}

func compile(schema json.RawMessage, steps *budget) (compiled *jsonschema.Schema, err error) {
	doc, err := document(schema, maxSchema)
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(refusing{})
	c.RegisterVocabulary(&jsonschema.Vocabulary{URL: base + "budget", Compile: steps.charge})
	c.AssertVocabs()
	if err := c.AddResource(base, doc); err != nil {
		return nil, err
	}
	err = shielded(func() error {
		compiled, err = c.Compile(base)
		return err
	})
	return compiled, unusable(err)
}

// document decodes JSON from outside that the validator can be trusted with.
func document(data []byte, limit int) (any, error) {
	if len(data) > limit {
		return nil, fmt.Errorf("is longer than %d bytes", limit)
	}
	v, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("is %w", err)
	}
	if n := huge(v); n != nil {
		return nil, fmt.Errorf("has a number that is too long: %s", cut(string(n)))
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

// huge finds a number that would be costly as a fraction: 1e1000000000 is a gigabyte.
func huge(v value) []byte {
	if v.kind == number {
		_, exponent, _ := strings.Cut(strings.ToLower(string(v.raw)), "e")
		e, err := strconv.Atoi(exponent)
		if len(v.raw) > maxDigits || max(e, -e) > maxDigits || exponent != "" && err != nil {
			return v.raw
		}
	}
	for _, item := range v.items {
		if n := huge(item); n != nil {
			return n
		}
	}
	return nil
}

// refusing loads nothing.
type refusing struct{}

var errOutside = errors.New("outside of the schema")

func (refusing) Load(string) (any, error) { return nil, errOutside }

// unusable puts an error of the compiler in words.
func unusable(err error) error {
	if err == nil {
		return nil
	}
	if outside, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return fmt.Errorf("refers to %s, and only what is within it can be used", quote(strings.TrimPrefix(outside.URL, base)))
	}
	if invalid, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if why, ok := errors.AsType[*jsonschema.ValidationError](invalid.Err); ok {
			return fmt.Errorf("is not a JSON Schema: %s", strings.Join(brief(failures(why)), "; "))
		}
	}
	return fmt.Errorf("cannot be used: %s", cut(strings.ReplaceAll(err.Error(), base, "")))
}

// shielded turns a panic of the library into an error: both schema and value are from
// outside.
func shielded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot be checked: %v", p)
		}
	}()
	return f()
}

// A budget bounds the work of one validation, which references and combinations can
// make grow without limit: ten lines of schema are enough for 2^64 steps.
type budget struct {
	left   int // of maxWork
	weight int // parts of the schema: what one part of a value may be compared with
}

// charge makes the schema that is being compiled take from the budget whenever it is
// applied. The check of the format is the place for it: it comes before anything that
// leads on to other schemas, and its failure ends what has become too much.
func (b *budget) charge(ctx *jsonschema.CompilerContext, _ map[string]any) (jsonschema.SchemaExt, error) {
	s := ctx.Enqueue(nil)
	b.weight += 1 + len(s.AllOf) + len(s.AnyOf) + len(s.OneOf)
	if s.Enum != nil {
		b.weight += len(s.Enum.Values)
	}
	s.Format = &jsonschema.Format{Name: "budget", Validate: func(v any) error {
		if b.left -= (1 + children(v)) * b.weight; b.left < 0 {
			return errors.New("spent")
		}
		return nil
	}}
	return nil, nil
}

func children(v any) int {
	switch v := v.(type) {
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	}
	return 0
}

// brief sorts problems, since the validator finds them in no fixed order, and drops all
// but the first of them.
func brief(problems []string) []string {
	slices.Sort(problems)
	problems = slices.Compact(problems)
	if len(problems) > maxProblems {
		problems = append(problems[:maxProblems], "and more")
	}
	return problems
}

// failures words everything that makes e fail.
func failures(e *jsonschema.ValidationError) []string {
	switch e.ErrorKind.(type) {
	case *fault.Schema, *fault.Group, *fault.Reference, *fault.AllOf:
		return causes(e)
	}
	return []string{place(e.InstanceLocation) + " " + failure(e)}
}

func causes(e *jsonschema.ValidationError) (all []string) {
	for _, cause := range e.Causes {
		all = append(all, failures(cause)...)
	}
	return all
}

func failure(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *fault.Type:
		return fmt.Sprintf("must be %s, got %s", strings.Join(k.Want, " or "), k.Got)
	case *fault.Required:
		return "misses " + list(k.Missing)
	case *fault.AdditionalProperties:
		return "must not have " + list(k.Properties)
	case *fault.Minimum:
		return fmt.Sprintf("must be at least %s, got %s", decimal(k.Want), decimal(k.Got))
	case *fault.Maximum:
		return fmt.Sprintf("must be at most %s, got %s", decimal(k.Want), decimal(k.Got))
	case *fault.AnyOf:
		return "fits none of anyOf: " + strings.Join(brief(causes(e)), " | ")
	case *fault.OneOf:
		if len(k.Subschemas) == 0 {
			return "fits none of oneOf: " + strings.Join(brief(causes(e)), " | ")
		}
	}
	alone := *e
	alone.Causes = nil
	return "is wrong: " + cut(alone.BasicOutput().Error.String())
}

// decimal writes an integer exactly and other numbers as floats.
func decimal(n *big.Rat) string {
	if n.IsInt() {
		return cut(n.Num().String())
	}
	f, _ := n.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func list(names []string) string {
	slices.Sort(names)
	return cut(strings.Join(names, ", "))
}

// place names a place in a value, as in "users[2].name".
func place(tokens []string) string {
	path := ""
	for _, t := range tokens {
		if i, err := strconv.Atoi(t); err == nil {
			path = element(path, i)
		} else {
			path = member(path, t)
		}
	}
	if path == "" {
		return "the value"
	}
	return quote(path)
}
