package ollamatest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ollama-mcp/ollama"
)

// request is the body of generate, chat or embed. Other fields are ignored, as Ollama does.
type request struct {
	Model     string           `json:"model"`
	Prompt    string           `json:"prompt"`
	Suffix    string           `json:"suffix"`
	System    string           `json:"system"`
	Messages  []ollama.Message `json:"messages"`
	Tools     []ollama.Tool    `json:"tools"`
	Input     any              `json:"input"`
	Format    json.RawMessage  `json:"format"`
	Think     think            `json:"think"`
	KeepAlive *keepAlive       `json:"keep_alive"`
	Options   map[string]any   `json:"options"`
	Stream    *bool            `json:"stream"`
	Truncate  *bool            `json:"truncate"`
	Shift     *bool            `json:"shift"`
	Raw       bool             `json:"raw"`

	Dimensions int `json:"dimensions"`
}

// keepAlive is a number of seconds or a Go duration; what is negative means for ever.
type keepAlive time.Duration

func (k *keepAlive) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	var d time.Duration
	switch v := v.(type) {
	case float64:
		d = time.Duration(v * float64(time.Second))
	case string:
		var err error
		if d, err = time.ParseDuration(v); err != nil {
			return err
		}
	default:
		//lint:ignore ST1005 Ollama's words
		return fmt.Errorf("Unsupported type: '%T'", v)
	}
	if d < 0 {
		d = forever
	}
	*k = keepAlive(d)
	return nil
}

// think is "", "true", "false" or a level.
type think string

func (t *think) UnmarshalJSON(b []byte) error {
	v := strings.Trim(string(b), `"`)
	if !slices.Contains([]string{"null", "true", "false", "low", "medium", "high", "max"}, v) {
		return fmt.Errorf(`invalid think value: %q (must be "high", "medium", "low", "max", true, or false)`, v)
	}
	if v != "null" {
		*t = think(v)
	}
	return nil
}

func (q *request) streams() bool        { return q.Stream == nil || *q.Stream }
func (q *request) truncates() bool      { return q.Truncate == nil || *q.Truncate }
func (q *request) wantsUnload() bool    { return q.KeepAlive != nil && *q.KeepAlive == 0 }
func (q *request) wantsThinking() bool  { return q.Think != "" && q.Think != "false" }
func (q *request) refusesThought() bool { return q.Think == "false" }

func (q *request) keepAlive() *time.Duration { return (*time.Duration)(q.KeepAlive) }

func (q *request) wantsFormat() bool {
	return !slices.Contains([]string{"", `""`, "null"}, string(q.Format))
}

// checkFormat refuses what is neither "json" nor a schema.
func (q *request) checkFormat() error {
	if !q.wantsFormat() || string(q.Format) == `"json"` || q.Format[0] == '{' {
		return nil
	}
	return fmt.Errorf("invalid format: %q; expected \"json\" or a valid JSON Schema object", q.Format)
}

// inputs reads embed's input: a text, several, or none.
func (q *request) inputs() ([]string, error) {
	switch v := q.Input.(type) {
	case nil:
		return nil, nil
	case string:
		if v == "" {
			return nil, nil
		}
		return []string{v}, nil
	case []any:
		texts := make([]string, len(v))
		for i, item := range v {
			var ok bool
			if texts[i], ok = item.(string); !ok {
				return nil, errInputType
			}
		}
		return texts, nil
	}
	return nil, errInputType
}

var errInputType = errors.New("invalid input type")

// promptTokens counts words, and one for the start: the fake's tokens.
func (q *request) promptTokens() int {
	n := 1 + words(q.Prompt) + words(q.System) + words(q.Suffix)
	for _, m := range q.Messages {
		n += words(m.Content)
	}
	return n
}

func words(s string) int { return len(strings.Fields(s)) }

// loadOptions are what a loaded model cannot change. Comparable.
type loadOptions struct {
	NumCtx, NumBatch, NumGPU, MainGPU, NumThread int
	UseMMap                                      string // "" is unset
	Shift                                        bool
}

func defaultLoadOptions() loadOptions {
	return loadOptions{NumCtx: 4096, NumBatch: 512, NumGPU: -1, Shift: true}
}

// fits reports whether a model loaded with have serves o. No wish for num_gpu fits any.
func (o loadOptions) fits(have loadOptions) bool {
	if o.NumGPU < 0 {
		have.NumGPU = o.NumGPU
	}
	return o == have
}

// optionTypes are the options that Ollama knows, by the type that its errors name.
var optionTypes = map[string][]string{
	"integer": {"num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "seed", "num_predict", "top_k", "repeat_last_n"},
	"float32": {"top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"},
	"boolean": {"use_mmap"},
	"array":   {"stop"},
}

// checkOptions finds options of the wrong type, and says so in Ollama's words (v0.17.4, api/types.go, FromMap).
func (q *request) checkOptions() error {
	for want, keys := range optionTypes {
		for _, key := range keys {
			if v := q.Options[key]; v != nil && !isType(v, want) {
				return fmt.Errorf("option %q must be of type %s", key, want)
			}
		}
	}
	return nil
}

func isType(v any, want string) bool {
	switch v.(type) {
	case float64:
		return want == "integer" || want == "float32"
	case bool:
		return want == "boolean"
	case []any:
		return want == "array"
	}
	return false
}

// option is an integer option that checkOptions has seen.
func (q *request) option(key string, unset int) int {
	if v, ok := q.Options[key].(float64); ok {
		return int(v)
	}
	return unset
}

func (q *request) loadOptions() loadOptions {
	o := defaultLoadOptions()
	o.NumCtx = max(q.option("num_ctx", o.NumCtx), 4) // v0.17.4, server/sched.go, GetRunner
	o.NumBatch = q.option("num_batch", o.NumBatch)
	o.NumGPU = q.option("num_gpu", o.NumGPU)
	o.MainGPU = q.option("main_gpu", o.MainGPU)
	o.NumThread = q.option("num_thread", o.NumThread)
	if v, ok := q.Options["use_mmap"]; ok && v != nil {
		o.UseMMap = fmt.Sprint(v)
	}
	o.Shift = q.Shift == nil || *q.Shift
	return o
}
