package config

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alexflint/go-scalar"
	"go.yaml.in/yaml/v4"

	"ollama-mcp/schema"
)

// envPrefix starts the name of every environment variable of ours.
const envPrefix = "OLLAMA_MCP_"

// twin is the name of a setting's environment variable.
func twin(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// settings yields each setting's name and field, in the order of the help.
func (c *Config) settings() iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		for _, section := range c.sections() {
			v := reflect.ValueOf(section).Elem()
			for f, field := range v.Fields() {
				if name, ok := strings.CutPrefix(f.Tag.Get("arg"), "--"); ok && !yield(name, field) {
					return
				}
			}
		}
	}
}

func (c *Config) names() []string {
	var names []string
	for name := range c.settings() {
		names = append(names, name)
	}
	return names
}

// load sets what the file and, above it, the environment say. An empty variable is none.
func (c *Config) load(args []string) error {
	values, err := c.readFile(args)
	if err != nil {
		return err
	}
	if err := c.checkEnvironment(os.Environ()); err != nil {
		return err
	}
	for name, field := range c.settings() {
		source, value := "--config", values[name]
		if v := os.Getenv(twin(name)); v != "" {
			source, value = twin(name), v
		}
		if value == nil {
			continue
		}
		if err := set(field, fmt.Sprint(value)); err != nil {
			return fmt.Errorf("--%s, set by %s: %w", name, source, err)
		}
		if name == "ollama" {
			c.Ollama.Origin = source
		}
	}
	return nil
}

// set parses a setting's value. Its errors say what to write instead, as go-arg's, which
// are strconv's, do not.
func set(field reflect.Value, value string) error {
	err := scalar.ParseValue(field, value)
	if err == nil {
		return nil
	}
	switch field.Interface().(type) {
	case time.Duration:
		return fmt.Errorf("%q is not a time with its unit: write it as 3s or 2m", value)
	case bool:
		return fmt.Errorf("%q is not true or false", value)
	case int:
		return fmt.Errorf("%q is not a whole number", value)
	}
	return err
}

// readFile reads the YAML file that --config or its variable names, if one does.
func (c *Config) readFile(args []string) (map[string]any, error) {
	path := os.Getenv(twin("config"))
	for i, a := range args {
		if value, ok := strings.CutPrefix(a, "--config="); ok {
			path = value
		} else if a == "--config" && i+1 < len(args) {
			path = args[i+1]
		}
	}
	if c.File = path; path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	defer f.Close()
	nodes := map[string]yaml.Node{}
	d := yaml.NewDecoder(f)
	if err := d.Decode(&nodes); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("--config: %s: %w", path, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) { // what stands there would be ignored
		return nil, fmt.Errorf("--config: %s: there is more after the end of the document: only one document, without --- or ... lines, is read", path)
	}
	// These keys are no flags.
	for key, read := range map[string]func(string, *yaml.Node) error{policyKey: c.Policy.read, modelsKey: c.Models.readPins, hostsKey: c.Ollama.readHosts} {
		if section, ok := nodes[key]; ok {
			if err := read(path, &section); err != nil {
				return nil, err
			}
			delete(nodes, key)
		}
	}
	values := map[string]any{}
	for key, node := range nodes {
		if names := c.names(); !slices.Contains(names, key) {
			return nil, fmt.Errorf("--config: %s: unknown setting %q%s", path, key, nearest(key, append(names, policyKey, modelsKey, hostsKey)))
		}
		if values[key], err = setting(&node); err != nil {
			return nil, fmt.Errorf("--config: %s: %s: %w", path, key, err)
		}
	}
	return values, nil
}

// setting is a value of the file. A list of words is one with commas between them.
func setting(node *yaml.Node) (value any, err error) {
	if err := node.Load(&value); err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case []any:
		words := make([]string, len(v))
		for i, word := range v {
			words[i] = fmt.Sprint(word)
		}
		return strings.Join(words, ","), nil
	case map[string]any:
		return nil, errors.New("these are several settings, not the value of one")
	}
	return value, nil
}

