package resources

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// CompleteResourceArgument completes the variable of a resource template: a model's name,
// or the id of a job. One that cannot be completed has no completions.
func (c *Catalog) CompleteResourceArgument(ctx context.Context, uri string, arg mcp.CompleteArgument, _ mcp.CompleteContext) (*mcp.Completion, error) {
	switch {
	case uri == c.model().uri && arg.Name == "name":
		return completion(c.modelNames(ctx, showTool, arg.Value, "")), nil
	case uri == JobURI("{id}") && arg.Name == "id" && c.source.JobIDs != nil && c.may(ctx, jobsTool):
		return completion(withPrefix(c.source.JobIDs(ctx), arg.Value)), nil
	}
	return completion(nil), nil
}

// CompletePromptArgument completes an argument of a prompt.
func (c *Catalog) CompletePromptArgument(ctx context.Context, name string, arg mcp.CompleteArgument, _ mcp.CompleteContext) (*mcp.Completion, error) {
	for _, p := range prompts() {
		for _, a := range p.arguments {
			if p.name == name && a.name == arg.Name && a.complete != nil && c.mayUse(ctx, p) {
				return completion(a.complete(ctx, c, arg.Value)), nil
			}
		}
	}
	return completion(nil), nil
}

// maxValues is how many completions an answer may hold:
// https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/completion
const maxValues = 100

func completion(values []string) *mcp.Completion {
	return &mcp.Completion{Values: values[:min(len(values), maxValues)], Total: len(values), HasMore: len(values) > maxValues}
}

func withPrefix(values []string, prefix string) []string {
	prefix = strings.ToLower(prefix)
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return !strings.HasPrefix(strings.ToLower(v), prefix) })
}

// completePatience bounds how long somebody who types waits for Ollama.
const completePatience = 2 * time.Second

// modelNames completes a name for a tool, or, after a colon, its tag: the models in use
// first, then those installed last. Without Ollama there are none.
func (c *Catalog) modelNames(ctx context.Context, tool, prefix, capability string) []string {
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	all, err := c.seen(ctx, tool)
	if err != nil {
		c.o.Log.Debug().Err(err).Msg("completing without the models")
		return nil
	}
	var names []string
	for _, m := range recent(all) {
		if n := string(m.Canonical); (capability == "" || m.Can(capability)) && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return withPrefix(names, prefix)
}

// modelToAsk completes the name of a model that can answer a prompt.
func modelToAsk(ctx context.Context, c *Catalog, value string) []string {
	return c.modelNames(ctx, generateTool, value, fleet.Completion)
}

// modelsToAsk completes the last of several names with commas between, by one that is not
// there yet.
func modelsToAsk(ctx context.Context, c *Catalog, value string) []string {
	before, last := "", value
	if i := strings.LastIndexByte(value, ','); i >= 0 {
		before, last = value[:i+1], value[i+1:]
	}
	var given, values []string
	for _, name := range splitList(before) {
		n, _ := ollama.ParseName(name) // "" is nobody's
		given = append(given, string(n))
	}
	for _, n := range c.modelNames(ctx, generateTool, strings.TrimSpace(last), fleet.Completion) {
		if !slices.Contains(given, n) {
			values = append(values, before+n)
		}
	}
	return values
}

// choice completes by values that people often want.
func choice(values ...string) func(context.Context, *Catalog, string) []string {
	return func(_ context.Context, _ *Catalog, value string) []string { return withPrefix(values, value) }
}

// splitList splits at commas.
func splitList(s string) []string {
	var list []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}
