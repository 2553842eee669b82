package ollama_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// words checks answers byte for byte, for want of error codes in Ollama. It is part of TestContract.
func words(t *testing.T, url string, isReal bool) {
	tests := wordsOfAll
	if !isReal {
		tests = append(slices.Clone(tests), wordsOf34...)
	}
	for _, test := range tests {
		status, body := raw(t, test.method, url+test.path, test.body)
		if status != test.status || body != test.want {
			t.Errorf("%s: %s %s %s: got %d %s, want %d %s", test.name, test.method, test.path, test.body, status, body, test.status, test.want)
		}
	}
}

type wordsTest struct {
	name, method, path, body string
	status                   int
	want                     string
}

// wordsOf34 is what v0.34.4 answers (server/routes.go, writeModelRefParseError) and v0.17.4 does not: there it was 404, 400
// or 500, by route.
var wordsOf34 = []wordsTest{
	{"generate, wrong name", "POST", "/api/generate", `{"model":"a b"}`, 400, `{"error":"invalid model name"}`},
	{"chat, wrong name", "POST", "/api/chat", `{"model":"a b"}`, 400, `{"error":"invalid model name"}`},
	{"embed, wrong name", "POST", "/api/embed", `{"model":"a b"}`, 400, `{"error":"invalid model name"}`},
	{"show, wrong name", "POST", "/api/show", `{"model":"a b"}`, 400, `{"error":"invalid model name"}`},
	{"quantize", "POST", "/api/create", `{"model":"m","from":"tiny","quantize":"q4_K_M"}`, 400,
		`{"error":"create-time quantization is only supported for safetensors imports; quantize GGUF models with llama.cpp tools before importing"}`},
	{"embed, no model", "POST", "/api/embed", `{}`, 404, `{"error":"model '' not found"}`},
}

var wordsOfAll = []wordsTest{
	{"unknown route", "GET", "/api/nope", "", 404, "404 page not found"},
	{"wrong verb", "GET", "/api/generate", "", 405, "405 method not allowed"},
	{"no body", "POST", "/api/generate", "", 400, `{"error":"missing request body"}`},
	{"generate, missing", "POST", "/api/generate", `{"model":"x"}`, 404, `{"error":"model 'x' not found"}`},
	{"generate, no model", "POST", "/api/generate", `{}`, 404, `{"error":"model '' not found"}`},
	{"chat, no model", "POST", "/api/chat", `{}`, 400, `{"error":"model is required"}`},
	{"chat, missing", "POST", "/api/chat", `{"model":"x"}`, 404, `{"error":"model 'x' not found"}`},
	{"embed, missing", "POST", "/api/embed", `{"model":"x"}`, 404, `{"error":"model \"x\" not found, try pulling it first"}`},
	{"show, missing", "POST", "/api/show", `{"model":"x"}`, 404, `{"error":"model 'x' not found"}`},
	{"show, no model", "POST", "/api/show", `{}`, 400, `{"error":"model is required"}`},
	{"embedding model generates", "POST", "/api/generate", `{"model":"tiny-embed"}`, 400,
		`{"error":"\"tiny-embed\" does not support generate"}`},
	{"embedding model chats", "POST", "/api/chat", `{"model":"tiny-embed"}`, 400,
		`{"error":"\"tiny-embed\" does not support chat"}`},
	{"no thinking", "POST", "/api/generate", `{"model":"tiny","think":true}`, 400,
		`{"error":"\"tiny\" does not support thinking"}`},
	{"no tools", "POST", "/api/chat", `{"model":"plain","tools":[{"type":"function"}]}`, 400,
		`{"error":"registry.ollama.ai/library/plain:latest does not support tools"}`},
	{"no insert", "POST", "/api/generate", `{"model":"tiny","suffix":"x"}`, 400,
		`{"error":"registry.ollama.ai/library/tiny:latest does not support insert"}`},
	{"option type", "POST", "/api/generate", `{"model":"tiny","options":{"num_ctx":"x"}}`, 500,
		`{"error":"option \"num_ctx\" must be of type integer"}`},
	{"keep_alive without unit", "POST", "/api/generate", `{"model":"tiny","keep_alive":"300"}`, 400,
		`{"error":"time: missing unit in duration \"300\""}`},
	{"too long", "POST", "/api/generate",
		`{"model":"tiny","prompt":"one two three four five","truncate":false,"options":{"num_ctx":5}}`, 400,
		`{"error":"the input length exceeds the context length"}`},
	{"too long to embed", "POST", "/api/embed",
		`{"model":"tiny-embed","input":["one two three four five"],"truncate":false,"options":{"num_ctx":5}}`, 400,
		`{"error":"the input length exceeds the context length"}`},
	{"half a body", "POST", "/api/generate", `{`, 400, `{"error":"unexpected EOF"}`},
	{"format", "POST", "/api/generate", `{"model":"tiny","prompt":"x","format":"yaml"}`, 500,
		`{"error":"invalid format: \"\\\"yaml\\\"\"; expected \"json\" or a valid JSON Schema object"}`},
	{"float option", "POST", "/api/generate", `{"model":"tiny","options":{"unknown":"x","temperature":"1"}}`, 500,
		`{"error":"option \"temperature\" must be of type float32"}`},
	{"pull, wrong name", "POST", "/api/pull", `{"model":"a b"}`, 400, `{"error":"invalid model name"}`},
	{"pull, no body", "POST", "/api/pull", "", 400, `{"error":"missing request body"}`},
	{"push, no model", "POST", "/api/push", `{}`, 400, `{"error":"model is required"}`},
	{"create, nothing to make it of", "POST", "/api/create", `{"model":"m"}`, 400, `{"error":"neither 'from' or 'files' was specified"}`},
	{"create, wrong name", "POST", "/api/create", `{"model":"a b","from":"tiny"}`, 400, `{"error":"invalid model name"}`},
	{"create, wrong source", "POST", "/api/create", `{"model":"m","from":"a b"}`, 400, `{"error":"invalid model name"}`},
	{"copy, missing", "POST", "/api/copy", `{"source":"x","destination":"y"}`, 404, `{"error":"model \"x\" not found"}`},
	{"copy, wrong source", "POST", "/api/copy", `{"source":"a b","destination":"y"}`, 400, `{"error":"source \"a b\" is invalid"}`},
	{"copy, wrong destination", "POST", "/api/copy", `{"source":"tiny","destination":""}`, 400, `{"error":"destination \"\" is invalid"}`},
	{"copy onto itself", "POST", "/api/copy", `{"source":"tiny","destination":"TINY:latest"}`, 200, ""},
	{"delete, missing", "DELETE", "/api/delete", `{"model":"x"}`, 404, `{"error":"model 'x' not found"}`},
	{"delete, wrong name", "DELETE", "/api/delete", `{"model":"a b"}`, 400, `{"error":"name \"a b\" is invalid"}`},
	{"delete, wrong verb", "POST", "/api/delete", `{"model":"tiny"}`, 405, "405 method not allowed"},
	{"no input", "POST", "/api/embed", `{"model":"tiny-embed"}`, 200, `{"model":"tiny-embed","embeddings":[]}`},
	{"root", "GET", "/", "", 200, "Ollama is running"},
	{"input type", "POST", "/api/embed", `{"model":"tiny-embed","input":[1]}`, 400, `{"error":"invalid input type"}`},
}

// raw makes a request without the client.
func raw(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(limited(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s %s: %v", method, url, body, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s %s: reading: %v", method, url, body, err)
	}
	return resp.StatusCode, string(b)
}
