package config

import (
	"io"
	"reflect"
	"strings"
)

// Reload reads the settings anew, as [Parse] did: with the same arguments and environment, and
// what the files say now.
func (c *Config) Reload() (*Config, error) {
	now, _, err := Parse(c.args, c.Build, io.Discard)
	return now, err
}

// HostFiles are the files that say where Ollama is: that of --config and those that it names for
// hosts. None without --config.
func (c *Config) HostFiles() []string {
	if c.File == "" {
		return nil
	}
	files := []string{c.File}
	for _, h := range c.Ollama.Hosts {
		files = append(files, h.Files...)
	}
	return files
}

// Differing names the settings that are not as they are in other. Where Ollama is, is none of
// them.
func (c *Config) Differing(other *Config) []string {
	var names []string
	theirs := other.sections()
	for i, section := range c.sections() {
		a, b := reflect.ValueOf(section).Elem(), reflect.ValueOf(theirs[i]).Elem()
		for f := range a.NumField() {
			name, ok := strings.CutPrefix(a.Type().Field(f).Tag.Get("arg"), "--")
			if ok && name != "ollama" && !reflect.DeepEqual(a.Field(f).Interface(), b.Field(f).Interface()) {
				names = append(names, name)
			}
		}
	}
	if !reflect.DeepEqual(c.Policy.Rules, other.Policy.Rules) {
		names = append(names, policyKey)
	}
	if !reflect.DeepEqual(c.Models.Pins, other.Models.Pins) {
		names = append(names, modelsKey)
	}
	return names
}
