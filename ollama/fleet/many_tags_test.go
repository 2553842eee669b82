package fleet_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// tagged makes three hosts with the tags night, night and gpu, and none. The model m is loaded
// on c alone, and of other content on b than on a and c; e can embed, likewise. A model own-of-c
// is on c alone.
func tagged(t *testing.T) *rig {
	digest := func(i int) string { return "sha256:" + strings.Repeat(string("121"[i]), 64) }
	r := newRig(t, 3, fleet.Options{EmbedCache: 1 << 20, AnswerCache: 1 << 20}, func(i int, s *ollamatest.Script, h *fleet.Host) {
		h.Tags = [][]string{{"night"}, {"night", "gpu"}, nil}[i]
		s.Models = []ollamatest.FakeModel{
			{Name: "m", Digest: digest(i), Loaded: i == 2},
			{Name: "e", Digest: strings.Replace(digest(i), "sha256:", "sha256:e", 1)[:71], Capabilities: []string{"embedding"}},
		}
		if i == 2 {
			s.Models = append(s.Models, ollamatest.FakeModel{Name: "own-of-c"})
		}
		s.Registry = []ollamatest.FakePull{{Model: ollamatest.FakeModel{Name: "big"}}}
	})
	r.settle()
	return r
}

func tags(t *testing.T, tags ...string) context.Context {
	return fleet.WithCaller(t.Context(), fleet.Caller{Name: "ci", Tags: tags})
}

// operations are what a caller can do on hosts, and on which it is done. host is "" or a name.
var operations = []struct {
	name string
	do   func(ctx context.Context, f *fleet.Fleet, host string) ([]string, error)
}{
	{"load", func(ctx context.Context, f *fleet.Fleet, host string) ([]string, error) {
		l, err := f.Load(ctx, fleet.LoadRequest{Model: "m:latest", Host: host}, fleet.Watch{})
		if err != nil {
			return nil, err
		}
		return []string{l.Host}, nil
	}},
	{"find", func(ctx context.Context, f *fleet.Fleet, host string) ([]string, error) {
		m, err := f.Find(ctx, "m:latest", host)
		if err != nil {
			return nil, err
		}
		return m.Hosts, nil
	}},
	{"pull", func(ctx context.Context, f *fleet.Fleet, host string) ([]string, error) {
		return moved(f.Pull(ctx, "big", host, func(ollama.TransferState) {}))
	}},
	{"create", func(ctx context.Context, f *fleet.Fleet, host string) ([]string, error) {
		return moved(f.Create(ctx, &ollama.CreateRequest{Model: "made:latest", From: "m:latest"}, host, func(ollama.TransferState) {}))
	}},
	{"unload", func(ctx context.Context, f *fleet.Fleet, host string) ([]string, error) {
		_, on, err := f.Unload(ctx, "m:latest", host, fleet.Watch{})
		return on.Hosts, err
	}},
	{"pull to all", func(ctx context.Context, f *fleet.Fleet, host string) ([]string, error) {
		if host == "" {
			host = fleet.AllHosts
		}
		return moved(f.Pull(ctx, "big", host, func(ollama.TransferState) {}))
	}},
	{"show", anywhere(func(ctx context.Context, f *fleet.Fleet) ([]string, error) {
		d, err := f.Show(ctx, "m:latest", false)
		if err != nil {
			return nil, err
		}
		return []string{d.Host}, nil
	})},
	{"copy", anywhere(func(ctx context.Context, f *fleet.Fleet) ([]string, error) {
		on, err := f.Copy(ctx, "m:latest", "m-too:latest")
		return on.Hosts, err
	})},
	{"push", anywhere(func(ctx context.Context, f *fleet.Fleet) ([]string, error) {
		return moved(f.Push(ctx, "m:latest", func(ollama.TransferState) {}))
	})},
	{"delete", anywhere(func(ctx context.Context, f *fleet.Fleet) ([]string, error) {
		on, err := f.Delete(ctx, "m:latest", fleet.Watch{})
		return on.Hosts, err
	})},
	{"list", anywhere(func(ctx context.Context, f *fleet.Fleet) (hosts []string, err error) {
		all, silent, err := f.Models(ctx)
		for _, m := range all {
			hosts = append(hosts, m.Hosts...)
		}
		slices.Sort(hosts)
		if len(silent) > 0 {
			hosts = append(hosts, "silent")
		}
		return slices.Compact(hosts), err
	})},
}

func anywhere(do func(context.Context, *fleet.Fleet) ([]string, error)) func(context.Context, *fleet.Fleet, string) ([]string, error) {
	return func(ctx context.Context, f *fleet.Fleet, _ string) ([]string, error) { return do(ctx, f) }
}

func moved(m *fleet.Moved, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return m.Hosts, nil
}

