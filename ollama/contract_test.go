package ollama_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// TestContract says what the client, and the whole product, expect of an Ollama. It runs against the real one and the
// fake, so that the fake cannot drift: where they differ, the fake is wrong.
func TestContract(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		f := ollamatest.NewFake(ollamatest.Script{
			Models:     append(ollamatest.DefaultModels(), ollamatest.FakeModel{Name: string(plain), Capabilities: []string{"completion"}}),
			TokenCount: 300,
			TokenDelay: time.Millisecond,
		})
		contract(t, client(t, f), false)
		words(t, f.URL, false)
	})
	t.Run("real", func(t *testing.T) {
		r := ollamatest.NewReal(t)
		h, err := ollama.ParseHost(r.URL)
		if err != nil {
			t.Fatalf("ParseHost(%q): %v", r.URL, err)
		}
		status, body := raw(t, "POST", r.URL+"/api/create", `{"model":"plain","from":"tiny","template":"{{ .Prompt }}","stream":false}`)
		if status != http.StatusOK {
			t.Fatalf("create %s: %d %s", plain, status, body)
		}
		c := ollama.NewClient(ollama.ClientOptions{Host: h})
		t.Cleanup(c.Close)
		contract(t, c, true)
		words(t, r.URL, true)
	})
}

// plain generates and knows no tools.
const plain = ollama.Name("plain:latest")

func contract(t *testing.T, c *ollama.Client, isReal bool) {
	for _, part := range []struct {
		name string
		// since is where the fake is ahead of the real Ollama that tests can build, 0.17.4; it names the version.
		since string
		test  func(*testing.T, context.Context, *ollama.Client)
	}{
		{"nothing loaded", "", nothingLoaded},
		{"version", "", versionIsSet},
		{"tags", "", tagsList},
		{"tags capabilities", "0.30.0: https://github.com/ollama/ollama/releases/tag/v0.30.0", tagsCapabilities},
		{"show", "", showTells},
		{"load and unload", "", loadAndUnload},
		{"embedding model loads by embed", "", embeddingModelLoads},
		{"generate", "", generateStreams},
		{"cached tokens", "0.34.0: https://github.com/ollama/ollama/releases/tag/v0.34.0", cachedCount},
		{"chat", "", chatStreams},
		{"num_predict", "", numPredictEnds},
		{"tools", "", toolsAreTaken},
		{"schema", "", schemaHolds},
		{"embed", "", embedThree},
		{"dimensions", "", embedDimensions},
		{"prompt cut", "", promptIsCut},
		{"spellings", "", spellings},
		{"cancel", "", cancelFrees},
		{"refusals", "", refusals},
	} {
		if part.since != "" && isReal {
			continue // the real one is too old
		}
		t.Run(part.name, func(t *testing.T) {
			part.test(t, limited(t), c)
		})
	}
}

func ptr[T any](v T) *T { return &v }

// options are those of every generation here, so that no part makes another's model reload.
func options(predict int) *ollama.Options {
	return &ollama.Options{NumPredict: &predict, Seed: ptr(1)}
}

func user(text string) []ollama.Message { return []ollama.Message{{Role: "user", Content: text}} }

// finish reads a stream that must end well.
func finish(t *testing.T, what string, stream func(func(ollama.Chunk, error) bool)) (text string, tokens int, done ollama.Done) {
	t.Helper()
	ended := false
	for chunk, err := range stream {
		switch {
		case err != nil:
			t.Fatalf("%s: %v", what, err)
		case ended:
			t.Fatalf("%s: got %+v after done", what, chunk)
		}
		text += chunk.Text
		tokens += chunk.Tokens
		if chunk.Done != nil {
			ended, done = true, *chunk.Done
		}
	}
	if !ended {
		t.Fatalf("%s: ended without done", what)
	}
	return text, tokens, done
}

func nothingLoaded(t *testing.T, ctx context.Context, c *ollama.Client) {
	if got, err := c.PS(ctx); err != nil || len(got) != 0 {
		t.Errorf("PS: got %v, %v; want none", got, err)
	}
}

