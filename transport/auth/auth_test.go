package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newAuthenticator(t *testing.T, o Options) *Authenticator {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatalf("New(%+v): %v", o, err)
	}
	t.Cleanup(a.Close)
	return a
}

func TestLocal(t *testing.T) {
	a, err := New(Options{})
	if a != nil || err != nil {
		t.Fatalf("New(Options{}) = %v, %v; want nil, nil", a, err)
	}
	c, refusal := a.Authenticate(request("/mcp", "Bearer whatever"))
	if c.Name != Local || refusal != nil || a.Metadata() != nil {
		t.Errorf("without authentication: caller %+v, refusal %+v, metadata %v; want local, none, nil", c, refusal, a.Metadata())
	}
	if f := a.Forbidden(request("/mcp"), "write"); f.Status != http.StatusForbidden || f.Challenge != "" {
		t.Errorf("Forbidden = %+v, want 403 without a challenge", f)
	}
	a.Close()
	if got := FromContext(context.Background()); got.Name != Local {
		t.Errorf("FromContext of an empty context = %+v, want local", got)
	}
	alice := Caller{Name: "alice", Scopes: []string{"read"}}
	if diff := cmp.Diff(alice, FromContext(NewContext(context.Background(), alice))); diff != "" {
		t.Errorf("FromContext(NewContext(alice)) (-want +got):\n%s", diff)
	}
}

func TestWrongOptionsNameTheFlag(t *testing.T) {
	tokens := writeFile(t, "")
	tests := []struct {
		name  string
		o     Options
		words []string
	}{
		{"no file", Options{TokensFile: "/nowhere/tokens.yaml"}, []string{"--tokens", "/nowhere/tokens.yaml", "token new NAME"}},
		{"bad file", Options{TokensFile: writeFile(t, "- nam: x")}, []string{"--tokens", "tokens.yaml", "nam"}},
		{"plain issuer", Options{Issuer: "http://login.example.com", Audience: audience}, []string{"--oidc-issuer", "https://"}},
		{"not a URL", Options{Issuer: "login.example.com", Audience: audience}, []string{"--oidc-issuer", "https://login.example.com"}},
		{"issuer with a query", Options{Issuer: "https://login.example.com?x=1", Audience: audience}, []string{"--oidc-issuer", "query"}},
		{"issuer with a password", Options{Issuer: "https://u:p@login.example.com", Audience: audience}, []string{"--oidc-issuer"}},
		{"no audience", Options{Issuer: "https://login.example.com"}, []string{"--oidc-issuer", "--audience"}},
		{"public URL", Options{TokensFile: tokens, PublicURL: "mcp.example.com"}, []string{"--public-url", "https://mcp.example.com"}},
		{"public URL, everybody", Options{PublicURL: "ftp://mcp.example.com"}, []string{"--public-url", "https://mcp.example.com"}},
		{"public URL with a password", Options{TokensFile: tokens, PublicURL: "https://u:p@mcp.example.com"}, []string{"--public-url", "https://mcp.example.com"}},
		{"public URL with a query", Options{TokensFile: tokens, PublicURL: "https://mcp.example.com/?"}, []string{"--public-url", "https://mcp.example.com"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := New(tt.o)
			a.Close()
			if err == nil {
				t.Fatalf("New(%+v): no error", tt.o)
			}
			for _, word := range tt.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("New: %q lacks %q", err, word)
				}
			}
		})
	}
}

