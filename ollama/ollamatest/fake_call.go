package ollamatest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"
)

// call is one request on its way through the fake.
type call struct {
	fake     *Fake
	script   Script // as it was when the request arrived; Faults is not for reading
	w        http.ResponseWriter
	r        *http.Request
	body     []byte
	answered bool // the answer was written to its end
}

// ServeHTTP answers as Ollama would, or as the script's faults have it.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Only a body read to its end lets net/http notice that the client leaves, and Ollama has the same limit.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.note(func(s *Seen) { s.arrived(r, body) })
	script, fault := f.begin(r.URL.Path)
	c := &call{fake: f, script: script, r: r, body: body}
	c.w = &freezer{w, c}
	defer c.end()
	if fault.serve != nil {
		fault.serve(c)
	} else {
		c.route()
	}
	if !c.answered && errors.Is(context.Cause(r.Context()), errClosed) {
		panic(http.ErrAbortHandler) // else net/http ends in good form what the fake did not
	}
}

// end records how the call ended. It runs while a fault's panic goes by.
func (c *call) end() {
	c.fake.note(func(s *Seen) {
		ctx := c.r.Context()
		switch {
		case c.answered:
			s.Answered[c.r.URL.Path]++
		case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errClosed):
			s.Aborts = append(s.Aborts, Abort{Path: c.r.URL.Path, At: time.Now()})
		}
	})
}

// route answers as a healthy Ollama.
func (c *call) route() {
	routes := map[string]struct {
		method string
		answer func()
	}{
		"/":             {http.MethodGet, c.root},
		"/api/version":  {http.MethodGet, c.version},
		"/api/tags":     {http.MethodGet, c.tags},
		"/api/ps":       {http.MethodGet, c.ps},
		"/api/show":     {http.MethodPost, c.show},
		"/api/generate": {http.MethodPost, c.generate},
		"/api/chat":     {http.MethodPost, c.chat},
		"/api/embed":    {http.MethodPost, c.embed},
		"/api/pull":     {http.MethodPost, c.pull},
		"/api/push":     {http.MethodPost, c.push},
		"/api/create":   {http.MethodPost, c.create},
		"/api/copy":     {http.MethodPost, c.copy},
		"/api/delete":   {http.MethodDelete, c.delete},
	}
	route, ok := routes[c.r.URL.Path]
	switch {
	case !ok:
		c.text(http.StatusNotFound, "404 page not found")
	case c.r.Method != route.method && !(c.r.Method == http.MethodHead && route.method == http.MethodGet):
		c.text(http.StatusMethodNotAllowed, "405 method not allowed")
	default:
		route.answer()
	}
}

func (c *call) root() { c.text(http.StatusOK, "Ollama is running") }

func (c *call) version() { c.quick(map[string]any{"version": c.script.version()}) }

// tags lists the models that changed last first, as Ollama does.
func (c *call) tags() {
	models := make([]FakeModel, 0, len(c.script.Models))
	for _, m := range c.script.Models {
		models = append(models, m.complete())
	}
	slices.SortStableFunc(models, func(a, b FakeModel) int { return b.ModifiedAt.Compare(a.ModifiedAt) })
	list := make([]any, len(models))
	for i, m := range models {
		list[i] = c.script.tag(m)
	}
	c.quick(map[string]any{"models": list})
}

// ps lists the loaded models, those that stay longest first.
func (c *call) ps() {
	f := c.fake
	f.mu.Lock()
	f.expire()
	runners := slices.SortedFunc(maps.Values(f.runners), func(a, b *runner) int {
		return cmp.Or(b.expiry().Compare(a.expiry()), cmp.Compare(a.model.Name, b.model.Name))
	})
	list := make([]any, len(runners))
	for i, r := range runners {
		list[i] = c.script.listed(r)
	}
	f.mu.Unlock()
	c.quick(map[string]any{"models": list})
}

func (c *call) show() {
	var req struct {
		Model, Name string
		Verbose     bool
	}
	if !c.decode(&req) {
		return
	}
	name := cmp.Or(req.Model, req.Name)
	if name == "" {
		c.fail(http.StatusBadRequest, "model is required")
		return
	}
	if !isName(name) {
		c.fail(http.StatusBadRequest, invalidName)
		return
	}
	m, ok := c.script.model(name)
	if !ok {
		c.fail(http.StatusNotFound, fmt.Sprintf("model '%s' not found", name))
		return
	}
	c.quick(m.shown(req.Verbose))
}

// decode reads the body, or answers why it cannot.
func (c *call) decode(into any) bool {
	err := json.NewDecoder(bytes.NewReader(c.body)).Decode(into)
	if errors.Is(err, io.EOF) {
		err = errors.New("missing request body")
	}
	if err != nil {
		c.fail(http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

// quick answers 200 after AnswerDelay.
func (c *call) quick(body any) {
	if sleep(c.r.Context(), c.script.AnswerDelay) == nil {
		c.json(http.StatusOK, body)
	}
}

// fail answers with Ollama's form of an error.
func (c *call) fail(status int, message string) {
	c.json(status, map[string]any{"error": message})
}

func (c *call) json(status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		panic("ollamatest: " + err.Error()) // bodies are made here
	}
	c.write(status, jsonType, b)
}

func (c *call) text(status int, body string) {
	c.write(status, textType, []byte(body))
}

func (c *call) write(status int, contentType string, body []byte) {
	c.w.Header().Set("Content-Type", contentType)
	c.w.WriteHeader(status)
	_, err := c.w.Write(body)
	c.answered = err == nil
}
