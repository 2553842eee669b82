package ollama_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// TestLibraryContract is TestContract for what changes the installed models. The real Ollama pulls from a registry on
// loopback, the fake from its script.
func TestLibraryContract(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		const host = "127.0.0.1:5000"
		f := ollamatest.NewFake(ollamatest.Script{Registry: []ollamatest.FakePull{{Model: ollamatest.FakeModel{Name: host + "/tests/remote"}}}})
		defer f.Close()
		libraryContract(t, library{libraryClient(t, f.URL, host), host + "/tests/"})
	})
	t.Run("real", func(t *testing.T) {
		registry := ollamatest.NewRegistry()
		defer registry.Close()
		if _, err := registry.Add("remote", ollamatest.Model{Seed: 7}); err != nil {
			t.Fatal(err)
		}
		r := ollamatest.NewReal(t)
		libraryContract(t, library{libraryClient(t, r.URL, registry.Host), registry.Host + "/tests/"})
	})
}

// libraryClient makes a client that may use one registry, without TLS.
func libraryClient(t *testing.T, url, registry string) *ollama.Client {
	t.Helper()
	h, err := ollama.ParseHost(url)
	if err != nil {
		t.Fatal(err)
	}
	registries, err := ollama.ParseRegistries([]string{"http://" + registry, "registry.ollama.ai"})
	if err != nil {
		t.Fatal(err)
	}
	c := ollama.NewClient(ollama.ClientOptions{Host: h, Registries: registries})
	t.Cleanup(c.Close)
	return c
}

type library struct {
	*ollama.Client
	prefix string // of the names of models in the registry
}

func libraryContract(t *testing.T, l library) {
	for _, part := range []struct {
		name string
		test func(*testing.T, context.Context, library)
	}{
		{"pull and push", pullAndPush},
		{"copy", copies},
		{"create", creates},
		{"show full", showsFull},
		{"delete of a loaded model", deletesLoaded},
		{"refusals", libraryRefusals},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, limited(t), l) })
	}
}

// statuses are those of a stream that must end well, without the digests, and each once.
func statuses(t *testing.T, what string, stream func(func(ollama.Progress, error) bool)) []string {
	t.Helper()
	var all []string
	for p, err := range stream {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if p.Digest != "" {
			verb, digest, _ := strings.Cut(p.Status, " ")
			if "sha256:"+digest != p.Digest[:min(len(p.Digest), 19)] || p.Total <= 0 || p.Completed > p.Total {
				t.Errorf("%s: got %+v, want 12 digits of the digest in the status, and at most the total", what, p)
			}
			p.Status = verb + " a layer"
		}
		if status, digest, ok := strings.Cut(p.Status, " sha256:"); ok && len(digest) == 64 {
			p.Status = status
		}
		all = append(all, p.Status)
	}
	return slices.Compact(all)
}

func (l library) tag(t *testing.T, ctx context.Context, name ollama.Name) (model ollama.Model, found bool) {
	t.Helper()
	models, err := l.Tags(ctx)
	if err != nil {
		t.Fatalf("Tags: %v", err)
	}
	i := slices.IndexFunc(models, func(m ollama.Model) bool { return m.Name == string(name) })
	if i < 0 {
		return ollama.Model{}, false
	}
	return models[i], true
}

