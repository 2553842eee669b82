package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"ollama-mcp/ollama"
)

// find returns an installed model as tags lists it, nil when it is not installed.
func (h *member) find(ctx context.Context, model ollama.Name) (*ollama.Model, error) {
	tags, err := h.tags.get(ctx)
	if err != nil {
		return nil, h.fail(ctx, model, err)
	}
	i := slices.IndexFunc(tags, func(m ollama.Model) bool { return canonical(m.Name) == model })
	if i < 0 {
		return nil, nil
	}
	return &tags[i], nil
}

// Description is what a model is.
type Description struct {
	*ollama.Shown
	Host   string
	Loaded *ollama.Running // nil when it is not loaded
}

// Show describes a model as calls would find it. full asks for the tensors and the long lists
// too, which may be tens of megabytes.
func (f *Fleet) Show(ctx context.Context, model ollama.Name, full bool) (d *Description, err error) {
	if err := f.opts.allowed(model, ""); err != nil { // of a cloud model that is not installed Ollama asks ollama.com
		return nil, err
	}
	err = f.try(ctx, &need{op: "show", model: model}, func(v *visit) (err error) {
		d, err = v.describeAll(v.ctx, model, full)
		return err
	})
	return d, err
}

func (h *member) describeAll(ctx context.Context, model ollama.Name, full bool) (*Description, error) {
	show := h.Client.Show
	if full {
		show = h.Client.ShowFull
	}
	shown, err := show(ctx, model)
	if err != nil {
		return nil, h.fail(ctx, model, err)
	}
	d := &Description{Shown: shown, Host: h.Client.Name()}
	if shown.RemoteHost == "" {
		d.Loaded, err = h.running(ctx, model)
	}
	return d, err
}

// Moved is what a pull, push or create came to.
type Moved struct {
	Hosts []string
	State ollama.TransferState
	Model *ollama.Model // as tags lists it now; of a push nil
}

// pull has the host fetch a model, under the name as it is spelt, see [ollama.Spelling], and
// checks that it is installed then. Pulls of one name share one transfer, whose spelling is the
// first's and which ends with the last of them: a caller that wants it to go on keeps its ctx alive. watch is told how far it is, at
// most twice a second, and at the end. What broke off is a [*TransferError], and resumes when asked for again.
func (h *member) pull(ctx context.Context, model string, watch func(ollama.TransferState)) (*Moved, error) {
	name, err := ollama.ParseName(model)
	if err != nil {
		return nil, err
	}
	spelt, err := ollama.Spelling(model)
	if err != nil {
		return nil, err
	}
	key := spelt
	if name.Registry() == ollama.DefaultRegistry { // means one model in any case: https://github.com/ollama/ollama/issues/336
		key = string(name)
	}
	return h.bringIn(ctx, moving{op: "pull", model: name, key: "pull " + key, ask: func(ctx context.Context) iter.Seq2[ollama.Progress, error] {
		return h.Client.Pull(ctx, spelt)
	}}, watch)
}

// create makes a model of another, which must be installed: Ollama would pull it unasked.
// Else it is as pull.
func (h *member) create(ctx context.Context, r *ollama.CreateRequest, watch func(ollama.TransferState)) (*Moved, error) {
	from, err := h.find(ctx, r.From)
	switch {
	case err != nil:
		return nil, err
	case from == nil:
		return nil, h.missing(ctx, "create", r.From)
	}
	if err := h.opts.allowed(r.From, from.RemoteHost); err != nil {
		return nil, err
	}
	key, _ := json.Marshal(r) // plain fields: cannot fail
	return h.bringIn(ctx, moving{op: "create", model: r.Model, key: "create " + string(key), from: r.From, ask: func(ctx context.Context) iter.Seq2[ollama.Progress, error] {
		return h.Client.Create(ctx, r)
	}}, watch)
}

// bringIn is a transfer that ends with an installed model.
func (h *member) bringIn(ctx context.Context, m moving, watch func(ollama.TransferState)) (*Moved, error) {
	state, err := h.transfer(ctx, m, watch)
	if err != nil {
		return nil, err
	}
	h.forget(m.model)
	found, err := h.find(ctx, m.model)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, h.broken(ctx, m.op, m.model, "Ollama said success but does not list the model")
	}
	watch(state)
	return &Moved{Hosts: []string{h.Client.Name()}, State: state, Model: found}, nil
}

// push has the host send an installed model to the registry in its name, as pull fetches.
func (h *member) push(ctx context.Context, model ollama.Name, watch func(ollama.TransferState)) (*Moved, error) {
	state, err := h.transfer(ctx, moving{op: "push", model: model, key: "push " + string(model), ask: func(ctx context.Context) iter.Seq2[ollama.Progress, error] {
		return h.Client.Push(ctx, model)
	}}, watch)
	if err != nil {
		return nil, err
	}
	watch(state)
	return &Moved{Hosts: []string{h.Client.Name()}, State: state}, nil
}

// copy gives an installed model a second name, in the place of a model that had it.
func (h *member) copy(ctx context.Context, source, destination ollama.Name) error {
	if err := h.Client.Copy(ctx, source, destination); err != nil {
		return h.fail(ctx, source, err)
	}
	h.forget(destination)
	_, err := h.find(ctx, destination) // so that it is known from here on
	return err
}

// delete removes a model from the host's memory and disk, and checks that it is gone. One
// that calls still run on is not deleted, but busy; w is told as of unload.
func (h *member) delete(ctx context.Context, model ollama.Name, w Watch) error {
	found, err := h.find(ctx, model)
	switch {
	case err != nil:
		return err
	case found == nil:
		return h.missing(ctx, "delete", model)
	}
	if err := h.vacate(ctx, model, w); err != nil {
		return err
	}
	if err := h.Client.Delete(ctx, model); err != nil {
		return h.fail(ctx, model, err)
	}
	h.forget(model)
	if found, err = h.find(ctx, model); err != nil {
		return err
	}
	if found != nil {
		return h.broken(ctx, "delete", model, "Ollama said that it deleted the model but still lists it")
	}
	return nil
}

// vacate unloads a model that is loaded under this name: once it is deleted, Ollama finds it
// no more and it stays in memory. A copy that runs for it is left alone.
func (h *member) vacate(ctx context.Context, model ollama.Name, w Watch) error {
	all, err := h.ps.get(ctx)
	if err != nil {
		return h.fail(ctx, model, err)
	}
	if !slices.ContainsFunc(all, func(r ollama.Running) bool { return canonical(r.Name) == model }) {
		return nil
	}
	state, err := h.unload(ctx, model, w)
	if err == nil && state == Pending {
		err = h.fail(ctx, model, &ollama.Error{Op: "delete", Host: h.Client.Name(), Kind: ollama.Busy,
			Message: fmt.Sprintf("calls still run on %s, and it was not deleted", model)})
	}
	return err
}

// forget drops what was known of a name that now stands for other content, or none, and tells
// of the change. What is known by digest stays true.
func (h *member) forget(model ollama.Name) {
	defer h.fleet.changed()
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.traffic[model]; t != nil && len(t.calls) == 0 {
		delete(h.traffic, model)
	}
}

func (h *member) missing(ctx context.Context, op string, model ollama.Name) error {
	return h.fail(ctx, model, &ollama.Error{Op: op, Host: h.Client.Name(), Kind: ollama.MissingModel, Message: "it is not installed"})
}

func (h *member) broken(ctx context.Context, op string, model ollama.Name, said string) error {
	return h.fail(ctx, model, &ollama.Error{Op: op, Host: h.Client.Name(), Kind: ollama.Failed, Message: said})
}
