package auth

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestWrongTokensFiles(t *testing.T) {
	sum := digestOf("x")
	entry := func(name string, more ...string) string {
		return "- name: " + name + "\n  sha256: " + digestOf(name) + "\n" + strings.Join(more, "")
	}
	tests := []struct {
		name, file string
		words      []string
	}{
		{"not YAML", "- {", []string{"YAML list"}},
		{"no list", "name: x\n", []string{"YAML list"}},
		{"two documents", entry("a") + "---\n" + entry("b"), []string{"YAML list"}},
		{"unknown key", entry("a", "  scope: [x]\n"), []string{"scope"}},
		{"key twice", entry("a", "  name: b\n"), []string{"name"}},
		{"scopes in one string", entry("a", "  scopes: read write\n"), []string{"YAML list", "scopes"}},
		{"empty entry", "- {}\n", []string{"entry 1", "name"}},
		{"null entry", "- \n", []string{"entry 1", "name"}},
		{"no name", "- {sha256: " + sum + "}", []string{"entry 1", "no name"}},
		{"name with a colon", "- {name: 'oidc:alice', sha256: " + sum + "}", []string{"entry 1", `"oidc:alice"`, "dash"}},
		{"name with a line break", `- {name: "a\nb", sha256: ` + sum + "}", []string{"entry 1", `"a\nb"`, "printable"}},
		{"name with an escape", `- {name: "a\e[31m", sha256: ` + sum + "}", []string{"entry 1", "printable"}},
		{"name of everybody", "- {name: local, sha256: " + sum + "}", []string{"entry 1", `"local"`, "another"}},
		{"long name", "- {name: " + strings.Repeat("x", 129) + ", sha256: " + sum + "}", []string{"entry 1", "shorten"}},
		{"no digest", entry("a") + "- name: b\n", []string{"entry 2", `"b"`, "sha256sum"}},
		{"short digest", "- {name: a, sha256: " + sum[1:] + "}", []string{"entry 1", "sha256sum"}},
		{"long digest", "- {name: a, sha256: " + sum + "0}", []string{"entry 1", "sha256sum"}},
		{"no hex", "- {name: a, sha256: " + sum[1:] + "g}", []string{"entry 1", "sha256sum"}},
		{"name twice", entry("a") + "- {name: a, sha256: " + sum + "}", []string{"entry 2", `"a"`, "own"}},
		{"digest twice", entry("a") + "- {name: b, sha256: " + strings.ToUpper(digestOf("a")) + "}", []string{"entry 2", `"b"`, `"a"`}},
		{"expires on a day", entry("a", "  expires: 2030-01-01\n"), []string{"entry 1", "2030-12-31T23:59:59Z"}},
		{"expires some time", entry("a", "  expires: soon\n"), []string{"entry 1", "soon"}},
		{"empty scope", entry("a", "  scopes: ['']\n"), []string{"entry 1", "scope"}},
		{"group with a line break", entry("a", "  groups: [\"x\\ny\"]\n"), []string{"entry 1", "group"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, tt.file)
			_, err := openTokens(path, testLog(t))
			if err == nil {
				t.Fatalf("openTokens of %q: no error", tt.file)
			}
			for _, word := range append(tt.words, path) {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("openTokens of %q: %q lacks %q", tt.file, err, word)
				}
			}
		})
	}
}

func TestGoodTokensFiles(t *testing.T) {
	sum := digestOf("x")
	for file, want := range map[string]int{
		"":               0,
		" \n":            0,
		"# nobody yet\n": 0,
		"[]\n":           0,
		"---\n- {name: a, sha256: " + sum + "}\n": 1,
		"- name: a\n  sha256: " + strings.Repeat("1", 64) + "\n- name: 7\n  sha256: 0x" + strings.Repeat("0", 62) + "\n": -1,
		"- name: a\n  sha256: " + strings.Repeat("1", 64) + "\n- name: 7\n  sha256: " + strings.Repeat("7", 62) + "e5\n": 2,
	} {
		set, err := parseTokens([]byte(file))
		if want < 0 {
			if err == nil {
				t.Errorf("parseTokens(%q) = %v, want an error", file, set)
			}
		} else if err != nil || len(set.callers) != want {
			t.Errorf("parseTokens(%q) = %v, %v; want %d tokens", file, set, err, want)
		}
	}
}

