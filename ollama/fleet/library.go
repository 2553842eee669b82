package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"ollama-mcp/ollama"
)

// Find returns an installed model as tags lists it, nil when it is not installed.
func (f *Fleet) Find(ctx context.Context, model ollama.Name) (*ollama.Model, error) {
	tags, err := f.host.Client.Tags(ctx)
	if err != nil {
		return nil, f.fail(ctx, model, err)
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

// Show describes a model. full asks for the tensors and the long lists too, which may be
// tens of megabytes.
func (f *Fleet) Show(ctx context.Context, model ollama.Name, full bool) (*Description, error) {
	if err := f.allowed(model, ""); err != nil { // of a cloud model that is not installed Ollama asks ollama.com
		return nil, err
	}
	show := f.host.Client.Show
	if full {
		show = f.host.Client.ShowFull
	}
	shown, err := show(ctx, model)
	if err != nil {
		return nil, f.fail(ctx, model, err)
	}
	d := &Description{Shown: shown, Host: f.host.Client.Name()}
	if shown.RemoteHost == "" {
		d.Loaded, err = f.running(ctx, model)
	}
	return d, err
}

// Moved is what a pull, push or create came to.
type Moved struct {
	Host  string
	State ollama.TransferState
	Model *ollama.Model // as tags lists it now; of a push nil
}

// CheckSource refuses a model of a registry that the operator does not allow, before
// anything is asked of a host. Its errors are *[Error].
func (f *Fleet) CheckSource(op string, model ollama.Name) error {
	return f.fail(f.life, model, f.host.Client.CheckSource(op, string(model)))
}

// Pull has the host fetch a model, under the name as it is spelt, see [ollama.Spelling], and
// checks that it is installed then. Pulls of one name share one transfer, whose spelling is the
// first's and which ends with the last of them: a caller that wants it to go on keeps its ctx alive. watch is told how far it is, at
// most twice a second, and at the end. What broke off is a [*TransferError], and resumes when asked for again.
func (f *Fleet) Pull(ctx context.Context, model string, watch func(ollama.TransferState)) (*Moved, error) {
	name, err := ollama.ParseName(model)
	if err != nil {
		return nil, err
	}
	spelt, err := ollama.Spelling(model)
	if err != nil {
		return nil, err
	}
	if err := f.allowed(name, ""); err != nil {
		return nil, err
	}
	key := spelt
	if name.Registry() == ollama.DefaultRegistry { // means one model in any case: https://github.com/ollama/ollama/issues/336
		key = string(name)
	}
	return f.bringIn(ctx, moving{op: "pull", model: name, key: "pull " + key, ask: func(ctx context.Context) iter.Seq2[ollama.Progress, error] {
		return f.host.Client.Pull(ctx, spelt)
	}}, watch)
}

// Create makes a model of another, which must be installed: Ollama would pull it unasked.
// Else it is as Pull.
func (f *Fleet) Create(ctx context.Context, r *ollama.CreateRequest, watch func(ollama.TransferState)) (*Moved, error) {
	if err := f.CheckSource("create", r.From); err != nil {
		return nil, err
	}
	from, err := f.Find(ctx, r.From)
	switch {
	case err != nil:
		return nil, err
	case from == nil:
		return nil, f.missing(ctx, "create", r.From)
	}
	if err := f.allowed(r.From, from.RemoteHost); err != nil {
		return nil, err
	}
	key, _ := json.Marshal(r) // plain fields: cannot fail
	return f.bringIn(ctx, moving{op: "create", model: r.Model, key: "create " + string(key), from: r.From, ask: func(ctx context.Context) iter.Seq2[ollama.Progress, error] {
		return f.host.Client.Create(ctx, r)
	}}, watch)
}

// bringIn is a transfer that ends with an installed model.
func (f *Fleet) bringIn(ctx context.Context, m moving, watch func(ollama.TransferState)) (*Moved, error) {
	state, err := f.transfer(ctx, m, watch)
	if err != nil {
		return nil, err
	}
	f.forget(m.model)
	found, err := f.Find(ctx, m.model)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, f.broken(ctx, m.op, m.model, "Ollama said success but does not list the model")
	}
	watch(state)
	return &Moved{Host: f.host.Client.Name(), State: state, Model: found}, nil
}

// Push has the host send an installed model to the registry in its name, as Pull fetches.
func (f *Fleet) Push(ctx context.Context, model ollama.Name, watch func(ollama.TransferState)) (*Moved, error) {
	state, err := f.transfer(ctx, moving{op: "push", model: model, key: "push " + string(model), ask: func(ctx context.Context) iter.Seq2[ollama.Progress, error] {
		return f.host.Client.Push(ctx, model)
	}}, watch)
	if err != nil {
		return nil, err
	}
	watch(state)
	return &Moved{Host: f.host.Client.Name(), State: state}, nil
}

// Copy gives an installed model a second name, in the place of a model that had it, and
// returns the host's name.
func (f *Fleet) Copy(ctx context.Context, source, destination ollama.Name) (host string, err error) {
	if err := f.host.Client.Copy(ctx, source, destination); err != nil {
		return "", f.fail(ctx, source, err)
	}
	f.forget(destination)
	return f.host.Client.Name(), nil
}

// Delete removes a model from the host's memory and disk, and checks that it is gone. One
// that calls still run on is not deleted, but busy; w is told as of Unload.
func (f *Fleet) Delete(ctx context.Context, model ollama.Name, w Watch) (host string, err error) {
	found, err := f.Find(ctx, model)
	switch {
	case err != nil:
		return "", err
	case found == nil:
		return "", f.missing(ctx, "delete", model)
	}
	if err := f.vacate(ctx, model, w); err != nil {
		return "", err
	}
	if err := f.host.Client.Delete(ctx, model); err != nil {
		return "", f.fail(ctx, model, err)
	}
	f.forget(model)
	if found, err = f.Find(ctx, model); err != nil {
		return "", err
	}
	if found != nil {
		return "", f.broken(ctx, "delete", model, "Ollama said that it deleted the model but still lists it")
	}
	return f.host.Client.Name(), nil
}

// vacate unloads a model that is loaded under this name: once it is deleted, Ollama finds it
// no more and it stays in memory. A copy that runs for it is left alone.
func (f *Fleet) vacate(ctx context.Context, model ollama.Name, w Watch) error {
	all, err := f.ps.get(ctx)
	if err != nil {
		return f.fail(ctx, model, err)
	}
	if !slices.ContainsFunc(all, func(r ollama.Running) bool { return canonical(r.Name) == model }) {
		return nil
	}
	state, err := f.Unload(ctx, model, w)
	if err == nil && state == Pending {
		err = f.fail(ctx, model, &ollama.Error{Op: "delete", Host: f.host.Client.Name(), Kind: ollama.Busy,
			Message: fmt.Sprintf("calls still run on %s, and it was not deleted", model)})
	}
	return err
}

// forget drops what was known of a name that now stands for other content, or none, and tells
// of the change. What is known by digest stays true.
func (f *Fleet) forget(model ollama.Name) {
	defer f.changed()
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.traffic[model]; t != nil && len(t.calls) == 0 {
		delete(f.traffic, model)
	}
}

func (f *Fleet) missing(ctx context.Context, op string, model ollama.Name) error {
	return f.fail(ctx, model, &ollama.Error{Op: op, Host: f.host.Client.Name(), Kind: ollama.MissingModel, Message: "it is not installed"})
}

func (f *Fleet) broken(ctx context.Context, op string, model ollama.Name, said string) error {
	return f.fail(ctx, model, &ollama.Error{Op: op, Host: f.host.Client.Name(), Kind: ollama.Failed, Message: said})
}
