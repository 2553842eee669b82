package ollama

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRegistries(t *testing.T) {
	tests := []struct {
		entries  []string
		model    Name
		allowed  bool
		insecure bool
	}{
		{nil, "llama3.2:latest", true, false},
		{nil, "user/model:latest", true, false},
		{nil, "hf.co/user/repo:q4_k_m", true, false},
		{nil, "example.com/user/repo:latest", false, false},
		{[]string{}, "hf.co/user/repo:latest", true, false},
		{[]string{"hf.co"}, "llama3.2:latest", false, false},
		{[]string{"registry.ollama.ai"}, "llama3.2:latest", true, false},
		{[]string{" HF.co "}, "hf.co/user/repo:latest", true, false},
		{[]string{"https://hf.co"}, "hf.co/user/repo:latest", true, false},
		{[]string{"hf.co:443"}, "hf.co/user/repo:latest", false, false},
		{[]string{"http://localhost:5000", "hf.co"}, "localhost:5000/user/repo:latest", true, true},
		{[]string{"http://localhost:5000", "hf.co"}, "hf.co/user/repo:latest", true, false},
		{[]string{"http://localhost:5000"}, "localhost/user/repo:latest", false, false},
		{[]string{"hf.co", "HF.co"}, "hf.co/user/repo:latest", true, false},
	}
	for _, tt := range tests {
		r, err := ParseRegistries(tt.entries)
		if err != nil {
			t.Errorf("ParseRegistries(%q): %v", tt.entries, err)
			continue
		}
		insecure, err := r.Check(tt.model)
		if (err == nil) != tt.allowed || insecure != tt.insecure {
			t.Errorf("ParseRegistries(%q).Check(%q) = %t, %v; want %t, allowed %t", tt.entries, tt.model, insecure, err, tt.insecure, tt.allowed)
		}
	}
}

func TestParseRegistriesRejects(t *testing.T) {
	tests := []struct{ entry, says string }{
		{"", "host is empty"},
		{"http://", "host is empty"},
		{"ftp://example.com", `"ftp"`},
		{"example.com/path", "'/'"},
		{"https://example.com/", "'/'"},
		{"user@example.com", "'@'"},
		{"http://user:secret@example.com", "port"},
		{"[::1]:5000", "'['"},
		{"::1", "host is empty"},
		{"example.com:", "port"},
		{"example.com:0", "port"},
		{"example.com:65536", "port"},
		{"example.com:http", "port"},
		{"*.example.com", "'*'"},
		{"exa mple.com", "' '"},
		{"example..com", `".."`},
		{"http://http://example.com", "port"},
	}
	for _, tt := range tests {
		_, err := ParseRegistries([]string{"hf.co", tt.entry})
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "http://host:port") {
			t.Errorf("ParseRegistries(%q): got %v, want it to say %q and what to write", tt.entry, err, tt.says)
		}
	}
	if _, err := ParseRegistries([]string{"localhost:5000", "http://localhost:5000"}); err == nil {
		t.Error("ParseRegistries of one registry with and without http://: got no error")
	}
}

func TestRegistryError(t *testing.T) {
	_, err := Registries{}.Check("example.com/user/repo:latest")
	var got *RegistryError
	if !errors.As(err, &got) {
		t.Fatalf("Check: got %v, want a RegistryError", err)
	}
	want := &RegistryError{Registry: "example.com", Allowed: []string{"hf.co", "registry.ollama.ai"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Check (-want +got):\n%s", diff)
	}
	if got, want := err.Error(), "the registry example.com is not allowed; allowed are hf.co, registry.ollama.ai"; got != want {
		t.Errorf("Error: got %q, want %q", got, want)
	}
}

func TestNameRegistry(t *testing.T) {
	for name, want := range map[Name]string{
		"llama3.2:latest":             "registry.ollama.ai",
		"user/model:tag":              "registry.ollama.ai",
		"hf.co/user/repo:q4_k_m":      "hf.co",
		"localhost:5000/user/model:1": "localhost:5000",
		"":                            "registry.ollama.ai",
	} {
		if got := name.Registry(); got != want {
			t.Errorf("Name(%q).Registry() = %q, want %q", name, got, want)
		}
	}
}

func TestSpelling(t *testing.T) {
	for in, want := range map[string]string{
		" Llama3.2 ":                         "Llama3.2:latest",
		"Registry.Ollama.AI/Library/M:7B":    "M:7B",
		"hf.co/User/Repo-GGUF:Q4_K_M":        "hf.co/User/Repo-GGUF:Q4_K_M",
		"User/Model":                         "User/Model:latest",
		"registry.ollama.ai/User/Model:Tag1": "User/Model:Tag1",
	} {
		if got, err := Spelling(in); err != nil || got != want {
			t.Errorf("Spelling(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	// The Kelvin sign is a k to strings.ToLower, and so to ParseName, but not to a registry.
	if got, err := Spelling("\u212aimi"); err == nil {
		t.Errorf("Spelling of a Kelvin sign = %q, want an error", got)
	}
}
