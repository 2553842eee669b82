package ollamatest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// RealVersion is what Build builds and a Real answers to /api/version: the last Ollama that runs models by itself,
// without a llama-server beside it.
const RealVersion = "0.17.4"

const (
	ollamaModule = "github.com/ollama/ollama"
	// malgoModule carries miniaudio.h. Nothing of it is compiled but that header.
	malgoModule  = "github.com/gen2brain/malgo"
	malgoVersion = "v0.11.24"
)

// Build returns the path of an Ollama binary in the user's cache (os.UserCacheDir), and builds it from source when it
// is not there: about 3 minutes on two cores, once per machine. log, which may be nil, gets a line when that happens.
//
// Building takes Linux, the go command, g++ and two Debian packages of headers. What is missing is installed, if this
// process may (it is root, or sudo asks no password); headers alone are also fetched into the cache. Otherwise the
// error says what to install. Processes that call it at once wait for the one that builds.
func Build(ctx context.Context, log io.Writer) (string, error) {
	path, err := build(ctx, log)
	if err != nil {
		return "", fmt.Errorf("build Ollama v%s: %w", RealVersion, err)
	}
	return path, nil
}

func build(ctx context.Context, log io.Writer) (string, error) {
	if runtime.GOOS != "linux" {
		return "", errors.New("only Linux can; install Ollama from https://ollama.com/download instead")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	if log == nil {
		log = io.Discard
	}
	b := builder{
		dir:    filepath.Join(cache, "ollama-mcp", "ollama-v"+RealVersion),
		log:    log,
		system: []string{"/usr/include", "/usr/local/include"},
		root:   os.Geteuid() == 0,
	}
	return b.cached(ctx)
}

// builder builds one version of Ollama into one folder.
type builder struct {
	dir    string // holds the binary, the headers found nowhere else, the lock, and a build under way
	log    io.Writer
	system []string // where the compiler looks for headers by itself
	root   bool
}

func (b builder) binary() string  { return filepath.Join(b.dir, "ollama") }
func (b builder) include() string { return filepath.Join(b.dir, "include") }

// cached returns the binary, building it unless this or another process has done so.
func (b builder) cached(ctx context.Context) (string, error) {
	// The binary comes by rename, whole or not at all: that it exists is enough.
	if exists(b.binary()) {
		return b.binary(), nil
	}
	if err := os.MkdirAll(b.include(), 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(ctx, filepath.Join(b.dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(b.binary()) {
		return b.binary(), nil
	}
	tmp, err := b.scratch()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := b.install(ctx, tmp); err != nil {
		return "", err
	}
	return b.binary(), nil
}

// scratch returns a fresh folder beside the binary, so that a rename from it is atomic, and sweeps those of builds
// that were killed. The caller holds the lock.
func (b builder) scratch() (string, error) {
	const pattern = "building-*"
	stale, err := filepath.Glob(filepath.Join(b.dir, pattern))
	if err != nil {
		return "", err
	}
	for _, dir := range stale {
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(b.dir, pattern)
}

// install builds the binary in tmp and moves it to its place.
func (b builder) install(ctx context.Context, tmp string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the go command is not in PATH: install Go from https://go.dev/dl")
	}
	fmt.Fprintf(b.log, "building Ollama v%s, once, about 3 minutes; cached in %s\n", RealVersion, b.dir)
	start := time.Now()
	if err := b.prepare(ctx, tmp); err != nil {
		return err
	}
	if err := b.fetchMiniaudio(ctx, tmp); err != nil {
		return err
	}
	version := ollamaModule + "/version.Version=" + RealVersion // what its own release builds set
	_, err := run(ctx, tmp, b.goEnv(tmp), "go", "install", "-ldflags", "-s -w -X "+version, ollamaModule+"@v"+RealVersion)
	if err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(tmp, "ollama"), b.binary()); err != nil {
		return err
	}
	fmt.Fprintf(b.log, "built Ollama v%s in %v\n", RealVersion, time.Since(start).Round(time.Second))
	return nil
}

// goEnv sets all that decides what the go command builds, so that neither the settings of the module under test nor
// a cross-compilation leaks in.
func (b builder) goEnv(bin string) []string {
	const optimize = "-O2 -g0"
	return []string{
		"GOBIN=" + bin,
		"GOFLAGS=-mod=mod",
		"GOWORK=off",
		"GO111MODULE=on",
		"GOOS=",
		"GOARCH=",
		"CGO_ENABLED=1",
		"CGO_CFLAGS=" + optimize,
		"CGO_CXXFLAGS=" + optimize + ` "-I` + b.include() + `"`, // the go command splits at spaces outside quotes
	}
}

// fetchMiniaudio puts miniaudio/miniaudio.h into the include folder.
func (b builder) fetchMiniaudio(ctx context.Context, tmp string) error {
	out, err := run(ctx, tmp, b.goEnv(tmp), "go", "mod", "download", "-json", malgoModule+"@"+malgoVersion)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return fmt.Errorf("read the answer of go mod download: %w", err)
	}
	header, err := os.ReadFile(filepath.Join(module.Dir, "miniaudio.h"))
	if err != nil {
		return err
	}
	dir := filepath.Join(b.include(), "miniaudio")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "miniaudio.h"), header, 0o644)
}

