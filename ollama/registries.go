package ollama

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Registries are those that an operator lets models come from and go to. A registry named
// by a caller could be any address that the host of Ollama can reach. The zero value
// allows registry.ollama.ai and hf.co, over https.
type Registries struct {
	insecure map[string]bool // by host[:port]: whether to speak http; nil is the default
}

var defaultRegistries = map[string]bool{DefaultRegistry: false, "hf.co": false}

// ParseRegistries reads an allow-list of host or host:port. One written with http:// is
// spoken to without TLS, which only an operator may decide; https:// changes nothing.
// An empty list is the zero value.
func ParseRegistries(entries []string) (Registries, error) {
	var r Registries
	for _, entry := range entries {
		host, insecure, err := parseRegistry(entry)
		if err != nil {
			return Registries{}, fmt.Errorf("%q is not a registry: %w; write host, host:port, either with https:// if you like, or, for one without TLS, http://host:port", clean(entry, maxExcerpt), err)
		}
		if was, ok := r.insecure[host]; ok && was != insecure {
			return Registries{}, fmt.Errorf("the registry %s is listed with http:// and without", host)
		}
		if r.insecure == nil {
			r.insecure = map[string]bool{}
		}
		r.insecure[host] = insecure
	}
	return r, nil
}

func parseRegistry(entry string) (host string, insecure bool, err error) {
	host = strings.ToLower(strings.TrimSpace(entry))
	if scheme, rest, ok := strings.Cut(host, "://"); ok {
		if scheme != "http" && scheme != "https" {
			return "", false, fmt.Errorf("the scheme %q is neither http nor https", scheme)
		}
		host, insecure = rest, scheme == "http"
	}
	name, port, hasPort := strings.Cut(host, ":")
	if err := checkPart("host", name, maxRegistry, "._-"); err != nil {
		return "", false, err
	}
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0) {
		return "", false, fmt.Errorf("the port %q is not a number from 1 to 65535", port)
	}
	return host, insecure, nil
}

// Check refuses, with a [*RegistryError], a model of a registry that is not allowed. It
// compares the registry letter by letter, port included. insecure is the operator's word
// that the registry is spoken to without TLS.
func (r Registries) Check(n Name) (insecure bool, err error) {
	allowed := r.insecure
	if allowed == nil {
		allowed = defaultRegistries
	}
	insecure, ok := allowed[n.Registry()]
	if !ok {
		return false, &RegistryError{Registry: n.Registry(), Allowed: slices.Sorted(maps.Keys(allowed))}
	}
	return insecure, nil
}

// RegistryError says that a registry is not on the operator's list.
type RegistryError struct {
	Registry string   // as it stands in the name
	Allowed  []string // sorted
}

func (e *RegistryError) Error() string {
	return fmt.Sprintf("the registry %s is not allowed; allowed are %s", clean(e.Registry, maxPart), strings.Join(e.Allowed, ", "))
}
