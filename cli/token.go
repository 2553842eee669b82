package cli

import (
	"fmt"
	"io"
	"time"

	"ollama-mcp/config"
	"ollama-mcp/transport/auth"
)

// TokenNew makes a token, adds it to the file that --tokens names, and prints it to stdout,
// alone, so that a script can take it; what else there is to say goes to stderr. c.Token.New
// must be set. A server that runs takes the token within a second or two.
func TokenNew(c *config.Config, stdout, stderr io.Writer) error {
	wanted := c.Token.New
	t := auth.Token{Name: wanted.Name, Scopes: wanted.Scopes, Groups: wanted.Groups}
	words := "it never expires"
	if wanted.Expires > 0 {
		t.Expires = time.Now().Add(wanted.Expires).UTC().Format(time.RFC3339)
		words = "it expires at " + t.Expires
	}
	secret, err := auth.AddToken(c.Auth.Tokens, t)
	if err != nil {
		return fmt.Errorf("--tokens: %w", err)
	}
	if _, err := fmt.Fprintln(stdout, secret); err != nil {
		return fmt.Errorf("the token of %q is in %s but could not be printed: remove its entry; %w", t.Name, c.Auth.Tokens, err)
	}
	fmt.Fprintf(stderr, "Added %s to %s; %s. The token is shown this once: clients send it as Authorization: Bearer TOKEN.\n", t.Name, c.Auth.Tokens, words)
	return nil
}
