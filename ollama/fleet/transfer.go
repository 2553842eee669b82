package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"ollama-mcp/ollama"
)

// transferPace is how often a caller hears of a transfer: Ollama writes a line every 60 ms.
const transferPace = 500 * time.Millisecond

// transfer is a pull, push or create in progress, shared by all calls that ask for just
// that. It ends with the last of them; what has come stays on the host.
type transfer struct {
	stop context.CancelFunc
	done chan struct{} // closed when err is final
	err  error
	sum  ollama.Transfer // of the transfer's own goroutine

	// The member's mu guards what follows.
	callers int
	state   ollama.TransferState
	news    chan struct{} // closed, and replaced, when state changes
}

// TransferError says that a pull, push or create broke off, and how far it had come. What
// has come stays on the host: asking again goes on from there.
type TransferError struct {
	Op    string // "pull", "push" or "create"
	Model ollama.Name
	State ollama.TransferState
	Err   error // as of any call

	Arrived []string // hosts to which it has come, of several
}

func (e *TransferError) Error() string {
	return fmt.Sprintf("%s %s, %d of %d bytes: %v", e.Op, e.Model, e.State.Done, e.State.Total, e.Err)
}

// Unwrap returns what went wrong.
func (e *TransferError) Unwrap() error { return e.Err }

// moving is what a transfer is about.
type moving struct {
	op    string
	model ollama.Name
	key   string // transfers with the same are the same
	ask   func(context.Context) iter.Seq2[ollama.Progress, error]
	from  ollama.Name // what failures are about, when that is not model
}

// transfer joins a transfer, or starts it, and waits until Ollama has said success or ctx
// ends. watch hears how far it is, at most every transferPace, and where it breaks off; that
// it is done is the caller's to tell, with the state that is returned.
func (h *member) transfer(ctx context.Context, m moving, watch func(ollama.TransferState)) (ollama.TransferState, error) {
	t := h.joinTransfer(ctx, m)
	defer h.leaveTransfer(m.key, t)
	err := h.follow(ctx, t, watch)
	state, _ := h.look(t)
	if err != nil {
		if state.Phase != "" {
			watch(state) // what was told last may be older
		}
		return state, &TransferError{Op: m.op, Model: m.model, State: state, Err: h.fail(ctx, cmp.Or(m.from, m.model), err)}
	}
	return state, nil
}

// joinTransfer must be undone by leaveTransfer.
func (h *member) joinTransfer(ctx context.Context, m moving) *transfer {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.transfers[m.key]
	if t == nil {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		t = &transfer{stop: stop, done: make(chan struct{}), news: make(chan struct{})}
		h.transfers[m.key] = t
		h.wg.Go(func() {
			defer stop()
			defer context.AfterFunc(h.life, stop)()
			t.err = h.persist(own, t, m.ask)
			h.mu.Lock()
			h.dropTransfer(m.key, t)
			h.mu.Unlock()
			close(t.done)
		})
	}
	t.callers++
	return t
}

func (h *member) leaveTransfer(key string, t *transfer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.callers--; t.callers == 0 {
		h.dropTransfer(key, t)
		t.stop()
	}
}

// dropTransfer lets the next caller start anew. It wants mu locked.
func (h *member) dropTransfer(key string, t *transfer) {
	if h.transfers[key] == t {
		delete(h.transfers, key)
	}
}

// How long a transfer waits for Ollama to have given up the one that it joined: the pause
// doubles, up to this.
const minPause, maxPause = 50 * time.Millisecond, 2 * time.Second

// persist is move, and again when Ollama ends it with one that it was just giving up for
// somebody else (0.17.4, server/download.go, release).
func (h *member) persist(ctx context.Context, t *transfer, ask func(context.Context) iter.Seq2[ollama.Progress, error]) error {
	for pause := minPause; ; pause *= 2 {
		err := h.move(t, ask(ctx))
		var e *ollama.Error
		joined := errors.As(err, &e) && e.Kind == ollama.Busy && e.Status/100 == 2 // else the host is busy
		if !joined || pause > maxPause {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// move adds up a stream until it ends.
func (h *member) move(t *transfer, stream iter.Seq2[ollama.Progress, error]) error {
	for p, err := range stream {
		if err != nil {
			return err
		}
		h.mu.Lock()
		t.state = t.sum.Add(p, time.Now())
		close(t.news)
		t.news = make(chan struct{})
		h.mu.Unlock()
	}
	return nil
}

func (h *member) look(t *transfer) (state ollama.TransferState, news <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return t.state, t.news
}

// follow waits for the end of a transfer.
func (h *member) follow(ctx context.Context, t *transfer, watch func(ollama.TransferState)) error {
	for {
		state, news := h.look(t)
		if state.Phase != "" && state.Phase != ollama.PhaseDone {
			watch(state)
		}
		pause := time.NewTimer(transferPace)
		for wait := pause.C; wait != nil || news != nil; {
			select {
			case <-ctx.Done():
				pause.Stop()
				return ctx.Err()
			case <-t.done:
				pause.Stop()
				return t.err
			case <-wait:
				wait = nil
			case <-news:
				news = nil
			}
		}
	}
}
