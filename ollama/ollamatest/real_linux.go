package ollamatest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// ownProcessGroup puts cmd's process in a group of its own, which its children join, and has the kernel ask it to end
// should this process die without doing so. SIGTERM, not SIGKILL: Ollama then ends its runners too.
func ownProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// interruptTogether has the end of cmd's context interrupt cmd and what it started: the go command alone would leave its
// compilers running.
func interruptTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
}

// terminate asks p to end.
func terminate(p *os.Process) {
	_ = p.Signal(syscall.SIGTERM) // fails when p has ended, which is what was asked for
}

// killProcessGroup ends all of p's group, whether or not p still runs, and gives them a moment to be gone.
func killProcessGroup(p *os.Process) {
	// The kernel needs milliseconds. But a dead process counts as one of the group until it is reaped, and orphans are
	// left to an init that may take its time, or never do it.
	const moment = 200 * time.Millisecond
	if p.Pid <= 1 {
		return // a released Process has -1, whose negation is init
	}
	deadline := time.Now().Add(moment)
	for syscall.Kill(-p.Pid, syscall.SIGKILL) == nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
}

// lockFile waits until this process alone holds the lock on path, or ctx ends. The kernel drops the lock with the
// process, however that dies.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	const poll = 100 * time.Millisecond // a blocking lock could not be left when ctx ends
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			file.Close()
			return nil, context.Cause(ctx)
		}
	}
}
