package conformance

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// The forms that two scenarios look at in every detail.
const (
	formDefaults = `{"name":{"type":"string","default":"John Doe"},"age":{"type":"integer","default":30},
		"score":{"type":"number","default":95.5},"status":{"type":"string","enum":["active","inactive","pending"],"default":"active"},
		"verified":{"type":"boolean","default":true}}`
	formEnums = `{"untitledSingle":{"type":"string","enum":["option1","option2","option3"]},
		"titledSingle":{"type":"string","oneOf":[{"const":"value1","title":"First Option"},{"const":"value2","title":"Second Option"},{"const":"value3","title":"Third Option"}]},
		"legacyEnum":{"type":"string","enum":["opt1","opt2","opt3"],"enumNames":["Option One","Option Two","Option Three"]},
		"untitledMulti":{"type":"array","items":{"type":"string","enum":["option1","option2","option3"]}},
		"titledMulti":{"type":"array","items":{"anyOf":[{"const":"value1","title":"First Choice"},{"const":"value2","title":"Second Choice"},{"const":"value3","title":"Third Choice"}]}}}`
	formUser = `{"username":{"type":"string","description":"User's response"},"email":{"type":"string","description":"User's email address"}}`
	formName = `{"name":{"type":"string"}}`
	formOK   = `{"ok":{"type":"boolean"}}`
)

// askingTools are the tools that need something of the client before they can
// answer.
func askingTools() []server.ServerTool {
	seal := newSeal()
	return []server.ServerTool{
		tool("test_elicitation", "Asks the user who they are",
			`{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}`, elicit),
		tool("test_elicitation_sep1034_defaults", "Asks with defaults", noArguments,
			asks("Elicitation completed: ", form("Please review and update the form fields with defaults", formDefaults))),
		tool("test_elicitation_sep1330_enums", "Asks with choices", noArguments,
			asks("Elicitation completed: ", form("Please choose", formEnums))),
		tool("test_streaming_elicitation", "Asks the user to go on", noArguments,
			asks("Elicitation completed: ", form("Please confirm", formOK, "ok"))),
		tool("test_sampling", "Asks the client's model",
			`{"type":"object","properties":{"prompt":{"type":"string"}},"required":["prompt"]}`, sample),
		tool("test_missing_capability", "Asks the client's model", noArguments, sample),
		tool("test_input_required_result_elicitation", "Asks for a name", noArguments, askName),
		tool("test_input_required_result_sampling", "Asks for a capital", noArguments, sampleCapital),
		tool("test_input_required_result_list_roots", "Asks for the roots", noArguments, listRoots),
		tool("test_input_required_result_multiple_inputs", "Asks for three things at once", noArguments, seal.askThree),
		tool("test_input_required_result_request_state", "Asks, and checks its own state", noArguments, seal.confirm),
		tool("test_input_required_result_tampered_state", "Asks, and checks its own state", noArguments, seal.confirm),
		tool("test_input_required_result_multi_round", "Asks twice", noArguments, seal.askTwice),
		tool("test_input_required_result_capabilities", "Asks what the client can answer", noArguments, askWhatItCan),
	}
}

// form is a question to the user for the given properties, a JSON object.
func form(message, properties string, required ...string) mcp.ElicitationParams {
	schema := map[string]any{"type": "object", "properties": json.RawMessage(properties)}
	if len(required) > 0 {
		schema["required"] = required
	}
	return mcp.ElicitationParams{Message: message, RequestedSchema: schema}
}

// prompting is a question to the client's model.
func prompting(text string, maxTokens int) mcp.CreateMessageParams {
	return mcp.CreateMessageParams{
		Messages:  []mcp.SamplingMessage{{Role: mcp.RoleUser, Content: mcp.NewTextContent(text)}},
		MaxTokens: maxTokens,
	}
}

// asks answers with the user's answer to one question.
func asks(before string, question mcp.ElicitationParams) server.ToolHandlerFunc {
	const id = "answer"
	return func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		answer := server.ElicitationResponse(r.Params.InputResponses, id)
		if answer == nil {
			return server.NewInputRequestBuilder("").Elicit(id, question).ToolResult(), nil
		}
		content, err := json.Marshal(answer.Content)
		if err != nil {
			return nil, err
		}
		return mcp.NewToolResultText(fmt.Sprintf("%saction=%s, content=%s", before, answer.Action, content)), nil
	}
}

func elicit(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return asks("User response: ", form(r.GetString("message", "Who are you?"), formUser, "username", "email"))(ctx, r)
}

func sample(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	const id = "answer"
	if answer := server.SamplingResponse(r.Params.InputResponses, id); answer != nil {
		return mcp.NewToolResultText(fmt.Sprint("LLM response: ", answer.Content)), nil
	}
	return server.NewInputRequestBuilder("").Sample(id, prompting(r.GetString("prompt", "Hello"), 100)).ToolResult(), nil
}

