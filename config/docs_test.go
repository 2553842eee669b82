package config

import (
	"encoding"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table in docs/configuration.md anew")

// TestDocs holds the table of settings to the flags; -update writes it.
func TestDocs(t *testing.T) {
	const path, begin, end = "../docs/configuration.md", "<!-- settings -->\n", "<!-- /settings -->"
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(now), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s: no %s… %s to fill", path, begin, end)
	}
	want := before + begin + settings() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(now), want); diff != "" {
		t.Errorf("%s does not say what the flags are (-file +flags; `go test ./config -update` writes it):\n%s", path, diff)
	}
}

func settings() string {
	var b strings.Builder
	b.WriteString("| flag | variable | default | |\n|---|---|---|---|\n")
	c := defaults()
	for name, field := range c.settings() {
		initial := fmt.Sprint(field)
		if text, ok := field.Interface().(encoding.TextMarshaler); ok {
			b, _ := text.MarshalText()
			initial = string(b)
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", name, twin(name), initial, help(c, name))
	}
	return b.String()
}

// help is the help of a setting, from its tag.
func help(c *Config, name string) string {
	for _, section := range c.sections() {
		for f := range reflect.TypeOf(section).Elem().Fields() {
			if f.Tag.Get("arg") == "--"+name {
				return f.Tag.Get("help")
			}
		}
	}
	return ""
}
