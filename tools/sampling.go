package tools

import (
	"encoding/json"
	"fmt"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/schema"
)

// sampling are the arguments that generate and chat share.
type sampling struct {
	JSON      bool            `json:"json,omitempty" jsonschema_description:"Answer in JSON; schema is better"`
	Schema    json.RawMessage `json:"schema,omitempty" jsonschema:"type=object" jsonschema_description:"JSON Schema that the answer must fit; checked"`
	Options   *ollama.Options `json:"options,omitempty"`
	Think     string          `json:"think,omitempty" jsonschema:"enum=off,enum=on,enum=low,enum=medium,enum=high" jsonschema_description:"For thinking models; default: the model's own"`
	KeepAlive string          `json:"keep_alive,omitempty" jsonschema_description:"How long the model stays loaded, as 10m; default: Ollama's"`
	Truncate  bool            `json:"truncate,omitempty" jsonschema_description:"Cut a prompt that does not fit; default: fail"`
}

// format is what Ollama is told of the answer's form.
func (s *sampling) format() json.RawMessage {
	switch {
	case len(s.Schema) > 0:
		return s.Schema
	case s.JSON:
		return json.RawMessage(`"json"`)
	}
	return nil
}

// think is the argument as Ollama takes it: nothing, a bool or a level.
func (s *sampling) think() any {
	switch s.Think {
	case "":
		return nil
	case "on", "off":
		return s.Think == "on"
	}
	return s.Think
}

func (s *sampling) check() error {
	if len(s.Schema) > 0 {
		if err := schema.Check(s.Schema); err != nil {
			return &argumentError{fmt.Sprintf("schema is not a usable JSON Schema: %v", err),
				`Pass an object such as {"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}`}
		}
	}
	return checkKeepAlive(s.KeepAlive)
}

// checkKeepAlive refuses what Ollama would silently read as something else.
func checkKeepAlive(s string) error {
	if s == "" {
		return nil
	}
	if _, err := time.ParseDuration(s); err != nil {
		return notDuration(s, "; 0 unloads the model after the call")
	}
	return nil
}

func notDuration(keepAlive, also string) error {
	return &argumentError{fmt.Sprintf("keep_alive %q is not a duration", keepAlive), "Write it as 30s, 10m or 1h" + also}
}
