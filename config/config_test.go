package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ollama-mcp/ollama"
)

// unset takes every variable that Parse reads out of the test's environment.
func unset(t *testing.T) {
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "OLLAMA_") {
			t.Setenv(name, "") // so that it comes back after the test
			os.Unsetenv(name)
		}
	}
}

func writeFile(t *testing.T, content string) string {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	tests := []struct {
		name string
		flag bool
		env  bool
		file bool
		want time.Duration
	}{
		{"default", false, false, false, 50 * time.Second},
		{"file", false, false, true, 3 * time.Second},
		{"environment over file", false, true, true, 2 * time.Second},
		{"flag over all", true, true, true, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unset(t)
			var args []string
			if tt.file {
				args = append(args, "--config", writeFile(t, "max-wait: 3s\nmax-calls: 7\nno-cloud: true\n"))
			}
			if tt.env {
				t.Setenv("OLLAMA_MCP_MAX_WAIT", "2s")
			}
			if tt.flag {
				args = append(args, "--max-wait", "1s")
			}
			c, done, err := Parse(args, "v", io.Discard)
			if err != nil || done || c.Call != nil {
				t.Fatalf("Parse(%q) = %+v, %v, %v; want to serve", args, c, done, err)
			}
			if c.Models.MaxWait != tt.want {
				t.Errorf("Parse(%q): max-wait %s, want %s", args, c.Models.MaxWait, tt.want)
			}
			if tt.file && (c.Limits.MaxCalls != 7 || !c.Models.NoCloud) {
				t.Errorf("Parse(%q): max-calls %d, no-cloud %v; want 7 and true, from the file", args, c.Limits.MaxCalls, c.Models.NoCloud)
			}
		})
	}
}

func TestAddressAndItsOrigin(t *testing.T) {
	tests := []struct {
		name, flag, env, file, host string
		want, origin                string
	}{
		{name: "default", want: "http://127.0.0.1:11434", origin: "the default"},
		{name: "OLLAMA_HOST", host: "gpu-box", want: "http://gpu-box:11434", origin: "OLLAMA_HOST"},
		{name: "variable", env: "other:1", host: "gpu-box", want: "http://other:1", origin: "OLLAMA_MCP_OLLAMA"},
		{name: "file", file: "ollama: gpu-box:2", host: "other", want: "http://gpu-box:2", origin: "--config"},
		{name: "flag", flag: "https://third", env: "other:1", host: "gpu-box", want: "https://third", origin: "--ollama"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unset(t)
			var args []string
			if tt.flag != "" {
				args = []string{"--ollama", tt.flag}
			}
			if tt.file != "" {
				args = append(args, "--config", writeFile(t, tt.file))
			}
			if tt.env != "" {
				t.Setenv("OLLAMA_MCP_OLLAMA", tt.env)
			}
			if tt.host != "" {
				t.Setenv("OLLAMA_HOST", tt.host)
			}
			c, _, err := Parse(args, "v", io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Ollama.Where(); got != tt.want || c.Ollama.Origin != tt.origin {
				t.Errorf("address %s from %s, want %s from %s", got, c.Ollama.Origin, tt.want, tt.origin)
			}
		})
	}
}

