package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestServeSettings(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("too short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		args  []string
		words []string // of the error; none: it is fine
	}{
		{"default", []string{"serve"}, nil},
		{"IPv6", []string{"serve", "--listen", "[::1]:0"}, nil},
		{"localhost", []string{"serve", "--listen=localhost:8811"}, nil},
		{"another command", []string{"--listen", "0.0.0.0:1", "call", "x"}, nil},
		{"everywhere", []string{"serve", "--listen", "0.0.0.0:8811"}, []string{"--listen 0.0.0.0:8811", "--tokens FILE", "token new", "--insecure-no-auth"}},
		{"a name", []string{"serve", "--listen", "gpu-box:8811"}, []string{"--listen gpu-box:8811", "--tokens"}},
		{"everywhere, with tokens", []string{"serve", "--listen", "0.0.0.0:8811", "--tokens", "x"}, nil},
		{"everywhere, insecure", []string{"serve", "--listen", "0.0.0.0:8811", "--insecure-no-auth"}, nil},
		{"port alone", []string{"serve", "--listen", ":8811"}, []string{"--listen", "127.0.0.1:8811", "0.0.0.0:8811"}},
		{"bare port", []string{"serve", "--listen", "8811"}, []string{"--listen", "127.0.0.1:8811"}},
		{"no port", []string{"serve", "--listen", "127.0.0.1"}, []string{"--listen"}},
		{"wrong port", []string{"serve", "--listen", "127.0.0.1:99999"}, []string{"--listen"}},
		{"sse", []string{"serve", "--sse", "maybe"}, []string{"--sse", "on, off"}},
		{"origin", []string{"serve", "--allow-origin", "https://a.example/path"}, []string{"--allow-origin", "https://app.example"}},
		{"every origin", []string{"serve", "--allow-origin", "*"}, []string{"--allow-origin"}},
		{"some origins", []string{"serve", "--allow-origin", "https://*.a.example"}, []string{"--allow-origin", "https://app.example"}},
		{"host", []string{"serve", "--allow-host", "http://a.example"}, []string{"--allow-host", "ollama.example"}},
		{"no secret file", []string{"serve", "--secret-file", "/nowhere"}, []string{"--secret-file", "/nowhere"}},
		{"short secret", []string{"serve", "--secret-file", short}, []string{"--secret-file", "9 bytes", "32"}},
		{"streams", []string{"serve", "--max-streams", "0"}, []string{"--max-streams must be more than 0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Parse(tt.args, "test", nil)
			if (err != nil) != (tt.words != nil) {
				t.Fatalf("Parse(%q) = %v, want an error: %t", tt.args, err, tt.words != nil)
			}
			for _, word := range tt.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("Parse(%q) = %q, want %q in it", tt.args, err, word)
				}
			}
		})
	}
}

func TestPublicURLIsAllowed(t *testing.T) {
	for _, tt := range []struct{ url, host, origin, path string }{
		{"https://mcp.example/ollama", "mcp.example", "https://mcp.example", "/ollama"},
		{"https://mcp.example/", "mcp.example", "https://mcp.example", ""},
		{"https://mcp.example:443", "mcp.example", "https://mcp.example", ""},
		{"http://mcp.example:443/a/", "mcp.example", "http://mcp.example:443", "/a"},
		{"https://[2001:db8::1]:8443", "2001:db8::1", "https://[2001:db8::1]:8443", ""},
	} {
		c, _, err := Parse([]string{"serve", "--public-url", tt.url}, "test", nil)
		if err != nil {
			t.Errorf("Parse(--public-url %s): %v", tt.url, err)
			continue
		}
		want := ServeConfig{AllowHost: Words{tt.host}, AllowOrigin: Words{tt.origin}, Path: tt.path}
		got := ServeConfig{AllowHost: c.Serve.AllowHost, AllowOrigin: c.Serve.AllowOrigin, Path: c.Serve.Path}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(--public-url %s) (-want +got):\n%s", tt.url, diff)
		}
	}
}

// TestListsOfTheFile has a setting that is a list written as YAML's lists are.
func TestListsOfTheFile(t *testing.T) {
	unset(t)
	file := writeFile(t, "allow-host: [a.example, b.example]\nallow-origin:\n- https://a.example:443\n")
	c, _, err := Parse([]string{"serve", "--config", file}, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Words{{"a.example", "b.example"}, {"https://a.example"}}, []Words{c.Serve.AllowHost, c.Serve.AllowOrigin}); diff != "" {
		t.Errorf("hosts and origins of the file (-want +got):\n%s", diff)
	}
	if _, _, err := Parse([]string{"serve", "--config", writeFile(t, "allow-host: {a: b}")}, "test", nil); err == nil || !strings.Contains(err.Error(), "allow-host") {
		t.Errorf("a mapping for allow-host: %v, want an error that names it", err)
	}
}
