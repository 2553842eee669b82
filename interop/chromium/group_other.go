//go:build !linux

package chromium

import "os/exec"

func endTogether(*exec.Cmd) {}
