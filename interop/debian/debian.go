// Package debian finds programs, and brings those that are missing from Debian's
// packages: it installs them where this process may, else it unpacks them into the
// user's cache.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Package is a Debian package and the program wanted of it.
type Package struct {
	Name    string
	Program string // as looked for in PATH
	// Unpacked is the program's path in a package that is only unpacked; "" says
	// that it does not run so.
	Unpacked string
}

// Program is a program that can be run.
type Program struct {
	path string
	env  []string
}

// Command is a command that runs the program.
func (p Program) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env = append(os.Environ(), p.env...)
	return cmd
}

// Find returns a package's program. log gets a line when the package must be
// brought. An error says what to install.
func Find(ctx context.Context, log io.Writer, p Package) (Program, error) {
	if path, err := exec.LookPath(p.Program); err == nil {
		return Program{path: path}, nil
	}
	advice := fmt.Errorf("%s is missing; run: sudo apt-get install %s", p.Program, p.Name)
	if _, err := exec.LookPath("apt-get"); err != nil {
		return Program{}, advice
	}
	if sudo, ok := privilege(ctx); ok {
		fmt.Fprintln(log, "installing", p.Name)
		if err := install(ctx, sudo, p.Name); err != nil {
			return Program{}, fmt.Errorf("%w (%w)", advice, err)
		}
		path, err := exec.LookPath(p.Program)
		return Program{path: path}, err
	}
	if p.Unpacked == "" {
		return Program{}, advice
	}
	found, err := unpacked(ctx, log, p)
	if err != nil {
		return Program{}, fmt.Errorf("%w (%w)", advice, err)
	}
	return found, nil
}

// privilege reports whether this process may install packages, and what goes
// before the command.
func privilege(ctx context.Context) (sudo []string, ok bool) {
	if os.Geteuid() == 0 {
		return nil, true
	}
	_, err := run(ctx, "", "sudo", "-n", "true") // never ask for a password
	return []string{"sudo", "-n"}, err == nil
}

// install installs a package, and updates apt's lists only when they turn out to
// be absent or stale.
func install(ctx context.Context, sudo []string, name string) error {
	apt := func(args ...string) error {
		// sudo drops the environment, so env sets it on the far side. The option waits for another apt's lock.
		line := slices.Concat(sudo, []string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120"}, args)
		_, err := run(ctx, "", line...)
		return err
	}
	if apt("install", "-y", "--no-install-recommends", name) == nil {
		return nil
	}
	if err := apt("update"); err != nil {
		return err
	}
	return apt("install", "-y", "--no-install-recommends", name)
}

// fontConfig is where below an unpacked package its fonts are told.
const fontConfig = "fonts.conf"

// unpacked returns the program of a package that lies unpacked in the user's
// cache, with all that it depends on and the system lacks. It needs no rights.
func unpacked(ctx context.Context, log io.Writer, p Package) (Program, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Program{}, err
	}
	root := filepath.Join(cache, "ollama-mcp", "debian-"+p.Name)
	// The folder comes by rename, whole or not at all.
	if _, err := os.Stat(root); err != nil {
		fmt.Fprintln(log, "unpacking", p.Name, "into", root)
		if err := unpack(ctx, p.Name, root); err != nil {
			return Program{}, err
		}
	}
	libraries, err := filepath.Glob(filepath.Join(root, "usr", "lib", "*-linux-gnu*"))
	if err != nil {
		return Program{}, err
	}
	for _, dir := range slices.Clone(libraries) {
		libraries = append(libraries, filepath.Join(dir, "pulseaudio"), strings.Replace(dir, "/usr/lib/", "/lib/", 1))
	}
	return Program{
		path: filepath.Join(root, p.Unpacked),
		env: []string{
			"LD_LIBRARY_PATH=" + strings.Join(libraries, ":"),
			"FONTCONFIG_FILE=" + filepath.Join(root, fontConfig), // without fonts Chromium crashes at a form
		},
	}, nil
}

func unpack(ctx context.Context, name, root string) error {
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(root), "debian-unpacking-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	missing, err := closure(ctx, tmp, name)
	if err != nil {
		return err
	}
	if _, err := run(ctx, tmp, append([]string{"apt-get", "-c", "apt.conf", "download"}, missing...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(files) == 0 {
		return errors.New("apt-get downloaded nothing")
	}
	for _, file := range files {
		if _, err := run(ctx, tmp, "dpkg", "-x", file, "root"); err != nil {
			return err
		}
	}
	fonts := fmt.Sprintf("<fontconfig><dir>%s</dir></fontconfig>\n", filepath.Join(root, "usr", "share", "fonts"))
	if err := os.WriteFile(filepath.Join(tmp, "root", fontConfig), []byte(fonts), 0o644); err != nil {
		return err
	}
	return os.Rename(filepath.Join(tmp, "root"), root)
}

// closure lists what would be installed with a package. It uses lists of its own
// in dir, named by dir/apt.conf, since the system's may be absent or stale.
func closure(ctx context.Context, dir, name string) ([]string, error) {
	conf := fmt.Sprintf("Dir::State %q;\nDir::State::status \"/var/lib/dpkg/status\";\nDir::Cache %q;\n",
		filepath.Join(dir, "state"), filepath.Join(dir, "cache"))
	for _, folder := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "apt.conf"), []byte(conf), 0o644); err != nil {
		return nil, err
	}
	if _, err := run(ctx, dir, "apt-get", "-c", "apt.conf", "update"); err != nil {
		return nil, err
	}
	out, err := run(ctx, dir, "apt-get", "-c", "apt.conf", "--simulate", "install", "--no-install-recommends", name)
	if err != nil {
		return nil, err
	}
	var missing []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Inst" {
			missing = append(missing, fields[1])
		}
	}
	return missing, nil
}

// run runs a command in dir and returns what it printed to stdout. The error
// quotes what it printed to stderr.
func run(ctx context.Context, dir string, line ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(line, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
