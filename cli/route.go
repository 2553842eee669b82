package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/route"
)

// Route prints on which hosts a call on a model would be tried, in which order, and why, and
// why the others do not take it; ask is [fleet.Fleet.Route]. The error is that of ask, or that
// no host can take the call, which is printed too.
func Route(ctx context.Context, ask func(context.Context, ollama.Name) ([]route.Choice, []route.Refusal, error), model string, stdout io.Writer) error {
	name, err := ollama.ParseName(model)
	if err != nil {
		return err
	}
	order, refused, err := ask(ctx, name)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(stdout, way(name, order, refused)); err != nil {
		return err
	}
	if len(order) == 0 {
		return fmt.Errorf("no host can take a call on %s", name)
	}
	return nil
}

// way words an order of hosts.
func way(model ollama.Name, order []route.Choice, refused []route.Refusal) string {
	var b strings.Builder
	if len(order) > 0 {
		fmt.Fprintf(&b, "A call on %s is tried on:\n", model)
	}
	for i := range order {
		c := &order[i]
		fmt.Fprintf(&b, "%3d. %s: %s\n", i+1, c.Host.Name, c.Why())
		if c.Host.Doubtful {
			b.WriteString("     something went wrong there lately, or takes long\n")
		}
	}
	if len(refused) > 0 {
		b.WriteString("These do not take it:\n")
	}
	for _, r := range refused {
		fmt.Fprintf(&b, "   - %s\n", r)
	}
	return b.String()
}
