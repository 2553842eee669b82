package tools

import (
	"encoding/json"
	"fmt"

	"ollama-mcp/ollama"
)

type chatMessage struct {
	Role      string         `json:"role" jsonschema:"enum=system,enum=user,enum=assistant,enum=tool"`
	Content   string         `json:"content,omitempty"`
	Images    []string       `json:"images,omitempty" jsonschema_description:"Base64 or data URL"`
	ToolCalls []chatToolCall `json:"tool_calls,omitempty" jsonschema_description:"As the model gave them"`
	ToolName  string         `json:"tool_name,omitempty" jsonschema_description:"For role tool"`
}

type chatToolCall struct {
	Function chatFunctionCall `json:"function"`
}

type chatFunctionCall struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments,omitempty" jsonschema:"type=object"`
}

type chatTool struct {
	Type     string       `json:"type,omitempty" jsonschema:"enum=function"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty" jsonschema:"type=object" jsonschema_description:"JSON Schema"`
}

type replyMessage struct {
	Role      string         `json:"role"`
	Content   string         `json:"content"`
	Thinking  string         `json:"thinking,omitempty"`
	ToolCalls []chatToolCall `json:"tool_calls,omitempty"`
}

// reply gives an answer, where there is one, the form of a message.
func reply(a answerOutput, calls []ollama.ToolCall) chatOutput {
	if a.Model == "" {
		return chatOutput{}
	}
	m := &replyMessage{Role: "assistant", Content: a.Text, Thinking: a.Thinking}
	for _, c := range calls {
		m.ToolCalls = append(m.ToolCalls, chatToolCall{chatFunctionCall(c.Function)})
	}
	return chatOutput{answerOutput: a, Message: m}
}

// messages turns the caller's messages into Ollama's.
func messages(in []chatMessage) ([]ollama.Message, error) {
	out := make([]ollama.Message, len(in))
	for i, m := range in {
		images, err := decodeImages(fmt.Sprintf("messages[%d].images", i), m.Images)
		if err != nil {
			return nil, err
		}
		out[i] = ollama.Message{Role: m.Role, Content: m.Content, Images: images, ToolName: m.ToolName}
		for _, c := range m.ToolCalls {
			out[i].ToolCalls = append(out[i].ToolCalls, ollama.ToolCall{Function: ollama.ToolCallFunction(c.Function)})
		}
	}
	return out, nil
}

// offered turns the caller's tools into Ollama's.
func offered(in []chatTool) []ollama.Tool {
	out := make([]ollama.Tool, len(in))
	for i, t := range in {
		out[i] = ollama.Tool{Type: "function", Function: ollama.ToolFunction(t.Function)}
	}
	return out
}
