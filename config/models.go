package config

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"time"

	"go.yaml.in/yaml/v4"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// modelsKey is the key of the file that pins how models are loaded.
const modelsKey = "models"

// pin is what the file settles for a model, spelt as Ollama spells it. What is left out
// stays free.
type pin struct {
	NumCtx    *int    `yaml:"num_ctx"`
	NumBatch  *int    `yaml:"num_batch"`
	NumGPU    *int    `yaml:"num_gpu"`
	MainGPU   *int    `yaml:"main_gpu"`
	UseMMap   *bool   `yaml:"use_mmap"`
	NumThread *int    `yaml:"num_thread"`
	KeepAlive *string `yaml:"keep_alive"`
	Preload   *int    `yaml:"preload"` // number of hosts
}

// readPins decodes the section strictly, as the policy is.
func (m *ModelConfig) readPins(file string, section *yaml.Node) error {
	if section.Kind != yaml.MappingNode || len(section.Content) == 0 {
		return fmt.Errorf("--config: %s: models is not a list of names with their options: write each as llama3.2: {num_ctx: 8192}, or leave models out", file)
	}
	m.Pins = map[ollama.Name]fleet.Pin{}
	for i := 0; i+1 < len(section.Content); i += 2 {
		key, value := section.Content[i], section.Content[i+1]
		name, err := ollama.ParseName(key.Value)
		if _, twice := m.Pins[name]; twice {
			err = fmt.Errorf("line %d: %s is there twice", key.Line, name)
		}
		var made fleet.Pin
		if err == nil {
			made, err = readPin(value)
		}
		if err != nil {
			return fmt.Errorf("--config: %s: models: %s: %w", file, key.Value, err)
		}
		m.Pins[name] = made
	}
	return nil
}

func readPin(n *yaml.Node) (fleet.Pin, error) {
	var p pin
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return fleet.Pin{}, fmt.Errorf("line %d: no options: write them as {num_ctx: 8192, keep_alive: 30m}", n.Line)
	}
	err := cmp.Or(checkKeys(n, reflect.TypeFor[pin]()), checkValuesGiven(n))
	if err == nil {
		err = firstError(n.Load(&p, yaml.WithKnownFields()))
	}
	if err != nil {
		return fleet.Pin{}, err
	}
	return p.check(n.Line)
}

func (p *pin) check(line int) (fleet.Pin, error) {
	made := fleet.Pin{Options: (&ollama.Options{
		NumCtx: p.NumCtx, NumBatch: p.NumBatch, NumGPU: p.NumGPU,
		MainGPU: p.MainGPU, UseMMap: p.UseMMap, NumThread: p.NumThread,
	}).LoadTime()}
	for name, n := range map[string]*int{"num_ctx": p.NumCtx, "num_batch": p.NumBatch, "preload": p.Preload} {
		if n != nil && *n < 1 {
			return made, fmt.Errorf("line %d: %s must be more than 0", line, name)
		}
	}
	if p.Preload != nil {
		made.Preload = *p.Preload
	}
	if p.KeepAlive == nil {
		return made, nil
	}
	made.KeepAlive = *p.KeepAlive
	if d, err := time.ParseDuration(made.KeepAlive); err != nil || d == 0 {
		return made, fmt.Errorf("line %d: keep_alive %q is not a time that a model stays loaded: write it as 30m or 24h, or -1s for ever", line, made.KeepAlive)
	}
	return made, nil
}

// KeepAlive is a limit on how long callers may keep a model loaded.
type KeepAlive time.Duration

// forever allows all times.
const forever KeepAlive = math.MaxInt64

// Limit is the longest time, 0 for none.
func (k KeepAlive) Limit() time.Duration {
	if k == forever {
		return 0
	}
	return time.Duration(k)
}

// UnmarshalText reads "90s", "1h" and the like, or "forever".
func (k *KeepAlive) UnmarshalText(text []byte) error {
	if string(text) == "forever" {
		*k = forever
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a time with its unit: write it as 10m or 1h, or forever", text)
	}
	*k = KeepAlive(d)
	return nil
}

// MarshalText is the limit as UnmarshalText reads it.
func (k KeepAlive) MarshalText() ([]byte, error) {
	if k == forever {
		return []byte("forever"), nil
	}
	return []byte(time.Duration(k).String()), nil
}
