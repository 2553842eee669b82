package main

import (
	"context"
	"errors"
	"iter"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/resources"
	"ollama-mcp/tools"
	"ollama-mcp/transport"
	"ollama-mcp/transport/auth"
)

// reading is what clients can read, and what they are told of it.
type reading struct {
	catalog *resources.Catalog
	watcher *resources.Watcher
}

// newReading takes the names of the tools that are offered: resources and prompts are with these.
func newReading(hosts *fleet.Fleet, o tools.Options, offered []string, w resources.WatchOptions) *reading {
	source := resources.Source{Running: hosts.Running, Hosts: hosts.Hosts, HostView: tools.Hosts, Show: hosts.Show}
	source.Models = func(ctx context.Context) ([]fleet.Model, error) {
		models, _, err := hosts.Models(ctx)
		return models, err
	}
	source.Job = func(ctx context.Context, id string) (any, error) {
		job, err := tools.Job(ctx, o.Jobs, id)
		if errors.Is(err, jobs.ErrNoJob) {
			err = resources.ErrNotFound
		}
		return job, err
	}
	source.JobIDs = func(ctx context.Context) (ids []string) {
		for _, s := range o.Jobs.List(auth.FromContext(ctx).Name) {
			ids = append(ids, s.ID)
		}
		return ids
	}
	source.Embedding = func(ctx context.Context, id string) (any, error) {
		vectors, err := o.Shelf.Read(ctx, id)
		if errors.Is(err, tools.ErrNoEmbedding) {
			err = resources.ErrNotFound
		}
		return vectors, err
	}
	catalog := resources.New(source, resources.Options{Log: o.Log, Tools: offered, Policy: o.Policy, Explain: tools.Explain})
	return &reading{catalog, resources.NewWatcher(catalog, w)}
}

// watch is for [transport.Options.Watch].
func (r *reading) watch(ctx context.Context) iter.Seq[transport.News] {
	changes := r.watcher.Watch(ctx)
	return func(yield func(transport.News) bool) {
		for c := range changes {
			n := transport.News{URI: c.URI, May: c.May}
			if c.Seq > 0 {
				n.Meta = map[string]any{"ollama-mcp/seq": c.Seq}
			}
			if !yield(n) {
				return
			}
		}
	}
}
