package clients

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/interop/npm"
	"ollama-mcp/interop/program"
	"ollama-mcp/ollama/ollamatest"
)

// session is one session of the TypeScript SDK's client.
//
//go:embed client.mjs
var session string

// plan is what the script does.
type plan struct {
	SDK       int               `json:"sdk"`       // 1 or 2
	Transport string            `json:"transport"` // stdio, sse or http
	Era       string            `json:"era"`       // legacy, or modern for 2026-07-28
	Target    []string          `json:"target"`    // a URL, or a command
	Env       map[string]string `json:"env"`
	Calls     []toCall          `json:"calls"`
	Cancel    bool              `json:"cancel"`
}

type toCall struct {
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments"`
}

// report is what the client saw.
type report struct {
	Protocol string
	Tools    []string
	Messages []message // received, in order
	Errors   []string  // that the SDK reports beside answers: progress for a call that has ended, for example
	Elicited []struct{ Message string }
	Calls    []called
	Result   *result // of the last call
	Rejected string  // the same
	Again    int     // tools listed after the calls
}

type called struct {
	Tool     string
	Result   *result
	Rejected string
}

type message struct {
	Method string
	Params struct {
		Progress float64
		Meta     struct {
			Delta string `json:"ollama-mcp/delta"`
		} `json:"_meta"`
	}
	Result *result
}

type result struct {
	IsError    bool
	Content    []struct{ Text string }
	Structured struct {
		Text string
	} `json:"structuredContent"`
}

// sdks are the ways in which the TypeScript SDK reaches a server. Version 1 is what
// most clients are built on.
var sdks = []plan{
	{SDK: 1, Transport: "stdio", Era: "legacy"},
	{SDK: 1, Transport: "sse", Era: "legacy"},
	{SDK: 1, Transport: "http", Era: "legacy"},
	{SDK: 2, Transport: "stdio", Era: "legacy"},
	{SDK: 2, Transport: "stdio", Era: "modern"},
	{SDK: 2, Transport: "sse", Era: "legacy"},
	{SDK: 2, Transport: "http", Era: "legacy"},
	{SDK: 2, Transport: "http", Era: "modern"},
}

func (p plan) String() string { return fmt.Sprintf("v%d %s %s", p.SDK, p.Transport, p.Era) }

// TestTypeScript has the official TypeScript SDK's client generate text, cancel in the
// middle of it, and answer a question.
func TestTypeScript(t *testing.T) {
	packages, err := npm.Install(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	fake, ours, fixtures := targets(t)
	for _, way := range sdks {
		t.Run(way.String(), func(t *testing.T) {
			t.Run("progress", func(t *testing.T) {
				p := ours.aim(way)
				p.Calls = []toCall{{"generate", json.RawMessage(generate)}}
				checkProgress(t, p, converse(t, packages, p, nil))
			})
			t.Run("cancel", func(t *testing.T) {
				p := ours.aim(way)
				p.Calls, p.Cancel = []toCall{{"generate", json.RawMessage(endless)}}, true
				before := len(fake.Seen().Aborts)
				r := converse(t, packages, p, func(ctx context.Context) error {
					return fake.Await(ctx, func(s ollamatest.Seen) bool { return len(s.Aborts) == before+1 && s.Active == 0 })
				})
				if r.Rejected == "" || r.Result != nil || answers(r) != 0 || r.Again != len(r.Tools) {
					t.Errorf("a cancelled generate = %+v, want a rejection, no answer, and a connection that goes on", r)
				}
			})
			t.Run("elicitation", func(t *testing.T) {
				p := fixtures.aim(way)
				p.Calls = []toCall{{"test_elicitation", json.RawMessage(`{"message":"Who are you?"}`)}}
				checkElicitation(t, converse(t, packages, p, nil))
			})
		})
	}
}

// aim makes a plan reach the target.
func (g target) aim(p plan) plan {
	switch p.Transport {
	case "stdio":
		p.Target, p.Env = g.command(), map[string]string{"OLLAMA_HOST": g.ollama}
	case "sse":
		p.Target = []string{"http://" + g.hostport + "/sse"}
	default:
		p.Target = []string{"http://" + g.hostport + "/mcp"}
	}
	return p
}

// converse runs the script. cancelled, which may be nil, is called when the client
// has cancelled its call, and before it does anything else.
func converse(t *testing.T, packages *npm.Packages, p plan, cancelled func(context.Context) error) report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	argument, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := packages.Script(ctx, session, string(argument))
	cmd.Env = program.Environ("")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	lines, end := start(t, cmd)
	if cancelled != nil {
		if line, err := lines.ReadString('\n'); line != "cancelled\n" {
			t.Fatalf("%s said %q (%v), want that it has cancelled\n%s", p, line, err, &stderr)
		}
		if err := cancelled(ctx); err != nil {
			t.Errorf("%s: Ollama did not see the cancel: %v", p, err)
		}
	}
	end()
	out, readErr := io.ReadAll(lines)
	if err := errors.Join(readErr, cmd.Wait()); err != nil {
		t.Fatalf("%s: %v\n%s", p, err, &stderr)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%s: %v in %q", p, err, out)
	}
	// Progress that was on its way when a call was cancelled is an error to the SDK.
	if len(r.Errors) > 0 && !p.Cancel {
		t.Errorf("%s: the SDK reports %q", p, r.Errors)
	}
	return r
}

