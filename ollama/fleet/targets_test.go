package fleet

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// Where a pull, create, copy, delete or unload goes.
func TestTargets(t *testing.T) {
	unwatched := func(ollama.TransferState) {}
	pull := func(model, host string) func(context.Context, *Fleet) ([]string, error) {
		return func(ctx context.Context, f *Fleet) ([]string, error) {
			m, err := f.Pull(ctx, model, host, unwatched)
			if err != nil {
				return nil, err
			}
			return m.Hosts, nil
		}
	}
	for _, test := range []struct {
		name string
		do   func(context.Context, *Fleet) ([]string, error)
		want []string
	}{
		{"pull to b", pull("big", "b"), []string{"b"}},
		{"pull to all", pull("big", AllHosts), []string{"a", "b"}},
		{"pull", pull("big", ""), []string{"a"}},
		{"pull of what both have", pull("m", ""), []string{"a", "b"}},
		{"pull of what b has", pull("own", ""), []string{"b"}},
		{"pull of what is preloaded on two", pull("wide", ""), []string{"a", "b"}},
		{"create", func(ctx context.Context, f *Fleet) ([]string, error) {
			m, err := f.Create(ctx, &ollama.CreateRequest{Model: "made:latest", From: "own:latest"}, "", unwatched)
			if err != nil {
				return nil, err
			}
			return m.Hosts, nil
		}, []string{"b"}},
		{"copy", func(ctx context.Context, f *Fleet) ([]string, error) {
			on, err := f.Copy(ctx, "m:latest", "two:latest")
			return on.Hosts, err
		}, []string{"a", "b"}},
		{"copy of what b has", func(ctx context.Context, f *Fleet) ([]string, error) {
			on, err := f.Copy(ctx, "own:latest", "two:latest")
			return on.Hosts, err
		}, []string{"b"}},
		{"delete", func(ctx context.Context, f *Fleet) ([]string, error) {
			on, err := f.Delete(ctx, "m:latest", Watch{})
			return on.Hosts, err
		}, []string{"a", "b"}},
		{"unload", func(ctx context.Context, f *Fleet) ([]string, error) {
			_, on, err := f.Unload(ctx, "m:latest", "", Watch{})
			return on.Hosts, err
		}, []string{"a", "b"}},
		{"unload on b", func(ctx context.Context, f *Fleet) ([]string, error) {
			_, on, err := f.Unload(ctx, "m:latest", "b", Watch{})
			return on.Hosts, err
		}, []string{"b"}},
		{"load on b", func(ctx context.Context, f *Fleet) ([]string, error) {
			l, err := f.Load(ctx, LoadRequest{Model: "e:latest", Host: "b"}, Watch{})
			if err != nil {
				return nil, err
			}
			return []string{l.Host}, nil
		}, []string{"b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				registry := []ollamatest.FakePull{{Model: ollamatest.FakeModel{Name: "big"}}, {Model: ollamatest.FakeModel{Name: "wide"}}}
				a := ollamatest.Script{Registry: registry, Models: []ollamatest.FakeModel{{Name: "m", Loaded: true}, {Name: "e"}}}
				b := a
				b.Models = append(slices.Clone(b.Models), ollamatest.FakeModel{Name: "own"})
				f, _ := pair(t, a, b)
				f.opts.Pins = map[ollama.Name]Pin{"wide:latest": {Preload: 2}}
				if _, _, err := f.Models(t.Context()); err != nil { // it knows its hosts
					t.Fatal(err)
				}
				hosts, err := test.do(t.Context(), f)
				if diff := cmp.Diff(test.want, hosts); diff != "" || err != nil {
					t.Errorf("hosts (-want +got):\n%s%v", diff, err)
				}
			})
		})
	}
}

func TestUnknownHost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := pair(t, ollamatest.Script{}, ollamatest.Script{})
		for name, do := range map[string]func() error{
			"load": func() error {
				_, err := f.Load(t.Context(), LoadRequest{Model: "tiny:latest", Host: "c"}, Watch{})
				return err
			},
			"unload": func() error { _, _, err := f.Unload(t.Context(), "tiny:latest", "c", Watch{}); return err },
			"pull":   func() error { _, err := f.Pull(t.Context(), "tiny", "c", func(ollama.TransferState) {}); return err },
			"find":   func() error { _, err := f.Find(t.Context(), "tiny:latest", "c"); return err },
		} {
			var unknown *UnknownHostError
			if err := do(); !errors.As(err, &unknown) || !slices.Equal(unknown.Hosts, []string{"a", "b"}) {
				t.Errorf("%s on c: got %v, want that there are a and b", name, err)
			}
		}
	})
}

// A model goes to several hosts: how far it is counts for all of them, and what broke off
// says where it has arrived.
func TestPullToSeveral(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		big := ollamatest.FakePull{Model: ollamatest.FakeModel{Name: "big"}, Layers: []int64{4_000_000}, Rate: 1_000_000}
		a := ollamatest.Script{Registry: []ollamatest.FakePull{big}}
		big.StopAt = 0.5
		b := ollamatest.Script{Registry: []ollamatest.FakePull{big}}
		f, _ := pair(t, a, b)
		var last ollama.TransferState
		begun := time.Now()
		_, err := f.Pull(t.Context(), "big", AllHosts, func(s ollama.TransferState) {
			if s.Done < last.Done {
				t.Errorf("%d bytes after %d", s.Done, last.Done)
			}
			last = s
		})
		var broke *TransferError
		if !errors.As(err, &broke) || !slices.Equal(broke.Arrived, []string{"a"}) || broke.State.Total != 8_000_000 || broke.State.Done != 6_000_000 {
			t.Errorf("a pull to two hosts, of which one breaks off at half: got %v, %+v; want that it has arrived on a, and 6 of 8 MB", err, broke)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("two pulls of 4 s took %v, want them at the same time", took)
		}
		m, err := f.Pull(t.Context(), "big", AllHosts, func(ollama.TransferState) {})
		if err != nil || !slices.Equal(m.Hosts, []string{"a", "b"}) {
			t.Errorf("the pull again: got %+v, %v; want both hosts", m, err)
		}
	})
}
