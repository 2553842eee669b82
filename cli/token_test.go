package cli

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ollama-mcp/config"
	"ollama-mcp/transport/auth"
)

func TestTokenNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	c := &config.Config{Auth: config.AuthConfig{Tokens: path}}
	c.Token = &config.TokenCommand{New: &config.NewTokenCommand{Name: "alice", Scopes: config.Words{"read"}, Expires: time.Hour}}
	var stdout, stderr bytes.Buffer
	if err := TokenNew(c, &stdout, &stderr); err != nil {
		t.Fatalf("TokenNew: %v", err)
	}
	token, rest, _ := strings.Cut(stdout.String(), "\n")
	if !strings.HasPrefix(token, "omcp_") || rest != "" {
		t.Errorf("TokenNew printed %q, want a token, alone", stdout.String())
	}
	if words := stderr.String(); strings.Contains(words, token) || !strings.Contains(words, "alice") || !strings.Contains(words, path) {
		t.Errorf("TokenNew said %q, want the name and the file, not the token", words)
	}
	a, err := auth.New(auth.Options{TokensFile: path})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/mcp", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	caller, refusal := a.Authenticate(r)
	if left := time.Until(caller.Expires); refusal != nil || caller.Name != "alice" || len(caller.Scopes) != 1 || left <= 0 || left > time.Hour {
		t.Errorf("the token is that of %+v, %+v; want alice with one scope, within the hour", caller, refusal)
	}

	stdout.Reset()
	if err := TokenNew(c, &stdout, &stderr); err == nil || !strings.Contains(err.Error(), "--tokens") || !strings.Contains(err.Error(), `"alice"`) || stdout.Len() > 0 {
		t.Errorf("TokenNew of the same name: %v, printed %q; want an error that names the flag and alice", err, stdout.String())
	}
	c.Token.New.Name = "bob"
	if err := TokenNew(c, brokenPipe{}, &stderr); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), "remove its entry") {
		t.Errorf("TokenNew to a closed stdout: %v, want an error that says what to remove", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }
