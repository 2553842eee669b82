package fleet

import (
	"context"
	"slices"
	"time"

	"ollama-mcp/ollama"
)

// UnloadState is what an unload came to.
type UnloadState string

// The states after an unload.
const (
	Unloaded  UnloadState = "unloaded"   // ps no longer lists the model
	Pending   UnloadState = "pending"    // asked for; calls still run on the model
	NotLoaded UnloadState = "not_loaded" // ps did not list it
)

// unloadWait bounds how long Unload watches ps before it says Pending.
const unloadWait = 10 * time.Second

// longPause is between two looks at ps, after some shorter ones.
const longPause = 250 * time.Millisecond

// Unload frees a model's memory and says what ps says of it afterwards. w hears of
// [Unloading] when that takes longer than a runner takes to end: calls still run on the model.
func (f *Fleet) Unload(ctx context.Context, model ollama.Name, w Watch) (UnloadState, error) {
	loaded, err := f.running(ctx, model)
	if err != nil {
		return "", err
	}
	if loaded == nil {
		_, err := f.describe(ctx, model) // a name that is not installed is a mistake, not "not loaded"
		if isKind(err, ollama.MissingModel) {
			err = f.missing(ctx, "unload", model)
		}
		return NotLoaded, err
	}
	if err := f.host.Client.Unload(ctx, model); err != nil {
		return "", f.fail(ctx, model, err)
	}
	// Ollama answers at once, loaded or not: ps alone knows when the memory is free.
	deadline := time.Now().Add(unloadWait)
	told := false
	for pause := 10 * time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, longPause) {
		all, err := f.host.Client.PS(ctx)
		if err != nil {
			return "", f.fail(ctx, model, err)
		}
		if !slices.ContainsFunc(all, func(r ollama.Running) bool { return r.Name == loaded.Name }) {
			f.changed()
			return Unloaded, nil
		}
		if pause == longPause && !told {
			w.phase(Unloading)
			told = true
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(pause):
		}
	}
	return Pending, nil
}
