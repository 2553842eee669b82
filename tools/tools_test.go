package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/server"
	"go.uber.org/goleak"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

var update = flag.Bool("update", false, "write the snapshots in testdata anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tools makes the whole set on a fleet.
func toolSet(t *testing.T, f *fleet.Fleet) []Tool {
	t.Helper()
	set, err := All(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// idle is a fleet that nothing is asked of.
func idle() *fleet.Fleet {
	return fleet.New([]fleet.Host{{Client: ollama.NewClient(ollama.ClientOptions{})}}, fleet.Options{})
}

// TestSurface holds the tool surface to what a client sees today. A change shows up as a
// difference to review; -update takes it.
func TestSurface(t *testing.T) {
	f := idle()
	defer f.Close()
	for _, tool := range toolSet(t, f) {
		got := definition(t, tool)
		path := filepath.Join("..", "testdata", "tools", tool.Name+".json")
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("tool %s as clients see it (-%s +now; -update takes it):\n%s", tool.Name, path, diff)
		}
	}
}

// definition is a tool as tools/list shows it, indented.
func definition(t *testing.T, tool Tool) []byte {
	t.Helper()
	compact, err := json.Marshal(tool.definition())
	if err != nil {
		t.Fatalf("marshal tool %s: %v", tool.Name, err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func TestWholeSet(t *testing.T) {
	f := idle()
	defer f.Close()
	set := toolSet(t, f)
	seen := map[string]bool{}
	for _, tool := range set {
		if seen[tool.Name] || tool.Name == "" || tool.Title == "" || len(tool.Description) < 40 {
			t.Errorf("tool %q: a unique name, a title and a description are needed, got %q, %q", tool.Name, tool.Title, tool.Description)
		}
		seen[tool.Name] = true
		for _, words := range []string{string(tool.Input.JSON()), string(tool.Output)} {
			for _, bad := range []string{`:true,"`, `"$ref"`, `"anyOf"`, `"oneOf"`, `["`} {
				if strings.Contains(strings.NewReplacer(`"enum":["`, "", `"required":["`, "", `"examples":["`, "").Replace(words), bad) {
					t.Errorf("tool %s: schema with %s, which some clients refuse: %s", tool.Name, bad, words)
				}
			}
		}
	}
	if n := strings.Count(Instructions(set), "\n") + 1; n > 15 {
		t.Errorf("server instructions take %d lines, want at most 15", n)
	}
}

// TestInstructionsNameOfferedTools: a model is told of no tool that it has not.
func TestInstructionsNameOfferedTools(t *testing.T) {
	f := idle()
	defer f.Close()
	all := toolSet(t, f)
	for _, line := range hints {
		for _, h := range line {
			for _, name := range h.tools {
				if !slices.ContainsFunc(all, func(t Tool) bool { return t.Name == name }) {
					t.Errorf("the hint %q is for the tool %s, which there is not", h.words, name)
				}
			}
		}
	}
	told := Instructions(all[:1])
	for _, tool := range all[1:] {
		if strings.Contains(told, tool.Name+":") || strings.Contains(tool.Name, "_") && strings.Contains(told, tool.Name) {
			t.Errorf("instructions with %s alone speak of %s: %s", all[0].Name, tool.Name, told)
		}
	}
	if !strings.Contains(told, all[0].Name+":") {
		t.Errorf("instructions with %s alone do not speak of it: %s", all[0].Name, told)
	}
}

// TestSizeOfDefaultSet bounds what every conversation pays for: the tools that are offered
// unless the operator asks for others.
func TestSizeOfDefaultSet(t *testing.T) {
	f := idle()
	defer f.Close()
	set, err := Selection{}.Select(toolSet(t, f))
	if err != nil {
		t.Fatal(err)
	}
	shown := 0 // what a model reads
	for _, tool := range set {
		shown += len(tool.Name) + len(tool.Description) + len(tool.Input.JSON())
	}
	if len(set) != 12 || shown > 11<<10 {
		t.Errorf("names, descriptions and input schemas of %d default tools take %d bytes, want 12 tools and at most %d", len(set), shown, 11<<10)
	}
	s := server.NewMCPServer("test", "0", server.WithToolCapabilities(true))
	Register(s, set)
	list, err := json.Marshal(s.HandleMessage(t.Context(), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) > 28<<10 {
		t.Errorf("tools/list takes %d bytes, want at most %d", len(list), 28<<10)
	}
}

func TestUnfinishedToolsStopTheStart(t *testing.T) {
	whole := Tool{Name: "whole", Effect: Reads, Toolset: Models}
	for _, unfinished := range []Tool{{Name: "aimless", Toolset: Models}, {Name: "homeless", Effect: Reads}, {Name: "lost", Effect: Reads, Toolset: "modles"}} {
		if _, err := collect(Options{}, whole, unfinished); err == nil || !strings.Contains(err.Error(), unfinished.Name) {
			t.Errorf("collect with the unfinished tool %s: got %v, want an error that names it", unfinished.Name, err)
		}
	}
	impatient := define(Tool{Name: "impatient", Effect: Reads}, func(context.Context, unloadInput, *call) (answerOutput, error) { return answerOutput{}, nil })
	if _, err := collect(Options{}, impatient); err == nil || !strings.Contains(err.Error(), "impatient") {
		t.Errorf("collect with a tool that could become a job and takes no wait: got %v, want an error that names it", err)
	}
}
