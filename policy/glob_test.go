package policy

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/ollama"
)

func TestModelPatterns(t *testing.T) {
	tests := []struct {
		pattern string
		yes, no []string
	}{
		{"llama3.2:*", []string{"llama3.2:latest", "llama3.2:3b"}, []string{"llama3.2-vision:latest", "user/llama3.2:latest"}},
		{"llama3.2", []string{"llama3.2:latest", "llama3.2:3b"}, []string{"llama3.2-vision:latest"}},
		{"LLama3.2:3B", []string{"llama3.2:3b"}, []string{"llama3.2:latest"}},
		{"hf.co/*", []string{"hf.co/user/repo:q4", "hf.co/a/b:latest"}, []string{"hf.co:latest", "evil/hf.co/a:latest"}},
		{"localhost:5000/a/b", []string{"localhost:5000/a/b:latest"}, []string{"localhost:5000/a/c:latest"}},
		{"*:cloud", []string{"big:cloud"}, []string{"big:latest"}},
		{"*", []string{"a:latest", "hf.co/a/b:c"}, nil},
		{"q?en", []string{"qwen:latest"}, []string{"qen:latest", "qwwen:latest"}},
		{"a*latest", []string{"a:latest", "abc:latest", "alatest:1b"}, []string{"a:1b"}},
		{"a*b*c:*", []string{"abc:x", "a-b-b-c:x"}, []string{"acb:x"}},
	}
	for _, tt := range tests {
		globs, err := parseModelGlob(tt.pattern)
		if err != nil {
			t.Errorf("parseModelGlob(%q): %v", tt.pattern, err)
		}
		for want, names := range map[bool][]string{true: tt.yes, false: tt.no} {
			for _, n := range names {
				if got := matchAny(globs, n); got != want {
					t.Errorf("pattern %q matches %q: got %v, want %v", tt.pattern, n, got, want)
				}
			}
		}
	}
}

func TestModelPatternsThatNeverMatchAreRefused(t *testing.T) {
	for pattern, word := range map[string]string{
		"":                               "empty",
		"llama[23]":                      "special",
		"{a,b}":                          "special",
		"a b":                            "blank",
		"llama3,qwen":                    "no model's name",
		"registry.ollama.ai/library/a:*": "model:tag",
		"library/a":                      "model:tag",
		"Registry.Ollama.AI/user/a":      "model:tag",
		"ä":                              "no model's name",
		"\xff":                           "no model's name",
		strings.Repeat("a", 600):         "512",
	} {
		if _, err := parseModelGlob(pattern); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("parseModelGlob(%q) = %v, want an error with %q", pattern, err, word)
		}
	}
}

// slowMatch is the meaning of a pattern, rune by rune.
func slowMatch(p, s []rune) bool {
	switch {
	case len(p) == 0:
		return len(s) == 0
	case p[0] == '*':
		return slowMatch(p[1:], s) || len(s) > 0 && slowMatch(p, s[1:])
	}
	return len(s) > 0 && (p[0] == '?' || p[0] == s[0]) && slowMatch(p[1:], s[1:])
}

func TestGlobMeansWhatItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := rapid.StringOfN(rapid.RuneFrom([]rune("ab/é*?")), 0, 8, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.RuneFrom([]rune("ab/é")), 0, 10, -1).Draw(t, "text")
		if got, want := glob(g).match(s), slowMatch([]rune(g), []rune(s)); got != want {
			t.Fatalf("glob(%q).match(%q) = %v, want %v", g, s, got, want)
		}
	})
}

func TestCoveredPatternMatchesNothingElse(t *testing.T) {
	for pair, want := range map[[2]glob]bool{
		{"*", "a?*"}: true, {"a*", "ab*:?"}: true, {"a?", "ab"}: true, {"?", "?"}: true,
		{"?", "*"}: false, {"a?", "a*"}: false, {"ab*", "a*"}: false,
	} {
		if got := pair[0].covers(pair[1]); got != want {
			t.Errorf("%q covers %q: got %v, want %v", pair[0], pair[1], got, want)
		}
	}
	pattern := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		g, h := pattern.Draw(t, "wide"), pattern.Draw(t, "narrow")
		s := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 0, 8, -1).Draw(t, "text")
		if glob(g).covers(glob(h)) && glob(h).match(s) && !glob(g).match(s) {
			t.Fatalf("%q covers %q, but %q matches the second alone", g, h, s)
		}
	})
}

func TestModels(t *testing.T) {
	may, err := Models([]string{"llama3.2", "hf.co/*"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[ollama.Name]bool{"llama3.2:latest": true, "llama3.2:1b": true, "hf.co/a/b:q4": true, "qwen3:latest": false} {
		if got := may(name); got != want {
			t.Errorf("Models(llama3.2, hf.co/*)(%s) = %v, want %v", name, got, want)
		}
	}
	for _, all := range [][]string{nil, {"*"}, {"a", "*"}} {
		if may, err := Models(all); may != nil || err != nil {
			t.Errorf("Models(%q) = %v, want nil for all", all, err)
		}
	}
	for _, none := range [][]string{{}, {""}, {"a[b]"}} {
		if _, err := Models(none); err == nil || !strings.Contains(err.Error(), "models") {
			t.Errorf("Models(%q) = %v, want an error that names them", none, err)
		}
	}
}
