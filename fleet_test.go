package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ollama-mcp/ollama/ollamatest"
)

// hostsFile writes a file with hosts a, b, c … at addresses, and more settings.
func hostsFile(t *testing.T, more string, addresses ...string) (path string) {
	t.Helper()
	text := more + "\nhosts:\n"
	for i, a := range addresses {
		text += fmt.Sprintf("  - {name: %c, url: %q}\n", 'a'+i, a)
	}
	path = filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// One of three real Ollamas is killed while calls run on all of them: only generations of
// which text had come may fail, and these have it.
func TestOneOfThreeOllamasDies(t *testing.T) {
	const rounds, callers = 6, 6
	real := ollamatest.NewReals(t, 3)
	w := serveWeb(t, "", append(wedgeSoon, "--config", hostsFile(t, "models: {tiny: {preload: 3}, tiny-embed: {preload: 3}}", real[0].URL, real[1].URL, real[2].URL), "--log-level", "debug")...)
	tools := []struct{ name, args string }{
		{"generate", `{"model":"tiny","prompt":"the sea %d","options":{"num_predict":40}}`},
		{"list_models", `{}`},
		{"embed", `{"model":"tiny-embed","input":["sea %d","land"]}`},
		{"show", `{"model":"tiny"}`},
		{"rank", `{"query":"the sea %d","documents":["water","earth","fish"],"model":"tiny-embed"}`},
	}
	var begun, lost atomic.Int32
	killed := make(chan struct{})
	var wg sync.WaitGroup
	for caller := range callers {
		c := newLegacy(w)
		wg.Go(func() {
			for i := range rounds * len(tools) {
				if begun.Add(1) == rounds*callers*int32(len(tools))/3 {
					victim, err := os.FindProcess(real[1].Pid())
					if err == nil {
						err = victim.Kill()
					}
					if err != nil {
						t.Error(err)
					}
					close(killed)
				}
				tool := tools[(i+caller)%len(tools)]
				args := tool.args
				if strings.Contains(args, "%d") {
					args = fmt.Sprintf(args, i*callers+caller)
				}
				all, _ := c.call(i+1, tool.name, args)
				r, _ := ended(t, all, i+1)
				switch {
				case !r.IsError:
				case tool.name == "generate" && r.Structured.Text != "":
					lost.Add(1)
				default:
					t.Errorf("%s %s = %+v, want an answer of a host that is left", tool.name, args, r)
				}
			}
		})
	}
	wg.Wait()
	<-killed
	t.Logf("%d generations broke off past their first token", lost.Load())
}