// compilerPackage is Debian's package of the C and C++ compilers.
const compilerPackage = "g++"

// headerPackages are Debian's packages of the headers that a module zip of Ollama leaves out, because it keeps them
// in folders named vendor.
var headerPackages = []struct{ name, header string }{
	{"nlohmann-json3-dev", "nlohmann/json.hpp"},
	{"libstb-dev", "stb/stb_image.h"},
}

// missing lists the Debian packages that the build still needs, the compiler first.
func (b builder) missing() []string {
	var packages []string
	for _, program := range []string{"gcc", "g++"} {
		if _, err := exec.LookPath(program); err != nil {
			packages = []string{compilerPackage}
		}
	}
	for _, p := range headerPackages {
		found := slices.ContainsFunc(append([]string{b.include()}, b.system...), func(dir string) bool {
			return exists(filepath.Join(dir, p.header))
		})
		if !found {
			packages = append(packages, p.name)
		}
	}
	return packages
}

// prepare sees to it that nothing is missing: it installs packages where it may, and unpacks headers where it may not.
func (b builder) prepare(ctx context.Context, tmp string) error {
	packages := b.missing()
	if len(packages) == 0 {
		return nil
	}
	advice := "run: sudo apt-get install " + strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("no apt-get here: install g++, nlohmann/json.hpp and stb/stb_image.h (on Debian, %s)", advice)
	}
	sudo, privileged := b.privilege(ctx, tmp)
	var err error
	switch {
	case privileged:
		fmt.Fprintln(b.log, "installing", strings.Join(packages, " "))
		err = aptInstall(ctx, tmp, sudo, packages)
	case packages[0] == compilerPackage:
		return errors.New("no C++ compiler here, nor the right to install one; " + advice)
	default:
		fmt.Fprintln(b.log, "unpacking", strings.Join(packages, " "), "into", b.include())
		err = b.unpack(ctx, tmp, packages)
	}
	if err != nil {
		return fmt.Errorf("%s (%w)", advice, err)
	}
	if rest := b.missing(); len(rest) > 0 {
		return fmt.Errorf("still missing after apt-get: %s; %s", strings.Join(rest, " "), advice)
	}
	return nil
}

// privilege reports whether this process may install packages, and what goes before the command.
func (b builder) privilege(ctx context.Context, tmp string) (sudo []string, ok bool) {
	if b.root {
		return nil, true
	}
	sudo = []string{"sudo", "-n"} // never ask for a password
	_, err := run(ctx, tmp, nil, "sudo", "-n", "true")
	return sudo, err == nil
}

// aptInstall installs packages, and updates apt's lists only when they turn out to be absent or stale.
func aptInstall(ctx context.Context, tmp string, sudo, packages []string) error {
	apt := func(args ...string) error {
		// sudo drops the environment, so env sets it on the far side. The option waits for another apt's lock.
		line := slices.Concat(sudo, []string{"env", "DEBIAN_FRONTEND=noninteractive"},
			[]string{"apt-get", "-o", "DPkg::Lock::Timeout=120"}, args)
		_, err := run(ctx, tmp, nil, line[0], line[1:]...)
		return err
	}
	install := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
	if apt(install...) == nil {
		return nil
	}
	if err := apt("update"); err != nil {
		return err
	}
	return apt(install...)
}

// unpack fetches packages of headers and moves their folders into the include folder. It needs no rights: where the
// system's package lists are absent it fetches some for itself.
func (b builder) unpack(ctx context.Context, tmp string, packages []string) error {
	download := append([]string{"download"}, packages...)
	if _, err := run(ctx, tmp, nil, "apt-get", download...); err != nil {
		state := filepath.Join(tmp, "state")
		if err := os.MkdirAll(filepath.Join(state, "lists", "partial"), 0o755); err != nil {
			return err
		}
		own := []string{"-o", "Dir::State=" + state, "-o", "Dir::Cache=" + filepath.Join(tmp, "cache")}
		if _, err := run(ctx, tmp, nil, "apt-get", append(own, "update")...); err != nil {
			return err
		}
		if _, err := run(ctx, tmp, nil, "apt-get", append(own, download...)...); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return err
	}
	root := filepath.Join(tmp, "root")
	for _, file := range files {
		if _, err := run(ctx, tmp, nil, "dpkg", "-x", file, root); err != nil {
			return err
		}
	}
	unpacked := filepath.Join(root, "usr", "include")
	folders, err := os.ReadDir(unpacked)
	if err != nil {
		return err
	}
	for _, f := range folders {
		if err := os.Rename(filepath.Join(unpacked, f.Name()), filepath.Join(b.include(), f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// run runs a program in dir, with env added to the environment, and returns what it printed to stdout. The error
// quotes the end of what it printed to stderr.
func run(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	interruptTogether(cmd)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s %s: %w%s", name, strings.Join(args, " "), err, gist(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// gist is the end of what a program said, with a colon before it, without the go command's list of downloads.
func gist(output string) string {
	const most = 20
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(output), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "go: downloading ")
	})
	return strings.TrimSuffix(": "+strings.Join(lines[max(0, len(lines)-most):], "\n"), ": ")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
