//go:build linux

package ollamatest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What Build does with the programs it calls, seen through scripts in their place. Each appends its arguments to
// $CALLS. The real thing is tried by whatever test starts a Real.
const (
	scriptGo = `case "$1" in
mod) echo "{\"Dir\":\"$MALGO\"}" ;;
install) [ -z "$BROKEN" ] || { echo "go: downloading x"; echo "undefined: y"; exit 1; } >&2
	echo "$GOFLAGS $GOOS $CGO_CXXFLAGS" >>"$CALLS"; echo built >"$GOBIN/ollama" ;;
esac`
	scriptApt = `for word in "$@"; do case "$word" in
update) : >"$LISTS"; exit ;;
install|download) [ -e "$LISTS" ] || exit 100; action=$word ;;
g++) : >"$BIN/g++"; chmod +x "$BIN/g++" ;;
*-dev) [ $action = install ] && into=$SYSTEM || into=.
	: >"$into/$word.deb"; [ $action = download ] || dpkg -x "$into/$word.deb" "$SYSTEM/../.." ;;
esac; done`
	scriptSudo = `#!/bin/sh
[ "$1" = -n ] || exit 1
[ "$2" = true ] || { shift; exec "$@"; }
`
	scriptDpkg = `case "$2" in
*json3*) mkdir -p "$3/usr/include/nlohmann"; : >"$3/usr/include/nlohmann/json.hpp" ;;
*stb*) mkdir -p "$3/usr/include/stb"; : >"$3/usr/include/stb/stb_image.h" ;;
esac`
)

// scripted returns a builder in a temporary folder and the file its programs record their calls in. PATH holds the
// scripts and nothing else, without those named in absent.
func scripted(t *testing.T, absent ...string) (b builder, calls string) {
	t.Helper()
	home := filepath.Join(t.TempDir(), "a home") // with a space: flags have to survive it
	bin := filepath.Join(home, "bin")
	system := filepath.Join(home, "usr", "include")
	calls = filepath.Join(home, "calls")
	for _, dir := range []string{bin, system} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tool := range []string{"env", "mkdir", "chmod"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	scripts := map[string]string{"go": scriptGo, "apt-get": scriptApt, "dpkg": scriptDpkg, "gcc": "", "g++": ""}
	for _, name := range absent {
		delete(scripts, name)
	}
	for name, script := range scripts {
		text := "#!/bin/sh\necho \"" + name + " $*\" >>\"$CALLS\"\n" + script + "\n"
		writeTestFile(t, filepath.Join(bin, name), text)
	}
	writeTestFile(t, filepath.Join(home, "miniaudio.h"), "")
	writeTestFile(t, filepath.Join(home, "lists"), "")
	for name, value := range map[string]string{
		"PATH": bin, "BIN": bin, "CALLS": calls, "MALGO": home, "SYSTEM": system, "BROKEN": "",
		"LISTS": filepath.Join(home, "lists"), "GOFLAGS": "-mod=vendor", "GOOS": "plan9",
	} {
		t.Setenv(name, value)
	}
	return builder{dir: filepath.Join(home, "cache"), log: t.Output(), system: []string{system}}, calls
}

func writeTestFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// recorded returns the calls whose line starts with prefix.
func recorded(t *testing.T, calls, prefix string) []string {
	t.Helper()
	text, err := os.ReadFile(calls)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestBuildHappensOnceForAll(t *testing.T) {
	b, calls := scripted(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			path, err := b.cached(t.Context())
			if err != nil || !exists(path) {
				t.Errorf("cached() = %q, %v", path, err)
			}
		})
	}
	group.Wait()
	if got := recorded(t, calls, "go install"); len(got) != 1 {
		t.Errorf("%d builds, want 1: %q", len(got), got)
	}
	want := "-mod=mod  -O2 -g0 \"-I" + b.include() + "\""
	if got := recorded(t, calls, "-mod="); len(got) != 1 || got[0] != want {
		t.Errorf("the build ran with %q, want %q", got, want)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "building-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestBrokenBuildDoesNotCount(t *testing.T) {
	b, _ := scripted(t)
	t.Setenv("BROKEN", "yes")
	_, err := b.cached(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), ": exit status 1: undefined: y") {
		t.Errorf("error %q, want what the compiler said", err)
	}
	if exists(b.binary()) {
		t.Error("a broken build left a binary")
	}
	t.Setenv("BROKEN", "")
	if _, err := b.cached(t.Context()); err != nil {
		t.Errorf("the next build: %v", err)
	}
}

func TestBuildInstallsWhatIsMissing(t *testing.T) {
	const (
		apt     = "apt-get -o DPkg::Lock::Timeout=120 "
		install = apt + "install -y --no-install-recommends g++ nlohmann-json3-dev libstb-dev"
	)
	for _, as := range []string{"root", "sudo"} {
		t.Run(as, func(t *testing.T) {
			b, calls := scripted(t, "g++")
			if as == "sudo" {
				writeTestFile(t, filepath.Join(os.Getenv("BIN"), "sudo"), scriptSudo)
			}
			b.root = as == "root"
			if err := os.Remove(os.Getenv("LISTS")); err != nil {
				t.Fatal(err)
			}
			if _, err := b.cached(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := []string{install, apt + "update", install}
			if got := recorded(t, calls, "apt-get"); !slices.Equal(got, want) {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
}

func TestBuildUnpacksHeadersWithoutRoot(t *testing.T) {
	for _, lists := range []string{"there", "absent"} {
		t.Run("lists "+lists, func(t *testing.T) {
			b, _ := scripted(t)
			if lists == "absent" {
				if err := os.Remove(os.Getenv("LISTS")); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := b.cached(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, header := range []string{"nlohmann/json.hpp", "stb/stb_image.h", "miniaudio/miniaudio.h"} {
				if !exists(filepath.Join(b.include(), header)) {
					t.Errorf("no %s in %s", header, b.include())
				}
			}
		})
	}
}

func TestBuildSaysWhatToInstall(t *testing.T) {
	for _, c := range []struct{ absent, want string }{
		{"go", "the go command is not in PATH"},
		{"g++", "run: sudo apt-get install g++ nlohmann-json3-dev libstb-dev"},
		{"gcc", "run: sudo apt-get install g++ nlohmann-json3-dev libstb-dev"},
		{"apt-get", "install g++, nlohmann/json.hpp and stb/stb_image.h"},
		{"dpkg", "run: sudo apt-get install nlohmann-json3-dev libstb-dev"},
	} {
		t.Run(c.absent, func(t *testing.T) {
			b, _ := scripted(t, c.absent)
			_, err := b.cached(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v\nwant one line with %q", err, c.want)
			}
		})
	}
}

func TestBuildWaitsNoLongerThanItsContext(t *testing.T) {
	b, calls := scripted(t)
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockFile(t.Context(), filepath.Join(b.dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.cached(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if got := recorded(t, calls, ""); len(got) > 0 {
		t.Errorf("it ran %q without the lock", got)
	}
}
