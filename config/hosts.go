package config

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/dns"
)

// hostsKey is the key of the file that lists the hosts.
const hostsKey = "hosts"

// Host is an Ollama, or a name that stands for several, as the operator has set it up.
type Host struct {
	Name    string      // unique; "": its address
	Address ollama.Host // of a Service: that of the name, taken for one host's
	Service dns.Service // what follows is that of every host behind it; the zero value: this is one host

	Weight    float64                  // 0: not said
	Priority  int                      // a higher one comes first
	Parallel  int                      // 0: to be learnt
	MaxLoaded int                      // 0: unknown
	Header    map[string]ollama.Secret // with Authorization, if there is one
	APIKey    ollama.Secret            // OLLAMA_API_KEY, when this is ollama.com
	TLS       *tls.Config              // nil is Go's default
	May       func(ollama.Name) bool   // which models it may run; nil: all
	Tags      []string

	Files    []string // that were read for it
	Settings string   // equal for hosts with the same settings, secrets and the content of Files included
}

// hostSection is the file's section hosts, decoded and checked, but for what stands in other
// files and in variables.
type hostSection struct {
	file    string
	entries []hostEntry
}

// readHosts decodes the section strictly, as the policy is.
func (o *OllamaConfig) readHosts(file string, section *yaml.Node) error {
	if section.Kind != yaml.SequenceNode || len(section.Content) == 0 {
		return fmt.Errorf("--config: %s: hosts is not a list of hosts: write each as - {name: gpu, url: http://gpu-box:11434}, or leave hosts out", file)
	}
	s := &hostSection{file: file, entries: make([]hostEntry, len(section.Content))}
	o.section = s
	for i, n := range section.Content {
		e := &s.entries[i]
		err := cmp.Or(checkKeys(n, reflect.TypeFor[hostEntry]()), checkValuesGiven(n))
		if err == nil {
			err = firstError(n.Load(e, yaml.WithKnownFields()))
		}
		if err == nil {
			err = atLine(n.Line, e.check())
		}
		if e.line = n.Line; err != nil {
			return s.wrong(i, err)
		}
	}
	return nil
}

func atLine(line int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("line %d: %w", line, err)
}

func (s *hostSection) wrong(i int, err error) error {
	return fmt.Errorf("--config: %s: hosts: host %d (%q): %w", s.file, i+1, s.entries[i].Name, err)
}

// hosts are those of the section. Without secrets none are read, and no certificates.
func (s *hostSection) hosts(secrets bool) ([]Host, error) {
	hosts := make([]Host, len(s.entries))
	for i := range s.entries {
		e := &s.entries[i]
		if secrets {
			if err := e.read(); err != nil {
				return nil, s.wrong(i, atLine(e.line, err))
			}
		}
		hosts[i] = e.host
		if err := unique(hosts[:i], &hosts[i]); err != nil {
			return nil, s.wrong(i, atLine(e.line, err))
		}
	}
	return hosts, nil
}

// unique refuses a host that is among those before it, under its name or another: it would get
// twice the calls that it can take.
func unique(before []Host, h *Host) error {
	for i := range before {
		switch b := &before[i]; {
		case b.name() == h.name():
			return fmt.Errorf("the name %s is there twice: give each host its own", h.name())
		case b.Address == h.Address && b.Service == h.Service:
			return fmt.Errorf("it has the address of %s: leave one of them out", b.name())
		}
	}
	return nil
}

// name is the one that the host goes by.
func (h *Host) name() string {
	if h.Service != (dns.Service{}) {
		return cmp.Or(h.Name, h.Service.String())
	}
	return cmp.Or(h.Name, h.Address.Name())
}

// nameChars are those of the names of hosts, and of tags.
const nameChars = "abcdefghijklmnopqrstuvwxyz0123456789-_."

func checkName(what, name string) error {
	if what == "the name" && name == "all" {
		return errors.New("the name all stands for all hosts: give this one another")
	}
	if name == "" || strings.Trim(name, nameChars) != "" {
		return fmt.Errorf("%s %q is not made of small letters, digits and -_.: write it as in gpu-1", what, name)
	}
	return nil
}

// parseHosts reads --ollama: an address, or several with commas between, each with a name and =
// in front of it if it should have one.
func parseHosts(addresses string) ([]Host, error) {
	words := strings.Split(addresses, ",")
	hosts := make([]Host, len(words))
	for i, word := range words {
		h := &hosts[i]
		name, address, named := strings.Cut(strings.TrimSpace(word), "=")
		if named = named && !strings.ContainsAny(name, ":/"); !named { // a path may hold a =
			name, address = "", strings.TrimSpace(word)
		}
		var err error
		switch {
		case named:
			err = checkName("the name", name)
			h.Name = name
		case len(words) > 1 && address == "":
			err = errors.New("an address is missing beside a comma")
		}
		if err == nil && named && address == "" {
			err = fmt.Errorf("%s has no address: write %s=http://gpu-box:11434", name, name)
		}
		if err == nil {
			err = h.locate(address)
		}
		if err = cmp.Or(err, unique(hosts[:i], h)); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

// locate reads an address, which may stand for several hosts.
func (h *Host) locate(address string) (err error) {
	if !strings.HasPrefix(strings.ToLower(address), dns.Scheme) {
		return h.at(address)
	}
	h.Service, err = dns.Parse(strings.ToLower(address))
	h.Address = h.Service.Host()
	return err
}

// at reads the address of one host.
func (h *Host) at(address string) (err error) {
	h.Address, err = ollama.ParseHost(address)
	// The key is ollama.com's: no other host may see it, and nobody who reads along.
	if err == nil && h.Address.String() == "https://ollama.com" {
		h.APIKey = ollama.Secret(os.Getenv("OLLAMA_API_KEY"))
	}
	return err
}

// Where says where Ollama is, in one line.
func (o *OllamaConfig) Where() string {
	var places []string
	for _, h := range o.Hosts {
		place := h.Address.String()
		if h.Service != (dns.Service{}) {
			place = h.Service.String()
		}
		places = append(places, place)
	}
	return strings.Join(places, ", ")
}
