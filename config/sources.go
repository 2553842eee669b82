package config

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v4"

	"ollama-mcp/schema"
)

// Size is a number of bytes, written plain or with KiB, MiB or GiB.
type Size int64

// UnmarshalText reads "16MiB", "4096" and the like.
func (s *Size) UnmarshalText(text []byte) error {
	digits, unit := string(text), int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(digits, suffix); ok {
			digits, unit = strings.TrimSpace(rest), n
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is not a size: write 4096, 512KiB, 16MiB or 1GiB", text)
	}
	*s = Size(n * unit)
	return nil
}

// file is what a YAML file sets, by long flag name. Kong's own YAML resolver takes a file
// above the environment and passes over unknown keys; this one does neither.
type file map[string]any

func loadFile(r io.Reader) (kong.Resolver, error) {
	f := file{}
	if err := yaml.NewDecoder(r).Decode(&f); err != nil && err != io.EOF {
		return nil, fmt.Errorf("--config: %w", err)
	}
	return f, nil
}

// Validate refuses keys that are no setting, and names the nearest one.
func (f file) Validate(app *kong.Application) error {
	names := flagNames(app, func(fl *kong.Flag) string { return fl.Name })
	for key := range f {
		if !slices.Contains(names, key) {
			return fmt.Errorf("--config: unknown setting %q%s", key, nearest(key, names))
		}
	}
	return nil
}

// Resolve gives a flag its value from the file, unless the environment has one.
func (f file) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	if v, ok := f[flag.Name]; ok {
		return fmt.Sprint(v), nil
	}
	return nil, nil
}

// checkEnvironment refuses variables that look like settings and are none.
func checkEnvironment(app *kong.Application, environ []string) error {
	known := flagNames(app, func(fl *kong.Flag) string {
		return twin(fl.Name)
	})
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, EnvPrefix+"_") && !slices.Contains(known, name) {
			return fmt.Errorf("unknown environment variable %s%s", name, nearest(name, known))
		}
	}
	return nil
}

// twin is the name of a flag's environment variable.
func twin(flag string) string {
	return EnvPrefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// flagNames lists a name of every setting that is not a command's own.
func flagNames(app *kong.Application, name func(*kong.Flag) string) []string {
	var names []string
	for _, flag := range app.Flags {
		if flag.Name != "help" && flag.Name != "version" {
			names = append(names, name(flag))
		}
	}
	return names
}

func nearest(name string, names []string) string {
	if n := schema.Nearest(name, names); n != "" {
		return fmt.Sprintf(": did you mean %s?", n)
	}
	return "; valid: " + strings.Join(names, ", ")
}
