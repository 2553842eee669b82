package tools

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

func TestErrorsTellWhatToDoNext(t *testing.T) {
	png := base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n…"))
	two := []ollamatest.FakeModel{{Name: "one"}, {Name: "two"}}
	tests := []struct {
		name, tool, args string
		script           ollamatest.Script
		options          fleet.Options
		kind             string
		words            []string // parts of what the model reads
	}{
		{name: "all arguments at once", tool: "generate", args: `{"promt":"x","think":"max","Model":"m"}`, kind: InvalidArguments,
			words: []string{`did you mean "prompt"`, "think", `"Model"`}},
		{name: "no models", tool: "generate", args: `{"prompt":"x"}`, script: ollamatest.Script{Models: []ollamatest.FakeModel{}}, kind: kindNoModel, words: []string{"no models are installed", "ollama pull"}},
		{name: "which model", tool: "generate", args: `{"prompt":"x"}`, script: ollamatest.Script{Models: two}, kind: kindNoModel, words: []string{"one:latest, two:latest"}},
		{name: "no embedding model", tool: "embed", args: `{"input":["x"]}`, script: ollamatest.Script{Models: two}, kind: kindNoModel, words: []string{"embedding", "list_models"}},
		{name: "missing model", tool: "chat", args: `{"model":"tinny","messages":[{"role":"user"}]}`, kind: string(ollama.MissingModel), words: []string{"did you mean tiny?", "ollama pull tinny", "tiny-embed"}},
		{name: "missing model to load", tool: "load", args: `{"model":"tinny"}`, kind: string(ollama.MissingModel), words: []string{"did you mean tiny?"}},
		{name: "missing model to unload", tool: "unload", args: `{"model":"tinny"}`, kind: string(ollama.MissingModel), words: []string{"did you mean tiny?"}},
		{name: "not a name", tool: "load", args: `{"model":"http://x/y"}`, kind: InvalidArguments, words: []string{"not the name of a model"}},
		{name: "down", tool: "list_models", args: `{}`, script: ollamatest.Script{Faults: map[string]ollamatest.Fault{"": ollamatest.Down()}}, kind: string(ollama.Unreachable), words: []string{"ollama.invalid:11434", "OLLAMA_HOST", "ollama serve"}},
		{name: "not Ollama", tool: "list_models", args: `{}`, script: ollamatest.Script{Faults: map[string]ollamatest.Fault{"": ollamatest.NotHTTP()}}, kind: string(ollama.NotOllama), words: []string{"not Ollama", "ollama.invalid:11434"}},
		{name: "too long", tool: "generate", args: `{"prompt":"` + strings.Repeat("word ", 3000) + `"}`, kind: string(ollama.TooLong), words: []string{"3000 tokens", "2048 tokens", "truncate"}},
		{name: "a pinned num_ctx", tool: "load", args: `{"model":"tiny","num_ctx":512}`, options: fleet.Options{Pins: map[ollama.Name]fleet.Pin{ollamatest.TinyModel: {Options: &ollama.Options{NumCtx: new(1024)}}}}, kind: InvalidArguments, words: []string{"pinned num_ctx of tiny to 1024", "without it"}},
		{name: "a zero vector", tool: "embed", args: `{"input":["a","b"]}`, script: ollamatest.Script{Vector: func(s string) []float32 { return make([]float32, 64) }}, kind: kindBadVector, words: []string{"input[0]"}},
		{name: "an image by path", tool: "generate", args: `{"prompt":"x","images":["/etc/passwd"]}`, kind: InvalidArguments, words: []string{"images[0]", "paths"}},
		{name: "an image for a blind model", tool: "chat", args: `{"messages":[{"role":"user","images":["` + png + `"]}]}`, kind: string(ollama.Unsupported), words: []string{"images", "list_models"}},
		{name: "an empty prompt", tool: "generate", args: `{"prompt":""}`, kind: InvalidArguments, words: []string{"prompt"}},
		{name: "an image that is none", tool: "chat", args: `{"messages":[{"role":"user","images":["` + png + `","aGVsbG8="]}]}`, kind: InvalidArguments, words: []string{"messages[0].images[1]"}},
		{name: "keep_alive", tool: "generate", args: `{"prompt":"x","keep_alive":"300"}`, kind: InvalidArguments, words: []string{"10m"}},
		{name: "keep_alive 0 to load", tool: "load", args: `{"model":"tiny","keep_alive":"0s"}`, kind: InvalidArguments, words: []string{"unload"}},
		{name: "a schema that is none", tool: "generate", args: `{"prompt":"x","schema":{"type":"nothing"}}`, kind: InvalidArguments, words: []string{"JSON Schema"}},
		{name: "cloud", tool: "generate", args: `{"prompt":"x","model":"big:cloud"}`, options: fleet.Options{NoCloud: true}, kind: kindCloud, words: []string{"ollama.com", "--no-cloud"}},
		{name: "no such job", tool: "jobs", args: `{"id":"x"}`, kind: kindNoJob, words: []string{"expired", "ended with the server", "not yours", "again"}},
		{name: "no such job to cancel", tool: "cancel_job", args: `{"id":"x"}`, kind: kindNoJob, words: []string{"no such job"}},
		{name: "a wait for no job", tool: "jobs", args: `{"wait":1}`, kind: InvalidArguments, words: []string{"id"}},
		{name: "a state of one job", tool: "jobs", args: `{"id":"x","state":"done"}`, kind: InvalidArguments, words: []string{"list"}},
		{name: "a negative wait", tool: "load", args: `{"model":"tiny","wait":-1}`, kind: InvalidArguments, words: []string{"wait", "0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onFake(t, tt.script, tt.options, func(b *bench) {
				r := b.call(b.t.Context(), tt.tool, tt.args)
				if r.error == nil || r.error.Kind != tt.kind {
					t.Fatalf("%s(%.80s): got %+v, want kind %s", tt.tool, tt.args, r.error, tt.kind)
				}
				for _, w := range tt.words {
					if !strings.Contains(r.content[0], w) {
						t.Errorf("%s(%.80s): %q lacks %q", tt.tool, tt.args, r.content[0], w)
					}
				}
			})
		})
	}
}

