package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"ollama-mcp/ollama/ollamatest"
)

// TestMain puts the program, as built for the test, into PATH under its own name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ollama-mcp": main})
}

// TestScripts runs testdata/script against a real Ollama at $REAL.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script") }

// TestModelScripts runs those that load the model in their own ways, which the others would undo.
func TestModelScripts(t *testing.T) { runScripts(t, "testdata/script-models") }

func runScripts(t *testing.T, dir string) {
	real := ollamatest.NewReal(t)
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("REAL", real.URL)
			env.Setenv("OLLAMA_HOST", real.URL)
			env.Vars = append(env.Vars, quickExit)
			return nil
		},
	})
}

// exits is the script command `exits CODE PROGRAM [ARGUMENT...]`: it fails unless the
// program ends with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%s exits %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// quickExit saves each program under the race detector the second that it would sleep
// at its end: https://go.dev/doc/articles/race_detector#Options
const quickExit = "GORACE=atexit_sleep_ms=0"

// environ is the surrounding environment without settings of Ollama and of this program,
// and with those in extra.
func environ(extra ...string) []string {
	var env []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "OLLAMA_") {
			env = append(env, setting)
		}
	}
	return append(append(env, quickExit), extra...)
}