func versionIsSet(t *testing.T, ctx context.Context, c *ollama.Client) {
	if v, err := c.Version(ctx); err != nil || strings.Count(v, ".") != 2 {
		t.Errorf("Version: got %q, %v; want one of three parts", v, err)
	}
}

func tagsList(t *testing.T, ctx context.Context, c *ollama.Client) {
	models, err := c.Tags(ctx)
	if err != nil {
		t.Fatalf("Tags: %v", err)
	}
	var names []string
	for _, m := range models {
		names = append(names, m.Name)
		if m.Size == 0 || len(m.Digest) != 64 || m.ModifiedAt.IsZero() {
			t.Errorf("Tags: %s has size %d, digest %q, modified at %v; want all set", m.Name, m.Size, m.Digest, m.ModifiedAt)
		}
		want := ollama.Details{Format: "gguf", Family: "llama", Families: []string{"llama"}, QuantizationLevel: "unknown"}
		want.ParameterSize = m.Details.ParameterSize // the tiny model's business; the lengths are tagsCapabilities'
		want.ContextLength, want.EmbeddingLength = m.Details.ContextLength, m.Details.EmbeddingLength
		if diff := cmp.Diff(want, m.Details); diff != "" || want.ParameterSize == "" {
			t.Errorf("Tags: details of %s (-want +got):\n%s", m.Name, diff)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{string(plain), string(tinyEmbed), string(tiny)}, names); diff != "" {
		t.Errorf("Tags: names (-want +got):\n%s", diff)
	}
}

func tagsCapabilities(t *testing.T, ctx context.Context, c *ollama.Client) {
	models, err := c.Tags(ctx)
	if err != nil {
		t.Fatalf("Tags: %v", err)
	}
	for _, m := range models {
		if len(m.Capabilities) == 0 || m.Details.ContextLength == 0 || m.Details.EmbeddingLength == 0 {
			t.Errorf("Tags: got %+v, want capabilities, context_length and embedding_length", m)
		}
	}
}

func showTells(t *testing.T, ctx context.Context, c *ollama.Client) {
	for model, want := range map[ollama.Name][]string{tiny: {"completion", "tools"}, tinyEmbed: {"embedding"}} {
		got, err := c.Show(ctx, model)
		if err != nil {
			t.Errorf("Show(%s): %v", model, err)
			continue
		}
		if diff := cmp.Diff(want, got.Capabilities); diff != "" {
			t.Errorf("Show(%s): capabilities (-want +got):\n%s", model, diff)
		}
		for key, want := range map[string]string{
			"general.architecture": `"llama"`, "llama.context_length": "2048", "llama.embedding_length": "64",
		} {
			if string(got.ModelInfo[key]) != want {
				t.Errorf("Show(%s): model_info[%s] is %s, want %s", model, key, got.ModelInfo[key], want)
			}
		}
	}
}

func loadAndUnload(t *testing.T, ctx context.Context, c *ollama.Client) {
	if err := c.Load(ctx, tiny, false, "10m", &ollama.Options{NumCtx: ptr(512)}); err != nil {
		t.Fatalf("Load(%s): %v", tiny, err)
	}
	got, err := c.PS(ctx)
	if err != nil || len(got) != 1 {
		t.Fatalf("PS: got %v, %v; want one model", got, err)
	}
	left := time.Until(got[0].ExpiresAt)
	if got[0].Name != string(tiny) || got[0].ContextLength != 512 || got[0].Size == 0 || left < 5*time.Minute || left > 11*time.Minute {
		t.Errorf("PS: got %+v, want %s with a context of 512 for ten minutes", got[0], tiny)
	}
	unload(t, ctx, c, tiny)
	if err := c.Unload(ctx, tiny); err != nil {
		t.Errorf("Unload(%s), not loaded: %v", tiny, err)
	}
}

func embeddingModelLoads(t *testing.T, ctx context.Context, c *ollama.Client) {
	if err := c.Load(ctx, tinyEmbed, true, "", nil); err != nil {
		t.Fatalf("Load(%s): %v", tinyEmbed, err)
	}
	if got, err := c.PS(ctx); err != nil || len(got) != 1 || got[0].Name != string(tinyEmbed) {
		t.Errorf("PS: got %v, %v; want %s", got, err, tinyEmbed)
	}
	unload(t, ctx, c, tinyEmbed)
}

// unload waits until ps agrees: Ollama answers before it has unloaded.
func unload(t *testing.T, ctx context.Context, c *ollama.Client, model ollama.Name) {
	t.Helper()
	if err := c.Unload(ctx, model); err != nil {
		t.Fatalf("Unload(%s): %v", model, err)
	}
	// Not more often: Ollama 0.17.4 reads its map of models without a lock in ps, and dies
	// when that meets the end of the unload (server/routes.go, PsHandler).
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for ; ; <-pace.C {
		running, err := c.PS(ctx)
		if err != nil {
			t.Fatalf("PS after Unload(%s): %v", model, err)
		}
		if !slices.ContainsFunc(running, func(r ollama.Running) bool { return r.Name == string(model) }) {
			return
		}
	}
}

func generateStreams(t *testing.T, ctx context.Context, c *ollama.Client) {
	text, tokens, done := finish(t, "Generate", c.Generate(ctx, &ollama.GenerateRequest{
		Model: tiny, Prompt: "river stone", System: "sky", Options: options(32),
	}))
	if text == "" || tokens < 2 || done.PromptEvalCount < 3 || done.EvalCount != 32 || done.EvalDuration <= 0 ||
		done.TotalDuration < done.LoadDuration || done.PromptEvalDuration <= 0 {
		t.Errorf("Generate: got %q in %d lines, %+v; want 32 tokens and all counts and durations set", text, tokens, done)
	}
}

func cachedCount(t *testing.T, ctx context.Context, c *ollama.Client) {
	_, _, done := finish(t, "Generate", c.Generate(ctx, &ollama.GenerateRequest{Model: tiny, Prompt: "river", Options: options(2)}))
	if done.PromptCachedCount == nil {
		t.Errorf("Generate: got %+v, want prompt_eval_cached_count", done)
	}
}

func chatStreams(t *testing.T, ctx context.Context, c *ollama.Client) {
	text, _, done := finish(t, "Chat", c.Chat(ctx, &ollama.ChatRequest{Model: tiny, Messages: user("river stone"), Options: options(32)}))
	if text == "" || done.PromptEvalCount < 2 || done.EvalCount != 32 {
		t.Errorf("Chat: got %q, %+v; want 32 tokens", text, done)
	}
}

func numPredictEnds(t *testing.T, ctx context.Context, c *ollama.Client) {
	for what, stream := range map[string]func(func(ollama.Chunk, error) bool){
		"Generate": c.Generate(ctx, &ollama.GenerateRequest{Model: tiny, Prompt: "river", Options: options(5)}),
		"Chat":     c.Chat(ctx, &ollama.ChatRequest{Model: tiny, Messages: user("river"), Options: options(5)}),
	} {
		if _, _, done := finish(t, what, stream); done.Reason != "length" || done.EvalCount != 5 {
			t.Errorf("%s with num_predict 5: got %q after %d tokens, want length after 5", what, done.Reason, done.EvalCount)
		}
	}
}

func toolsAreTaken(t *testing.T, ctx context.Context, c *ollama.Client) {
	_, _, done := finish(t, "Chat with tools", c.Chat(ctx, &ollama.ChatRequest{
		Model: tiny, Messages: user("river"), Options: options(5),
		Tools: []ollama.Tool{{Type: "function", Function: ollama.ToolFunction{
			Name: "flow", Description: "how it flows", Parameters: json.RawMessage(`{"type":"object","properties":{"of":{"type":"string"}}}`),
		}}},
	}))
	if done.EvalCount == 0 {
		t.Errorf("Chat with tools: got %+v, want an answer", done)
	}
}

func schemaHolds(t *testing.T, ctx context.Context, c *ollama.Client) {
	schema := json.RawMessage(`{"type":"object","properties":{"word":{"type":"string"},"sure":{"type":"boolean"}},"required":["word","sure"]}`)
	text, _, done := finish(t, "Chat with a schema", c.Chat(ctx, &ollama.ChatRequest{
		Model: tiny, Messages: user("river"), Format: schema, Options: options(500),
	}))
	var got struct {
		Word *string
		Sure *bool
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Word == nil || got.Sure == nil || done.Reason != "stop" {
		t.Errorf("Chat with a schema: got %q, %s, %v; want word and sure", text, done.Reason, err)
	}
}

func embedThree(t *testing.T, ctx context.Context, c *ollama.Client) {
	got, err := c.Embed(ctx, &ollama.EmbedRequest{Model: tinyEmbed, Input: []string{"river stone", "amber", "river stone"}})
	if err != nil {
		t.Fatalf("Embed: %v", err)
	}
	v := got.Embeddings
	if v.Len() != 3 || v.Dim() != ollamatest.EmbeddingLength || got.PromptEvalCount < 5 {
		t.Fatalf("Embed: got %d vectors of %d, %d tokens; want 3 of %d, at least 5", v.Len(), v.Dim(), got.PromptEvalCount, ollamatest.EmbeddingLength)
	}
	var length float64
	first, err := v.Float32(0)
	for _, x := range first {
		length += float64(x) * float64(x)
	}
	if err != nil || length < 0.999 || length > 1.001 {
		t.Errorf("Embed: the first vector's length squared is %v (%v), want 1", length, err)
	}
	if string(v.Raw(0)) == string(v.Raw(1)) || string(v.Raw(0)) != string(v.Raw(2)) || v.Zero(1) {
		t.Errorf("Embed: got %.60s, %.60s, %.60s; want the first and last alike, the other not", v.Raw(0), v.Raw(1), v.Raw(2))
	}
}

func embedDimensions(t *testing.T, ctx context.Context, c *ollama.Client) {
	got, err := c.Embed(ctx, &ollama.EmbedRequest{Model: tinyEmbed, Input: []string{"river"}, Dimensions: 8})
	if err != nil || got.Embeddings.Dim() != 8 {
		t.Errorf("Embed with dimensions 8: got %+v, %v", got, err)
	}
}

// A prompt that does not fit is cut without a word, unless truncate forbids it: see refusals.
func promptIsCut(t *testing.T, ctx context.Context, c *ollama.Client) {
	_, _, done := finish(t, "Generate, too long", c.Generate(ctx, &ollama.GenerateRequest{
		Model: tiny, Prompt: strings.Repeat("river ", 3000), Options: options(2),
	}))
	if n := done.PromptEvalCount; n < 1000 || n > 2048 {
		t.Errorf("Generate, 3000 words: got %d tokens of prompt, want between half the context and all of it", n)
	}
}

func spellings(t *testing.T, ctx context.Context, c *ollama.Client) {
	for _, name := range []ollama.Name{"tiny", "TINY:Latest", "library/tiny", "registry.ollama.ai/library/tiny:latest"} {
		finish(t, "Generate on "+string(name), c.Generate(ctx, &ollama.GenerateRequest{Model: name, Prompt: "river", Options: options(2)}))
	}
}

// What leaves in mid-generation ends it. The next call works after an unload: without one, the real Ollama loses the
// model's slot in several of 100 cancels (github.com/ollama/ollama/issues/17131).
func cancelFrees(t *testing.T, ctx context.Context, c *ollama.Client) {
	for range 3 {
		if err := giveUp(ctx, c, leave["cancel"]); err != nil {
			t.Errorf("Generate, cancelled: %v", err)
		}
		unload(t, ctx, c, tiny)
		finish(t, "Generate after a cancel", c.Generate(ctx, &ollama.GenerateRequest{Model: tiny, Prompt: "river", Options: options(2)}))
	}
}

// refusals are the errors whose kind the client finds in their status and words.
func refusals(t *testing.T, ctx context.Context, c *ollama.Client) {
	const missing = ollama.Name("nowhere:latest")
	long := strings.Repeat("river ", 3000)
	tools := []ollama.Tool{{Type: "function", Function: ollama.ToolFunction{Name: "f", Parameters: json.RawMessage(`{"type":"object"}`)}}}
	read := func(s func(func(ollama.Chunk, error) bool)) error { _, err := read(s); return err }
	generate := func(r ollama.GenerateRequest) error { return read(c.Generate(ctx, &r)) }
	chat := func(r ollama.ChatRequest) error { return read(c.Chat(ctx, &r)) }
	embed := func(r ollama.EmbedRequest) error { _, err := c.Embed(ctx, &r); return err }
	show := func(n ollama.Name) error { _, err := c.Show(ctx, n); return err }
	for _, test := range []struct {
		name   string
		err    error
		kind   ollama.Kind
		status int
	}{
		{"generate, missing", generate(ollama.GenerateRequest{Model: missing, Prompt: "x"}), ollama.MissingModel, 404},
		{"chat, missing", chat(ollama.ChatRequest{Model: missing, Messages: user("x")}), ollama.MissingModel, 404},
		{"embed, missing", embed(ollama.EmbedRequest{Model: missing, Input: []string{"x"}}), ollama.MissingModel, 404},
		{"show, missing", show(missing), ollama.MissingModel, 404},
		{"load, missing", c.Load(ctx, missing, false, "", nil), ollama.MissingModel, 404},
		{"load by embed, missing", c.Load(ctx, missing, true, "", nil), ollama.MissingModel, 404},
		{"unload, missing", c.Unload(ctx, missing), ollama.MissingModel, 404},
		{"generate, embedding model", generate(ollama.GenerateRequest{Model: tinyEmbed, Prompt: "x"}), ollama.Unsupported, 400},
		{"chat, embedding model", chat(ollama.ChatRequest{Model: tinyEmbed, Messages: user("x")}), ollama.Unsupported, 400},
		{"load by generate, embedding model", c.Load(ctx, tinyEmbed, false, "", nil), ollama.Unsupported, 400},
		{"tools", chat(ollama.ChatRequest{Model: plain, Messages: user("x"), Tools: tools}), ollama.Unsupported, 400},
		{"tools, embedding model", chat(ollama.ChatRequest{Model: tinyEmbed, Messages: user("x"), Tools: tools}), ollama.Unsupported, 400},
		{"thinking", generate(ollama.GenerateRequest{Model: tiny, Prompt: "x", Think: true}), ollama.Unsupported, 400},
		{"insert", generate(ollama.GenerateRequest{Model: tiny, Prompt: "x", Suffix: "y"}), ollama.Unsupported, 400},
		{"generate, too long", generate(ollama.GenerateRequest{Model: tiny, Prompt: long, Truncate: ptr(false)}), ollama.TooLong, 400},
		{"chat, too long", chat(ollama.ChatRequest{Model: tiny, Messages: user(long), Truncate: ptr(false)}), ollama.TooLong, 400},
		{"embed, too long", embed(ollama.EmbedRequest{Model: tinyEmbed, Input: []string{long}, Truncate: ptr(false)}), ollama.TooLong, 400},
		{"keep_alive without unit", generate(ollama.GenerateRequest{Model: tiny, Prompt: "x", KeepAlive: "300"}), ollama.Invalid, 400},
	} {
		var e *ollama.Error
		if !errors.As(test.err, &e) || e.Kind != test.kind || e.Status != test.status {
			t.Errorf("%s: got %v, want %s with status %d", test.name, test.err, test.kind, test.status)
		}
	}
}
