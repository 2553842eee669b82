// Package conformance runs the official conformance suite of MCP against the real
// program, which serves the suite's fixtures in place of its own tools
// (https://github.com/modelcontextprotocol/conformance).
package conformance

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/interop/npm"
	"ollama-mcp/interop/program"
)

// limit bounds one run of the suite. A healthy one takes a few seconds.
const limit = 90 * time.Second

// baseline.json names the scenarios, or scenario/check, that fail because of what we do
// not offer, and why.
//
//go:embed baseline.json
var baseline []byte

// check is one line of a scenario's result.
type check struct {
	ID      string
	Status  string // SUCCESS, FAILURE, WARNING (of a SHOULD), SKIPPED or INFO
	Error   string `json:"errorMessage"`
	Details json.RawMessage
}

func TestConformance(t *testing.T) {
	packages, err := npm.Install(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	excluded := map[string]string{}
	if err := json.Unmarshal(baseline, &excluded); err != nil {
		t.Fatal(err)
	}
	url := "http://" + program.Serve(t, program.Build(t), "", "--conformance-fixtures") + "/mcp"
	used := map[string]bool{}
	for _, tt := range []struct {
		name, suite string
		args        []string
		scenarios   int // so that none goes missing unseen
	}{
		{"0.1", "conformance-0.1", []string{"--suite", "all"}, 32},
		{"0.2 for 2025-11-25", "conformance-0.2", []string{"--requirements", "2025-11-25"}, 33},
		{"0.2 for 2026-07-28", "conformance-0.2", []string{"--requirements", "2026-07-28"}, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			results := run(t, packages, tt.suite, append(tt.args, "--url", url))
			if len(results) != tt.scenarios {
				t.Errorf("the suite ran %d scenarios, want %d", len(results), tt.scenarios)
			}
			for _, scenario := range slices.Sorted(maps.Keys(results)) {
				t.Run(scenario, func(t *testing.T) {
					for _, c := range results[scenario] {
						judge(t, scenario, c, excluded, used)
					}
				})
			}
		})
	}
	for name := range excluded {
		if !used[name] {
			t.Errorf("baseline.json excludes %s, which does not fail", name)
		}
	}
}

// judge fails the test for a failed check, unless it is excluded; used gets the name
// under which it is.
func judge(t *testing.T, scenario string, c check, excluded map[string]string, used map[string]bool) {
	t.Helper()
	if c.Status != "FAILURE" && c.Status != "WARNING" {
		return
	}
	for _, name := range []string{scenario, scenario + "/" + c.ID} {
		if reason, ok := excluded[name]; ok {
			t.Logf("excluded: %s: %s", c.ID, reason)
			used[name] = true
			return
		}
	}
	t.Errorf("%s %s: %s\n%s", c.Status, c.ID, c.Error, c.Details)
}

// run returns the checks of each scenario of a suite.
func run(t *testing.T, packages *npm.Packages, suite string, args []string) map[string][]check {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dir := t.TempDir()
	cmd := packages.Run(ctx, suite+"/dist/index.js", append([]string{"server", "--output-dir", dir}, args...)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError // of a suite in which something failed
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v\n%s", cmd, errors.Join(err, ctx.Err()), out)
	}
	results, err := read(dir)
	if err != nil || len(results) == 0 {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return results
}

// dated is the end of a result's folder: server-SCENARIO-2026-01-31T12-00-00-000Z.
var dated = regexp.MustCompile(`-\d{4}-\d\d-\d\dT[0-9-]+Z$`)

// read reads what a suite has written to dir.
func read(dir string) (map[string][]check, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil {
		return nil, err
	}
	results := map[string][]check{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		scenario := strings.TrimPrefix(dated.ReplaceAllString(filepath.Base(filepath.Dir(file)), ""), "server-")
		var checks []check
		if err := json.Unmarshal(raw, &checks); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		results[scenario] = append(results[scenario], checks...)
	}
	return results, nil
}
