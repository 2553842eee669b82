package resources

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// shelf is models installed at different times, of which one is in use.
func shelf() ollamatest.Script {
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	return ollamatest.Script{Models: []ollamatest.FakeModel{
		{Name: "llama3.2:1b", ModifiedAt: day(1), Loaded: true},
		{Name: "llama3.2:3b", ModifiedAt: day(2)},
		{Name: "llava", ModifiedAt: day(4)},
		{Name: "nomic-embed-text", ModifiedAt: day(5), Capabilities: []string{"embedding"}},
		{Name: quant, ModifiedAt: day(3)},
	}}
}

func TestComplete(t *testing.T) {
	source, _, fake := start(t, shelf(), fleet.Options{})
	c := New(source, Options{Policy: rules(t)})
	tests := []struct {
		caller, ref, argument, value string
		want                         []string
	}{
		{"ann", "uri ollama://models/{+name}", "name", "", []string{"llama3.2:1b", "nomic-embed-text:latest", "llava:latest", "hf.co/a/b:q4_k_m", "llama3.2:3b"}},
		{"bob", "uri ollama://models/{+name}", "name", "", []string{"llama3.2:1b", "nomic-embed-text:latest", "llava:latest", "llama3.2:3b"}},
		{"ann", "uri ollama://models/{+name}", "name", "LLa", []string{"llama3.2:1b", "llava:latest", "llama3.2:3b"}},
		{"ann", "uri ollama://models/{+name}", "name", "llama3.2:", []string{"llama3.2:1b", "llama3.2:3b"}},
		{"ann", "uri ollama://models/{+name}", "other", "", []string{}},
		{"dora", "uri ollama://models/{+name}", "name", "", []string{}},
		{"dora", "uri ollama://jobs/{id}", "id", "j", []string{}},
		{"dora", "name second_opinion", "model", "hf", []string{"hf.co/a/b:q4_k_m"}},
		{"ann", "uri ollama://jobs/{id}", "id", "j", []string{"j1", "J2"}},
		{"ann", "uri ollama://nothing/{id}", "id", "j", []string{}},
		{"ann", "name second_opinion", "model", "n", []string{}}, // it cannot answer a prompt
		{"ann", "name second_opinion", "model", "hf", []string{"hf.co/a/b:q4_k_m"}},
		{"bob", "name second_opinion", "model", "hf", []string{}},
		{"carl", "name second_opinion", "model", "", []string{}},
		{"ann", "name second_opinion", "question", "w", []string{}},
		{"ann", "name compare_models", "models", "llama3.2:1b, llama", []string{"llama3.2:1b,llama3.2:3b"}},
		{"ann", "name compare_models", "models", "LLaVA, llava", []string{}}, // it is there already
		{"ann", "name summarize", "length", "ONE ", []string{"one sentence", "one paragraph", "one page"}},
		{"ann", "name pick_model", "memory", "6", []string{"64 GB"}},
	}
	ref := map[string]string{"uri": "ref/resource", "name": "ref/prompt"}
	for _, tt := range tests {
		key, value, _ := strings.Cut(tt.ref, " ")
		params := fmt.Sprintf(`{"ref":{"type":%q,%q:%q},"argument":{"name":%q,"value":%q}}`, ref[key], key, value, tt.argument, tt.value)
		result, failed := ask(t, c, tt.caller, "completion/complete", params)
		var got mcp.CompleteResult
		if err := json.Unmarshal(result, &got); failed != nil || err != nil {
			t.Fatalf("%s completes %s = %s, %+v, %v", tt.caller, params, result, failed, err)
		}
		if diff := cmp.Diff(tt.want, got.Completion.Values); diff != "" {
			t.Errorf("%s completes %s (-want +got):\n%s", tt.caller, params, diff)
		}
	}
	fake.Close()
	if got := c.modelNames(t.Context(), showTool, "", ""); len(got) != 0 {
		t.Errorf("completions without Ollama = %q, want none", got)
	}
}

func TestCompletionsAreBounded(t *testing.T) {
	if got := completion(make([]string, 101)); len(got.Values) != 100 || got.Total != 101 || !got.HasMore {
		t.Errorf("completion(101 values) = %d of %d, more %v, want 100 of 101 and more", len(got.Values), got.Total, got.HasMore)
	}
}

