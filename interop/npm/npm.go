// Package npm brings the npm packages of package-lock.json into the user's cache,
// with the Node that runs them. Nothing is installed for the whole machine but npm
// itself, where it is missing and this process may.
package npm

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"ollama-mcp/interop/debian"
)

//go:embed package.json
var manifest []byte

//go:embed package-lock.json
var lock []byte

// Packages is a folder with the installed packages.
type Packages struct {
	dir  string
	node string
}

// Install returns the packages of package-lock.json, installing them if that was
// never done for this very lockfile: about 20 seconds and 340 MB in the user's cache
// (os.UserCacheDir). Every package is checked against the lockfile's SHA-512; no
// install script runs. log gets a line when there is something to do.
func Install(ctx context.Context, log io.Writer) (*Packages, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(manifest, lock...))
	p := &Packages{dir: filepath.Join(cache, "ollama-mcp", fmt.Sprintf("npm-%x", sum[:6]))}
	// The folder comes by rename, whole or not at all.
	if _, err := os.Stat(p.dir); err != nil {
		if err := install(ctx, p.dir, log); err != nil {
			return nil, fmt.Errorf("install the npm packages: %w", err)
		}
	}
	found, err := filepath.Glob(filepath.Join(p.dir, "node_modules", "node-linux-*", "bin", "node"))
	if err != nil || len(found) != 1 {
		return nil, errors.New("package-lock.json has no Node for this machine: linux on amd64 or arm64 is needed")
	}
	p.node = found[0]
	return p, nil
}

func install(ctx context.Context, dir string, log io.Writer) error {
	program, err := debian.Find(ctx, log, debian.Package{Name: "npm", Program: "npm"})
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "installing npm packages, once, into %s\n", dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "npm-installing-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for name, content := range map[string][]byte{"package.json": manifest, "package-lock.json": lock} {
		if err := os.WriteFile(filepath.Join(tmp, name), content, 0o644); err != nil {
			return err
		}
	}
	cmd := program.Command(ctx, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, bytes.TrimSpace(out))
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Run is a command that runs a package's program, a path below node_modules.
func (p *Packages) Run(ctx context.Context, program string, args ...string) *exec.Cmd {
	return p.command(ctx, append([]string{filepath.Join("node_modules", filepath.FromSlash(program))}, args...)...)
}

// Script is a command that runs the source text of an ES module, which may import
// the packages by name.
func (p *Packages) Script(ctx context.Context, source string, args ...string) *exec.Cmd {
	return p.command(ctx, append([]string{"--input-type=module", "--eval", source, "--"}, args...)...)
}

func (p *Packages) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.node, args...)
	cmd.Dir = p.dir                 // where the modules of a script are looked for
	cmd.WaitDelay = 5 * time.Second // for what it started and left behind
	return cmd
}
