package config

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAuth(t *testing.T) {
	tests := []struct {
		name       string
		args       []string
		env, file  string
		configured bool
		want       AuthConfig
	}{
		{name: "nothing"},
		{name: "tokens", args: []string{"--tokens", "t.yaml"}, configured: true, want: AuthConfig{Tokens: "t.yaml"}},
		{name: "tokens in the environment", env: "t.yaml", configured: true, want: AuthConfig{Tokens: "t.yaml"}},
		{name: "issuer in the file", file: "oidc-issuer: https://x\naudience: y\n", configured: true, want: AuthConfig{OIDCIssuer: "https://x", Audience: "y"}},
		{name: "certificates", args: []string{"--client-ca=ca.pem", "--tls-cert=c.pem", "--tls-key=k.pem"}, configured: true,
			want: AuthConfig{ClientCA: "ca.pem", TLSCert: "c.pem", TLSKey: "k.pem"}},
		{name: "only TLS", args: []string{"--tls-cert", "c.pem", "--tls-key", "k.pem", "--public-url", "https://x"}, want: AuthConfig{TLSCert: "c.pem", TLSKey: "k.pem", PublicURL: "https://x"}},
		{name: "everybody", args: []string{"--insecure-no-auth"}, want: AuthConfig{InsecureNoAuth: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unset(t)
			if tt.env != "" {
				t.Setenv("OLLAMA_MCP_TOKENS", tt.env)
			}
			if tt.file != "" {
				tt.args = append(tt.args, "--config", writeFile(t, tt.file))
			}
			c, _, err := Parse(tt.args, "v", io.Discard)
			if err != nil {
				t.Fatalf("Parse(%q): %v", tt.args, err)
			}
			if diff := cmp.Diff(tt.want, c.Auth); diff != "" || c.Auth.Configured() != tt.configured {
				t.Errorf("Parse(%q): configured %v, want %v (-want +got):\n%s", tt.args, c.Auth.Configured(), tt.configured, diff)
			}
		})
	}
}

func TestWrongAuthNamesTheFlag(t *testing.T) {
	for args, words := range map[string][]string{
		"--oidc-issuer https://x":              {"--oidc-issuer needs --audience"},
		"--audience x":                         {"--audience needs --oidc-issuer"},
		"--tls-cert x":                         {"--tls-cert needs --tls-key"},
		"--tls-key x":                          {"--tls-key needs --tls-cert"},
		"--client-ca x":                        {"--client-ca needs --tls-cert"},
		"--insecure-no-auth --tokens x":        {"--insecure-no-auth", "--tokens"},
		"token":                                {"token new NAME"},
		"token new x":                          {"--tokens"},
		"token new --tokens x":                 {"NAME"},
		"token new x --tokens y --expires 30":  {"--expires", `"30"`, "2m"},
		"token new x --tokens=y --expires=-1h": {"--expires", "more than 0"},
		"token new x --tokens y --scope z":     {"--scope", "--scopes"},
		"call x --expires 1h":                  {"--expires"},
	} {
		unset(t)
		_, _, err := Parse(strings.Fields(args), "v", io.Discard)
		if err == nil {
			t.Errorf("Parse(%q): no error", args)
			continue
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("Parse(%q): %q lacks %q", args, err, word)
			}
		}
	}
}

func TestTokenNew(t *testing.T) {
	for _, args := range []string{
		"token new alice --scopes read,write --groups=staff --expires 720h --tokens t.yaml",
		"--tokens t.yaml token new --expires=720h --scopes read,,write --groups staff alice",
	} {
		unset(t)
		c, done, err := Parse(strings.Fields(args), "v", io.Discard)
		if err != nil || done || c.Token == nil || c.Token.New == nil {
			t.Errorf("Parse(%q) = %+v, %v, %v; want a token", args, c, done, err)
			continue
		}
		want := NewTokenCommand{Name: "alice", Scopes: Words{"read", "write"}, Groups: Words{"staff"}, Expires: 720 * time.Hour}
		if diff := cmp.Diff(want, *c.Token.New); diff != "" || c.Auth.Tokens != "t.yaml" {
			t.Errorf("Parse(%q): file %q (-want +got):\n%s", args, c.Auth.Tokens, diff)
		}
	}
}