// To a caller there are no other hosts than those that have its tags.
func TestTagsOfTheCaller(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := tagged(t)
				nobody, err := op.do(tags(t, "day"), r.Fleet, "")
				var place *fleet.PlaceError
				if !errors.As(err, &place) || !place.Restricted || len(place.Hosts) > 0 {
					t.Errorf("%s with a tag that no host has: on %q, %v; want that there are no hosts", op.name, nobody, err)
				}
				if slices.Contains([]string{"load", "find", "pull", "create", "unload"}, op.name) {
					_, err := op.do(tags(t, "night", "gpu"), r.Fleet, "a")
					var unknown *fleet.UnknownHostError
					if !errors.As(err, &unknown) || !slices.Equal(unknown.Hosts, []string{"b"}) {
						t.Errorf("%s on a host that lacks a tag: %v; want that there is b alone", op.name, err)
					}
				}
				if op.name == "unload" {
					r.generate(tags(t, "b"), "m:latest", "so that it is loaded")
				}
				on, err := op.do(tags(t, "night", "b"), r.Fleet, "")
				if diff := cmp.Diff([]string{"b"}, on); diff != "" || err != nil {
					t.Errorf("%s for the tags night and b: hosts (-want +got):\n%s%v", op.name, diff, err)
				}
			})
		})
	}
}

// Calls on models, and what is kept of them, stay with the caller's hosts and the content there.
func TestTagsAndContent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := tagged(t)
		zero := 0.0
		where := func(ctx context.Context) (string, string) {
			q := &ollama.GenerateRequest{Model: "m:latest", Prompt: "x", Options: &ollama.Options{Temperature: &zero}}
			o := r.request(ctx, q)
			hits, host := 0, ""
			_, err := r.Embed(ctx, &ollama.EmbedRequest{Model: "e:latest", Input: []string{"x"}}, "", fleet.Watch{
				Placed: func(p fleet.Place) { host = p.Host }, Cached: func(n int, _ string) { hits = n },
			})
			if o.err != nil || err != nil || hits > 0 != (host == "") {
				t.Errorf("generate: %v, embed: %v, on %q, %d texts that were kept", o.err, err, host, hits)
			}
			return o.host(), host
		}
		if on, embedOn := where(tags(t)); on != "c" || embedOn == "b" {
			t.Errorf("a caller without tags: generate on %q, embed on %q; want c, where it is loaded, and not b, whose content few have", on, embedOn)
		}
		if on, embedOn := where(tags(t, "gpu")); on != "b" || embedOn != "b" {
			t.Errorf("the same for the tag gpu: generate on %q, embed on %q; want b, which has other content than what was kept", on, embedOn)
		}
		if on, embedOn := where(tags(t, "gpu")); on != "" || embedOn != "" {
			t.Errorf("the same again: generate on %q, embed on %q; want both kept", on, embedOn)
		}
		o := r.generate(tags(t, "night"), "own-of-c:latest", "x")
		if o.err == nil || strings.Contains(o.err.Error(), "c is ") || strings.Contains(o.err.Error(), "c does") {
			t.Errorf("a model that is on c alone, for the tag night: %v on %q; want an error that does not tell of c", o.err, o.host())
		}
		_, err := r.Delete(tags(t, "gpu"), "own-of-c:latest", fleet.Watch{})
		if e := (*ollama.Error)(nil); !errors.As(err, &e) || e.Kind != ollama.MissingModel || e.Host != "b" {
			t.Errorf("Delete of a model that is on c alone, for the tag gpu: %v; want that b does not have it", err)
		}
		for _, s := range r.Hosts(tags(t, "gpu")) {
			if s.Name != "b" {
				t.Errorf("Hosts for the tag gpu lists %s, want b alone", s.Name)
			}
		}
		running, err := r.Running(tags(t, "gpu"))
		for _, m := range running {
			if m.Host != "b" {
				t.Errorf("Running for the tag gpu lists %s on %s, want b alone", m.Canonical, m.Host)
			}
		}
		if len(running) == 0 || err != nil {
			t.Errorf("Running for the tag gpu = %v, %v; want what is loaded on b", running, err)
		}
	})
}

// A host that is alone with the caller's tags and down is waited for by nobody elsewhere.
func TestTagsHoldForRetries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := tagged(t)
		down := ollamatest.Down()
		r.nodes[1].fault(&down)
		before := time.Now()
		o := r.generate(tags(t, "gpu"), "m:latest", "x")
		if o.err == nil || len(o.places) > 0 && o.host() != "b" {
			t.Errorf("generate for the tag gpu while b is down: on %q, %v; want an error", o.host(), o.err)
		}
		for _, n := range []*node{r.nodes[0], r.nodes[2]} {
			if got := n.arrivals(before.Add(-1), time.Now()); len(got) > 0 {
				t.Errorf("%s got %v of a call for the tag gpu", n.name(), got)
			}
		}
	})
}