// A hint is about the tool that was called.
func TestHintsFitTheTool(t *testing.T) {
	refuses := func(path, words string) ollamatest.Script {
		loaded := []ollamatest.FakeModel{{Name: "tiny", Loaded: true}, {Name: "tiny-embed", Capabilities: []string{"embedding"}, Loaded: true}}
		return ollamatest.Script{Models: loaded, Faults: map[string]ollamatest.Fault{path: ollamatest.Status("refused", 400, "application/json", `{"error":"`+words+`"}`, ollama.Invalid)}}
	}
	tests := []struct {
		tool, args string
		script     ollamatest.Script
		says       []string
		not        string
	}{
		{"delete", `{"model":"tinny"}`, ollamatest.Script{}, []string{"did you mean tiny?", "list_models", "Installed: "}, "pull"},
		{"unload", `{"model":"tinny"}`, ollamatest.Script{}, []string{"did you mean tiny?", "list_models", "Installed: "}, "pull"},
		{"push", `{"model":"tinny"}`, ollamatest.Script{}, []string{"did you mean tiny?", "list_models", "Installed: "}, "pull"},
		{"create", `{"model":"made","from":"tiny","quantize":"q4_K_M"}`, ollamatest.Script{}, []string{"tiny:latest cannot", "quantization", "Leave quantize out, if it is set", "F16"}, "made"},
		{"create", `{"model":"made","from":"tiny"}`, refuses("/api/create", "template error"), []string{"template error", "Correct the argument"}, "schema"},
		{"embed", `{"model":"tiny-embed","input":["x"]}`, refuses("/api/embed", "no such option"), []string{"Correct the argument"}, "schema"},
		{"generate", `{"model":"tiny","prompt":"x","options":{"seed":1}}`, refuses("/api/generate", "invalid options"), []string{"Correct the argument", "schema"}, "pull"},
		{"pull", `{"model":"hf.co/repo:Q4_K_M"}`, ollamatest.Script{}, []string{"not the name of a model", "hf.co/user/repo:quant"}, "list_models"},
		{"pull", `{"model":"https://huggingface.co/user/repo"}`, ollamatest.Script{}, []string{"it is a URL", "hf.co/user/repo:quant"}, "list_models"},
		{"pull", `{"model":"hf.co/user/repo:nope"}`, refuses("/api/pull", "pull model manifest: 400: the tag is not there"), []string{"hf.co/user/repo:quant"}, "argument"},
		{"load", `{"model":"tiny","keep_alive":"300"}`, ollamatest.Script{}, []string{"not a duration", "10m"}, "0 unloads"},
	}
	for _, tt := range tests {
		onFake(t, tt.script, fleet.Options{}, func(b *bench) {
			r := b.call(b.t.Context(), tt.tool, tt.args)
			if r.error == nil {
				t.Fatalf("%s(%s) succeeds", tt.tool, tt.args)
			}
			for _, w := range tt.says {
				if !strings.Contains(r.content[0], w) {
					t.Errorf("%s(%s): %q lacks %q", tt.tool, tt.args, r.content[0], w)
				}
			}
			if strings.Contains(r.content[0], tt.not) {
				t.Errorf("%s(%s): %q speaks of %q", tt.tool, tt.args, r.content[0], tt.not)
			}
		})
	}
}

