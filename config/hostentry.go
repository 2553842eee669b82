package config

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/dns"
	"ollama-mcp/policy"
)

// hostEntry is an entry of the section hosts. What is left out is nil or empty.
type hostEntry struct {
	Name      string        `yaml:"name"`
	URL       string        `yaml:"url"`
	Weight    *float64      `yaml:"weight"`
	Priority  int           `yaml:"priority"`
	Parallel  string        `yaml:"parallel"`
	MaxLoaded *int          `yaml:"max_loaded"`
	Headers   yaml.Node     `yaml:"headers"`
	Bearer    *secretSource `yaml:"bearer"`
	Basic     *secretSource `yaml:"basic"`
	CAFile    string        `yaml:"ca_file"`
	CertFile  string        `yaml:"cert_file"`
	KeyFile   string        `yaml:"key_file"`
	Models    []string      `yaml:"models"`
	Tags      []string      `yaml:"tags"`

	host    Host
	headers []headerSource
	line    int
}

// check makes the host of what needs no other file.
func (e *hostEntry) check() error {
	e.host = Host{Name: e.Name, Priority: e.Priority, Tags: e.Tags}
	if e.Name == "" {
		return errors.New("it has no name: give it one, such as name: gpu")
	}
	if e.URL == "" {
		return errors.New("it has no url: write url: http://gpu-box:11434, or url: dns:///name:port for all the hosts behind a name")
	}
	if err := errors.Join(checkName("name", e.Name), e.host.locate(e.URL), e.checkNumbers(), e.checkTags(), e.checkHeaders(), e.checkTLS()); err != nil {
		return err
	}
	var err error
	e.host.May, err = policy.Models(e.Models)
	return err
}

func (e *hostEntry) checkNumbers() error {
	if w := e.Weight; w != nil {
		if !(*w > 0 && *w <= 1e6) { // nor is it a NaN
			return errors.New("weight must be more than 0, and 1000000 at most; hosts without one have 1")
		}
		e.host.Weight = *w
	}
	if m := e.MaxLoaded; m != nil {
		if *m < 1 {
			return errors.New("max_loaded must be more than 0: it is the OLLAMA_MAX_LOADED_MODELS of that host; leave it out when that is not set")
		}
		e.host.MaxLoaded = *m
	}
	if e.Parallel == "" || e.Parallel == "auto" {
		return nil
	}
	n, err := strconv.ParseInt(e.Parallel, 10, 32)
	if err != nil || n < 1 {
		return fmt.Errorf("parallel %q is neither auto nor a whole number above 0: it is the OLLAMA_NUM_PARALLEL of that host; leave it out to have it learnt", e.Parallel)
	}
	e.host.Parallel = int(n)
	return nil
}

func (e *hostEntry) checkTags() error {
	for _, tag := range e.Tags {
		if err := checkName("tags:", tag); err != nil {
			return err
		}
	}
	return nil
}

// ours are the headers that the program sees to itself.
var ours = []string{"Accept", "Accept-Encoding", "Connection", "Content-Length", "Content-Type", "Expect", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "X-Request-Id"}

func (e *hostEntry) checkHeaders() error {
	n := &e.Headers
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != 0 && n.Kind != yaml.MappingNode {
		return errors.New("headers are names with their values: write headers: {X-Team: red}")
	}
	own := false
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		h := headerSource{name: http.CanonicalHeaderKey(name)}
		switch {
		case !isToken(name):
			return fmt.Errorf("headers: %q is not the name of a header: write it as in X-Team", name)
		case slices.Contains(ours, h.name):
			return fmt.Errorf("headers: %s is set for each request: leave it out", name)
		case slices.ContainsFunc(e.headers, func(other headerSource) bool { return other.name == h.name }):
			return fmt.Errorf("headers: %s is there twice", h.name)
		}
		if err := h.decode(n.Content[i+1]); err != nil {
			return fmt.Errorf("headers: %s: %w", name, err)
		}
		own = own || h.name == "Authorization"
		e.headers = append(e.headers, h)
	}
	return e.checkAuthorization(own)
}

// checkAuthorization is told whether there is a header of that name.
func (e *hostEntry) checkAuthorization(own bool) error {
	if own && (e.Bearer != nil || e.Basic != nil) || e.Bearer != nil && e.Basic != nil {
		return errors.New("bearer, basic and the header Authorization are one and the same header: leave all but one out")
	}
	return cmp.Or(e.Bearer.check("bearer"), e.Basic.check("basic"))
}

// isToken is that of RFC 9110, section 5.6.2.
func isToken(name string) bool {
	return name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~") == ""
}

func (e *hostEntry) checkTLS() error {
	switch {
	case (e.CertFile == "") != (e.KeyFile == ""):
		return errors.New("cert_file and key_file need each other: write both, or none")
	case e.CAFile+e.CertFile == "":
	case e.host.Service != (dns.Service{}), !strings.HasPrefix(e.host.Address.String(), "https://"):
		return errors.New("ca_file and cert_file are for hosts with TLS: write the url with https://, or leave them out")
	}
	return nil
}

