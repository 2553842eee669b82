// Package chromium runs a headless Chromium.
package chromium

import (
	"context"
	"io"
	"os/exec"
	"time"

	"ollama-mcp/interop/debian"
)

// Open is a command that opens a page in a Chromium which keeps all it writes in dir,
// looks up no name (those in names, a list such as "a.example b.example", are this
// machine) and talks to nobody of itself. It runs until ctx ends. Where Chromium is
// missing it is installed or unpacked; log then gets a line.
func Open(ctx context.Context, log io.Writer, dir, url string, names ...string) (*exec.Cmd, error) {
	program, err := debian.Find(ctx, log, debian.Package{
		Name: "chromium", Program: "chromium", Unpacked: "usr/lib/chromium/chromium",
	})
	if err != nil {
		return nil, err
	}
	rules := ""
	for _, name := range names {
		rules += "MAP " + name + " 127.0.0.1,"
	}
	cmd := program.Command(ctx,
		"--headless", "--user-data-dir="+dir, "--host-resolver-rules="+rules+"MAP * ~NOTFOUND,EXCLUDE localhost,EXCLUDE 127.0.0.1",
		"--no-sandbox", // root and containers have none; it opens but our own pages
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--no-default-browser-check",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--disable-background-timer-throttling", "--password-store=basic",
		url)
	endTogether(cmd)
	cmd.WaitDelay = 5 * time.Second
	return cmd, nil
}
