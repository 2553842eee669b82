package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ollama-mcp/ollama"
)

// Error is an *[ollama.Error] with what the caller needs to act on it.
type Error struct {
	Address   string        // base URL of the host that failed; "" when it is about all hosts
	Origin    string        // where that address came from
	Model     ollama.Name   // the model asked for, "" when none was
	Installed []ollama.Name // for a missing model: what is installed, nil when that could not be learnt
	Remedy    *Remedy       // for what is too long; nil when nothing is known
	Err       error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the host's error.
func (e *Error) Unwrap() error { return e.Err }

// CloudError says that a model runs on ollama.com and the operator refuses that.
type CloudError struct{ Model ollama.Name }

func (e *CloudError) Error() string {
	return fmt.Sprintf("%s runs on ollama.com, which this server refuses", e.Model)
}

// fail adds to a host's error what the caller needs. Other errors pass unchanged.
func (h *member) fail(ctx context.Context, model ollama.Name, err error) error {
	var oe *ollama.Error
	if !errors.As(err, &oe) {
		return err
	}
	fe := &Error{Address: h.Address, Origin: h.Origin, Model: model, Err: err}
	if oe.Kind == ollama.MissingModel {
		fe.Installed = h.fleet.installed(ctx)
	}
	return fe
}

// installed lists names for an error message; it gives up soon and never fails.
func (f *Fleet) installed(ctx context.Context) []ollama.Name {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var names []ollama.Name
	all, err := gather(ctx, f, "", func(ctx context.Context, h *member) ([]ollama.Model, error) { return h.tags.get(ctx) })
	if err != nil {
		return nil
	}
	names = []ollama.Name{}
	for _, a := range all.answers {
		for i := range a.answer {
			names = append(names, canonical(a.answer[i].Name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isKind reports whether err is a host's error of a kind.
func isKind(err error, k ollama.Kind) bool {
	return errors.Is(err, &ollama.Error{Kind: k})
}

// canonical is the canonical form of a name that Ollama itself sent.
func canonical(s string) ollama.Name {
	n, err := ollama.ParseName(s)
	if err != nil {
		return ollama.Name(strings.ToLower(s))
	}
	return n
}
