package resources

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// state is how things are. When a loaded model expires is no part of it: every call puts
// that off.
type state struct {
	hosts   map[string]hostState
	models  map[ollama.Name]modelState // nil: not known
	running map[place]runningState     // nil: not known
}

// hostState has no breaker: that of a host which is down opens and closes all the time.
type hostState struct{ version, err, state string }

// modelState is a model on all hosts, in words to compare: what there is of it, and what of that
// is loaded.
type modelState struct{ installed, loaded string }

type place struct {
	model ollama.Name
	host  string
}

type runningState struct {
	digest        string
	size, vram    int64
	contextLength int
}

// look returns nil when ctx has ended before all was known.
func (w *Watcher) look(ctx context.Context) *state {
	s := &state{hosts: map[string]hostState{}}
	for _, h := range w.catalog.source.Hosts(ctx) {
		s.hosts[h.Name] = hostState{h.Version, kind(h.Err), string(h.State)}
	}
	models, err := w.catalog.source.Models(ctx)
	running, err2 := w.catalog.source.Running(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil || err2 != nil:
		w.catalog.o.Log.Debug().AnErr("models", err).AnErr("running", err2).Msg("watching a host that does not answer")
	default:
		s.note(models, running)
	}
	return s
}

// note records the models. Those that run but are not installed any more are in running alone.
func (s *state) note(models []fleet.Model, running []fleet.Running) {
	s.models, s.running = map[ollama.Name]modelState{}, map[place]runningState{}
	loaded := map[string]string{} // by digest
	for _, r := range running {
		now := runningState{r.Digest, r.Size, r.SizeVRAM, r.ContextLength}
		s.running[place{r.Canonical, r.Host}] = now
		loaded[r.Digest] += fmt.Sprintln(r.Host, now)
	}
	for _, m := range models {
		is := s.models[m.Canonical]
		is.installed += fmt.Sprintln(m.Hosts, m.Digest, m.ModifiedAt.UnixNano(), m.Size)
		is.loaded += loaded[m.Digest]
		s.models[m.Canonical] = is
	}
}

// since is s with what it does not know as it was before.
func (s *state) since(before *state) *state {
	if s.models == nil && before != nil {
		s.models, s.running = before.models, before.running
	}
	return s
}

// diff lists what has changed between two looks; without a first one nothing has.
func (w *Watcher) diff(before, now *state) []Change {
	if before == nil {
		return nil
	}
	var changes []Change
	if !maps.Equal(before.hosts, now.hosts) {
		changes = append(changes, Change{URI: scheme + "hosts", May: w.may(statusTool)})
	}
	if now.models != nil {
		changes = append(changes, w.moves(before, now)...)
	}
	return changes
}

// moves lists what has changed of the models.
func (w *Watcher) moves(before, now *state) (changes []Change) {
	var listed, modified, moved []ollama.Name // came or went; those, and what is otherwise; loaded or unloaded
	for _, n := range keys(before.models, now.models) {
		was, had := before.models[n]
		is, has := now.models[n]
		if had != has {
			listed = append(listed, n)
		}
		if had != has || was != is {
			modified = append(modified, n)
			changes = append(changes, Change{URI: modelURI(n), May: w.may(showTool, n)})
		}
		if was.loaded != is.loaded {
			moved = append(moved, n)
		}
	}
	for _, p := range slices.AppendSeq(slices.Collect(maps.Keys(before.running)), maps.Keys(now.running)) {
		if before.running[p] != now.running[p] { // every one that runs has a digest
			moved = append(moved, p.model)
		}
	}
	if len(modified) > 0 {
		changes = append(changes, Change{URI: scheme + "models", May: w.may(listTool, modified...)})
	}
	if len(moved) > 0 {
		changes = append(changes, Change{URI: scheme + "running", May: w.may(listTool, moved...)})
	}
	if len(listed) > 0 {
		changes = append(changes, Change{May: w.may(showTool, listed...)})
	}
	return changes
}

// keys are the names in either map, in order.
func keys(a, b map[ollama.Name]modelState) []ollama.Name {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

// Canonical is the spelling of a resource's URI in which changes are told: names of models
// have several.
func Canonical(uri string) string {
	name, is := strings.CutPrefix(uri, modelURI(""))
	if !is {
		return uri
	}
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	n, err := ollama.ParseName(name)
	if err != nil {
		return uri
	}
	return modelURI(n)
}

// may lets those hear of a change who may use a tool, of models with one of them.
func (w *Watcher) may(tool string, models ...ollama.Name) func(context.Context) bool {
	return func(ctx context.Context) bool {
		return models == nil && w.catalog.may(ctx, tool) ||
			slices.ContainsFunc(models, func(n ollama.Name) bool { return w.catalog.may(ctx, tool, n) })
	}
}
