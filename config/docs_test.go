package config

import (
	"flag"
	"fmt"
	"io"
	"os"
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
	want := before + begin + settings(t) + end + after
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

func settings(t *testing.T) string {
	parser, err := newParser(&Config{}, "v", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| flag and key in the file | variable | default | |\n|---|---|---|---|\n")
	for _, f := range parser.Model.Flags {
		if f.Name == "help" || f.Name == "version" {
			continue
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", f.Name, twin(f.Name), f.Default, strings.ReplaceAll(f.Help, "${enum}", strings.ReplaceAll(f.Enum, ",", ", ")))
	}
	return b.String()
}
