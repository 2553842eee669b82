package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// The smallest files of their kinds: one red pixel, and a sound of no samples.
const (
	png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
	wav = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
)

// schema2020 uses what JSON Schema 2020-12 has and older dialects lack; a server
// must list it unchanged.
const schema2020 = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
	"$defs":{"address":{"$anchor":"addressDef","type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}}}},
	"properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"},"contactMethod":{"type":"string","enum":["phone","email"]},
		"phone":{"type":"string"},"email":{"type":"string"}},
	"allOf":[{"anyOf":[{"required":["phone"]},{"required":["email"]}]}],
	"if":{"properties":{"contactMethod":{"const":"phone"}},"required":["contactMethod"]},
	"then":{"required":["phone"]},"else":{"required":["email"]},
	"additionalProperties":false}`

func tools() []server.ServerTool {
	text := mcp.NewTextContent
	embedded := func(uri, mime, body string) mcp.Content {
		return mcp.NewEmbeddedResource(mcp.TextResourceContents{URI: uri, MIMEType: mime, Text: body})
	}
	answers := []server.ServerTool{
		tool("test_simple_text", "Answers with text", noArguments, says(text("This is a simple text response for testing."))),
		tool("test_image_content", "Answers with an image", noArguments, says(mcp.NewImageContent(png, "image/png"))),
		tool("test_audio_content", "Answers with a sound", noArguments, says(mcp.NewAudioContent(wav, "audio/wav"))),
		tool("test_embedded_resource", "Answers with a resource", noArguments,
			says(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))),
		tool("test_multiple_content_types", "Answers with text, an image and a resource", noArguments, says(
			text("Multiple content types test:"), mcp.NewImageContent(png, "image/png"),
			embedded("test://mixed-content-resource", "application/json", `{"test":"data","value":123}`))),
		tool("json_schema_2020_12_tool", "Has a schema of JSON Schema 2020-12", schema2020, says(text("called"))),
		tool("test_logging_tool", "Logs nothing unless the client asks for it", noArguments, says(text("done"))),
		tool("test_header_parameter", "Takes an argument that goes into a header too",
			`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}},"required":["region"]}`, says(text("done"))),
		tool("test_error_handling", "Fails", noArguments, fails),
		tool("test_tool_with_progress", "Reports progress", noArguments, reportProgress),
		tool("test_trigger_tool_change", "Changes the list of tools", noArguments, changeTools),
		tool("test_trigger_prompt_change", "Changes the list of prompts", noArguments, changePrompts),
	}
	return append(answers, askingTools()...)
}

// says answers with the same each time.
func says(content ...mcp.Content) server.ToolHandlerFunc {
	return func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: content}, nil
	}
}

func fails(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return mcp.NewToolResultError("This tool intentionally returns an error for testing"), nil
}

// reportProgress reports three times, further apart than the transport's least
// time between two notifications, so that none is merged away.
func reportProgress(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	call, ok := server.ClientSessionFromContext(ctx).(interface {
		Report(done, total float64, phase, delta string, message func() string)
	})
	if !ok {
		return mcp.NewToolResultError("this transport reports no progress"), nil
	}
	for _, percent := range []float64{0, 50, 100} {
		call.Report(percent, 100, "testing", "", func() string { return fmt.Sprintf("%v of 100", percent) })
		select {
		case <-time.After(150 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return mcp.NewToolResultText("done"), nil
}

// changeTools adds a tool and takes it away, which tells the clients that the
// list has changed.
func changeTools(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	s := server.ServerFromContext(ctx)
	passing := tool("test_passing", "Comes and goes", noArguments, says(mcp.NewTextContent("done")))
	s.AddTools(passing)
	s.DeleteTools(passing.Tool.Name)
	return mcp.NewToolResultText("changed"), nil
}

// changePrompts does the same to the list of prompts.
func changePrompts(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	s := server.ServerFromContext(ctx)
	passing := prompt("test_passing_prompt", "Comes and goes", nil)
	s.AddPrompts(passing)
	s.DeletePrompts(passing.Prompt.Name)
	return mcp.NewToolResultText("changed"), nil
}
