package cli

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"ollama-mcp/config"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/tools"
)

// toolSet makes the tools on a fake host.
func toolSet(t *testing.T, s ollamatest.Script) []tools.Tool {
	t.Helper()
	fake := ollamatest.NewFake(s)
	t.Cleanup(fake.Close)
	host, err := ollama.ParseHost(fake.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := ollama.NewClient(ollama.ClientOptions{Host: host})
	f := fleet.New([]fleet.Host{{Client: client, Address: fake.URL}}, fleet.Options{})
	t.Cleanup(f.Close)
	set, err := tools.All(f, tools.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestCallPrints(t *testing.T) {
	tests := []struct {
		name     string
		terminal bool
		want     string // at the beginning
	}{
		{"terminal", true, "]0;owned[2Jone\ntwo\n"},
		{"pipe", false, `{"text":"\u001b]0;owned\u0007\u001b[2Jone\ntwo","model":"tiny:latest"`},
	}
	set := toolSet(t, ollamatest.Script{Tokens: []string{"\x1b]0;owned\a", "\x1b[2J", "one\ntwo"}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			code := Call(t.Context(), set, config.CallCommand{Tool: "generate", Arguments: "-"},
				Streams{In: strings.NewReader(`{"prompt":"x"}`), Out: &out, Err: &stderr, Terminal: tt.terminal})
			if code != 0 || !strings.HasPrefix(out.String(), tt.want) || stderr.Len() != 0 {
				t.Errorf("call generate = %d, printed %q and %q; want 0, %q… and no progress", code, &out, &stderr, tt.want)
			}
		})
	}
}

// The progress line goes by the stream that it is written to, whatever standard output is.
func TestCallProgress(t *testing.T) {
	t.Parallel()
	set := toolSet(t, ollamatest.Script{FirstDelay: 250 * time.Millisecond})
	for _, terminal := range []bool{true, false} {
		for _, progress := range []bool{true, false} {
			var out, stderr bytes.Buffer
			code := Call(t.Context(), set, config.CallCommand{Tool: "generate", Arguments: `{"model":"tiny","prompt":"x"}`},
				Streams{Out: &out, Err: &stderr, Terminal: terminal, Progress: progress})
			shown := strings.Contains(stderr.String(), "tiny") && strings.HasSuffix(stderr.String(), "\r\x1b[K")
			if code != 0 || shown != progress || !progress && stderr.Len() > 0 || strings.Contains(out.String(), "\x1b") {
				t.Errorf("call generate, terminals %v and %v = %d, printed %q and %q; want a progress line on the second: %v",
					terminal, progress, code, &out, &stderr, progress)
			}
		}
	}
}

// The help says so: there is no later call that could ask for a job.
func TestCallWaitsToTheEnd(t *testing.T) {
	var out, stderr bytes.Buffer
	code := Call(t.Context(), toolSet(t, ollamatest.Script{}), config.CallCommand{Tool: "generate", Arguments: `{"prompt":"x","wait":0}`},
		Streams{Out: &out, Err: &stderr})
	if code != 0 || !strings.Contains(out.String(), `"done_reason":"stop"`) || strings.Contains(out.String(), `"job"`) {
		t.Errorf("call generate with wait 0 = %d, printed %s and %s; want the answer", code, &out, &stderr)
	}
}

func TestCallStopsWhileItReadsArguments(t *testing.T) {
	in, never := io.Pipe()
	defer never.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	if code := Call(ctx, toolSet(t, ollamatest.Script{}), config.CallCommand{Tool: "generate", Arguments: "-"}, Streams{In: in, Err: &stderr}); code != 2 {
		t.Errorf("call generate - that is stopped = %d, %q; want 2", code, &stderr)
	}
}
