package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/invopop/jsonschema"
)

// maxProblems bounds how many problems are looked for, and maxQuote how many bytes of
// what a caller sent go into the words about it.
const (
	maxProblems = 20
	maxQuote    = 120
)

// Error says everything that is wrong with arguments, in words for a model.
type Error struct {
	Problems []string // at least one and about 20 at most, each a clause without a full stop
}

func (e *Error) Error() string { return strings.Join(e.Problems, "; ") }

// subject names what is at path, "" being the arguments as a whole.
func subject(path string) string {
	if path == "" {
		return "the arguments"
	}
	return quote(path)
}

func member(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func mismatch(s *jsonschema.Schema, v value, path string) string {
	return fmt.Sprintf("%s must be %s%s, got %s", subject(path), wanted(s), gist(s, v), got(s, v))
}

// gist is what s says of itself where "a string" leaves open what to write instead of a
// number, such as a time with its unit.
func gist(s *jsonschema.Schema, v value) string {
	if v.kind != number || s.Type != "string" || len(s.Enum) > 0 || s.Description == "" {
		return ""
	}
	return " (" + cut(s.Description) + ")"
}

// unknown words the names at path that s has not, and after the last those it has.
func (d *decoding) unknown(s *jsonschema.Schema, names []string, path string) (problems []string) {
	var valid []string
	for name := range properties(s) {
		valid = append(valid, name)
	}
	for i, name := range names {
		var hints []string
		near := cmp.Or(home(s, path, fold(name)), home(d.root, "", fold(name)))
		if n := Nearest(name, valid); near == "" && n != "" {
			near = member(path, n)
		}
		if near != "" {
			hints = append(hints, "did you mean "+quote(near)+"?")
		}
		if i == len(names)-1 {
			hints = append(hints, "valid: "+cmp.Or(strings.Join(valid, ", "), "none"))
		}
		msg := "unknown argument " + quote(member(path, name))
		if len(hints) > 0 {
			msg += ": " + strings.Join(hints, " ")
		}
		problems = append(problems, msg)
	}
	return problems
}

// home returns the path of the first property of s, which is at path, or else of the
// objects in it, whose name folds to folded, or "". What is in arrays and maps has no
// one path.
func home(s *jsonschema.Schema, path, folded string) string {
	for name := range properties(s) {
		if fold(name) == folded {
			return member(path, name)
		}
	}
	for name, of := range properties(s) {
		if found := home(of, member(path, name), folded); found != "" {
			return found
		}
	}
	return ""
}

// wanted says what s asks for, as in "a number from 0 to 2".
func wanted(s *jsonschema.Schema) string {
	if len(s.Enum) > 0 {
		return "one of " + strings.TrimSuffix(fmt.Sprintf(strings.Repeat("%v, ", len(s.Enum)), s.Enum...), ", ")
	}
	switch s.Type {
	case "string":
		return "a string" + length(s.MinLength, s.MaxLength)
	case "boolean":
		return "true or false"
	case "integer":
		return "an integer" + span(s.Minimum, s.Maximum)
	case "number":
		return "a number" + span(s.Minimum, s.Maximum)
	case "array":
		return "an array of " + s.Items.Type + "s" + length(s.MinItems, s.MaxItems)
	}
	return "an object"
}

// span puts the limits of a number in words; "" is no limit.
func span(least, most json.Number) string {
	switch {
	case least == "" && most == "":
		return ""
	case least == "":
		return " of at most " + most.String()
	case most == "":
		return " of at least " + least.String()
	}
	return fmt.Sprintf(" from %s to %s", least, most)
}

func length(least, most *uint64) string {
	limit := func(n *uint64) json.Number {
		if n == nil {
			return ""
		}
		return json.Number(strconv.FormatUint(*n, 10))
	}
	if least == nil && most == nil {
		return ""
	}
	return " with a length" + span(limit(least), limit(most))
}

// got says what v is, where s asked for something else.
func got(s *jsonschema.Schema, v value) string {
	switch v.kind {
	case text:
		if s.Type == "string" {
			return quote(v.text())
		}
		return "the string " + quote(v.text())
	case array:
		if s.Type == "array" {
			return fmt.Sprintf("one of length %d", len(v.items))
		}
		return "an array"
	case object:
		return "an object"
	}
	return cut(string(v.raw))
}

// quote quotes what a caller sent, without its control characters or more than the
// first part of it.
func quote(s string) string { return strconv.Quote(cut(s)) }

func cut(s string) string {
	if len(s) <= maxQuote {
		return s
	}
	end := maxQuote
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