func pullAndPush(t *testing.T, ctx context.Context, l library) {
	remote := ollama.Name(l.prefix + "remote:latest")
	wantPull := []string{"pulling manifest", "pulling a layer", "verifying sha256 digest", "writing manifest", "success"}
	for _, what := range []string{"Pull", "Pull of what is there"} {
		if diff := cmp.Diff(wantPull, statuses(t, what, l.Pull(ctx, string(remote)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	if m, found := l.tag(t, ctx, remote); !found || m.Size < 400_000 || time.Since(m.ModifiedAt) > time.Minute {
		t.Errorf("Tags after Pull: got %+v, want %s, new, of half a megabyte", m, remote)
	}
	wantPush := []string{"retrieving manifest", "pushing a layer", "pushing manifest", "success"}
	if diff := cmp.Diff(wantPush, statuses(t, "Push", l.Push(ctx, remote))); diff != "" {
		t.Errorf("Push (-want +got):\n%s", diff)
	}
}

func copies(t *testing.T, ctx context.Context, l library) {
	const second = ollama.Name("second:latest")
	for _, source := range []ollama.Name{tinyEmbed, tiny} { // the second one replaces the first
		if err := l.Copy(ctx, source, second); err != nil {
			t.Fatalf("Copy(%s): %v", source, err)
		}
		from, _ := l.tag(t, ctx, source)
		if to, found := l.tag(t, ctx, second); !found || to.Digest != from.Digest {
			t.Errorf("Tags after Copy(%s): got %+v, want the digest %s", source, to, from.Digest)
		}
	}
	if err := l.Delete(ctx, second); err != nil {
		t.Errorf("Delete(%s): %v", second, err)
	}
	if _, found := l.tag(t, ctx, second); found {
		t.Errorf("Tags after Delete: %s is still there", second)
	}
	if _, found := l.tag(t, ctx, tiny); !found {
		t.Errorf("Tags after Delete of the copy: %s is gone too", tiny)
	}
}

func creates(t *testing.T, ctx context.Context, l library) {
	const made = ollama.Name("made:latest")
	temperature := 0.5
	request := &ollama.CreateRequest{
		Model: made, From: tiny, System: "Be brief.", Template: "{{ .System }} {{ .Prompt }}", License: []string{"MIT"},
		Parameters: &ollama.Options{Temperature: &temperature, Stop: []string{"x", "y"}},
		Messages:   []ollama.Message{{Role: "user", Content: "Hello"}, {Role: "assistant", Content: "Hi"}},
	}
	want := []string{"using existing layer", "creating new layer", "writing manifest", "success"}
	if diff := cmp.Diff(want, statuses(t, "Create", l.Create(ctx, request))); diff != "" {
		t.Errorf("Create (-want +got):\n%s", diff)
	}
	got, err := l.Show(ctx, made)
	if err != nil {
		t.Fatalf("Show: %v", err)
	}
	if got.System != "Be brief." || got.Template != request.Template || got.License != "MIT" {
		t.Errorf("Show after Create: got system %q, template %q, license %q; want them as asked for", got.System, got.Template, got.License)
	}
	if diff := cmp.Diff(request.Messages, got.Messages); diff != "" {
		t.Errorf("Show after Create: messages (-want +got):\n%s", diff)
	}
	lines := strings.Split(got.Parameters, "\n")
	for _, line := range []string{"temperature                    0.5", `stop                           "x"`, `stop                           "y"`} {
		if !slices.Contains(lines, line) {
			t.Errorf("Show after Create: parameters are %q, want a line %q", lines, line)
		}
	}
	statuses(t, "Create over it", l.Create(ctx, &ollama.CreateRequest{Model: made, From: made, System: "Be long."}))
	if got, err := l.Show(ctx, made); err != nil || got.System != "Be long." || got.Template != request.Template || len(got.Messages) != 2 {
		t.Errorf("Show after Create over it: got %+v, %v; want the new system, and the rest as it was", got, err)
	}
}

func showsFull(t *testing.T, ctx context.Context, l library) {
	const tokens = "tokenizer.ggml.tokens"
	short, err := l.Show(ctx, tiny)
	if err != nil || string(short.ModelInfo[tokens]) != "null" || len(short.Tensors) > 0 {
		t.Errorf("Show: got %+v, %v; want neither tokens nor tensors", short, err)
	}
	full, err := l.ShowFull(ctx, tiny)
	if err != nil {
		t.Fatalf("ShowFull: %v", err)
	}
	i := slices.IndexFunc(full.Tensors, func(s ollama.Tensor) bool { return s.Name == "token_embd.weight" })
	var words []string
	if err := json.Unmarshal(full.ModelInfo[tokens], &words); err != nil || len(words) < 3 || words[1] != "<s>" || i < 0 {
		t.Fatalf("ShowFull: got tokens %.40s, tensors %v; want both", full.ModelInfo[tokens], full.Tensors)
	}
	if got := full.Tensors[i]; got.Type != "F32" || len(got.Shape) != 2 || got.Shape[0] != ollamatest.EmbeddingLength {
		t.Errorf("ShowFull: got %+v, want F32 of %d columns", got, ollamatest.EmbeddingLength)
	}
}

// A deleted model stays in memory, where nothing that the client can do reaches it by that name.
func deletesLoaded(t *testing.T, ctx context.Context, l library) {
	const doomed = ollama.Name("doomed:latest")
	statuses(t, "Create", l.Create(ctx, &ollama.CreateRequest{Model: doomed, From: tiny, System: "Hold on."}))
	if err := errors.Join(l.Load(ctx, doomed, false, "", nil), l.Delete(ctx, doomed)); err != nil {
		t.Fatalf("Load, Delete: %v", err)
	}
	if running, err := l.PS(ctx); err != nil || len(running) != 1 || running[0].Name != string(doomed) {
		t.Errorf("PS after Delete: got %+v, %v; want %s", running, err, doomed)
	}
	if err := l.Unload(ctx, doomed); !isKind(err, ollama.MissingModel) {
		t.Errorf("Unload after Delete: got %v, want the model to be missing", err)
	}
}

func libraryRefusals(t *testing.T, ctx context.Context, l library) {
	const missing = ollama.Name("nowhere:latest")
	remote := l.prefix + "nowhere"
	create := func(r ollama.CreateRequest) error { return follow(l.Create(ctx, &r)) }
	_, showErr := l.ShowFull(ctx, missing)
	for _, tt := range []struct {
		name   string
		err    error
		kind   ollama.Kind
		status int
	}{
		{"pull, missing", follow(l.Pull(ctx, remote)), ollama.MissingModel, 200},
		{"push, missing", follow(l.Push(ctx, ollama.Name(remote))), ollama.MissingModel, 200},
		{"copy, missing", l.Copy(ctx, missing, "second:latest"), ollama.MissingModel, 404},
		{"copy, wrong name", l.Copy(ctx, tiny, "a b"), ollama.Invalid, 400},
		{"delete, missing", l.Delete(ctx, missing), ollama.MissingModel, 404},
		{"delete, wrong name", l.Delete(ctx, "a b"), ollama.Invalid, 400},
		{"show full, missing", showErr, ollama.MissingModel, 404},
		{"create, wrong name", create(ollama.CreateRequest{Model: "a b", From: tiny}), ollama.Invalid, 400},
	} {
		var e *ollama.Error
		if !errors.As(tt.err, &e) || e.Kind != tt.kind || e.Status != tt.status {
			t.Errorf("%s: got %v, want %s with status %d", tt.name, tt.err, tt.kind, tt.status)
		}
	}
}

// What a broken pull brought is not brought again.
func TestRealPullResumes(t *testing.T) {
	registry := ollamatest.NewRegistry()
	defer registry.Close()
	model, err := registry.Add("remote", ollamatest.Model{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	r := ollamatest.NewReal(t)
	c, ctx := libraryClient(t, r.URL, registry.Host), limited(t)

	const held = 300_000
	registry.HoldAfter(held)
	for p, err := range c.Pull(ctx, model) {
		if err != nil {
			t.Fatalf("Pull: %v", err)
		}
		if p.Completed == held {
			break // as a client does that gives up
		}
	}
	registry.HoldAfter(0)
	first, last, err := pull(ctx, t, c, model)
	if err != nil || first.Done < held || last.Phase != ollama.PhaseDone || last.Done != last.Total {
		t.Errorf("Pull again: got %+v to %+v, %v; want it to go on from %d and to end", first, last, err, held)
	}
	ranges := registry.Ranges()
	if len(ranges) < 2 || !strings.HasPrefix(ranges[0], "bytes=0-") || !strings.HasPrefix(ranges[1], "bytes=300000-") {
		t.Errorf("Ranges: got %q, want the second one from byte %d", ranges, held)
	}
	text, err := read(c.Generate(ctx, &ollama.GenerateRequest{Model: ollama.Name(model), Prompt: "river", Options: options(4)}))
	if err != nil || text == "" {
		t.Errorf("Generate on what was pulled in two pieces: got %q, %v; want words", text, err)
	}
}
