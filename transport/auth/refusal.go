package auth

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// MetadataPath is where Metadata is served, alone and with a resource's path after it:
// RFC 9728, section 3.1.
const MetadataPath = "/.well-known/oauth-protected-resource"

// mcpPath is the resource whose metadata has a path of its own.
const mcpPath = "/mcp"

// Refusal is the answer to a request that may not pass.
type Refusal struct {
	Status    int    // 401, 403, or 503 while the issuer's keys cannot be had
	Challenge string // the value of WWW-Authenticate; "" for none
	Message   string // what is wrong and what to do next; holds nothing of a credential
}

// Forbidden refuses a caller who is known but lacks the scopes: RFC 6750, section 3.1. The
// nil Authenticator has no challenge to make.
func (a *Authenticator) Forbidden(r *http.Request, scopes ...string) *Refusal {
	f := &Refusal{Status: http.StatusForbidden, Message: "this needs the scope " + strings.Join(scopes, " ") + ": ask for a token that has it"}
	if a != nil && (a.tokens != nil || a.issuer != nil) {
		f.Challenge = a.challenge(r, "error", "insufficient_scope", "scope", strings.Join(scopes, " "))
	}
	return f
}

// unauthorized refuses a request whose caller is not known.
func (a *Authenticator) unauthorized(r *http.Request, err error) *Refusal {
	bearers := a.tokens != nil || a.issuer != nil
	var words invalid
	switch {
	case errors.As(err, &words):
		return &Refusal{Status: http.StatusUnauthorized, Message: string(words),
			Challenge: a.challenge(r, "error", "invalid_token", "error_description", string(words))}
	case errors.Is(err, errUnavailable):
		return &Refusal{Status: http.StatusServiceUnavailable,
			Message: "the authorization server cannot be reached, so the token cannot be checked: try again in a few seconds, or tell the operator"}
	case bearers && a.certs:
		return &Refusal{Status: http.StatusUnauthorized, Challenge: a.challenge(r),
			Message: "say who you are: send Authorization: Bearer TOKEN, or connect with a client certificate"}
	case bearers:
		return &Refusal{Status: http.StatusUnauthorized, Challenge: a.challenge(r),
			Message: "say who you are: send Authorization: Bearer TOKEN"}
	}
	// A 401 must carry a challenge (RFC 9110, section 15.5.2), and none asks for a certificate.
	return &Refusal{Status: http.StatusForbidden, Message: "say who you are: connect with a client certificate"}
}

// challenge is a value of WWW-Authenticate with the parameters, given as name, value, and so on.
func (a *Authenticator) challenge(r *http.Request, parameters ...string) string {
	first := []string{"realm", "ollama-mcp"}
	if a.issuer != nil {
		resource := "" // the whole server, for the transport that has two paths
		if r.URL.Path == mcpPath {
			resource = mcpPath
		}
		first = []string{"resource_metadata", a.baseURL(r) + MetadataPath + resource}
	}
	var b strings.Builder
	b.WriteString("Bearer ")
	for i, parameters := 0, append(first, parameters...); i < len(parameters); i += 2 {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(parameters[i] + `="` + quotable(parameters[i+1]) + `"`)
	}
	return b.String()
}

// quotable drops what may not stand in error, error_description and scope: RFC 6750, section 3.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// baseURL is where the client reaches this server.
func (a *Authenticator) baseURL(r *http.Request) string {
	switch {
	case a.publicURL != "":
		return a.publicURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// Metadata serves this server's protected resource metadata, RFC 9728, at MetadataPath and
// MetadataPath + "/mcp". It is nil without an issuer: then there is no server to ask for a token.
func (a *Authenticator) Metadata() http.Handler {
	if a == nil || a.issuer == nil {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := json.Marshal(map[string]any{
			// What stands here must be the URL from which the client came: section 3.3.
			"resource":                 a.baseURL(r) + strings.TrimPrefix(r.URL.Path, MetadataPath),
			"resource_name":            "ollama-mcp",
			"authorization_servers":    []string{a.issuer.url},
			"bearer_methods_supported": []string{"header"},
		})
		if err != nil {
			http.Error(w, "the metadata cannot be written", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})
}
