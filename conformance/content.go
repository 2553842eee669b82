package conformance

import (
	"context"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

func addResources(s *server.MCPServer) {
	add := func(uri, name, mime string, contents ...mcp.ResourceContents) {
		s.AddResource(mcp.NewResource(uri, name, mcp.WithResourceDescription(name), mcp.WithMIMEType(mime)),
			func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) { return contents, nil })
	}
	add("test://static-text", "A text", "text/plain", mcp.TextResourceContents{
		URI: "test://static-text", MIMEType: "text/plain", Text: "This is the content of the static text resource."})
	add("test://static-binary", "An image", "image/png", mcp.BlobResourceContents{
		URI: "test://static-binary", MIMEType: "image/png", Blob: png})
	add("test://watched-resource", "A text to subscribe to", "text/plain", mcp.TextResourceContents{
		URI: "test://watched-resource", MIMEType: "text/plain", Text: "Watched resource content"})
	s.AddResourceTemplate(
		mcp.NewResourceTemplate("test://template/{id}/data", "A text by id",
			mcp.WithTemplateDescription("A text by id"), mcp.WithTemplateMIMEType("application/json")),
		readTemplate)
}

func readTemplate(_ context.Context, r mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
	var id string
	if values, ok := r.Params.Arguments["id"].([]string); ok && len(values) == 1 {
		id = values[0]
	}
	return []mcp.ResourceContents{mcp.TextResourceContents{
		URI: r.Params.URI, MIMEType: "application/json",
		Text: fmt.Sprintf(`{"id":%q,"templateTest":true,"data":"Data for ID: %s"}`, id, id),
	}}, nil
}

// prompt is a prompt with required arguments whose messages all come from the user.
func prompt(name, description string, answer func(arguments map[string]string) []mcp.Content, arguments ...string) server.ServerPrompt {
	options := []mcp.PromptOption{mcp.WithPromptDescription(description)}
	for _, argument := range arguments {
		options = append(options, mcp.WithArgument(argument, mcp.ArgumentDescription(argument), mcp.RequiredArgument()))
	}
	return server.ServerPrompt{
		Prompt: mcp.NewPrompt(name, options...),
		Handler: func(_ context.Context, r mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			var messages []mcp.PromptMessage
			for _, content := range answer(r.Params.Arguments) {
				messages = append(messages, mcp.NewPromptMessage(mcp.RoleUser, content))
			}
			return mcp.NewGetPromptResult(description, messages), nil
		},
	}
}

func prompts() []server.ServerPrompt {
	text := func(s string) mcp.Content { return mcp.NewTextContent(s) }
	return []server.ServerPrompt{
		prompt("test_simple_prompt", "A text", func(map[string]string) []mcp.Content {
			return []mcp.Content{text("This is a simple prompt for testing.")}
		}),
		prompt("test_prompt_with_arguments", "A text with its arguments", func(a map[string]string) []mcp.Content {
			return []mcp.Content{text(fmt.Sprintf("Prompt with arguments: arg1='%s', arg2='%s'", a["arg1"], a["arg2"]))}
		}, "arg1", "arg2"),
		prompt("test_prompt_with_embedded_resource", "A resource and a text", func(a map[string]string) []mcp.Content {
			return []mcp.Content{mcp.NewEmbeddedResource(mcp.TextResourceContents{
				URI: a["resourceUri"], MIMEType: "text/plain", Text: "Embedded resource content for testing.",
			}), text("Please process the embedded resource above.")}
		}, "resourceUri"),
		prompt("test_prompt_with_image", "An image and a text", func(map[string]string) []mcp.Content {
			return []mcp.Content{mcp.NewImageContent(png, "image/png"), text("Please analyze the image above.")}
		}),
		{
			Prompt:  mcp.NewPrompt("test_input_required_result_prompt", mcp.WithPromptDescription("Asks for its context")),
			Handler: askForContext,
		},
	}
}

func askForContext(_ context.Context, r mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
	answer := server.ElicitationResponse(r.Params.InputResponses, "user_context")
	if answer == nil {
		return server.NewInputRequestBuilder("").
			Elicit("user_context", form("What context should the prompt use?", `{"context":{"type":"string"}}`, "context")).PromptResult(), nil
	}
	return mcp.NewGetPromptResult("With context", []mcp.PromptMessage{
		mcp.NewPromptMessage(mcp.RoleUser, mcp.NewTextContent(fmt.Sprint("Context: ", answer.Content))),
	}), nil
}
