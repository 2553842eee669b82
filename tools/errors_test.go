package tools

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/fleet/queue"
	"ollama-mcp/policy"
	"ollama-mcp/transport/auth"
)

// examples are errors of every kind.
func examples() []error {
	m := ollama.Name("tiny:latest")
	all := []error{
		&argumentError{"keep_alive \"300\" is not a duration", "Write it as 30s, 10m or 1h; 0 unloads the model after the call"},
		&policy.Denied{Caller: auth.Caller{Name: "ci"}, Tool: "unload"},
		&policy.LimitError{Caller: "ci", Limit: 60, Wait: 20 * time.Second},
		&fleet.ChoiceError{Capability: fleet.Completion, Installed: 2, Candidates: []ollama.Name{"one:latest", "two:latest"}},
		&fleet.CloudError{Model: "big:cloud"},
		&vectorError{"input[3]", allZeros},
		&ollama.Error{Kind: ollama.Invalid, Err: &ollama.RegistryError{Registry: "10.0.0.1:5000", Allowed: []string{"hf.co", "registry.ollama.ai"}}},
		&fleet.TransferError{Op: "pull", Model: m, State: ollama.TransferState{Done: 12e8, Total: 2e9}, Err: &ollama.Error{Kind: ollama.Cut, Message: "the answer ended before it was complete"}},
		&fleet.TransferError{Op: "pull", Model: m, State: ollama.TransferState{Done: 12e8, Total: 2e9}, Arrived: []string{"gpu1", "gpu2"}, Err: &ollama.Error{Host: "gpu3", Kind: ollama.Stalled, Message: "nothing came for 2m0s"}},
		&fleet.PlaceError{Model: m, Kind: ollama.Unreachable, Hosts: []string{"gpu1 has it, and takes no calls since 2026-01-02T15:04:05Z: it does not answer", "gpu2 does not have it"}},
		&fleet.PlaceError{Model: m, Kind: ollama.MissingModel, Hosts: []string{"gpu1 has it and may not run it", "gpu2 does not have it"}},
		&fleet.PlaceError{Model: m, Kind: ollama.Unreachable},
		&fleet.UnknownHostError{Name: "gpu9", Hosts: []string{"gpu1", "gpu2"}},
		&fleet.Error{Model: m, Err: &ollama.Error{Host: "gpu1", Kind: ollama.Busy, RetryAfter: 12 * time.Second, Err: &queue.FullError{Caller: "ci", Limit: 1024, Wait: 12 * time.Second}}},
		&fleet.Error{Model: m, Err: &ollama.Error{Host: "gpu1", Kind: ollama.Busy, RetryAfter: 3 * time.Second, Err: &queue.FullError{Caller: "ci", PerCaller: true, Limit: 256, Wait: 3 * time.Second}}},
		&fleet.Error{Model: m, Err: &ollama.Error{Host: "gpu1", Kind: ollama.Busy, RetryAfter: 40 * time.Second, Err: &queue.TooLateError{Position: queue.Position{Place: 9, Wait: 40 * time.Second}, Left: 10 * time.Second}}},
		errConsent, errChanged, errUnasked, context.Canceled, jobs.ErrNoJob, jobs.ErrTooLarge, errPanic,
	}
	for _, e := range []ollama.Error{
		{Kind: ollama.Unreachable, Message: "connection refused"},
		{Kind: ollama.NotOllama, Message: `a web page, "Sign in"`},
		{Kind: ollama.Unauthorized, Status: 403, Message: "unauthorized"},
		{Kind: ollama.MissingModel},
		{Kind: ollama.Invalid, Message: "invalid options"},
		{Kind: ollama.Unsupported, Message: "it does not take images"},
		{Kind: ollama.TooLong, Message: "9000 bytes, by estimate at least 3000 tokens, are more than its 2048 tokens"},
		{Kind: ollama.Busy, Message: "server busy", RetryAfter: 5 * time.Second},
		{Kind: ollama.LoadFailed, Message: "out of memory"},
		{Kind: ollama.Failed, Message: "unexpected error"},
		{Kind: ollama.Stalled, Message: "nothing came for 2m0s"},
		{Kind: ollama.Cut, Message: "the answer ended before it was complete"},
	} {
		e.Host = "ollama"
		all = append(all, &fleet.Error{Address: "http://127.0.0.1:11434", Origin: "the default", Model: m, Installed: []ollama.Name{"tiny-embed:latest"},
			Remedy: &fleet.Remedy{Cut: true, Raise: true}, Err: &e})
	}
	return all
}

// TestErrorDocs holds the list of kinds in the documentation to the code; -update writes it.
func TestErrorDocs(t *testing.T) {
	var rows strings.Builder
	missing := kinds(t)
	rows.WriteString("| kind | for example | what next | retryable |\n|---|---|---|---|\n")
	for _, err := range examples() {
		p := problem(err, "r1", func(ollama.Name) bool { return true })
		delete(missing, p.Kind)
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %v |\n", p.Kind, strings.ReplaceAll(p.Message, "|", "\\|"), strings.ReplaceAll(p.Hint, "|", "\\|"), p.Retryable)
	}
	for kind := range missing {
		t.Errorf("the kind %s has no example in this test, and so is not in docs/errors.md", kind)
	}
	checkFile(t, "../docs/errors.md", func(now string) string {
		before, rest, ok := strings.Cut(now, "<!-- kinds -->\n")
		_, after, ok2 := strings.Cut(rest, "<!-- /kinds -->")
		if !ok || !ok2 {
			t.Fatal("docs/errors.md: no <!-- kinds --> … <!-- /kinds --> to fill")
		}
		return before + "<!-- kinds -->\n" + rows.String() + "<!-- /kinds -->" + after
	})
}

// kinds are the constants of both files that have kinds.
func kinds(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, path := range []string{"problem.go", "../ollama/error.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if d, ok := n.(*ast.GenDecl); ok && d.Tok != token.CONST {
				return false
			}
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				kind, _ := strconv.Unquote(l.Value)
				found[kind] = true
			}
			_, function := n.(*ast.FuncDecl)
			return !function
		})
	}
	return found
}
