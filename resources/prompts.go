package resources

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"ollama-mcp/ollama"
)

// prompt is a text that a person has written for them, with their arguments in it.
type prompt struct {
	name, title string
	description string
	uses        []string // the tools that it has the model use; who may not use them does not see the prompt
	arguments   []argument
	write       func(ctx context.Context, c *Catalog, args map[string]string) (string, error)
}

type argument struct {
	name, description string
	required          bool
	models            bool // it names models, with commas between
	complete          func(ctx context.Context, c *Catalog, value string) []string
}

// prompts is the only list of the prompts.
func prompts() []prompt {
	return []prompt{secondOpinion(), summarize(), extract(), compareModels(), pickModel()}
}

func (p *prompt) definition() mcp.Prompt {
	d := mcp.Prompt{Name: p.name, Title: p.title, Description: p.description}
	for _, a := range p.arguments {
		d.Arguments = append(d.Arguments, mcp.PromptArgument{Name: a.name, Description: a.description, Required: a.required})
	}
	return d
}

// visible takes from prompts/list what the caller could not follow.
func (c *Catalog) visible(ctx context.Context, shown []mcp.Prompt) []mcp.Prompt {
	all := prompts()
	return slices.DeleteFunc(slices.Clone(shown), func(s mcp.Prompt) bool {
		i := slices.IndexFunc(all, func(p prompt) bool { return p.name == s.Name })
		return i >= 0 && !c.mayUse(ctx, all[i])
	})
}

// mayUse reports whether the caller may use all that a prompt has a model use, with the models.
func (c *Catalog) mayUse(ctx context.Context, p prompt, models ...ollama.Name) bool {
	return !slices.ContainsFunc(p.uses, func(tool string) bool { return !c.may(ctx, tool, models...) })
}

// argumentError says what is wrong with an argument of a prompt.
type argumentError struct{ words string }

func (e *argumentError) Error() string { return e.words }

// writer writes a prompt as mcp-go wants it done.
func (c *Catalog) writer(p prompt) server.PromptHandlerFunc {
	return func(ctx context.Context, q mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		text, err := c.write(ctx, p, q.Params.Arguments)
		var argument *argumentError
		switch {
		case errors.As(err, &argument):
			fail(ctx, mcp.INVALID_PARAMS, argument.words, nil)
			return nil, err
		case err != nil:
			c.o.Log.Warn().Err(err).Str("prompt", p.name).Str("request", requestID(ctx)).Msg("prompt")
			words, data := c.o.Explain(err, requestID(ctx))
			fail(ctx, mcp.INTERNAL_ERROR, words, data)
			return nil, err
		}
		return mcp.NewGetPromptResult(p.description, []mcp.PromptMessage{
			mcp.NewPromptMessage(mcp.RoleUser, mcp.NewTextContent(text)),
		}), nil
	}
}

func (c *Catalog) write(ctx context.Context, p prompt, args map[string]string) (string, error) {
	for name := range args {
		if !slices.ContainsFunc(p.arguments, func(a argument) bool { return a.name == name }) {
			return "", &argumentError{fmt.Sprintf("the prompt %s has no argument %q; it has %s", p.name, clip(name), p.names())}
		}
	}
	for _, a := range p.arguments {
		if a.required && strings.TrimSpace(args[a.name]) == "" {
			return "", &argumentError{fmt.Sprintf("the prompt %s needs the argument %s: %s", p.name, a.name, a.description)}
		}
		if !a.models {
			continue
		}
		var given []ollama.Name
		for _, name := range splitList(args[a.name]) {
			n, err := ollama.ParseName(name)
			if err != nil {
				return "", &argumentError{fmt.Sprintf("%s: %v", a.name, err)}
			}
			if !c.mayUse(ctx, p, n) {
				return "", &argumentError{fmt.Sprintf("%s: there is no model %s that you may use", a.name, n)}
			}
			if slices.Contains(given, n) {
				return "", &argumentError{fmt.Sprintf("%s names %s twice", a.name, n)}
			}
			given = append(given, n)
		}
	}
	return p.write(ctx, c, args)
}

func (p *prompt) names() string {
	var names []string
	for _, a := range p.arguments {
		names = append(names, a.name)
	}
	return strings.Join(names, ", ")
}

// modelArgument is the argument that names the model to ask.
func modelArgument() argument {
	return argument{name: "model", models: true, complete: modelToAsk,
		description: "Local model to ask, such as llama3.2:3b; default: the operator's"}
}

// with says which model to ask, if one was named.
func with(args map[string]string) string {
	if m := strings.TrimSpace(args["model"]); m != "" {
		return " with model set to " + m
	}
	return ""
}