func TestPrompts(t *testing.T) {
	source, _, _ := start(t, shelf(), fleet.Options{})
	c := New(source, Options{Policy: rules(t)})
	tests := []struct {
		caller, name, arguments string
		want                    string // in the text
		wrong                   string // in the error
	}{
		{"ann", "second_opinion", `{"question":"Why?","model":"llama3.2:3b"}`, "generate with model set to llama3.2:3b;", ""},
		{"ann", "second_opinion", `{"question":"Why?"}`, "Call the tool generate; its prompt", ""},
		{"ann", "second_opinion", `{}`, "", "needs the argument question"},
		{"ann", "second_opinion", `{"question":"Why?","modle":"x"}`, "", `no argument "modle"; it has question, model`},
		{"ann", "second_opinion", `{"question":"Why?","model":"a b"}`, "", "not the name of a model"},
		{"bob", "second_opinion", `{"question":"Why?","model":"hf.co/a/b:q4_k_m"}`, "", "no model hf.co/a/b:q4_k_m that you may use"},
		{"ann", "summarize", `{"text":"Long."}`, "in five bullet points", ""},
		{"ann", "summarize", `{"text":"Long.","length":"one page"}`, "in one page", ""},
		{"ann", "extract", `{"text":"Ann is 5.","schema":"{\"type\":\"object\"}"}`, "<schema>\n{\"type\":\"object\"}\n</schema>", ""},
		{"ann", "extract", `{"text":"Ann is 5.","schema":"[]"}`, "", "schema is not a JSON object"},
		{"ann", "extract", `{"text":"Ann is 5.","schema":"null"}`, "", "schema is not a JSON object"},
		{"ann", "compare_models", `{"prompt":"Why?","models":"llava , llama3.2:1b"}`, `generate once, with models set to ["llava","llama3.2:1b"],`, ""},
		{"ann", "compare_models", `{"prompt":"Why?","models":"llava,LLaVA:latest"}`, "", "models names llava:latest twice"},
		{"ann", "compare_models", `{"prompt":"Why?","models":"llava"}`, "", "names 1, and two to four"},
		{"ann", "compare_models", `{"prompt":"Why?"}`, "list_models", ""},
		{"ann", "pick_model", `{"task":"code"}`, "| hf.co/a/b:q4_k_m |", ""},
		{"bob", "pick_model", `{"task":"code","memory":"8 GB"}`, "| llama3.2:1b | 121K | unknown | 0.5 MB | 2048 | completion, tools | yes |\n| llama3.2:3b", ""},
	}
	for _, tt := range tests {
		result, failed := ask(t, c, tt.caller, "prompts/get", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tt.name, tt.arguments))
		if tt.wrong != "" {
			if failed == nil || failed.code != mcp.INVALID_PARAMS || !strings.Contains(failed.message, tt.wrong) {
				t.Errorf("%s gets %s %s = %s, %+v, want %d %s", tt.caller, tt.name, tt.arguments, result, failed, mcp.INVALID_PARAMS, tt.wrong)
			}
			continue
		}
		var got struct {
			Messages []struct{ Content mcp.TextContent }
		}
		if err := json.Unmarshal(result, &got); failed != nil || err != nil || len(got.Messages) != 1 || !strings.Contains(got.Messages[0].Content.Text, tt.want) {
			t.Errorf("%s gets %s %s = %s, %+v, want %q in one message", tt.caller, tt.name, tt.arguments, result, failed, tt.want)
		}
	}
}

// A size is said as the tools say it, and of a model on ollama.com there is none.
func TestSizes(t *testing.T) {
	source, _, _ := start(t, ollamatest.Script{Models: []ollamatest.FakeModel{
		{Name: "big", Size: 42e8}, {Name: "small", Size: 42e6}, {Name: "far:cloud", Size: 384, RemoteModel: "far", RemoteHost: "https://ollama.com:443"},
	}}, fleet.Options{})
	c := New(source, Options{})
	var list mcp.ListResourcesResult
	c.list(t.Context(), nil, nil, &list)
	text, err := pickModel().write(t.Context(), c, map[string]string{"task": "code"})
	if err != nil || len(list.Resources) != 3 {
		t.Fatalf("resources/list = %+v, pick_model: %v; want 3 models", list.Resources, err)
	}
	for i, want := range []string{"4.2 GB", "runs on ollama.com", "42.0 MB"} {
		r := list.Resources[i]
		if on := map[bool]string{true: " on disk"}[i != 1]; r.Description != "121K unknown, "+want+on {
			t.Errorf("the resource %s says %q, want %q", r.URI, r.Description, want+on)
		}
		if row := fmt.Sprintf("| %s | 121K | unknown | %s | ", r.Name, want); !strings.Contains(text, row) {
			t.Errorf("pick_model says %s, want %q in it", text, row)
		}
	}
}

// Who may not use the tool that a prompt asks for does not see the prompt.
func TestPromptsToBeSeen(t *testing.T) {
	source, _, _ := start(t, shelf(), fleet.Options{})
	tests := []struct {
		caller  string
		offered []string
		want    int
	}{
		{"ann", nil, 5},
		{"carl", nil, 1},
		{"nobody", nil, 0},
		{"ann", []string{listTool}, 1},
		{"ann", []string{generateTool}, 3}, // not those that list_models is needed for
		{"ann", []string{showTool}, 0},
		{"carl", []string{generateTool}, 0},
	}
	for _, tt := range tests {
		c := New(source, Options{Policy: rules(t), Tools: tt.offered})
		result, _ := ask(t, c, tt.caller, "prompts/list", `{}`)
		if got := strings.Count(string(result), `"title"`); got != tt.want {
			t.Errorf("prompts/list of %s, with %q offered, has %d prompts, want %d: %s", tt.caller, tt.offered, got, tt.want, result)
		}
	}
}
