package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is who may import whom inside this module: imports go down only. A package
// that is missing here may not be imported by anybody but main.
var mayImport = map[string][]string{
	".":                   {"cli", "config", "conformance", "files", "jobs", "ollama", "ollama/fleet", "ollama/fleet/dns", "ollama/fleet/health", "ollama/fleet/queue", "policy", "resources", "tools", "transport", "transport/auth"},
	"cli":                 {"config", "ollama", "ollama/fleet/route", "policy", "schema", "tools", "transport/auth"},
	"demo":                {"config", "ollama", "ollama/fleet", "ollama/ollamatest"},
	"config":              {"ollama", "ollama/fleet", "ollama/fleet/dns", "ollama/fleet/queue", "policy", "schema"},
	"conformance":         {},
	"files":               {},
	"jobs":                {},
	"policy":              {"ollama", "transport/auth"},
	"resources":           {"ollama", "ollama/fleet", "policy", "transport/auth"},
	"tools":               {"jobs", "ollama", "ollama/fleet", "ollama/fleet/queue", "policy", "schema", "transport/auth"},
	"transport":           {"transport/auth"},
	"transport/auth":      {"files"},
	"schema":              {},
	"ollama":              {},
	"ollama/fleet":        {"ollama", "ollama/fleet/cache", "ollama/fleet/health", "ollama/fleet/queue", "ollama/fleet/route"},
	"ollama/fleet/dns":    {"ollama"},
	"ollama/fleet/queue":  {},
	"ollama/ollamatest":   {"ollama"},
	"ollama/fleet/route":  {"ollama"},
	"ollama/fleet/health": {"ollama"},
	"ollama/fleet/cache":  {"ollama"},
}

// forbidden are libraries that a package must know nothing of.
var forbidden = map[string][]string{
	"ollama":       {"github.com/mark3labs/mcp-go", "github.com/rs/zerolog"},
	"ollama/fleet": {"github.com/mark3labs/mcp-go", "net/http", "github.com/rs/zerolog"},
	"schema":       {"github.com/mark3labs/mcp-go"},
	"resources":    {"net/http", "os"},
	"tools":        {"net/http", "os"},
}

// TestImportRules holds the packages to their places: see docs/how-it-works.md.
func TestImportRules(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "drift" || d.Name() == "interop" || d.Name() == "testdata"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		seen[pkg] = true
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("%s: package %s has no place in mayImport", path, pkg)
		}
		for _, imported := range importsOf(t, path) {
			if own, ok := strings.CutPrefix(imported, "ollama-mcp/"); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s; %s may import only %v", path, imported, pkg, allowed)
			}
			for _, f := range forbidden[pkg] {
				if imported == f || strings.HasPrefix(imported, f+"/") {
					t.Errorf("%s imports %s, which %s must not know", path, imported, pkg)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range mayImport {
		if !seen[pkg] {
			t.Errorf("package %s of mayImport does not exist", pkg)
		}
	}
}

func importsOf(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var imports []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		imports = append(imports, imported)
	}
	return imports
}
