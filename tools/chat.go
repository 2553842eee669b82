package tools

import (
	"context"
	"encoding/json"
	"iter"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type chatInput struct {
	Model    string        `json:"model,omitempty" jsonschema_description:"Default: the operator's, or the only fitting one"`
	Messages []chatMessage `json:"messages" jsonschema:"minItems=1" jsonschema_description:"The conversation, oldest first"`
	Tools    []chatTool    `json:"tools,omitempty" jsonschema_description:"Functions the local model may ask for; you run them and add the result as a message of role tool"`
	sampling
	patience
}

type chatOutput struct {
	answerOutput
	Message *replyMessage `json:"message,omitempty"`
}

func (o *chatOutput) words() []string {
	words := o.answerOutput.words()
	if o.Message != nil && len(o.Message.ToolCalls) > 0 {
		calls, _ := json.Marshal(o.Message.ToolCalls) // came out of a decoder: cannot fail
		words = append(words, "The model asks for tools: "+string(calls))
	}
	return words
}

// chat answers a conversation.
func chat(choose chooseFunc, run func(context.Context, *ollama.ChatRequest, fleet.Watch) iter.Seq2[ollama.Chunk, error]) Tool {
	return define(Tool{
		Name:  "chat",
		Title: "Chat with a local model",
		Description: "Get the next message of a conversation from a model on the user's own Ollama. Use it for several turns, " +
			"a system message, images, or when the local model may ask for tools. Nothing is remembered between calls: send " +
			"all messages each time. For one prompt use generate. Models named cloud run on ollama.com.",
		Effect:    Reads,
		Toolset:   Inference,
		UsesModel: true,
	}, func(ctx context.Context, in chatInput, c *call) (chatOutput, error) {
		if err := in.check(); err != nil {
			return chatOutput{}, err
		}
		messages, err := messages(in.Messages)
		if err != nil {
			return chatOutput{}, err
		}
		model, limits, err := c.model(ctx, choose, in.Model, fleet.Completion)
		if err == nil {
			err = in.within(limits)
		}
		if err != nil {
			return chatOutput{}, err
		}
		r := &ollama.ChatRequest{
			Model: model, Messages: messages, Tools: offered(in.Tools), Format: in.format(), Think: in.think(),
			KeepAlive: in.KeepAlive, Options: in.Options,
		}
		out, calls, err := answer(c.tool.with(ctx, model), asking{
			sampling: &in.sampling,
			model:    model,
			ask: func(ctx context.Context, truncate bool, w fleet.Watch) iter.Seq2[ollama.Chunk, error] {
				r.Truncate = &truncate
				return run(ctx, r, w)
			},
			again: func(answer, complaint string) {
				r.Messages = append(messages[:len(messages):len(messages)],
					ollama.Message{Role: "assistant", Content: answer}, ollama.Message{Role: "user", Content: complaint})
			},
		}, c.report)
		return reply(out, calls), err
	})
}
