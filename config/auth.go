package config

import (
	"errors"
	"strings"
	"time"
)

// AuthConfig says who may call over HTTP, and with which certificate the server answers.
type AuthConfig struct {
	Tokens         string `arg:"--tokens" placeholder:"FILE" help:"YAML list of bearer tokens; ollama-mcp token new adds one"`
	OIDCIssuer     string `arg:"--oidc-issuer" placeholder:"URL" help:"authorization server whose JWTs are taken; needs --audience"`
	Audience       string `arg:"--audience" placeholder:"NAME" help:"audience that a JWT must be for: this server's name at the issuer"`
	ClientCA       string `arg:"--client-ca" placeholder:"FILE" help:"PEM certificates of those who sign client certificates; needs --tls-cert"`
	TLSCert        string `arg:"--tls-cert" placeholder:"FILE" help:"PEM certificate of the server, with its chain: HTTPS instead of HTTP"`
	TLSKey         string `arg:"--tls-key" placeholder:"FILE" help:"PEM key of --tls-cert"`
	PublicURL      string `arg:"--public-url" placeholder:"URL" help:"where clients reach the server, when that is not the address it listens on"`
	InsecureNoAuth bool   `arg:"--insecure-no-auth" help:"let everybody call who can reach the server, beyond this machine too"`
}

// Configured reports whether callers have to say who they are.
func (a *AuthConfig) Configured() bool {
	return a.Tokens != "" || a.OIDCIssuer != "" || a.ClientCA != ""
}

// check refuses flags that mean nothing without others.
func (a *AuthConfig) check() error {
	var errs []error
	for _, need := range []struct {
		flag, value, needed, other string
	}{
		{"--oidc-issuer", a.OIDCIssuer, "--audience", a.Audience},
		{"--audience", a.Audience, "--oidc-issuer", a.OIDCIssuer},
		{"--tls-cert", a.TLSCert, "--tls-key", a.TLSKey},
		{"--tls-key", a.TLSKey, "--tls-cert", a.TLSCert},
		{"--client-ca", a.ClientCA, "--tls-cert", a.TLSCert},
	} {
		if need.value != "" && need.other == "" {
			errs = append(errs, errors.New(need.flag+" needs "+need.needed))
		}
	}
	if a.InsecureNoAuth && a.Configured() {
		errs = append(errs, errors.New("--insecure-no-auth contradicts --tokens, --oidc-issuer and --client-ca: leave it out, or them"))
	}
	return errors.Join(errs...)
}

// TokenCommand is about the tokens of the file that --tokens names.
type TokenCommand struct {
	New *NewTokenCommand `arg:"subcommand:new" help:"add a token to the file and print it, once"`
}

// NewTokenCommand adds a token.
type NewTokenCommand struct {
	Name    string        `arg:"positional,required" help:"name of the caller, in policy and logs"`
	Scopes  Words         `arg:"--scopes" placeholder:"LIST" help:"its scopes, with commas between"`
	Groups  Words         `arg:"--groups" placeholder:"LIST" help:"its groups, with commas between"`
	Expires time.Duration `arg:"--expires" placeholder:"TIME" help:"how long it counts, such as 720h; without it, for ever"`
}

// check is for the nil command too, which is another one.
func (t *TokenCommand) check(a *AuthConfig) error {
	switch {
	case t == nil:
		return nil
	case t.New == nil:
		return errors.New("what about tokens? Write: token new NAME")
	case a.Tokens == "":
		return errors.New("token new needs --tokens, the file to add the token to")
	case t.New.Expires < 0:
		return errors.New("--expires must be more than 0")
	}
	return nil
}

// Words is a list, written with commas between.
type Words []string

// UnmarshalText reads "a,b". Empty words are left out.
func (w *Words) UnmarshalText(text []byte) error {
	*w = nil
	for word := range strings.SplitSeq(string(text), ",") {
		if word = strings.TrimSpace(word); word != "" {
			*w = append(*w, word)
		}
	}
	return nil
}

// MarshalText is the list as UnmarshalText reads it.
func (w Words) MarshalText() ([]byte, error) { return []byte(strings.Join(w, ",")), nil }
