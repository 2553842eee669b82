package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
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

// Model is an installed model: what hosts have under one name with one content.
type Model struct {
	ollama.Model
	Canonical ollama.Name
	Hosts     []string        // by name, those that have it
	LoadedOn  []string        // of these
	Loaded    *ollama.Running // on the first of them; nil when it is not loaded
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

// Models lists the installed models by name, with their capabilities and what is loaded. A
// name that stands for other content on other hosts is listed once for each. silent are the
// hosts that may have more.
//
// On hosts that list no capabilities they come from show, in parallel, kept by digest.
// The slice is the caller's; what its elements refer to must not be changed.
func (f *Fleet) Models(ctx context.Context) (models []Model, silent []Silent, err error) {
	g, err := gather(ctx, f, "", func(ctx context.Context, h *member) ([]Model, error) { return h.models.get(ctx) })
	if err != nil {
		return nil, nil, err
	}
	if len(g.answers) == 1 {
		return slices.Clone(g.answers[0].answer), g.silent, nil
	}
	return merged(g.answers), g.silent, nil
}

// merged makes one of what is the same on several hosts. The models of each are sorted by
// name, and so are all.
func merged(lists []told[[]Model]) []Model {
	type key struct {
		name   ollama.Name
		digest string
	}
	at := map[key]int{}
	var all []Model
	for _, l := range lists {
		for i := range l.answer {
			m := &l.answer[i]
			k := key{m.Canonical, m.Digest}
			n, seen := at[k]
			if !seen {
				at[k] = len(all)
				all = append(all, *m)
				continue
			}
			all[n].Hosts = append(slices.Clip(all[n].Hosts), m.Hosts...)
			all[n].LoadedOn = append(slices.Clip(all[n].LoadedOn), m.LoadedOn...)
			all[n].Loaded = cmp.Or(all[n].Loaded, m.Loaded)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Canonical < all[j].Canonical })
	return all
}

func (h *member) list(ctx context.Context) ([]Model, error) {
	ps := h.ps.join(ctx)
	tags, err := h.tags.get(ctx)
	<-ps.done
	running := ps.answer
	if err = cmp.Or(err, ps.err); err != nil {
		return nil, h.fail(ctx, "", err)
	}
	loaded := make(map[string]*ollama.Running, len(running)) // by digest: copies of a model run together
	for i := range running {
		loaded[running[i].Digest] = &running[i]
	}
	host := []string{h.Client.Name()}
	models := make([]Model, len(tags))
	for i, t := range tags {
		n := canonical(t.Name)
		models[i] = Model{Model: t, Canonical: n, Hosts: host, Loaded: loaded[t.Digest]}
		if models[i].Loaded != nil {
			models[i].LoadedOn = host
		}
	}
	if err := h.complete(ctx, models); err != nil {
		return nil, err
	}
	sort.Slice(models, func(i, j int) bool { return models[i].Canonical < models[j].Canonical })
	return models, nil
}

// showParallel bounds how many shows run at once when capabilities must be asked for.
const showParallel = 8

// complete fills in the capabilities that tags did not give (before Ollama 0.30).
func (h *member) complete(ctx context.Context, models []Model) error {
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
			shown, err := h.show(ctx, m.Canonical, m.Digest)
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
func (h *member) show(ctx context.Context, model ollama.Name, digest string) (*ollama.Shown, error) {
	h.mu.Lock()
	s := h.shown[digest]
	h.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := h.Client.Show(ctx, model)
	if err != nil {
		return nil, h.fail(ctx, model, err)
	}
	h.mu.Lock()
	h.shown[digest] = s
	h.mu.Unlock()
	return s, nil
}

// describe asks what a model is. It fails for models that are missing or refused.
func (h *member) describe(ctx context.Context, model ollama.Name) (*ollama.Shown, error) {
	s, err := h.Client.Show(ctx, model)
	if err != nil {
		return nil, h.fail(ctx, model, err)
	}
	return s, h.opts.allowed(model, s.RemoteHost)
}

// allowed refuses models that run on ollama.com where the operator does.
func (o *Options) allowed(model ollama.Name, remoteHost string) error {
	if o.NoCloud && (remoteHost != "" || IsCloudName(model)) {
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
		return named, f.opts.allowed(named, "")
	}
	models, _, err := f.Models(ctx)
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
	candidates := names(able)
	switch {
	case len(candidates) == 1:
		return candidates[0], nil
	case len(names(loaded)) == 1:
		return loaded[0].Canonical, nil
	}
	return "", &ChoiceError{Capability: capability, Candidates: candidates, Installed: len(names(models)), Restricted: may != nil}
}

// names are the names of models that are sorted by them, each once.
func names(models []Model) []ollama.Name {
	var all []ollama.Name
	for i := range models {
		all = append(all, models[i].Canonical)
	}
	return slices.Compact(all)
}
