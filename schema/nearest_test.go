package schema

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"model", "prompt", "keep_alive", "temperature", "top_p", "top_k", "raw"}
	tests := []struct{ name, want string }{
		{"modle", "model"}, {"MODEL", "model"}, {"mdl", ""}, {"models", "model"}, {"mode", "model"},
		{"keepAlive", "keep_alive"}, {"keep-alive", "keep_alive"}, {"temprature", "temperature"},
		{"tempreture", "temperature"}, {"top-p", "top_p"}, {"topk", "top_k"}, {"rwa", "raw"},
		{"prompts", "prompt"}, {"max_tokens", ""}, {"x", ""}, {"", ""}, {strings.Repeat("m", 101), ""},
	}
	for _, tt := range tests {
		if got := Nearest(tt.name, names); got != tt.want {
			t.Errorf("Nearest(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := Nearest("nope", []string{"copy", "load"}); got != "" {
		t.Errorf("Nearest(%q) = %q, want none", "nope", got)
	}
	if got := Nearest("model", nil); got != "" {
		t.Errorf("Nearest(%q, nil) = %q, want none", "model", got)
	}
}