func askName(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	const id = "user_name"
	name, ok := field(r, id, "name")
	if !ok {
		return server.NewInputRequestBuilder("").Elicit(id, form("What is your name?", formName, "name")).ToolResult(), nil
	}
	return mcp.NewToolResultText("Hello, " + name + "!"), nil
}

// field is one string of the user's answer.
func field(r mcp.CallToolRequest, id, name string) (string, bool) {
	answer := server.ElicitationResponse(r.Params.InputResponses, id)
	if answer == nil {
		return "", false
	}
	content, _ := answer.Content.(map[string]any)
	value, ok := content[name].(string)
	return value, ok
}

func sampleCapital(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	const id = "capital_question"
	answer := server.SamplingResponse(r.Params.InputResponses, id)
	if answer == nil {
		return server.NewInputRequestBuilder("").Sample(id, prompting("What is the capital of France?", 100)).ToolResult(), nil
	}
	return mcp.NewToolResultText(fmt.Sprint(answer.Content)), nil
}

func listRoots(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	const id = "client_roots"
	answer := server.RootsResponse(r.Params.InputResponses, id)
	if answer == nil {
		return server.NewInputRequestBuilder("").Roots(id).ToolResult(), nil
	}
	return mcp.NewToolResultText(fmt.Sprint("Roots: ", answer.Roots)), nil
}

// askWhatItCan asks the user, or the client's model if there is no way to the user.
func askWhatItCan(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	if len(r.Params.InputResponses) > 0 {
		return mcp.NewToolResultText("done"), nil
	}
	ask := server.NewInputRequestBuilder("")
	session, _ := server.ClientSessionFromContext(ctx).(server.SessionWithClientInfo)
	if session != nil && session.GetClientCapabilities().Elicitation != nil {
		ask.Elicit("user_name", form("What is your name?", formName, "name"))
	} else {
		ask.Sample("greeting", prompting("Generate a greeting", 50))
	}
	return ask.ToolResult(), nil
}

// seal protects the state that a client hands back. It belongs to one process.
type seal struct{ key []byte }

func newSeal() seal {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: https://pkg.go.dev/crypto/rand#Read
	return seal{key}
}

// close is the state with its seal.
func (s seal) close(state string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(state))
	return state + "." + hex.EncodeToString(mac.Sum(nil))
}

var errState = errors.New("requestState: not what this server gave out")

// open is the state that was handed back, "" at the first call.
func (s seal) open(r mcp.CallToolRequest) (string, error) {
	sealed := r.Params.RequestState
	state, _, _ := strings.Cut(sealed, ".")
	if sealed != "" && !hmac.Equal([]byte(sealed), []byte(s.close(state))) {
		return "", errState
	}
	return state, nil
}

func (s seal) confirm(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	state, err := s.open(r)
	if err != nil {
		return nil, err
	}
	if state == "" || server.ElicitationResponse(r.Params.InputResponses, "confirm") == nil {
		return server.NewInputRequestBuilder(s.close("asked")).Elicit("confirm", form("Please confirm", formOK, "ok")).ToolResult(), nil
	}
	return mcp.NewToolResultText("state-ok"), nil
}

func (s seal) askTwice(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	state, err := s.open(r)
	if err != nil {
		return nil, err
	}
	name, named := field(r, "step1", "name")
	colour, coloured := field(r, "step2", "color")
	switch {
	case coloured && strings.HasPrefix(state, "name:"):
		return mcp.NewToolResultText(fmt.Sprintf("%s likes %s", strings.TrimPrefix(state, "name:"), colour)), nil
	case named && state == "asked":
		return server.NewInputRequestBuilder(s.close("name:"+strings.ReplaceAll(name, ".", ""))).
			Elicit("step2", form("Step 2: What is your favorite color?", `{"color":{"type":"string"}}`, "color")).ToolResult(), nil
	}
	return server.NewInputRequestBuilder(s.close("asked")).
		Elicit("step1", form("Step 1: What is your name?", formName, "name")).ToolResult(), nil
}

func (s seal) askThree(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	if _, err := s.open(r); err != nil {
		return nil, err
	}
	answers := r.Params.InputResponses
	name, named := field(r, "user_name", "name")
	greeting, roots := server.SamplingResponse(answers, "greeting"), server.RootsResponse(answers, "client_roots")
	if !named || greeting == nil || roots == nil {
		return server.NewInputRequestBuilder(s.close("asked")).
			Elicit("user_name", form("What is your name?", formName, "name")).
			Sample("greeting", prompting("Generate a greeting", 50)).
			Roots("client_roots").ToolResult(), nil
	}
	return mcp.NewToolResultText(fmt.Sprintf("%v, %s: %d roots", greeting.Content, name, len(roots.Roots))), nil
}
