package program

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel end a child when a test ends without its cleanup.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
