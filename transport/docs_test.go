package transport

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"
)

// TestErrorDocs holds the list of codes in the documentation to the code; -update writes it.
func TestErrorDocs(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("| code | when | HTTP status before 2026-07-28 | since |\n|---|---|---|---|\n")
	for _, c := range []struct {
		code int
		when string
	}{
		{mcp.PARSE_ERROR, "the message is not JSON"},
		{mcp.INVALID_REQUEST, "it is JSON, but not a request"},
		{mcp.METHOD_NOT_FOUND, "there is no such method"},
		{mcp.INVALID_PARAMS, "the parameters do not fit the method: an unknown tool or prompt; since 2026-07-28 also a resource that is not there"},
		{mcp.INTERNAL_ERROR, "something failed, such as Ollama when a resource is read: `data` is then as a tool's `error`"},
		{mcp.RESOURCE_NOT_FOUND, "there is no such resource, or not for this caller; before 2026-07-28"},
		{mcp.HEADER_MISMATCH, "a header says other than the body"},
		{mcp.UNSUPPORTED_PROTOCOL_VERSION, "the version of the protocol is not known"},
		{mcp.MISSING_REQUIRED_CLIENT_CAPABILITY, "the client cannot do what the call needs"},
		{codeRefused, "the server is busy or shutting down, or HTTP itself refused: the status is then that of the refusal"},
	} {
		old, modern := &postSink{}, &postSink{modern: true}
		fmt.Fprintf(&rows, "| %d | %s | %d | %d |\n", c.code, c.when, old.status(c.code), modern.status(c.code))
	}
	const path = "../docs/errors.md"
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(now), "<!-- codes -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- /codes -->")
	if !ok || !ok2 {
		t.Fatalf("%s: no <!-- codes --> … <!-- /codes --> to fill", path)
	}
	want := before + "<!-- codes -->\n" + rows.String() + "<!-- /codes -->" + after
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(now), want); diff != "" {
		t.Errorf("%s does not say what the code does (-file +code; `go test ./transport -update` writes it):\n%s", path, diff)
	}
}
