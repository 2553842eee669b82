package ollama

import (
	"fmt"
	"io"
)

// Secret is a text that never shows: it prints and marshals as "[redacted]", whatever
// the verb. The empty Secret prints as nothing. string(s) gives the text itself.
type Secret string

// Format implements [fmt.Formatter] for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.shown()) }

// MarshalText implements [encoding.TextMarshaler], so that JSON, YAML and logs show nothing.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }

func (s Secret) shown() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}