// read reads the secrets and the certificates.
func (e *hostEntry) read() (err error) {
	h := &e.host
	h.Header = map[string]ollama.Secret{}
	set := []string{fmt.Sprintf("%q", e.Models)}
	for i := range e.headers {
		source := &e.headers[i]
		value := source.text
		if source.place != nil {
			if value, err = source.place.read(h); err != nil {
				return fmt.Errorf("headers: %s: %w", source.name, err)
			}
		}
		h.Header[source.name] = value
		set = append(set, source.name, string(value))
	}
	if err := e.readAuthorization(); err != nil {
		return err
	}
	authorization := h.Header["Authorization"]
	if authorization != "" {
		h.APIKey = ""
	}
	pems, err := e.readTLS()
	if err != nil {
		return err
	}
	h.Settings = h.fingerprint(append(append(set, string(authorization)), pems[:]...))
	return nil
}

func (e *hostEntry) readAuthorization() error {
	switch h := &e.host; {
	case e.Bearer != nil:
		token, err := e.Bearer.read(h)
		if err != nil {
			return fmt.Errorf("bearer: %w", err)
		}
		h.Header["Authorization"] = "Bearer " + token
	case e.Basic != nil:
		pair, err := e.Basic.read(h)
		if err == nil && !strings.Contains(string(pair), ":") {
			err = errors.New("what is read is not user:password")
		}
		if err != nil {
			return fmt.Errorf("basic: %w", err)
		}
		h.Header["Authorization"] = ollama.Secret("Basic " + base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	return nil
}

// readTLS also returns what the files hold.
func (e *hostEntry) readTLS() (pems [3]string, err error) {
	if e.CAFile+e.CertFile == "" {
		return pems, nil
	}
	for i, path := range []string{e.CAFile, e.CertFile, e.KeyFile} {
		if pems[i], err = e.host.readFile(path); err != nil {
			return pems, err
		}
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CAFile != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(pems[0])) {
			return pems, fmt.Errorf("ca_file: %s has no certificate in PEM form", e.CAFile)
		}
	}
	if e.CertFile != "" {
		pair, err := tls.X509KeyPair([]byte(pems[1]), []byte(pems[2]))
		if err != nil {
			return pems, fmt.Errorf("cert_file %s, key_file %s: %w", e.CertFile, e.KeyFile, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	e.host.TLS = c
	return pems, nil
}

// readFile reads a file, if it has a name, and remembers it.
func (h *Host) readFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if !slices.Contains(h.Files, path) {
		h.Files = append(h.Files, path)
	}
	return string(b), err
}

// fingerprint tells settings apart; more is what does not stand in the host itself.
func (h *Host) fingerprint(more []string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %v %d %d %d %q %q %q", h.Name, h.Address, h.Service, h.Weight, h.Priority, h.Parallel, h.MaxLoaded, h.Tags, string(h.APIKey), more))
	return hex.EncodeToString(sum[:])
}

// secretSource says where a secret stands, which is never in the file itself.
type secretSource struct {
	Env  string `yaml:"env"`
	File string `yaml:"file"`
}

func (s *secretSource) check(key string) error {
	switch {
	case s == nil:
	case (s.Env == "") == (s.File == ""):
		return fmt.Errorf("%s names its place once: write {env: NAME} or {file: PATH}", key)
	case strings.HasPrefix(s.Env, envPrefix):
		return fmt.Errorf("%s: variables that begin with %s are settings: give %s another name", key, envPrefix, s.Env)
	}
	return nil
}

// read reads the secret for a host. Space around it is none of it.
func (s *secretSource) read(h *Host) (ollama.Secret, error) {
	text, place := os.Getenv(s.Env), "the variable "+s.Env
	if s.File != "" {
		var err error
		if text, err = h.readFile(s.File); err != nil {
			return "", err
		}
		place = s.File
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return "", fmt.Errorf("%s is empty, or not there: put the secret in it", place)
	}
	if !isFieldValue(text) {
		return "", fmt.Errorf("%s holds more than one line, or characters that no header can have", place)
	}
	return ollama.Secret(text), nil
}

// isFieldValue tells whether a text can be sent in a header: RFC 9110, section 5.5.
func isFieldValue(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// headerSource is a header with its value, or where that stands.
type headerSource struct {
	name  string // canonical
	text  ollama.Secret
	place *secretSource // nil: text is the value
}

func (h *headerSource) decode(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode {
		h.text = ollama.Secret(strings.TrimSpace(n.Value))
		if h.text == "" || !isFieldValue(string(h.text)) {
			return fmt.Errorf("line %d: the value is empty, or has more than one line: write it plainly, or as {env: NAME} or {file: PATH}", n.Line)
		}
		return nil
	}
	h.place = &secretSource{}
	err := checkKeys(n, reflect.TypeFor[secretSource]())
	if err == nil {
		err = firstError(n.Load(h.place, yaml.WithKnownFields()))
	}
	return cmp.Or(err, h.place.check("the value"))
}
