package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	"ollama-mcp/ollama"
)

// hostPatience bounds how long a question to all waits for one host, doubtPatience for one that
// is not well, downPatience for one that is down.
const hostPatience, doubtPatience, downPatience = 3 * time.Second, time.Second, 300 * time.Millisecond

// gathered is what several hosts answered to one question.
type gathered[T any] struct {
	answers []told[T] // in the order of the members
	silent  []Silent
}

type told[T any] struct {
	host   *member
	answer T
}

// Silent is a host that should have answered and did not.
type Silent struct {
	Host string
	Err  error
}

// gather asks all hosts that the caller may use, or the one that is named, and that are well
// as far as is known; all of those when none is. Its error is that of the first, when none has answered.
// One host alone is waited for as long as ctx lasts.
func gather[T any](ctx context.Context, f *Fleet, host string, ask func(context.Context, *member) (T, error)) (g gathered[T], err error) {
	f.seen()
	members, done := f.use(within(ctx, host))
	defer done()
	switch len(members) {
	case 0:
		return g, nowhere(ctx, "")
	case 1:
		answer, err := ask(ctx, members[0])
		g.answers = []told[T]{{members[0], answer}}
		return g, err
	}
	well := make([]*member, 0, len(members))
	for _, h := range members {
		if facts := h.facts.Load(); facts.Down == "" {
			well = append(well, h)
		} else {
			g.silent = append(g.silent, Silent{h.Client.Name(), errors.New(facts.Down)})
		}
	}
	if len(well) == 0 {
		well, g.silent = members, nil
	}
	answers, errs := askEach(ctx, well, ask)
	for i, h := range well {
		if errs[i] == nil {
			g.answers = append(g.answers, told[T]{h, answers[i]})
			continue
		}
		g.silent = append(g.silent, Silent{h.Client.Name(), errs[i]})
		if err == nil {
			err = errs[i]
		}
	}
	if len(g.answers) > 0 {
		err = nil
	}
	return g, err
}

// askEach asks the hosts at the same time.
func askEach[T any](ctx context.Context, members []*member, ask func(context.Context, *member) (T, error)) ([]T, []error) {
	answers, errs := make([]T, len(members)), make([]error, len(members))
	var wg sync.WaitGroup
	for i, h := range members {
		wg.Go(func() {
			patience := hostPatience
			switch facts := h.facts.Load(); {
			case len(members) == 1:
			case facts.Down != "":
				patience = downPatience
			case facts.Doubtful:
				patience = doubtPatience
			}
			own, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			answers[i], errs[i] = ask(own, h)
			if errs[i] != nil && own.Err() != nil && ctx.Err() == nil {
				errs[i] = h.stalled()
			}
			h.blame(errs[i])
		})
	}
	wg.Wait()
	return answers, errs
}

// blame tells the watcher of a question that failed: to one among many it is news, which it
// would else have only with its next poll.
func (h *member) blame(err error) {
	if err != nil && counts(err) {
		h.watcher.Report(err)
	}
}

// stalled is the error of a host whose time is over.
func (h *member) stalled() error {
	return &Error{Address: h.Address, Origin: h.Origin, Err: &ollama.Error{
		Op: "ask", Host: h.Client.Name(), Kind: ollama.Stalled, Message: "nothing came in time"}}
}
