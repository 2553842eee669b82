package ollama

import (
	"fmt"
	"strings"
)

// Name is the canonical name of a model: lower case, with its tag, without the default
// registry and namespace ("llama3.2:latest", "hf.co/user/repo:q4_k_m"). The zero value
// is no model. Two names are the same model exactly when they are equal.
type Name string

// DefaultRegistry is that of a name which does not say one.
const DefaultRegistry = "registry.ollama.ai"

// What else stands in a name that does not say it, and how long its parts may be.
// Source: types/model/name.go of github.com/ollama/ollama v0.34.4.
const (
	defaultNamespace = "library"
	defaultTag       = "latest"
	maxRegistry      = 350
	maxPart          = 80
)

// ParseName canonicalises a model name as people and Ollama write it:
// [[registry[:port]/]namespace/]model[:tag], in any case, with spaces around it. The error says
// what is wrong with it and what a name looks like.
func ParseName(s string) (Name, error) {
	n, err := parseName(strings.ToLower(strings.TrimSpace(s)))
	if err != nil {
		return "", notName(s, err)
	}
	return Name(n), nil
}

// Spelling is [ParseName] that keeps the case, for a registry, which may tell upper from lower.
// Source: https://github.com/ollama/ollama/issues/336
func Spelling(s string) (string, error) {
	n, err := parseName(strings.TrimSpace(s))
	if err != nil {
		return "", notName(s, err)
	}
	return n, nil
}

func notName(s string, err error) error {
	return fmt.Errorf("%q is not the name of a model: %w; a name is model, model:tag or namespace/model:tag, as in llama3.2:3b", clean(s, maxPart), err)
}

// Registry is the host that the model is pulled from and pushed to, with the port when it
// has one.
func (n Name) Registry() string {
	if registry, rest, _ := strings.Cut(string(n), "/"); strings.Contains(rest, "/") {
		return registry
	}
	return DefaultRegistry
}

func parseName(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("it is empty")
	}
	if strings.Contains(s, "://") {
		return "", fmt.Errorf("it is a URL")
	}
	path, tag := s, defaultTag
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		path, tag = s[:i], s[i+1:]
	}
	parts := strings.Split(path, "/")
	if len(parts) > 3 {
		return "", fmt.Errorf("it has more than three parts")
	}
	registry, namespace, model := DefaultRegistry, defaultNamespace, parts[len(parts)-1]
	if len(parts) > 1 {
		namespace = parts[len(parts)-2]
	}
	if len(parts) > 2 {
		registry = parts[0]
	}
	for _, err := range []error{
		checkPart("registry", registry, maxRegistry, "._-:"),
		checkPart("namespace", namespace, maxPart, "_-"),
		checkPart("model", model, maxPart, "._-"),
		checkPart("tag", tag, maxPart, "._-"),
	} {
		if err != nil {
			return "", err
		}
	}
	switch name := model + ":" + tag; {
	case !strings.EqualFold(registry, DefaultRegistry):
		return registry + "/" + namespace + "/" + name, nil
	case !strings.EqualFold(namespace, defaultNamespace):
		return namespace + "/" + name, nil
	default:
		return name, nil
	}
}

// checkPart allows letters, digits and the marks, which cannot come first, save for _.
func checkPart(what, s string, most int, marks string) error {
	switch {
	case s == "":
		return fmt.Errorf("its %s is empty", what)
	case len(s) > most:
		return fmt.Errorf("its %s has more than %d characters", what, most)
	case strings.Contains(s, ".."):
		return fmt.Errorf("its %s holds %q", what, "..")
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
		if !letter && (i == 0 || !strings.ContainsRune(marks, r)) {
			return fmt.Errorf("its %s holds %q where it cannot", what, r)
		}
	}
	return nil
}
