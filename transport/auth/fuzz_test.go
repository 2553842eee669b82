package auth

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzAuthorization sends any two headers: only the one good value may pass, and no refusal
// may repeat what was sent or break out of its header.
func FuzzAuthorization(f *testing.F) {
	const good = "omcp_0123456789"
	path := f.TempDir() + "/tokens.yaml"
	if err := replace(path, func([]byte) ([]byte, error) { return []byte("- {name: a, sha256: " + digestOf(good) + "}"), nil }); err != nil {
		f.Fatal(err)
	}
	a, err := New(Options{TokensFile: path})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "Bearer", "Bearer ", "Bearer " + good, "bEARER  " + good + " ", "Basic YTpi", "Bearer a.b.c", "Bearer " + good + "=",
		"Bearer " + good + ",Bearer x", "Bearer \xff", "Bearer " + strings.Repeat("a", maxToken+1), good, "Bearer\t" + good} {
		f.Add(seed, "", false)
		f.Add("Bearer "+good, seed, true)
	}
	f.Fuzz(func(t *testing.T, first, second string, two bool) {
		r := request("/mcp")
		r.Header["Authorization"] = []string{first}
		if two {
			r.Header["Authorization"] = []string{first, second}
		}
		c, refusal := a.Authenticate(r)
		scheme, token, _ := strings.Cut(first, " ")
		if want := !two && strings.EqualFold(scheme, "bearer") && strings.Trim(token, " ") == good; (refusal == nil) != want {
			t.Fatalf("Authenticate(%q) = %+v, %+v; want it taken: %v", r.Header["Authorization"], c, refusal, want)
		}
		if refusal == nil {
			return
		}
		if refusal.Status != http.StatusUnauthorized || c.Name != "" || strings.ContainsAny(refusal.Challenge, "\r\n\x00\\") || len(token) > 12 && strings.Contains(refusal.Challenge+refusal.Message, token) {
			t.Errorf("Authenticate(%q) = %+v, %+v; want 401 without the token, in one line", r.Header["Authorization"], c, refusal)
		}
	})
}

// FuzzTokensFile holds that a file which is taken has sound entries, and that a token can be
// added to it without loss, or not at all.
func FuzzTokensFile(f *testing.F) {
	sum := digestOf("x")
	for _, seed := range []string{"", "[]", "# c\n", "- {name: a, sha256: " + sum + "}", "- name: a\n  sha256: " + sum + "\n  scopes: [b, c]\n  expires: 2030-01-01T00:00:00Z\n",
		"  - name: &n a\n    sha256: " + sum, "- null", "---\n- {}\n...\n", "a: b", "- *x", "? []\n: -", "\ufeff- {name: a, sha256: " + sum + "}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		set, err := parseTokens(file)
		if err != nil {
			return
		}
		for _, c := range set.callers {
			if err := checkName(c.Name); err != nil {
				t.Errorf("parseTokens(%q) took the name %q: %v", file, c.Name, err)
			}
		}
		before := string(file)
		longer, err := appendToken(file, Token{Name: "added-by-the-test", SHA256: digestOf("added")})
		if err != nil {
			return
		}
		more, err := parseTokens(longer)
		if err != nil || len(more.callers) != len(set.callers)+1 || !strings.HasPrefix(string(longer), before) {
			t.Errorf("appendToken(%q) = %q: %v, %v; want one entry more after the same bytes", before, longer, more, err)
		}
		for digest := range set.callers {
			if _, ok := more.callers[digest]; !ok {
				t.Errorf("appendToken(%q) = %q: an entry is lost", before, longer)
			}
		}
	})
}
