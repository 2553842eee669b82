package chromium

import (
	"os/exec"
	"syscall"
)

// endTogether makes a browser, which is several processes, end as a whole: with the
// command's context, and with this process.
func endTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