func TestWrongSettingsNameTheFlag(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		env   map[string]string
		words []string
	}{
		{name: "unknown flag", args: []string{"--max-wiat", "1s"}, words: []string{"--max-wiat", "--max-wait"}},
		{name: "one dash", args: []string{"-config", "/nowhere.yaml"}, words: []string{"-config", "--config"}},
		{name: "not a duration", args: []string{"--max-wait", "5"}, words: []string{"--max-wait", `"5"`, "write it as 3s or 2m"}},
		{name: "not a duration after =, after the command", args: []string{"call", "x", "--max-wait=5"}, words: []string{"--max-wait", `"5"`, "write it as 3s or 2m"}},
		{name: "not a duration after a switch", args: []string{"--no-cloud", "--drain", "soon"}, words: []string{"--drain", `"soon"`, "write it as 3s or 2m"}},
		{name: "not a boolean", args: []string{"--no-cloud=maybe"}, words: []string{"--no-cloud", `"maybe"`, "true or false"}},
		{name: "not a boolean in a variable", env: map[string]string{"OLLAMA_MCP_NO_CLOUD": "on"}, words: []string{"--no-cloud", "OLLAMA_MCP_NO_CLOUD", `"on"`, "true or false"}},
		{name: "not a boolean in the file", args: []string{"--config", writeFile(t, "no-cloud: 'yes'")}, words: []string{"--no-cloud", "--config", `"yes"`, "true or false"}},
		{name: "not a number", args: []string{"--max-calls", "many"}, words: []string{"--max-calls", `"many"`, "whole number"}},
		{name: "no value", args: []string{"--max-wait", "--no-cloud"}, words: []string{"missing value", "--max-wait"}},
		{name: "no value at the end", args: []string{"--max-wait"}, words: []string{"missing value", "--max-wait"}},
		{name: "zero", args: []string{"--max-calls", "0", "--drain=-1s"}, words: []string{"--max-calls", "--drain"}},
		{name: "a value with a dash", args: []string{"--max-keep-alive", "-1s"}, words: []string{"--max-keep-alive must be forever, or more than 0, and -1s is not"}},
		{name: "a word with a dash", args: []string{"serve", "--default-model", "-x"}, words: []string{"--default-model: a value that begins with a dash is written --default-model=-x"}},
		{name: "a path with a dash", args: []string{"--config", "-x.yaml"}, words: []string{"written --config=-x.yaml"}},
		{name: "a flag with one dash after a switch", args: []string{"--no-cloud", "-x"}, words: []string{"unknown flag -x"}},
		{name: "a flag that is none after one", args: []string{"--max-wait", "--max-wiat"}, words: []string{"unknown flag --max-wiat", "did you mean --max-wait"}},
		{name: "a negative limit that can be none", args: []string{"--max-keep-alive=-1s"}, words: []string{"--max-keep-alive must be forever, or more than 0"}},
		{name: "not a size", args: []string{"--max-message", "huge"}, words: []string{"--max-message", "16MiB"}},
		{name: "not an address", args: []string{"--ollama", "ftp://x"}, words: []string{"--ollama", "ftp"}},
		{name: "not an address in OLLAMA_HOST", env: map[string]string{"OLLAMA_HOST": "ftp://x"}, words: []string{"OLLAMA_HOST"}},
		{name: "not a registry", args: []string{"--allow-registries", "hf.co,ftp://x"}, words: []string{"--allow-registries", "ftp", "http://host:port"}},
		{name: "a registry with a path", args: []string{"--allow-registries", "https://hf.co/"}, words: []string{"--allow-registries", "write host, host:port, either with https:// if you like, or"}},
		{name: "not a model", args: []string{"--default-model", "http://x"}, words: []string{"--default-model"}},
		{name: "not a format in the file", args: []string{"--config", writeFile(t, "log-format: xml")}, words: []string{"--log-format", "console"}},
		{name: "not a duration in a variable", env: map[string]string{"OLLAMA_MCP_STALL": "5"}, words: []string{"OLLAMA_MCP_STALL", "--stall", `"5"`, "write it as 3s or 2m"}},
		{name: "not a duration in the file", args: []string{"--config", writeFile(t, "stall: 5")}, words: []string{"--config", "--stall", `"5"`, "write it as 3s or 2m"}},
		{name: "call without a tool", args: []string{"call"}, words: []string{"TOOL"}},
		{name: "not a level", args: []string{"--log-level", "loud"}, words: []string{"--log-level", "debug"}},
		{name: "unknown variable", env: map[string]string{"OLLAMA_MCP_MAXWAIT": "1s"}, words: []string{"OLLAMA_MCP_MAXWAIT", "OLLAMA_MCP_MAX_WAIT"}},
		{name: "unknown key", args: []string{"--config", writeFile(t, "max_wait: 1s\n")}, words: []string{"max_wait", "max-wait"}},
		{name: "not YAML", args: []string{"--config", writeFile(t, "{")}, words: []string{"--config"}},
		{name: "no file", args: []string{"--config", "/nowhere.yaml"}, words: []string{"/nowhere.yaml"}},
		{name: "unknown command", args: []string{"sreve"}, words: []string{`"sreve"; valid: serve, call, token, explain, route;`}},
		{name: "unknown command after flags", args: []string{"--max-wait", "1s", "--config", writeFile(t, ""), "--drain=1s", "sreve"}, words: []string{`"sreve"; valid: serve, call, token, explain, route;`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unset(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			_, _, err := Parse(tt.args, "v", io.Discard)
			if err == nil {
				t.Fatalf("Parse(%q) succeeded", tt.args)
			}
			for _, w := range tt.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("Parse(%q): %q lacks %q", tt.args, err, w)
				}
			}
			if strings.Contains(err.Error(), "parsing") {
				t.Errorf("Parse(%q): %q are strconv's words", tt.args, err)
			}
		})
	}
}