// TestTokens goes through what a request may carry where tokens of a file count.
func TestTokens(t *testing.T) {
	const good, old, other = "omcp_good", "omcp_old", "omcp_unknown"
	file := writeFile(t, fmt.Sprintf(`# ours
- name: alice
  sha256: %s
  scopes: [read, write]
  groups: [staff]
  expires: 2999-01-01T00:00:00Z
- {name: bob, sha256: %s, expires: "2020-01-01T00:00:00+02:00"}
`, digestOf(good), strings.ToUpper(digestOf(old))))
	a := newAuthenticator(t, Options{TokensFile: file, Log: testLog(t)})
	alice := Caller{Name: "alice", Scopes: []string{"read", "write"}, Groups: []string{"staff"}, Expires: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)}
	const ask, invalidToken = `Bearer realm="ollama-mcp"`, `Bearer realm="ollama-mcp", error="invalid_token"`
	tests := []struct {
		name   string
		header []string
		want   Caller
		status int
		start  string // of the challenge
		word   string // in the message
	}{
		{"good", []string{"Bearer " + good}, alice, 0, "", ""},
		{"scheme in lower case", []string{"bearer " + good}, alice, 0, "", ""},
		{"two spaces", []string{"BEARER  " + good}, alice, 0, "", ""},
		{"nothing", nil, Caller{}, 401, ask, "Authorization: Bearer TOKEN"},
		{"empty", []string{""}, Caller{}, 401, invalidToken, "Authorization: Bearer TOKEN"},
		{"expired", []string{"Bearer " + old}, Caller{}, 401, invalidToken, "expired"},
		{"unknown", []string{"Bearer " + other}, Caller{}, 401, invalidToken, "not known"},
		{"its digest", []string{"Bearer " + digestOf(good)}, Caller{}, 401, invalidToken, "not known"},
		{"prefix", []string{"Bearer " + good[:len(good)-1]}, Caller{}, 401, invalidToken, "not known"},
		{"JWT where none counts", []string{"Bearer a.b.c"}, Caller{}, 401, invalidToken, "not known"},
		{"no token", []string{"Bearer"}, Caller{}, 401, invalidToken, "Authorization: Bearer TOKEN"},
		{"no token but spaces", []string{"Bearer   "}, Caller{}, 401, invalidToken, "Authorization: Bearer TOKEN"},
		{"no scheme", []string{good}, Caller{}, 401, invalidToken, "Authorization: Bearer TOKEN"},
		{"another scheme", []string{"Basic YTpi"}, Caller{}, 401, invalidToken, "Authorization: Bearer TOKEN"},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, Caller{}, 401, invalidToken, "one Authorization header"},
		{"good and empty header", []string{"Bearer " + good, ""}, Caller{}, 401, invalidToken, "one Authorization header"},
		{"two tokens", []string{"Bearer " + good + ", Bearer " + good}, Caller{}, 401, invalidToken, "one token"},
		{"two words", []string{"Bearer " + good + " " + good}, Caller{}, 401, invalidToken, "one token"},
		{"tab", []string{"Bearer\t" + good}, Caller{}, 401, invalidToken, "Authorization: Bearer TOKEN"},
		{"quoted", []string{`Bearer "` + good + `"`}, Caller{}, 401, invalidToken, "quotes"},
		{"not ASCII", []string{"Bearer omcp_gööd"}, Caller{}, 401, invalidToken, "characters"},
		{"NUL", []string{"Bearer " + good + "\x00"}, Caller{}, 401, invalidToken, "characters"},
		{"oversize", []string{"Bearer " + strings.Repeat("a", maxToken+1)}, Caller{}, 401, invalidToken, "8 KB"},
		{"largest", []string{"Bearer " + strings.Repeat("a", maxToken)}, Caller{}, 401, invalidToken, "not known"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, f := a.Authenticate(request("/mcp?access_token="+good, tt.header...))
			if f == nil {
				f = &Refusal{}
			}
			if diff := cmp.Diff(tt.want, c); diff != "" || f.Status != tt.status {
				t.Errorf("Authenticate(%q): status %d, want %d; caller (-want +got):\n%s", tt.header, f.Status, tt.status, diff)
			}
			if !strings.HasPrefix(f.Challenge, tt.start) || !strings.Contains(f.Message, tt.word) {
				t.Errorf("Authenticate(%q): %+v; want a challenge that begins %s and words with %q", tt.header, f, tt.start, tt.word)
			}
			if strings.Contains(f.Challenge+f.Message, good) || strings.Contains(f.Challenge+f.Message, other) {
				t.Errorf("Authenticate(%q): %+v repeats the token", tt.header, f)
			}
		})
	}
}

// TestChallenge is about where a client is sent to get a token.
func TestChallenge(t *testing.T) {
	const at = "/.well-known/oauth-protected-resource"
	tests := []struct {
		name, public, path string
		want               string
	}{
		{"mcp", "", "/mcp", `Bearer resource_metadata="http://mcp.example.com` + at + `/mcp"`},
		{"sse", "", "/sse", `Bearer resource_metadata="http://mcp.example.com` + at + `"`},
		{"public", "https://tools.example.org/", "/mcp", `Bearer resource_metadata="https://tools.example.org` + at + `/mcp"`},
		{"public with a path", "https://example.org/ollama", "/mcp", `Bearer resource_metadata="https://example.org/ollama` + at + `/mcp"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := inBubble(t)
			a.publicURL = must(parsePublicURL(tt.public))
			_, f := a.Authenticate(request(tt.path))
			if f == nil || f.Status != 401 || f.Challenge != tt.want {
				t.Errorf("Authenticate without a token: %+v, want 401 with %s", f, tt.want)
			}
			f = a.Forbidden(request(tt.path), "read", "write")
			if want := tt.want + `, error="insufficient_scope", scope="read write"`; f.Status != 403 || f.Challenge != want {
				t.Errorf("Forbidden: %+v, want 403 with %s", f, want)
			}
		})
	}
}

// TestChallengeStaysQuoted sends a host that would end the parameter it stands in.
func TestChallengeStaysQuoted(t *testing.T) {
	a, _ := inBubble(t)
	r := request("/sse")
	r.Host = "a\", error=\"\\\r\nX: y"
	_, f := a.Authenticate(r)
	if want := `Bearer resource_metadata="http://a, error=X: y/.well-known/oauth-protected-resource"`; f == nil || f.Challenge != want {
		t.Errorf("Authenticate: %+v, want the challenge %s", f, want)
	}
}

// TestMetadata holds the document to RFC 9728: the resource is the URL from which a client came.
func TestMetadata(t *testing.T) {
	a, p := inBubble(t)
	for path, resource := range map[string]string{MetadataPath: "http://mcp.example.com", MetadataPath + "/mcp": "http://mcp.example.com/mcp"} {
		w := httptest.NewRecorder()
		a.Metadata().ServeHTTP(w, request(path))
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("GET %s: %v in %q", path, err, w.Body)
		}
		want := map[string]any{"resource": resource, "resource_name": "ollama-mcp",
			"authorization_servers": []any{p.url}, "bearer_methods_supported": []any{"header"}}
		if diff := cmp.Diff(want, got); diff != "" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("GET %s: type %q (-want +got):\n%s", path, w.Header().Get("Content-Type"), diff)
		}
	}
}
