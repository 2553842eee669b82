package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// ServeConfig says where serve listens and who may reach it.
type ServeConfig struct {
	Listen              string `arg:"--listen" placeholder:"ADDRESS" help:"where serve listens, such as 127.0.0.1:8811; beyond this machine it needs --tokens, --oidc-issuer or --client-ca"`
	AllowHost           Words  `arg:"--allow-host" placeholder:"LIST" help:"names by which clients reach the server, beside its addresses, with commas between"`
	AllowOrigin         Words  `arg:"--allow-origin" placeholder:"LIST" help:"origins, such as https://app.example, whose web pages may call"`
	SSE                 string `arg:"--sse" placeholder:"ON" help:"on or off: HTTP+SSE, for older clients, at /sse and /message"`
	SecretFile          string `arg:"--secret-file" placeholder:"FILE" help:"key of session ids, for several servers behind one address; at least 32 bytes"`
	MaxStreams          int    `arg:"--max-streams" placeholder:"N" help:"streams that stay open for news, in all"`
	MaxStreamsPerCaller int    `arg:"--max-streams-per-caller" placeholder:"N" help:"streams that one caller keeps open for news"`

	Secret []byte `arg:"-"` // what SecretFile holds; nil without one
	Path   string `arg:"-"` // of --public-url, without a slash at its end; "" for none
}

// ServeCommand serves MCP over HTTP.
type ServeCommand struct{}

// resolve checks what serve needs. Other commands ask for less.
func (s *ServeConfig) resolve(a *AuthConfig, serving bool) error {
	errs := []error{oneOf("--sse", s.SSE, "on", "off"), s.checkOrigins()}
	if serving {
		errs = append(errs, s.checkListen(a), s.readSecret())
	}
	if u, err := url.Parse(a.PublicURL); err == nil && u.Host != "" {
		s.AllowHost = append(s.AllowHost, u.Hostname()) // as proxies pass it on: with its port or without
		s.AllowOrigin = append(s.AllowOrigin, origin(u))
		s.Path = strings.TrimRight(u.Path, "/")
	}
	return errors.Join(errs...)
}

// checkListen refuses an address that does not say how far it reaches, and one that
// reaches beyond this machine while nobody has to say who they are.
func (s *ServeConfig) checkListen(a *AuthConfig) error {
	host, port, err := net.SplitHostPort(s.Listen)
	if n, notPort := strconv.ParseUint(port, 10, 16); err != nil || notPort != nil || n > 65535 {
		return fmt.Errorf("--listen %q is not an address: write 127.0.0.1:8811, [::1]:8811 or, for other machines, 0.0.0.0:8811", s.Listen)
	}
	if host == "" {
		return fmt.Errorf("--listen %q does not say from where it may be reached: write 127.0.0.1:%s for this machine alone, 0.0.0.0:%s for others too", s.Listen, port, port)
	}
	if s.Loopback() || a.Configured() || a.InsecureNoAuth {
		return nil
	}
	return fmt.Errorf("--listen %s can be reached from other machines, and nobody has to say who they are: add --tokens FILE "+
		"(ollama-mcp token new NAME --tokens FILE makes one), or --oidc-issuer with --audience, or --client-ca; "+
		"--insecure-no-auth lets everybody in", s.Listen)
}

// Loopback tells whether only this machine can reach Listen.
func (s *ServeConfig) Loopback() bool {
	host, _, _ := net.SplitHostPort(s.Listen)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

func (s *ServeConfig) checkOrigins() error {
	for i, o := range s.AllowOrigin {
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || o != u.Scheme+"://"+u.Host || strings.Contains(o, "*") {
			return fmt.Errorf("--allow-origin %q is not an origin: write https://app.example, whole and without a path", o)
		}
		s.AllowOrigin[i] = origin(u)
	}
	for _, h := range s.AllowHost {
		if strings.ContainsAny(h, "/*@ ") {
			return fmt.Errorf("--allow-host %q is not a host name: write ollama.example or ollama.example:8811", h)
		}
	}
	return nil
}

// origin is that of a page at u as browsers send it, which leave out a scheme's own port:
// https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin
func origin(u *url.URL) string {
	own := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	return u.Scheme + "://" + strings.TrimSuffix(u.Host, own)
}

// minSecret is the least length of a key, in bytes: that of the hash it is used with.
const minSecret = 32

func (s *ServeConfig) readSecret() error {
	if s.SecretFile == "" {
		return nil
	}
	b, err := os.ReadFile(s.SecretFile)
	if err != nil {
		return fmt.Errorf("--secret-file: %w", err)
	}
	if s.Secret = bytes.TrimSpace(b); len(s.Secret) < minSecret {
		return fmt.Errorf("--secret-file %s holds %d bytes, fewer than %d: write it with: head -c 32 /dev/urandom | base64", s.SecretFile, len(s.Secret), minSecret)
	}
	return nil
}