func TestTokensAreReadAnew(t *testing.T) {
	entry := func(token string) string { return fmt.Sprintf("- {name: %s, sha256: %s}\n", token, digestOf(token)) }
	path := writeFile(t, entry("one"))
	synctest.Test(t, func(t *testing.T) {
		var log lines
		a := newAuthenticator(t, Options{TokensFile: path, Log: zerolog.New(&log)})
		check := func(when, token string, want int) {
			t.Helper()
			if c, f := a.Authenticate(request("/mcp", "Bearer "+token)); status(f) != want {
				t.Errorf("%s: token %q: %+v, %+v; want status %d", when, token, c, f, want)
			}
		}
		write := func(content string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		check("at first", "one", 200)
		write(entry("two-and-more"))
		check("within a second", "one", 200)
		time.Sleep(lookEvery)
		check("after a second", "two-and-more", 200)
		check("after a second", "one", 401)
		write("- broken")
		for range 3 {
			time.Sleep(lookEvery)
			check("with a broken file", "two-and-more", 200)
		}
		if n := log.count("cannot be used"); n != 1 {
			t.Errorf("the broken file was logged %d times, want once", n)
		}
		os.Remove(path)
		for range 3 {
			time.Sleep(lookEvery)
			check("without the file", "two-and-more", 200)
		}
		if n := log.count("cannot be used"); n != 2 {
			t.Errorf("the broken and the missing file were logged %d times, want twice", n)
		}
		write(entry("three"))
		time.Sleep(lookEvery)
		check("with a new file", "three", 200)
		check("with a new file", "two-and-more", 401)
		write(entry("seven"))
		time.Sleep(lookEvery)
		check("with another", "seven", 200)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(path+".new", []byte(entry("eight")), 0o600)
		os.Chtimes(path+".new", info.ModTime(), info.ModTime())
		os.Rename(path+".new", path)
		time.Sleep(lookEvery)
		check("with one as large and as old", "eight", 200)
	})
}

func TestModeIsWarnedOf(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has no such modes
	}
	path := writeFile(t, "")
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1, 0o660: 1} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var log lines
		if _, err := openTokens(path, zerolog.New(&log)); err != nil || log.count("chmod 600") != want {
			t.Errorf("openTokens, mode %o: %v, %d warnings; want %d", mode, err, log.count("chmod 600"), want)
		}
	}
}

func TestAddToken(t *testing.T) {
	sum := digestOf("x")
	for name, file := range map[string]string{
		"empty":             "",
		"a comment":         "# ours\n",
		"entries":           "# ours\n- name: old   # the first\n  sha256: " + sum + "\n",
		"indented":          "  # ours\n  - name: old\n    sha256: " + sum + "\n  # the end\n",
		"no line break":     "- {name: old, sha256: " + sum + "}",
		"a document's head": "---\n- {name: old, sha256: " + sum + "}\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, file)
			secret, err := AddToken(path, Token{Name: "new", Scopes: []string{"read", "yes"}, Groups: []string{"a b", "\u2028é\"': # \\ - \U0001F600"}, Expires: "2999-01-01T00:00:00Z"})
			if err != nil || !strings.HasPrefix(secret, "omcp_") || len(secret) != len("omcp_")+43 {
				t.Fatalf("AddToken = %q, %v; want omcp_ and 256 bits", secret, err)
			}
			now, _ := os.ReadFile(path)
			if !bytes.HasPrefix(now, []byte(file)) || bytes.Contains(now, []byte(secret)) {
				t.Errorf("the file is now %q; want %q, unchanged, and an entry without the token", now, file)
			}
			a := newAuthenticator(t, Options{TokensFile: path})
			c, f := a.Authenticate(request("/mcp", "Bearer "+secret))
			if want := "{new [a b \u2028é\"': # \\ - \U0001F600] [read yes] 2999-01-01 00:00:00 +0000 UTC}"; fmt.Sprint(c) != want || f != nil {
				t.Errorf("Authenticate: %v, %+v; want %s", c, f, want)
			}
			if _, err := AddToken(path, Token{Name: "new"}); err == nil || !strings.Contains(err.Error(), `"new"`) {
				t.Errorf("AddToken of the same name: %v, want an error that names it", err)
			}
			if names := filesBeside(t, path); len(names) != 1 {
				t.Errorf("AddToken left %v behind", names)
			}
		})
	}
}

