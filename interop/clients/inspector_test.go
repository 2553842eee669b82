package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ollama-mcp/interop/npm"
	"ollama-mcp/interop/program"
)

const inspector = "@modelcontextprotocol/inspector/clients/cli/build/index.js"

// TestInspector has the command line of the MCP Inspector list and call tools. With
// --strict it also fails for schemas that some model provider refuses.
func TestInspector(t *testing.T) {
	packages, err := npm.Install(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	_, ours, _ := targets(t)
	stdio := []string{"-e", "OLLAMA_HOST=" + ours.ollama, ours.binary}
	sse := []string{"--transport", "sse", "--server-url", "http://" + ours.hostport + "/sse"}
	http := []string{"--transport", "http", "--server-url", "http://" + ours.hostport + "/mcp"}
	for _, way := range []struct {
		name, era string
		target    []string
	}{
		{"stdio", "legacy", stdio}, {"stdio", "modern", stdio},
		{"sse", "legacy", sse},
		{"http", "legacy", http}, {"http", "modern", http},
	} {
		t.Run(way.name+" "+way.era, func(t *testing.T) {
			var list struct {
				Result struct{ Tools []struct{ Name string } }
			}
			inspect(t, packages, &list, way.target, "--protocol-era", way.era, "--method", "tools/list", "--strict")
			listed := fmt.Sprint(list.Result.Tools)
			for _, tool := range []string{"generate", "chat", "embed", "list_models", "load", "unload"} {
				if !strings.Contains(listed, "{"+tool+"}") {
					t.Errorf("tools/list = %s, want %s among them", listed, tool)
				}
			}
			var answer struct{ Result result }
			inspect(t, packages, &answer, way.target, "--protocol-era", way.era,
				"--method", "tools/call", "--tool-name", "generate", "--tool-args-json", generate)
			if r := answer.Result; r.IsError || r.Structured.Text == "" || len(r.Content) == 0 {
				t.Errorf("generate = %+v, want a text", r)
			}
		})
	}
}

// inspect runs the Inspector and decodes the result that it prints.
func inspect(t *testing.T, packages *npm.Packages, into any, target []string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	home := t.TempDir() // it writes there
	cmd := packages.Run(ctx, inspector, append(append(args, "--format", "json", "-q"), target...)...)
	cmd.Env = append(program.Environ(""), "HOME="+home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd, err, out, &stderr)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%v: %v in\n%s", cmd, err, out)
	}
}