// start starts a command. end ends its standard input.
func start(t *testing.T, cmd *exec.Cmd) (out *bufio.Reader, end func()) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(stdout), func() { _ = in.Close() } // the process may have ended
}

// checkProgress wants the text to have come piece by piece before the answer.
func checkProgress(t *testing.T, p plan, r report) {
	t.Helper()
	if r.Result == nil || r.Result.IsError || r.Result.Structured.Text == "" || r.Rejected != "" {
		t.Fatalf("generate = %+v, rejected %q, want a text", r.Result, r.Rejected)
	}
	if !slices.Contains(r.Tools, "generate") || p.Era == "modern" && r.Protocol != "2026-07-28" {
		t.Errorf("the server speaks %s and lists %v, want the era %s and generate", r.Protocol, r.Tools, p.Era)
	}
	var deltas strings.Builder
	var progress []float64
	answered := false
	for _, m := range r.Messages {
		switch {
		case m.Method == "notifications/progress" && answered:
			t.Errorf("progress %+v came after the answer", m.Params)
		case m.Method == "notifications/progress":
			deltas.WriteString(m.Params.Meta.Delta)
			progress = append(progress, m.Params.Progress)
		case m.Result != nil && m.Result.Structured.Text != "":
			answered = true
		}
	}
	if diff := cmp.Diff(r.Result.Structured.Text, deltas.String()); diff != "" {
		t.Errorf("the deltas joined are not the text (-text +deltas):\n%s", diff)
	}
	if len(progress) < 3 || !increasing(progress) {
		t.Errorf("progress = %v, want it to increase, step by step", progress)
	}
}

func increasing(numbers []float64) bool {
	for i := 1; i < len(numbers); i++ {
		if numbers[i] <= numbers[i-1] {
			return false
		}
	}
	return true
}

// answers counts the answers to the call.
func answers(r report) (n int) {
	for _, m := range r.Messages {
		if m.Result != nil && len(m.Result.Content) > 0 {
			n++
		}
	}
	return n
}

func checkElicitation(t *testing.T, r report) {
	t.Helper()
	if len(r.Elicited) != 1 || r.Elicited[0].Message != "Who are you?" {
		t.Errorf("the client was asked %+v, want the one question", r.Elicited)
	}
	const want = `User response: action=accept, content={"email":"ada@example.org","username":"ada"}`
	if r.Result == nil || len(r.Result.Content) != 1 || r.Result.Content[0].Text != want {
		t.Errorf("test_elicitation = %+v, rejected %q, want %q", r.Result, r.Rejected, want)
	}
}
