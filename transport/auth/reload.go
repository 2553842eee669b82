package auth

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ollama-mcp/files"
)

// lookEvery is how often the files behind a reloaded value are looked at, at most.
const lookEvery = time.Second

// reloaded is a value that is made of files, and made anew when one of them has changed. It
// looks when it is asked, so that it needs no goroutine and no library. What cannot be read
// leaves the value as it was and is logged once.
type reloaded[T any] struct {
	paths []string
	load  func() (*T, error)
	log   zerolog.Logger

	current  atomic.Pointer[T]
	started  time.Time
	nextLook atomic.Int64 // a time.Duration after started: no change of the clock matters

	mu   sync.Mutex // guards seen, and is held while loading
	seen files.Look
}

// newReloaded loads the value for the first time. A file that is "" is none.
func newReloaded[T any](load func() (*T, error), log zerolog.Logger, paths ...string) (*reloaded[T], error) {
	r := &reloaded[T]{paths: paths, load: load, log: log, started: time.Now(), seen: files.Stat(paths...)}
	value, err := load()
	if err != nil {
		return nil, err
	}
	r.current.Store(value)
	r.nextLook.Store(int64(lookEvery))
	return r, nil
}

// get returns the value, and looks at the files first if a second has passed since the last
// look. Only one caller looks; the others do not wait for it.
func (r *reloaded[T]) get(now time.Time) *T {
	if since := now.Sub(r.started); int64(since) >= r.nextLook.Load() && r.mu.TryLock() {
		r.look()
		r.nextLook.Store(int64(since + lookEvery))
		r.mu.Unlock()
	}
	return r.current.Load()
}

func (r *reloaded[T]) look() {
	// Looked at before the load: what changes in between is seen the next time.
	now := files.Stat(r.paths...)
	if now.Same(r.seen) {
		return
	}
	r.seen = now
	value, err := r.load()
	if err != nil {
		r.log.Error().Err(err).Msg("a changed file cannot be used; what it said before still holds")
		return
	}
	r.current.Store(value)
	r.log.Info().Str("files", strings.Join(r.paths, " ")).Msg("read anew")
}