func TestAddTokenRefuses(t *testing.T) {
	sum := digestOf("x")
	tests := []struct {
		name, file string
		token      Token
		word       string
	}{
		{"a broken file", "- broken", Token{Name: "new"}, "YAML"},
		{"a list in brackets", "[{name: old, sha256: " + sum + "}]\n", Token{Name: "new"}, "dash"},
		{"an empty list in brackets", "[]\n", Token{Name: "new"}, "dash"},
		{"a document's end", "- {name: old, sha256: " + sum + "}\n...\n", Token{Name: "new"}, "dash"},
		{"a bad name", "", Token{Name: "a:b"}, "colon"},
		{"no name", "", Token{}, "name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, tt.file)
			if secret, err := AddToken(path, tt.token); err == nil || secret != "" || !strings.Contains(err.Error(), tt.word) || !strings.Contains(err.Error(), path) {
				t.Errorf("AddToken(%+v) to %q = %q, %v; want an error with %q and the path", tt.token, tt.file, secret, err, tt.word)
			}
			if now, _ := os.ReadFile(path); string(now) != tt.file {
				t.Errorf("AddToken changed the file to %q", now)
			}
			if names := filesBeside(t, path); len(names) != 1 {
				t.Errorf("AddToken left %v behind", names)
			}
		})
	}
}

// TestAddTokenToAFile is about the file: new, linked, with a mode, being changed by another.
func TestAddTokenToAFile(t *testing.T) {
	dir := t.TempDir()
	path, link, dangling := filepath.Join(dir, "tokens.yaml"), filepath.Join(dir, "link"), filepath.Join(dir, "dangling")
	add := func(path, name string) error {
		_, err := AddToken(path, Token{Name: name})
		return err
	}
	mode := func() os.FileMode {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if err := add(path, "one"); err != nil {
		t.Fatalf("AddToken to no file: %v", err)
	}
	if runtime.GOOS != "windows" {
		if got := mode(); got != 0o600 {
			t.Errorf("AddToken made a file of mode %v, want -rw-------", got)
		}
		os.Chmod(path, 0o640)
	}
	if err := os.Symlink("tokens.yaml", link); err != nil {
		t.Logf("no symbolic links here: %v", err)
		return
	}
	if err := add(link, "two"); err != nil {
		t.Errorf("AddToken to a link: %v", err)
	}
	if info, _ := os.Lstat(link); info.Mode()&os.ModeSymlink == 0 {
		t.Error("AddToken replaced the link")
	}
	if got := mode(); runtime.GOOS != "windows" && got != 0o640 {
		t.Errorf("AddToken changed the mode to %v, want -rw-r-----", got)
	}
	if set, err := parseTokens(must(os.ReadFile(path))); err != nil || len(set.callers) != 2 {
		t.Errorf("the file has %v, %v; want two tokens", set, err)
	}
	os.Symlink("nowhere.yaml", dangling)
	if err := add(dangling, "three"); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("AddToken to a link to nothing: %v, want an error that says so", err)
	}
	os.WriteFile(path+".new", nil, 0o600)
	if err := add(path, "three"); err == nil || !strings.Contains(err.Error(), path+".new") {
		t.Errorf("AddToken while another does: %v, want an error that names %s.new", err, path)
	}
	if _, err := os.Stat(path + ".new"); err != nil {
		t.Errorf("AddToken removed the file of another: %v", err)
	}
}

func filesBeside(t *testing.T, path string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}
