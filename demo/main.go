// Command demo shows the main job of ollama-mcp on a real Ollama: `make demo` runs it. It is
// a program of its own, so that ollama-mcp need not carry what builds an Ollama.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"ollama-mcp/config"
)

func main() {
	// A terminal that is closed, or a reader such as head that leaves, is a Ctrl-C too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("which program? Usage: demo OLLAMA-MCP [--ollama ADDRESS]")
	}
	c, done, err := config.Parse(args[1:], "demo", os.Stdout)
	if err != nil || done {
		return err
	}
	return show(ctx, args[0], &c.Ollama, os.Stdout)
}
