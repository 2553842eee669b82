package tools

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/schema"
)

// TestDocs holds the generated parts of the documentation to the code; -update writes them.
func TestDocs(t *testing.T) {
	f := idle()
	defer f.Close()
	set := toolSet(t, f)
	checkFile(t, "../docs/tools.md", func(string) string { return reference(t, set) })
	checkFile(t, "../README.md", func(readme string) string {
		before, rest, ok := strings.Cut(readme, "<!-- tools -->\n")
		_, after, ok2 := strings.Cut(rest, "<!-- /tools -->")
		if !ok || !ok2 {
			t.Fatal("README.md: no <!-- tools --> … <!-- /tools --> to fill")
		}
		return before + "<!-- tools -->\n" + overview(set) + "<!-- /tools -->" + after
	})
}

func checkFile(t *testing.T, path string, make func(now string) string) {
	t.Helper()
	now, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	want := make(string(now))
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(now), want); diff != "" {
		t.Errorf("%s does not say what the code does (-file +code; `go test ./tools -update` writes it):\n%s", path, diff)
	}
}

var effects = map[Effect]string{Reads: "reads", Writes: "changes", Destroys: "destroys"}

func overview(set []Tool) string {
	var b strings.Builder
	b.WriteString("| tool | what it does | effect | toolset |\n|---|---|---|---|\n")
	for _, t := range set {
		first, _, _ := strings.Cut(t.Description, ". ")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", t.Name, strings.TrimSuffix(first, "."), effects[t.Effect], t.Toolset)
	}
	return b.String()
}

func reference(t *testing.T, set []Tool) string {
	var b strings.Builder
	b.WriteString("# Tools\n\n<!-- generated from the code by `go test ./tools -update` -->\n\n" + overview(set))
	for _, tool := range set {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\nArguments:\n\n", tool.Name, tool.Description)
		writeProperties(t, &b, tool.Input.JSON())
		b.WriteString("\nResult (`structuredContent`; each field may be absent):\n\n")
		writeProperties(t, &b, tool.Output)
	}
	b.WriteString("\n## Arguments that are taken more widely\n\n")
	b.WriteString("The schemas show one plain type for each argument. What models often send instead is taken too:\n\n")
	b.WriteString("| given | where this is due | example | becomes |\n|---|---|---|---|\n")
	for _, w := range schema.Wider() {
		fmt.Fprintf(&b, "| %s | %s | `%s` | `%s` |\n", w.Given, w.Due, w.From, w.To)
	}
	return b.String()
}

// shape is as much of a JSON Schema as the reference shows.
type shape struct {
	Type        string
	Description string
	Enum        []string
	Minimum     *float64
	Maximum     *float64
	Default     any
	Required    []string
	Items       *shape
	Properties  json.RawMessage
}

func writeProperties(t *testing.T, b *strings.Builder, s json.RawMessage) {
	b.WriteString("| name | type | |\n|---|---|---|\n")
	writeRows(t, b, "", s)
}

// writeRows writes a row for each property, in the order of the schema, and of what is in it.
func writeRows(t *testing.T, b *strings.Builder, prefix string, s json.RawMessage) {
	var of shape
	if err := json.Unmarshal(s, &of); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(of.Properties)))
	d.Token() // the brace
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var raw json.RawMessage
		var p shape
		if d.Decode(&raw) != nil || json.Unmarshal(raw, &p) != nil {
			t.Fatalf("property %v of %s", name, s)
		}
		full := prefix + name.(string)
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", full, typeOf(&p), wordsOf(&p, name.(string), of.Required))
		switch {
		case p.Type == "array" && p.Items != nil && p.Items.Properties != nil:
			var items struct{ Items json.RawMessage }
			if err := json.Unmarshal(raw, &items); err != nil {
				t.Fatal(err)
			}
			writeRows(t, b, full+"[].", items.Items)
		case p.Properties != nil:
			writeRows(t, b, full+".", raw)
		}
	}
}

func typeOf(p *shape) string {
	switch {
	case p.Type == "array" && p.Items != nil:
		return "array of " + typeOf(p.Items)
	case p.Type == "":
		return "any"
	}
	return p.Type
}

func wordsOf(p *shape, name string, required []string) string {
	var words []string
	for _, r := range required {
		if r == name {
			words = append(words, "**required**")
		}
	}
	if p.Description != "" {
		words = append(words, strings.ReplaceAll(p.Description, "|", "\\|"))
	}
	if len(p.Enum) > 0 {
		words = append(words, "one of "+strings.Join(p.Enum, ", "))
	}
	if p.Minimum != nil {
		words = append(words, fmt.Sprintf("at least %v", *p.Minimum))
	}
	if p.Maximum != nil {
		words = append(words, fmt.Sprintf("at most %v", *p.Maximum))
	}
	if p.Default != nil {
		words = append(words, fmt.Sprintf("default %v", p.Default))
	}
	return strings.Join(words, "; ")
}
