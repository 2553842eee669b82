package ollamatest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"ollama-mcp/ollama"
)

// install adds a model, in the place of one of that name.
func (f *Fake) install(m FakeModel) {
	m.ModifiedAt = time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script.Models = append(f.script.without(m.Name), m)
	f.notify()
}

// uninstall removes a model from the disk, not from memory. It reports whether there was one.
func (f *Fake) uninstall(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	rest := f.script.without(name)
	found := len(rest) < len(f.script.Models)
	f.script.Models = rest
	f.notify()
	return found
}

// without is a copy of the models, because calls have the script as it was.
func (s *Script) without(name string) []FakeModel {
	return slices.DeleteFunc(slices.Clone(s.Models), func(m FakeModel) bool {
		return canonical(m.Name) == canonical(name)
	})
}

// installed finds a model that is there now, not when the call began.
func (f *Fake) installed(name string) (FakeModel, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.script.model(name)
}

func (c *call) delete() {
	name, ok := c.modelName()
	switch {
	case !ok:
	case !isName(name):
		c.fail(http.StatusBadRequest, fmt.Sprintf("name %q is invalid", name))
	case !c.fake.uninstall(name):
		c.fail(http.StatusNotFound, fmt.Sprintf("model '%s' not found", name))
	default:
		c.write(http.StatusOK, "", nil)
	}
}

func (c *call) copy() {
	var req struct{ Source, Destination string }
	if !c.decode(&req) {
		return
	}
	if !isName(req.Source) {
		c.fail(http.StatusBadRequest, fmt.Sprintf("source %q is invalid", req.Source))
		return
	}
	if !isName(req.Destination) {
		c.fail(http.StatusBadRequest, fmt.Sprintf("destination %q is invalid", req.Destination))
		return
	}
	m, ok := c.fake.installed(req.Source)
	if !ok {
		c.fail(http.StatusNotFound, fmt.Sprintf("model %q not found", req.Source))
		return
	}
	if m.Name != canonical(req.Destination) {
		m.Name = canonical(req.Destination)
		c.fake.install(m)
	}
	c.write(http.StatusOK, "", nil)
}

// creation is the body of create. Other fields are ignored.
type creation struct {
	Model      string           `json:"model"`
	From       string           `json:"from"`
	System     string           `json:"system"`
	Template   string           `json:"template"`
	Quantize   string           `json:"quantize"`
	License    []string         `json:"license"`
	Parameters map[string]any   `json:"parameters"`
	Messages   []ollama.Message `json:"messages"`
}

func (c *call) create() {
	var req creation
	if !c.decode(&req) {
		return
	}
	switch {
	case !isName(req.Model), req.From != "" && !isName(req.From):
		c.fail(http.StatusBadRequest, invalidName)
	case req.From == "":
		c.fail(http.StatusBadRequest, "neither 'from' or 'files' was specified")
	case req.Quantize != "" && c.script.since(34):
		c.fail(http.StatusBadRequest, "create-time quantization is only supported for safetensors imports; "+
			"quantize GGUF models with llama.cpp tools before importing")
	default:
		c.derive(req)
	}
}

// derive makes a model of another, which it pulls when it is not there.
func (c *call) derive(req creation) {
	from, ok := c.fake.installed(req.From)
	if !ok {
		if !c.fetch(req.From) {
			return
		}
		from, _ = c.fake.installed(req.From)
	}
	made, layers := req.apply(from)
	lines := []any{progress{Status: "using existing layer " + digestOf(from.Digest)}}
	for _, layer := range layers {
		lines = append(lines, progress{Status: "creating new layer " + digestOf(layer)})
	}
	if c.say(append(lines, progress{Status: "writing manifest"})...) {
		c.fake.install(made)
		c.succeed()
	}
}

// apply gives the new model, and what is new in it.
func (q *creation) apply(m FakeModel) (made FakeModel, layers []string) {
	m.Name, m.Loaded = canonical(q.Model), false
	if q.Template != "" {
		m.Template = q.Template
		layers = append(layers, q.Template)
	}
	if q.System != "" {
		m.System = q.System
		layers = append(layers, q.System)
	}
	if len(q.License) > 0 {
		m.License = strings.TrimSpace(m.License + "\n" + strings.Join(q.License, "\n"))
		layers = append(layers, q.License...)
	}
	if len(q.Parameters) > 0 {
		parameters := maps.Clone(m.Parameters)
		if parameters == nil {
			parameters = map[string]any{}
		}
		maps.Copy(parameters, q.Parameters)
		m.Parameters = parameters
		layers = append(layers, string(encode(parameters)))
	}
	if len(q.Messages) > 0 {
		m.Messages = q.Messages
		layers = append(layers, string(encode(q.Messages)))
	}
	m.Digest = strings.TrimPrefix(digestOf(m.Name+m.Digest+strings.Join(layers, "\n")), "sha256:")
	return m, layers
}

// parametersText is how show writes them (v0.34.4, server/routes.go, GetModelInfo), sorted.
func (m FakeModel) parametersText() string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(m.Parameters)) {
		values, ok := m.Parameters[key].([]any)
		if !ok {
			values = []any{m.Parameters[key]}
		}
		for _, v := range values {
			lines = append(lines, fmt.Sprintf("%-30s %#v", key, v))
		}
	}
	return strings.Join(lines, "\n")
}

func (c *call) push() {
	name, ok := c.modelName()
	if !ok {
		return
	}
	if name == "" {
		c.fail(http.StatusBadRequest, "model is required")
		return
	}
	if !c.say(progress{Status: "retrieving manifest"}) {
		return
	}
	m, ok := c.fake.installed(name)
	if !ok {
		c.say(progress{Status: "couldn't retrieve manifest"})
		c.giveUp("open /models/manifests/" + strings.ReplaceAll(canonical(name), ":", "/") + ": no such file or directory")
		return
	}
	if c.say(step("pushing", digestOf(m.Digest), m.Size, m.Size), progress{Status: "pushing manifest"}) {
		c.succeed()
	}
}

// verboseInfo is what show says of a model only when asked to be verbose.
func (m FakeModel) verboseInfo(shown map[string]any) {
	shown["model_info"].(map[string]any)["tokenizer.ggml.tokens"] = []string{"<unk>", "<s>", "</s>"}
	shown["tensors"] = []ollama.Tensor{{Name: "token_embd.weight", Type: "F32", Shape: []uint64{uint64(m.EmbeddingLength), 3}}}
}
