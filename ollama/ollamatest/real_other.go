//go:build !linux

package ollamatest

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

// Elsewhere than on Linux there is only what the os package offers: Ollama ends its runners when interrupted, and what
// it leaves behind when killed stays.

func ownProcessGroup(*exec.Cmd) {}

func interruptTogether(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
}

func terminate(p *os.Process) {
	if p.Signal(os.Interrupt) != nil { // Windows has no such signal
		_ = p.Kill()
	}
}

func killProcessGroup(p *os.Process) { _ = p.Kill() }

// lockFile serves Build, which is for Linux only.
func lockFile(context.Context, string) (func(), error) { return nil, errors.ErrUnsupported }