// checkEnvironment refuses variables that look like settings and are none.
func (c *Config) checkEnvironment(environ []string) error {
	known := []string{twin("config")}
	for _, name := range c.names() {
		known = append(known, twin(name))
	}
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, envPrefix) && !slices.Contains(known, name) {
			return fmt.Errorf("unknown environment variable %s%s", name, nearest(name, known))
		}
	}
	return nil
}

// checkFlags refuses flags that are none, and names the nearest one. go-arg would take a
// long flag with one dash too, which the rest of this package does not look for.
func (c *Config) checkFlags(args []string) error {
	known := []string{"--help", "--version", "-h"}
	for _, name := range c.names() {
		known = append(known, "--"+name)
	}
	for name := range commandFlags(reflect.TypeFor[Command]()) {
		known = append(known, "--"+name)
	}
	for i, a := range args {
		flag, _, _ := strings.Cut(a, "=")
		if !isFlag(flag) || flag == "--" || slices.Contains(known, flag) {
			continue
		}
		if i > 0 && a[1] != '-' {
			if err := c.checkDashed(args[i-1], a); err != nil {
				return err
			}
		}
		return fmt.Errorf("unknown flag %s%s", flag, nearest(flag, known))
	}
	return nil
}

// checkDashed says what is wrong with a value that begins with a dash, if it is the value of
// the flag before it.
func (c *Config) checkDashed(flag, value string) error {
	field, ok := maps.Collect(c.settings())[strings.TrimPrefix(flag, "--")]
	switch {
	case flag != "--config" && (!ok || field.Kind() == reflect.Bool):
		return nil
	case ok && field.CanInt():
		return fmt.Errorf("%w, and %s is not", notPositive(flag, field), value)
	}
	return fmt.Errorf("%s: a value that begins with a dash is written %[1]s=%s", flag, value)
}

// checkValues refuses flags' values and a command that go-arg would refuse in less plain
// words. It leaves a value that is missing to go-arg.
func (c *Config) checkValues(args []string) error {
	fields := maps.Collect(c.settings())
	maps.Insert(fields, commandFlags(reflect.TypeFor[Command]()))
	command := false
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		if !isFlag(args[i]) {
			if valid := commands(); !command && !slices.Contains(valid, args[i]) {
				return fmt.Errorf("unknown command %q; valid: %s; without a command it serves MCP over standard input and output",
					args[i], strings.Join(valid, ", "))
			}
			command = true
			continue
		}
		flag, value, inline := strings.Cut(args[i], "=")
		field, ok := fields[strings.TrimPrefix(flag, "--")]
		if !ok || !inline && (field.Kind() == reflect.Bool || i+1 == len(args) || isFlag(args[i+1])) {
			continue
		}
		if !inline {
			i++
			value = args[i]
		}
		if err := set(reflect.New(field.Type()).Elem(), value); err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
	}
	return nil
}

func isFlag(a string) bool { return len(a) > 1 && a[0] == '-' }

// commands are the names of the commands.
func commands() []string {
	var names []string
	for f := range reflect.TypeFor[Command]().Fields() {
		if name, ok := strings.CutPrefix(f.Tag.Get("arg"), "subcommand:"); ok {
			names = append(names, name)
		}
	}
	return names
}

// commandFlags yields the name of each flag of a command, and of the commands below it, with
// a zero value of the flag's type.
func commandFlags(command reflect.Type) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		for f := range command.Fields() {
			tag, _, _ := strings.Cut(f.Tag.Get("arg"), ",")
			if name, ok := strings.CutPrefix(tag, "--"); ok && !yield(name, reflect.Zero(f.Type)) {
				return
			}
			if !strings.HasPrefix(tag, "subcommand:") {
				continue
			}
			for name, value := range commandFlags(f.Type.Elem()) {
				if !yield(name, value) {
					return
				}
			}
		}
	}
}

// given reports whether a flag stands among the arguments.
func given(name string, args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		return a == "--"+name || strings.HasPrefix(a, "--"+name+"=")
	})
}

func nearest(name string, names []string) string {
	if n := schema.Nearest(name, names); n != "" {
		return fmt.Sprintf(": did you mean %s?", n)
	}
	return "; valid: " + strings.Join(names, ", ")
}
