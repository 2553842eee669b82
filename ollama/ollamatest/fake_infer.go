package ollamatest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// inference is a generate, chat or embed between its checks and its answer.
type inference struct {
	*call
	request
	model  FakeModel
	isChat bool
	begun  time.Time
	loaded time.Time // when the model was ready
	slot   time.Time // when a slot was free
	runner *runner   // nil for a model that ollama.com runs
	prompt int       // tokens of the prompt that are used
}

func (c *call) generate() {
	i := &inference{call: c, begun: time.Now()}
	if !c.decode(&i.request) || !i.find("model '%s' not found") {
		return
	}
	i.answer(i.Prompt == "")
}

func (c *call) chat() {
	i := &inference{call: c, begun: time.Now(), isChat: true}
	if !c.decode(&i.request) {
		return
	}
	if i.request.Model == "" {
		c.fail(http.StatusBadRequest, "model is required")
		return
	}
	if i.find("model '%s' not found") {
		i.answer(len(i.Messages) == 0)
	}
}

// find looks the model up, or answers with a format that takes its name.
func (i *inference) find(missing string) bool {
	name := i.request.Model
	if name != "" && !isName(name) {
		i.fail(http.StatusBadRequest, invalidName)
		return false
	}
	m, ok := i.script.model(name)
	if !ok {
		i.fail(http.StatusNotFound, fmt.Sprintf(missing, name))
	}
	i.model = m
	return ok
}

// answer serves generate and chat. An empty one only loads, or unloads.
func (i *inference) answer(empty bool) {
	switch {
	case empty && i.wantsUnload():
		i.fake.unload(i.model)
		i.quick(i.last("unload", "", "", 0))
		return
	case !i.check():
		return
	}
	if !empty {
		defer i.fake.calling(i.model.Name)()
	}
	if !i.start() {
		return
	}
	defer i.finish()
	if empty {
		i.json(http.StatusOK, i.last("load", "", "", 0))
		return
	}
	if i.fit(i.promptTokens()) && sleep(i.r.Context(), i.script.FirstDelay) == nil {
		i.speak()
	}
}

// check refuses what the model cannot do, in Ollama's words.
func (i *inference) check() bool {
	verb := "generate"
	if i.isChat {
		verb = "chat"
	}
	name := i.request.Model
	switch {
	case i.wantsThinking() && !i.model.can("thinking"):
		i.fail(http.StatusBadRequest, fmt.Sprintf("%q does not support thinking", name))
	case !i.model.can("completion"):
		i.fail(http.StatusBadRequest, fmt.Sprintf("%q does not support %s", name, verb))
	case len(i.Tools) > 0 && !i.model.can("tools"):
		i.fail(http.StatusBadRequest, i.model.fullName()+" does not support tools")
	case i.Suffix != "" && !i.model.can("insert"):
		i.fail(http.StatusBadRequest, i.model.fullName()+" does not support insert")
	default:
		return true
	}
	return false
}

// start checks the options and gets a slot. Give it back with finish.
func (i *inference) start() bool {
	if err := errors.Join(i.checkOptions(), i.checkFormat()); err != nil {
		i.fail(http.StatusInternalServerError, err.Error())
		return false
	}
	if !i.acquire() {
		return false // nobody is there to read Ollama's 499
	}
	i.slot = time.Now()
	i.fake.note(func(s *Seen) {
		s.Active++
		s.Peak = max(s.Peak, s.Active)
	})
	return true
}

// acquire loads the model where it must, and waits for a slot of it.
func (i *inference) acquire() bool {
	i.loaded = time.Now()
	if i.model.RemoteModel != "" {
		return true
	}
	i.fake.note(func(s *Seen) { s.Waiting++ })
	defer i.fake.note(func(s *Seen) { s.Waiting-- })
	r, err := i.fake.load(i.r.Context(), i.model, i.loadOptions(), i.keepAlive())
	if err != nil {
		return false
	}
	i.loaded, i.runner = time.Now(), r
	return i.fake.enter(i.r.Context(), r) == nil
}

func (i *inference) finish() {
	i.fake.note(func(s *Seen) { s.Active-- })
	if i.runner != nil {
		i.fake.release(i.runner)
	}
}

// fit cuts a prompt to the model's context without a word, or refuses it when it must not be cut.
func (i *inference) fit(tokens int) bool {
	limit := i.model.ContextLength
	if i.runner != nil {
		limit = i.runner.context()
	}
	if tokens > limit && !i.truncates() {
		i.fail(http.StatusBadRequest, "the input length exceeds the context length")
		return false
	}
	i.prompt += min(tokens, limit)
	return true
}

func (c *call) embed() {
	i := &inference{call: c, begun: time.Now()}
	if !c.decode(&i.request) {
		return
	}
	inputs, err := i.inputs()
	if err != nil {
		c.fail(http.StatusBadRequest, err.Error())
		return
	}
	missing := "model %q not found, try pulling it first"
	if i.request.Model == "" {
		missing = "model '%s' not found"
	}
	if !i.find(missing) {
		return
	}
	if len(inputs) > 0 {
		defer i.fake.calling(i.model.Name)()
	}
	if !i.start() {
		return
	}
	defer i.finish()
	if len(inputs) == 0 {
		c.quick(embedAnswer{Model: i.request.Model, Embeddings: [][]float32{}})
		return
	}
	for _, text := range inputs {
		if !i.fit(1 + words(text)) {
			return
		}
	}
	if sleep(i.r.Context(), i.script.FirstDelay) == nil {
		i.vectors(inputs)
	}
}

// vectors answers an embed. One bad vector fails them all.
func (i *inference) vectors(inputs []string) {
	vectors := make([][]float32, len(inputs))
	for n, text := range inputs {
		v := i.vector(text)
		if i.Dimensions > 0 && i.Dimensions < len(v) {
			v = v[:i.Dimensions]
		}
		if !normalise(v) {
			i.fail(http.StatusBadRequest, "embedding contains NaN or Inf values")
			return
		}
		vectors[n] = v
	}
	i.quick(embedAnswer{
		Model:           i.request.Model,
		Embeddings:      vectors,
		TotalDuration:   time.Since(i.begun),
		LoadDuration:    i.loaded.Sub(i.begun),
		PromptEvalCount: i.prompt,
	})
}

type embedAnswer struct {
	Model           string        `json:"model"`
	Embeddings      [][]float32   `json:"embeddings"`
	TotalDuration   time.Duration `json:"total_duration,omitempty"`
	LoadDuration    time.Duration `json:"load_duration,omitempty"`
	PromptEvalCount int           `json:"prompt_eval_count,omitempty"`
}

// vector is the script's, or one that the text alone decides.
func (i *inference) vector(text string) []float32 {
	if i.script.Vector != nil {
		return slices.Clone(i.script.Vector(text))
	}
	h := fnv.New64a()
	h.Write([]byte(text))
	random := rand.New(rand.NewPCG(h.Sum64(), 0))
	v := make([]float32, i.model.EmbeddingLength)
	for n := range v {
		v[n] = float32(random.NormFloat64())
	}
	return v
}

// normalise gives v the length 1, and leaves zeros zero. It reports whether v was made of numbers.
func normalise(v []float32) bool {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return false
	}
	norm := float32(1 / max(math.Sqrt(sum), 1e-12)) // v0.17.4, server/routes.go, normalize
	for n := range v {
		v[n] *= norm
	}
	return true
}
