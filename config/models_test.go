package config

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

func TestModelsSection(t *testing.T) {
	unset(t)
	file := writeFile(t, `
models:
  llama3.2: {num_ctx: 8192, keep_alive: 24h}
  HF.co/a/b:Q4_K_M:
    num_ctx: 4096
    num_gpu: 0
    use_mmap: false
  kept: {keep_alive: -1s, preload: 2}
max-wait: 40s
`)
	c, _, err := Parse([]string{"--config", file}, "v", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := map[ollama.Name]fleet.Pin{
		"llama3.2:latest":  {Options: &ollama.Options{NumCtx: new(8192)}, KeepAlive: "24h"},
		"hf.co/a/b:q4_k_m": {Options: &ollama.Options{NumCtx: new(4096), NumGPU: new(0), UseMMap: new(false)}},
		"kept:latest":      {KeepAlive: "-1s", Preload: 2},
	}
	if diff := cmp.Diff(want, c.Models.Pins); diff != "" {
		t.Errorf("the pins of the file (-want +got):\n%s", diff)
	}
	if c.Models.MaxWait != 40*time.Second {
		t.Errorf("max-wait beside models is %s, want 40s", c.Models.MaxWait)
	}
}

func TestWrongModelsSectionIsNamed(t *testing.T) {
	tests := map[string][]string{
		"models:\n":                                  {"not a list of names", "num_ctx: 8192"},
		"models: [llama3.2]\n":                       {"not a list of names"},
		"models: {a: }\n":                            {"a: ", "line 1", "no options"},
		"models: {a: {}}\n":                          {"a: ", "no options"},
		"models: {a: {numctx: 1}}\n":                 {"a: ", "line 1", `"numctx"`, "did you mean num_ctx?"},
		"models: {a: {temperature: 1}}\n":            {`"temperature"`, "valid: num_ctx"},
		"models:\n  a:\n    num_ctx:\n":              {"line 3", "missing"},
		"models: {a: {num_ctx: many}}\n":             {"a: ", "line 1", "many"},
		"models: {a: {num_ctx: 0}}\n":                {"num_ctx must be more than 0"},
		"models: {a: {preload: 0}}\n":                {"preload must be more than 0"},
		"models: {a: {preload: all}}\n":              {"line 1", `preload "all" is not a whole number`},
		"models: {a: {keep_alive: soon}}\n":          {`"soon"`, "30m"},
		"models: {a: {keep_alive: 0s}}\n":            {`"0s"`, "-1s for ever"},
		"models: {a: {num_ctx: 1}, A: {num_ctx: 1}}": {"a:latest is there twice"},
		"models: {../a: {num_ctx: 1}}\n":             {"../a"},
		"modles: {a: {num_ctx: 1}}\n":                {"unknown setting", "did you mean models?"},
		"models: {a: {num_ctx: 1, num_ctx: 2}}\n":    {"a: ", "line 1"},
	}
	for file, says := range tests {
		unset(t)
		_, _, err := Parse([]string{"--config", writeFile(t, file)}, "v", io.Discard)
		if err == nil {
			t.Errorf("Parse with the file %q: no error, want one that says %q", file, says)
			continue
		}
		for _, s := range append(says, "--config: ") {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("Parse with the file %q: %q, want %q in it", file, err, s)
			}
		}
	}
}

func TestMaxKeepAlive(t *testing.T) {
	tests := map[string]time.Duration{"10m": 10 * time.Minute, "forever": 0, "": time.Hour}
	for value, want := range tests {
		unset(t)
		t.Setenv("OLLAMA_MCP_MAX_KEEP_ALIVE", value)
		c, _, err := Parse(nil, "v", io.Discard)
		if err != nil || c.Models.MaxKeepAlive.Limit() != want {
			t.Errorf("Parse with max-keep-alive %q: limit %v, %v; want %s", value, c, err, want)
		}
	}
	for _, value := range []string{"0s", "-1s", "10", "always"} {
		unset(t)
		if _, _, err := Parse([]string{"--max-keep-alive=" + value}, "v", io.Discard); err == nil || !strings.Contains(err.Error(), "--max-keep-alive") {
			t.Errorf("Parse with --max-keep-alive=%s: %v, want an error that names it", value, err)
		}
	}
}

func TestListsInTheFile(t *testing.T) {
	for _, file := range []string{"toolsets: [inference, jobs]\n", "toolsets: inference, jobs\n", "toolsets:\n  - inference\n  - jobs\n"} {
		unset(t)
		c, _, err := Parse([]string{"--config", writeFile(t, file)}, "v", io.Discard)
		if err != nil {
			t.Fatalf("Parse with the file %q: %v", file, err)
		}
		if diff := cmp.Diff(Words{"inference", "jobs"}, c.Tools.Toolsets); diff != "" {
			t.Errorf("Parse with the file %q (-want +got):\n%s", file, diff)
		}
	}
}
