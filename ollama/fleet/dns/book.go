package dns

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"ollama-mcp/ollama"
)

// Book keeps what services stand for. The zero value is not usable: it needs a Resolver. Its
// methods are not for concurrent use.
type Book struct {
	Resolver Resolver
	Limit    time.Duration // on one question to the DNS; 0 is 5 s
	Log      zerolog.Logger

	known map[Service]*entry
}

// entry is what is known of a service.
type entry struct {
	hosts   []ollama.Host // nil: never found
	changed bool          // by the latest lookup
	failed  bool          // the latest lookup did
}

// Look asks the DNS for all the services at once, and forgets others. A service that is not
// found, or found to be empty, keeps the hosts it had; the first time in a row is logged. Look
// reports whether a service has other hosts now.
func (b *Book) Look(ctx context.Context, services []Service) (changed bool) {
	before := b.known
	b.known = map[Service]*entry{}
	var wg sync.WaitGroup
	for _, s := range services {
		if b.known[s] != nil {
			continue
		}
		e := before[s]
		if e == nil {
			e = &entry{}
		}
		b.known[s] = e
		wg.Go(func() { b.look(ctx, s, e) })
	}
	wg.Wait()
	for _, e := range b.known {
		changed = changed || e.changed
	}
	return changed
}

func (b *Book) look(ctx context.Context, s Service, e *entry) {
	limit := b.Limit
	if limit <= 0 {
		limit = 5 * time.Second
	}
	asking, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	hosts, err := s.lookup(asking, b.Resolver)
	e.changed = err == nil && !slices.Equal(hosts, e.hosts)
	switch {
	case err != nil && ctx.Err() != nil: // nobody waits any more
		return
	case err != nil && !e.failed:
		b.Log.Warn().Err(err).Stringer("address", s).Int("known", len(e.hosts)).Msg("the name's hosts cannot be found; those known before stay")
	case e.changed:
		e.hosts = hosts
		b.Log.Info().Stringer("address", s).Int("hosts", len(hosts)).Msg("the name's hosts are found")
	}
	e.failed = err != nil
}

// Hosts are those of a service as they were found last, sorted by name; nil when they never
// were.
func (b *Book) Hosts(s Service) []ollama.Host {
	if e := b.known[s]; e != nil {
		return e.hosts
	}
	return nil
}