// What helps against a text that is too long depends on the call, the model and the operator.
func TestTooLongSaysWhatHelps(t *testing.T) {
	long := strings.Repeat("word ", 3000)
	pinned := fleet.Options{Pins: map[ollama.Name]fleet.Pin{"m:latest": {Options: &ollama.Options{NumCtx: new(512)}}}}
	free := pinned
	free.AllowNumCtx = true
	const shorter, cut, raise = "Shorten it", ", or set truncate to true and lose part of it", ", or set a higher options.num_ctx"
	tests := []struct {
		name, tool, args string
		model            ollamatest.FakeModel
		options          fleet.Options
		want             string
	}{
		{name: "a model for more", tool: "generate", args: `{"prompt":"` + long + `","options":{"num_ctx":512}}`, want: shorter + cut + raise},
		{name: "the same, loaded", tool: "chat", args: `{"messages":[{"role":"user","content":"` + long + `"}],"options":{"num_ctx":512}}`, model: ollamatest.FakeModel{Loaded: true}, want: shorter + cut + raise},
		{name: "Ollama counts", tool: "generate", args: `{"prompt":"` + strings.Repeat("? ", 600) + `","options":{"num_ctx":512}}`, want: shorter + cut + raise},
		{name: "all that the model can", tool: "generate", args: `{"prompt":"` + long + `"}`, want: shorter + cut},
		{name: "pinned", tool: "generate", args: `{"prompt":"` + long + `"}`, options: pinned, want: shorter + cut},
		{name: "pinned, and free", tool: "generate", args: `{"prompt":"` + long + `"}`, options: free, want: shorter + cut + raise},
		{name: "cut already", tool: "generate", args: `{"prompt":"` + strings.Repeat(long, 20) + `","truncate":true,"options":{"num_ctx":512}}`, want: shorter + raise},
		{name: "cut already, and no more to have", tool: "generate", args: `{"prompt":"` + strings.Repeat(long, 20) + `","truncate":true}`, want: shorter},
		{name: "an embedding", tool: "embed", args: `{"input":["` + long + `"],"model":"m"}`, want: shorter + cut},
		{name: "a model on ollama.com", tool: "generate", args: `{"prompt":"` + long + `"}`, model: ollamatest.FakeModel{RemoteHost: "https://ollama.com:443", RemoteModel: "m"}, want: shorter + cut},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.model.Name = "m"
			onFake(t, ollamatest.Script{Models: []ollamatest.FakeModel{tt.model}}, tt.options, func(b *bench) {
				r := b.call(b.t.Context(), tt.tool, tt.args)
				if r.error == nil || r.error.Kind != string(ollama.TooLong) || r.error.Hint != tt.want {
					t.Errorf("%s(%.80s): got %+v, want the hint %q", tt.tool, tt.args, r.error, tt.want)
				}
			})
		})
	}
}

// Logs have kinds and times, and nothing of what callers and models say.
// Where nobody can say which models the caller may see, none is named.
func TestMissingModelSeenByNobody(t *testing.T) {
	err := &fleet.Error{Model: "tinny:latest", Address: "a", Installed: []ollama.Name{"tiny:latest"}, Err: &ollama.Error{Kind: ollama.MissingModel}}
	p := problem(err, "r1", nil)
	if p.Kind != string(ollama.MissingModel) || strings.Contains(p.sentence(), "tiny") {
		t.Errorf("problem(%v) for nobody = %+v, want kind %s and no model named that is installed", err, p, ollama.MissingModel)
	}
}

func TestLogsKeepSecrets(t *testing.T) {
	onFake(t, ollamatest.Script{Tokens: []string{"hunter2"}}, fleet.Options{}, func(b *bench) {
		var log bytes.Buffer
		for i := range b.set {
			b.set[i].log = zerolog.New(&log)
		}
		b.call(b.t.Context(), "generate", `{"prompt":"hunter2"}`)
		b.call(b.t.Context(), "generate", `{"prompt":"hunter2","think":"hunter2"}`)
		b.call(b.t.Context(), "embed", `{"input":["hunter2"],"model":"tiny","dimensions":-7,"keep_alive":"hunter2"}`)
		if n := strings.Count(log.String(), "\n"); n != 3 || strings.Contains(log.String(), "hunter2") {
			t.Errorf("3 calls logged %d lines: %s", n, log.String())
		}
		if !json.Valid([]byte(strings.SplitN(log.String(), "\n", 2)[0])) {
			t.Errorf("the log is not JSON: %s", log.String())
		}
	})
}
