package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ollama-mcp/ollama"
)

// Capabilities that Ollama gives its models, as far as a fleet cares.
const (
	Completion = "completion" // can generate and chat
	Embedding  = "embedding"  // can embed
	Vision     = "vision"     // takes images
)

// Model is an installed model.
type Model struct {
	ollama.Model
	Canonical ollama.Name
	Host      string
	Loaded    *ollama.Running // nil when it is not loaded
}

// Remote reports whether ollama.com runs the model.
func (m *Model) Remote() bool { return m.RemoteHost != "" || IsCloudName(m.Canonical) }

// Can reports whether the model has a capability. A model of unknown capabilities can all.
func (m *Model) Can(capability string) bool { return can(m.Capabilities, capability) }

func can(capabilities []string, capability string) bool {
	return len(capabilities) == 0 || slices.Contains(capabilities, capability)
}

// IsCloudName reports whether a name alone tells that ollama.com runs the model.
// Source: https://docs.ollama.com/cloud, tags "cloud" and "…-cloud".
func IsCloudName(n ollama.Name) bool {
	return strings.HasSuffix(string(n), ":cloud") || strings.HasSuffix(string(n), "-cloud")
}

// isEmbedding reports whether a model can embed and nothing else.
func isEmbedding(capabilities []string) bool {
	return slices.Contains(capabilities, Embedding) && !slices.Contains(capabilities, Completion)
}

// Models lists the installed models by name, with their capabilities and what is loaded.
// On hosts that list no capabilities they come from show, in parallel, kept by digest.
// The slice is the caller's; what its elements refer to must not be changed.
func (f *Fleet) Models(ctx context.Context) ([]Model, error) {
	models, err := f.models.get(ctx)
	return slices.Clone(models), err
}

func (f *Fleet) list(ctx context.Context) ([]Model, error) {
	ps := f.ps.join(ctx)
	tags, err := f.host.Client.Tags(ctx)
	<-ps.done
	running := ps.answer
	if err = cmp.Or(err, ps.err); err != nil {
		return nil, f.fail(ctx, "", err)
	}
	loaded := make(map[string]*ollama.Running, len(running)) // by digest: copies of a model run together
	for i := range running {
		loaded[running[i].Digest] = &running[i]
	}
	models := make([]Model, len(tags))
	for i, t := range tags {
		n := canonical(t.Name)
		models[i] = Model{Model: t, Canonical: n, Host: f.host.Client.Name(), Loaded: loaded[t.Digest]}
	}
	if err := f.complete(ctx, models); err != nil {
		return nil, err
	}
	slices.SortFunc(models, func(a, b Model) int { return cmp.Compare(a.Canonical, b.Canonical) })
	return models, nil
}

// showParallel bounds how many shows run at once when capabilities must be asked for.
const showParallel = 8

// complete fills in the capabilities that tags did not give (before Ollama 0.30).
func (f *Fleet) complete(ctx context.Context, models []Model) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, showParallel)
	errs := make([]error, len(models))
	for i := range models {
		m := &models[i]
		if m.Capabilities != nil {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			shown, err := f.show(ctx, m.Canonical, m.Digest)
			switch {
			case isKind(err, ollama.MissingModel), isKind(err, ollama.Invalid), isKind(err, ollama.Failed):
				return // one that is broken, or gone by now, is no reason to list none
			case err != nil:
				errs[i] = err
				return
			}
			m.Capabilities = shown.Capabilities
			m.ContextLength = shown.ContextLength()
			m.RemoteHost, m.RemoteModel = cmp.Or(m.RemoteHost, shown.RemoteHost), cmp.Or(m.RemoteModel, shown.RemoteModel)
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// show describes a model by way of the cache. The digest names the content, so an entry
// never goes stale; one that nothing needs any more costs a few kilobytes.
func (f *Fleet) show(ctx context.Context, model ollama.Name, digest string) (*ollama.Shown, error) {
	f.mu.Lock()
	s := f.shown[digest]
	f.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := f.host.Client.Show(ctx, model)
	if err != nil {
		return nil, f.fail(ctx, model, err)
	}
	f.mu.Lock()
	f.shown[digest] = s
	f.mu.Unlock()
	return s, nil
}

// describe asks what a model is. It fails for models that are missing or refused.
func (f *Fleet) describe(ctx context.Context, model ollama.Name) (*ollama.Shown, error) {
	s, err := f.host.Client.Show(ctx, model)
	if err != nil {
		return nil, f.fail(ctx, model, err)
	}
	return s, f.allowed(model, s.RemoteHost)
}

// allowed refuses models that run on ollama.com where the operator does.
func (f *Fleet) allowed(model ollama.Name, remoteHost string) error {
	if f.opts.NoCloud && (remoteHost != "" || IsCloudName(model)) {
		return &CloudError{model}
	}
	return nil
}

// ChoiceError says that no model was named and none could be chosen.
type ChoiceError struct {
	Capability string        // what the model had to be able to do
	Candidates []ollama.Name // the installed models that can; empty when there is none
	Installed  int           // how many models are installed at all, of those that the caller may use
	Restricted bool          // there may be others, which the caller may not use
}

func (e *ChoiceError) Error() string {
	return fmt.Sprintf("no model named and %d installed models with capability %q", len(e.Candidates), e.Capability)
}

// Choose returns the model for a call: the one named; else the operator's default, if it
// is able; else the only installed one that has the capability; else the only loaded one
// that has it; else a [*ChoiceError] that lists them. When none is named, those that may
// refuses are as if they were not there; a nil may refuses none.
func (f *Fleet) Choose(ctx context.Context, named ollama.Name, capability string, may func(ollama.Name) bool) (ollama.Name, error) {
	if named != "" {
		return named, f.allowed(named, "")
	}
	models, err := f.Models(ctx)
	if err != nil {
		return "", err
	}
	usable := func(n ollama.Name) bool { return may == nil || may(n) }
	models = slices.DeleteFunc(models, func(m Model) bool { return !usable(m.Canonical) })
	if d := f.opts.DefaultModel; d != "" && usable(d) {
		i := slices.IndexFunc(models, func(m Model) bool { return m.Canonical == d })
		if i < 0 || models[i].Can(capability) {
			return d, nil // a default that is not installed is reported as such by the call itself
		}
	}
	able := slices.DeleteFunc(slices.Clone(models), func(m Model) bool {
		return !m.Can(capability) || f.opts.NoCloud && m.Remote()
	})
	loaded := slices.DeleteFunc(slices.Clone(able), func(m Model) bool { return m.Loaded == nil })
	switch {
	case len(able) == 1:
		return able[0].Canonical, nil
	case len(loaded) == 1:
		return loaded[0].Canonical, nil
	}
	e := &ChoiceError{Capability: capability, Installed: len(models), Restricted: may != nil}
	for _, m := range able {
		e.Candidates = append(e.Candidates, m.Canonical)
	}
	return "", e
}

// Probe asks the host who it is: Ollama's version and how many models it has.
func (f *Fleet) Probe(ctx context.Context) (version string, models int, err error) {
	if version, err = f.host.Client.Version(ctx); err != nil {
		return "", 0, f.fail(ctx, "", err)
	}
	tags, err := f.host.Client.Tags(ctx)
	return version, len(tags), f.fail(ctx, "", err)
}
