package ollama

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Host is the address of an Ollama. The zero value is http://127.0.0.1:11434.
// Two hosts are the same address exactly when they are equal.
type Host struct {
	base string // the URL without a trailing slash; "" is the default
}

const defaultHost = "http://127.0.0.1:11434"

// ParseHost reads an address by the rules of OLLAMA_HOST: a host, host:port, :port or
// http(s) URL, whose path stays as a prefix. The port is 11434 without a scheme, 80 with
// http and 443 with https. An address to listen on (0.0.0.0, ::) becomes loopback. A
// trailing /api or /v1 is dropped. The empty string is the default. Errors never show
// what stood before an @.
//
// Source: envconfig.Host of github.com/ollama/ollama v0.34.4, which falls back to
// defaults where this returns an error.
func ParseHost(s string) (Host, error) {
	s = strings.Trim(strings.TrimSpace(s), `"'`)
	s = strings.TrimSpace(s)
	if s == "" {
		return Host{}, nil
	}
	h, err := parseHost(s)
	if err != nil {
		if strings.Contains(s, "@") {
			s = "the address"
		} else {
			s = strconv.Quote(s)
		}
		return Host{}, fmt.Errorf("%s is not an address of an Ollama: %w; write host:port or a URL, as in 127.0.0.1:11434 or https://example.com/ollama", s, err)
	}
	return h, nil
}

func parseHost(s string) (Host, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	port := "11434"
	switch {
	case !ok && strings.EqualFold(s, "ollama.com"):
		scheme, rest, port = "https", s, ""
	case !ok:
		scheme, rest = "http", s
	case scheme == "http", scheme == "https":
		port = "" // the scheme's own
	default:
		return Host{}, fmt.Errorf("the scheme %q is neither http nor https", scheme)
	}
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(authority, "@") {
		return Host{}, fmt.Errorf("it holds a user name or password")
	}
	if strings.ContainsAny(rest, "?#") {
		return Host{}, fmt.Errorf("it holds a query or fragment")
	}
	host, err := parseAuthority(authority, scheme, port)
	if err != nil {
		return Host{}, err
	}
	prefix, err := parsePrefix(path)
	if err != nil {
		return Host{}, err
	}
	base := scheme + "://" + host + prefix
	if base == defaultHost {
		base = ""
	}
	return Host{base}, nil
}

// parseAuthority gives host or host:port as it stands in a URL, without the port that
// the scheme has anyway.
func parseAuthority(s, scheme, port string) (string, error) {
	host := s
	if h, p, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", fmt.Errorf("the port %q is not a number from 1 to 65535", p)
		}
		host, port = h, strconv.FormatUint(n, 10)
	}
	host, err := connectable(strings.ToLower(host))
	if err != nil {
		return "", err
	}
	if port == "" || port == map[string]string{"http": "80", "https": "443"}[scheme] {
		return host, nil
	}
	return host + ":" + port, nil
}

// connectable gives the host to connect to as it stands in a URL.
func connectable(host string) (string, error) {
	bare := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		bare = host[1 : len(host)-1]
	}
	if ip, err := netip.ParseAddr(bare); err == nil {
		switch {
		case ip.Is4() && ip.IsUnspecified():
			return "127.0.0.1", nil
		case ip.IsUnspecified():
			return "[::1]", nil
		case ip.Is4():
			return ip.String(), nil
		case ip.Zone() != "":
			return "", fmt.Errorf("the zone %q of an IPv6 address is not supported", ip.Zone())
		}
		return "[" + ip.String() + "]", nil
	}
	if host == "" {
		return "127.0.0.1", nil
	}
	for _, r := range host {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-_", r) {
			return "", fmt.Errorf("the host name %q holds %q", host, r)
		}
	}
	return host, nil
}

// parsePrefix gives the path that stands before /api in every request, "" or "/…".
func parsePrefix(path string) (string, error) {
	u, err := url.Parse("/" + strings.TrimLeft(path, "/"))
	if err != nil {
		return "", fmt.Errorf("the path %q is not one of a URL", path)
	}
	for {
		p := strings.TrimRight(u.Path, "/")
		for _, end := range []string{"/api", "/v1"} {
			p = strings.TrimSuffix(p, end)
		}
		if p == u.Path {
			break
		}
		u = &url.URL{Path: p}
	}
	if u.Path != "" && u.JoinPath().Path != u.Path {
		return "", fmt.Errorf("the path %q holds an empty part or dots", path)
	}
	return u.EscapedPath(), nil
}

// String gives the base URL without a trailing slash: "http://127.0.0.1:11434".
func (h Host) String() string {
	if h.base == "" {
		return defaultHost
	}
	return h.base
}

// Name gives the address as people say it: "127.0.0.1:11434".
func (h Host) Name() string {
	_, name, _ := strings.Cut(h.String(), "://")
	return name
}
