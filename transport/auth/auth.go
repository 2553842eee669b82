package auth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Options say which credentials count. Several kinds may count at once.
type Options struct {
	// TokensFile is a YAML list of tokens: see Token. It is read anew when it changes.
	TokensFile string
	// Issuer is the URL of the authorization server whose JWTs count, exactly as in
	// their claim iss. It must be https, save on a loopback address.
	Issuer string
	// Audience must be among the audiences of a JWT. It is required with an Issuer.
	Audience string
	// ClientCerts reports that verified client certificates count: see ServerTLS.
	ClientCerts bool
	// PublicURL is where clients reach this server, as in https://mcp.example.com; paths
	// are appended to it. Without it a request's own Host and scheme are taken.
	PublicURL string
	// Log takes what goes wrong with the file and the issuer. The zero Logger is silent.
	Log zerolog.Logger
}

// Authenticator tells who makes a request. A nil *Authenticator takes everybody for Local.
// It is safe for concurrent use.
type Authenticator struct {
	publicURL string
	tokens    *reloaded[tokenSet] // nil: no tokens file
	issuer    *issuer             // nil: no JWTs
	certs     bool
}

// New makes an Authenticator; it is nil when the options name no kind of credential. Its
// errors name the flag. An issuer that does not answer yet is no error: its keys are
// fetched in the background. The caller must Close it.
func New(o Options) (*Authenticator, error) {
	public, err := parsePublicURL(o.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("--public-url: %w", err)
	}
	if o.TokensFile == "" && o.Issuer == "" && !o.ClientCerts {
		return nil, nil
	}
	a := &Authenticator{publicURL: public, certs: o.ClientCerts}
	if o.TokensFile != "" {
		if a.tokens, err = openTokens(o.TokensFile, o.Log); err != nil {
			return nil, fmt.Errorf("--tokens: %w", err)
		}
	}
	if o.Issuer != "" {
		if a.issuer, err = newIssuer(o.Issuer, o.Audience, o.Log); err != nil {
			return nil, err
		}
		a.issuer.fetch(time.Now())
	}
	return a, nil
}

// parsePublicURL returns the URL without slashes at its end, "" for "".
func parsePublicURL(s string) (string, error) {
	u, err := url.Parse(s)
	if s != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(s, "?#")) {
		return "", fmt.Errorf("%q is not the URL of a server: write it as https://mcp.example.com", s)
	}
	return strings.TrimRight(s, "/"), nil
}

// Close ends what runs in the background and waits for it.
func (a *Authenticator) Close() {
	if a != nil && a.issuer != nil {
		a.issuer.close()
	}
}

// Authenticate tells who makes a request, or why it is refused. Where a request has a
// bearer token and a certificate, the token alone decides. It waits only where a JWT is
// signed with a key that is not known yet: then for the issuer, five seconds at most.
func (a *Authenticator) Authenticate(r *http.Request) (Caller, *Refusal) {
	if a == nil {
		return Caller{Name: Local}, nil
	}
	token, err := bearer(r.Header)
	if err != nil {
		return Caller{}, a.unauthorized(r, err)
	}
	if token == "" {
		return a.byCertificate(r)
	}
	caller, err := a.byToken(r, token)
	if err != nil {
		return Caller{}, a.unauthorized(r, err)
	}
	return caller, nil
}

// byToken finds the token by its digest. That takes no secret's time: who measures the
// search learns of the digests in the map at most, and a digest leads to no token.
func (a *Authenticator) byToken(r *http.Request, token string) (Caller, error) {
	now := time.Now()
	d := sha256.Sum256([]byte(token))
	if a.tokens != nil {
		if c, ok := a.tokens.get(now).callers[d]; ok {
			if !c.Expires.IsZero() && !now.Before(c.Expires) {
				return Caller{}, invalid("the token has expired: ask the operator for a new one")
			}
			return c, nil
		}
	}
	if a.issuer != nil && strings.Count(token, ".") == 2 {
		return a.issuer.caller(r.Context(), token, d, now)
	}
	if a.tokens == nil && a.issuer == nil {
		return Caller{}, invalid("this server takes client certificates, no tokens: leave the Authorization header out")
	}
	return Caller{}, invalid("the token is not known here: check that it is whole, or ask the operator for one")
}

// byCertificate takes the certificate that the TLS handshake has verified.
func (a *Authenticator) byCertificate(r *http.Request) (Caller, *Refusal) {
	if !a.certs || r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Caller{}, a.unauthorized(r, errNoCredential)
	}
	c, err := certified(r.TLS.VerifiedChains[0][0], time.Now())
	if err != nil {
		return Caller{}, &Refusal{Status: http.StatusForbidden, Message: err.Error()}
	}
	return c, nil
}

// maxToken bounds a token, in bytes. Larger ones are mistakes or attacks: headers end at 32 KB.
const maxToken = 8 << 10

// bearer returns the token of the Authorization header, "" if there is no such header.
// The words of its errors never hold any of the token.
func bearer(h http.Header) (string, error) {
	values := h["Authorization"]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", invalid("send one Authorization header, not several")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return "", invalid("send the token as: Authorization: Bearer TOKEN")
	case len(token) > maxToken:
		return "", invalid("the token is longer than 8 KB: no token of this server is")
	case !isToken68(token):
		return "", invalid("the token has characters that no token has: check that it is one token, whole and without quotes")
	}
	return token, nil
}

// isToken68 reports whether s is what may follow the word Bearer: RFC 6750, section 2.1.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/", rune(c)) {
			return false
		}
	}
	return s != ""
}

// invalid is why a credential is refused, in words for its bearer.
type invalid string

func (i invalid) Error() string { return string(i) }

var (
	errNoCredential = errors.New("no credential")
	errUnavailable  = errors.New("the issuer's keys are not known yet")
)
