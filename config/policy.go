package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"ollama-mcp/policy"
)

// policyKey is the key of the file that says who may call what.
const policyKey = "policy"

// PolicyConfig says who may call what. It is the file's section policy.
type PolicyConfig struct {
	Rules []policy.Rule // as they stand in the file: New checks them

	file string
}

// New makes the policy, nil when there are no rules; tools is asked only when there are.
// Its errors name the file and the rule.
func (p *PolicyConfig) New(tools func() []policy.Tool) (*policy.Policy, error) {
	if len(p.Rules) == 0 {
		return nil, nil
	}
	made, err := policy.New(p.Rules, policy.Options{Tools: tools()})
	if err != nil {
		return nil, fmt.Errorf("--config: %s: policy: %w", p.file, err)
	}
	return made, nil
}

// read decodes the section strictly: a key without a value, say one whose list has been
// commented out, would match everything.
func (p *PolicyConfig) read(file string, section *yaml.Node) error {
	if section.Kind != yaml.SequenceNode || len(section.Content) == 0 {
		return fmt.Errorf("--config: %s: policy is not a list of rules: write each with a dash in front, or leave policy out to allow everything", file)
	}
	p.file, p.Rules = file, make([]policy.Rule, len(section.Content))
	for i, n := range section.Content {
		r := &p.Rules[i]
		err := checkKeys(n, reflect.TypeFor[policy.Rule]())
		if err = cmp.Or(err, checkValuesGiven(n)); err == nil {
			err = firstError(n.Load(r, yaml.WithKnownFields()))
		}
		if err != nil {
			return fmt.Errorf("--config: %s: policy: rule %d (%q): %w", file, i+1, r.Name, err)
		}
	}
	return nil
}

// checkKeys names the nearest and the valid keys, which yaml does not.
func checkKeys(n *yaml.Node, of reflect.Type) error {
	fields := map[string]reflect.Type{"<<": of} // https://yaml.org/type/merge.html
	var names []string
	for f := range of.Fields() {
		if !f.IsExported() {
			continue
		}
		names = append(names, f.Tag.Get("yaml"))
		fields[f.Tag.Get("yaml")] = f.Type
	}
	if n.Kind == yaml.SequenceNode || n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return fmt.Errorf("line %d: keys with their values belong here; valid: %s", n.Line, strings.Join(names, ", "))
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field, ok := fields[key.Value]
		if !ok {
			return fmt.Errorf("line %d: unknown key %q%s", key.Line, key.Value, nearest(key.Value, names))
		}
		if err := checkValue(key.Value, value, field); err != nil {
			return err
		}
	}
	return nil
}

// checkValue says how to write a value, which yaml does in the words of Go.
func checkValue(key string, value *yaml.Node, of reflect.Type) error {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case of == reflect.TypeFor[secretSource]() && value.Kind == yaml.ScalarNode:
		return fmt.Errorf("line %d: %s does not stand in this file: write %s: {env: NAME} or %s: {file: PATH}", value.Line, key, key, key)
	case of == reflect.TypeFor[yaml.Node](): // its reader knows
	case of.Kind() == reflect.Struct:
		return checkKeys(value, of)
	case value.Kind != yaml.ScalarNode || value.Tag == "!!null":
	case of.Kind() == reflect.Slice:
		return fmt.Errorf("line %d: %s is a list: write %s: [%q]", value.Line, key, key, value.Value)
	case of == reflect.TypeFor[time.Duration]():
		if _, err := time.ParseDuration(value.Value); err != nil {
			return fmt.Errorf("line %d: %s %q is not a time with its unit: write it as 30s or 10m", value.Line, key, value.Value)
		}
	case of.Kind() == reflect.Int && value.Tag != "!!int":
		return fmt.Errorf("line %d: %s %q is not a whole number", value.Line, key, value.Value)
	case of.Kind() == reflect.Float64 && value.Tag != "!!int" && value.Tag != "!!float":
		return fmt.Errorf("line %d: %s %q is not a number", value.Line, key, value.Value)
	}
	return nil
}

// checkValuesGiven refuses nulls. What an alias stands for is checked where it is written.
func checkValuesGiven(n *yaml.Node) error {
	if n.Tag == "!!null" {
		return fmt.Errorf("line %d: a value is missing: give one, or leave the key out", n.Line)
	}
	for _, in := range n.Content {
		if err := checkValuesGiven(in); err != nil {
			return err
		}
	}
	return nil
}

// firstError is the first of the mistakes that yaml has found, without its heading.
func firstError(err error) error {
	var all *yaml.LoadErrors
	if !errors.As(err, &all) || len(all.Errors) == 0 {
		return err
	}
	return fmt.Errorf("line %d: %s", all.Errors[0].Mark.Line, all.Errors[0].Message)
}

// ExplainCommand shows what the policy makes of a call.
type ExplainCommand struct {
	Caller string `arg:"positional,required" help:"who calls; without authentication that is local"`
	Tool   string `arg:"positional,required" help:"name of the tool"`
	Model  string `arg:"positional" help:"name of the model; without it: whether any could be used"`
	Scopes Words  `arg:"--scopes" placeholder:"LIST" help:"the caller's scopes, with commas between"`
	Groups Words  `arg:"--groups" placeholder:"LIST" help:"the caller's groups, with commas between"`
}