func TestValuesAndArgumentsAreNoCommands(t *testing.T) {
	for _, args := range [][]string{
		{"--default-model", "serve", "--no-cloud", "call", "serve", "-"},
		{"call", "--drain", "1s", "--no-cloud=true", "x", "{}"},
		{"--config", writeFile(t, "no-cloud: true"), "call", "--", "x", "--max-wait=3"},
	} {
		unset(t)
		c, _, err := Parse(args, "v", io.Discard)
		if err != nil || c.Call == nil || !c.Models.NoCloud {
			t.Errorf("Parse(%q) = %+v, %v; want a call, and no-cloud", args, c, err)
		}
	}
}

func TestHelpAndVersionEndWell(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-h"}, {"--version"}, {"serve", "--help"}, {"--max-wait", "3", "-h"}} {
		unset(t)
		t.Setenv("OLLAMA_MCP_CONFIG", "/nowhere.yaml") // what is wrong elsewhere does not matter
		var out bytes.Buffer
		if _, done, err := Parse(args, "v1.2.3", &out); !done || err != nil || !strings.Contains(out.String(), "ollama-mcp") {
			t.Errorf("Parse(%q) = %v, %v, printed %q", args, done, err, out.String())
		}
	}
}

func TestHelpOfCallSaysThatItWaits(t *testing.T) {
	unset(t)
	var out bytes.Buffer
	if _, _, err := Parse([]string{"call", "--help"}, "v", &out); err != nil || !strings.Contains(out.String(), "wait counts for nothing here") {
		t.Errorf("call --help: %v, %s; want a word on wait", err, &out)
	}
}

func TestAPIKey(t *testing.T) {
	unset(t)
	t.Setenv("OLLAMA_API_KEY", "hunter2")
	for host, want := range map[string]ollama.Secret{
		"https://ollama.com": "hunter2", "ollama.com": "hunter2", "http://127.0.0.1": "",
		"https://ollama.com.evil.example": "", "https://notollama.com": "", "http://ollama.com": "",
	} {
		c, _, err := Parse([]string{"--ollama", host}, "v", io.Discard)
		if err != nil || c.Ollama.Hosts[0].APIKey != want {
			t.Errorf("OLLAMA_API_KEY=hunter2 for %s: got %q, %v; want %q", host, string(c.Ollama.Hosts[0].APIKey), err, string(want))
		}
		if printed := fmt.Sprintf("%+v", c); strings.Contains(printed, "hunter2") {
			t.Errorf("a printed Config shows the key: %s", printed)
		}
	}
}
