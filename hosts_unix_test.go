//go:build unix

package main

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"ollama-mcp/ollama/fleet"
)

// TestHangupReadsTheFile: the file is read on a SIGHUP, even if it does not look changed.
func TestHangupReadsTheFile(t *testing.T) {
	c, path := parsed(t, "hosts: [{name: a, url: a}]")
	write(t, path, "hosts: [{name: b, url: b}]")
	l := newHostList(c, zerolog.Nop()) // takes what the file is now for what was read
	updates := make(chan []fleet.Host, 1)
	defer l.follow(t.Context(), func(hosts []fleet.Host) { updates <- hosts })()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case hosts := <-updates:
		if diff := cmp.Diff([]string{"b http://b:11434"}, said(hosts)); diff != "" {
			t.Errorf("hosts after a SIGHUP (-want +got):\n%s", diff)
		}
	case <-time.After(time.Minute):
		t.Fatal("no update within a minute of a SIGHUP")
	}
}
