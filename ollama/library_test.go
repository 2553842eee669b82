package ollama_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/ollamatest"
)

// fetched is a model of three layers that takes 4 s to come.
func fetched() ollamatest.FakePull {
	return ollamatest.FakePull{
		Model:  ollamatest.FakeModel{Name: "big"},
		Layers: []int64{3_000_000, 990_000, 10_000},
		Rate:   1_000_000,
	}
}

// pull reads a pull to its end. It gives how far the first line about a layer and the last were.
func pull(ctx context.Context, t *testing.T, c *ollama.Client, model string) (first, last ollama.TransferState, err error) {
	t.Helper()
	var transfer ollama.Transfer
	for p, err := range c.Pull(ctx, model) {
		if err != nil {
			return first, last, err
		}
		s := transfer.Add(p, time.Now())
		if s.Done < last.Done || s.Total < last.Total {
			t.Errorf("Pull(%s): %+v after %+v", model, s, last)
		}
		if first.Total == 0 {
			first = s
		}
		last = s
	}
	return first, last, nil
}

func TestPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ollamatest.NewPipeFake(ollamatest.Script{Registry: []ollamatest.FakePull{fetched()}})
		c := client(t, f)
		begun := time.Now()
		_, last, err := pull(t.Context(), t, c, "BIG")
		want := ollama.TransferState{Phase: ollama.PhaseDone, Done: 4_000_000, Total: 4_000_000}
		if err != nil || last != want {
			t.Errorf("Pull: ended with %+v, %v; want %+v", last, err, want)
		}
		if took := time.Since(begun); took < 4*time.Second || took > 5*time.Second {
			t.Errorf("Pull: took %v, want 4s and a little", took)
		}
		models, err := c.Tags(t.Context())
		if err != nil || !slices.ContainsFunc(models, func(m ollama.Model) bool { return m.Name == "big:latest" && m.Size == 4_000_000 }) {
			t.Errorf("Tags after Pull: got %+v, %v; want big:latest among them", models, err)
		}
		if body := string(f.Seen().Last["/api/pull"].Body); !strings.Contains(body, `"BIG:latest"`) || strings.Contains(body, "insecure") {
			t.Errorf("Pull sent %s, want the model as it was spelt, and no word of insecure", body)
		}
	})
}

// A transfer that stops is an error, and the next one goes on where it stopped.
func TestPullStopsAndResumes(t *testing.T) {
	for _, tt := range []struct {
		says string
		kind ollama.Kind
	}{
		{"", ollama.Cut},
		{"max retries exceeded: unexpected EOF", ollama.Failed},
		{"digest mismatch, file must be downloaded again: want sha256:1, got sha256:2", ollama.Failed},
		{"write /models/blobs/sha256-0-partial: no space left on device", ollama.Failed},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := fetched()
			p.StopAt, p.Error = 0.6, tt.says
			f := ollamatest.NewPipeFake(ollamatest.Script{Registry: []ollamatest.FakePull{p}})
			c := client(t, f)
			_, last, err := pull(t.Context(), t, c, "big")
			if !isKind(err, tt.kind) || last.Done != 2_400_000 || last.Total != 3_000_000 {
				t.Errorf("Pull that stops with %q: got %+v, %v; want %s at 2.4 of 3 MB", tt.says, last, err, tt.kind)
			}
			first, last, err := pull(t.Context(), t, c, "big")
			if err != nil || first.Done < 2_400_000 || last.Phase != ollama.PhaseDone {
				t.Errorf("Pull again: got %+v to %+v, %v; want it to go on from 2.4 MB and to end", first, last, err)
			}
		})
	}
}

// Who leaves a pull does not stop it for others, and the last one does.
func TestPullIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := ollamatest.NewPipeFake(ollamatest.Script{Registry: []ollamatest.FakePull{fetched()}})
		c := client(t, f)
		stays := make(chan error)
		go func() {
			_, _, err := pull(t.Context(), t, c, "big")
			stays <- err
		}()
		for p, err := range c.Pull(t.Context(), "big") {
			if err != nil {
				t.Fatal(err)
			}
			if p.Completed > 1_000_000 {
				break
			}
		}
		if err := <-stays; err != nil {
			t.Errorf("Pull that somebody else left: %v", err)
		}
		if got := f.Seen(); got.Downloads != 1 || len(got.Aborts) != 1 {
			t.Errorf("Seen: %d downloads, %d aborts; want 1 of each", got.Downloads, len(got.Aborts))
		}
	})
}

// Checking a large model takes longer than any silence that a generation may have, but not for ever.
func TestPullMayBeSilent(t *testing.T) {
	for silence, want := range map[time.Duration]ollama.Kind{29 * time.Minute: "", 31 * time.Minute: ollama.Stalled} {
		synctest.Test(t, func(t *testing.T) {
			p := fetched()
			p.VerifyDelay = silence
			f := ollamatest.NewPipeFake(ollamatest.Script{Registry: []ollamatest.FakePull{p}})
			_, last, err := pull(t.Context(), t, client(t, f), "big")
			if want == "" && err != nil || want != "" && !isKind(err, want) {
				t.Errorf("Pull with %v of silence: got %+v, %v; want %q", silence, last, err, want)
			}
		})
	}
}

// The spellings that name another registry, or try to. None is worth a request.
var otherRegistries = []string{
	"example.com/user/model", "EXAMPLE.com/user/model:tag", "127.0.0.1/user/model", "127.0.0.1:5000/user/model",
	"127.1/user/model", "2130706433/user/model", "0x7f000001/user/model", "0177.0.0.1/user/model", "0/user/model",
	"localhost/user/model", "localhost:11434/user/model", "169.254.169.254/latest/meta-data", "metadata.google.internal/a/b",
	"registry.ollama.ai:443/library/m", "registry.ollama.ai:80/library/m", "registry.ollama.ai:/library/m", "registry.ollama.ai./library/m",
	"hf.co:443/user/repo", "hf.co:8080/user/repo", "hf.co./user/repo", "hf.co:/user/repo", "hf.co:443:80/user/repo",
	"evil-hf.co/user/repo", "hf.co.example.com/user/repo", "x.hf.co/user/repo", "hf_co/user/repo", "huggingface.co/user/repo",
	"http://hf.co/user/repo", "https://hf.co/user/repo", "HTTP://example.com/a/b", "file:///etc/passwd", "ftp://hf.co/user/repo", "//hf.co/user/repo",
	"http:/hf.co/user", "hf.co//repo", "/hf.co/user/repo", `hf.co\user\repo`, `\\host\share`,
	"../../etc/passwd", "hf.co/../example.com/m", "hf.co/user/..", "hf.co/./m", "..", "hf.co/user/repo/../../x",
	"user@hf.co/a/b", "user:secret@example.com/a/b", "hf.co@example.com/a/b", "hf.co:x@example.com/a/b", "hf.co/user/repo@sha256:0",
	"[::1]/user/model", "[::1]:5000/user/model", "::1/user/model", "[fe80::1%25eth0]/a/b", "[::ffff:127.0.0.1]/a/b",
	"hf.co%2fuser%2frepo", "%68f.co/user/repo", "example.com%00.hf.co/a/b", "hf.co%40example.com/a/b", "hf.co/user/%2e%2e",
	"hf.co?x/user/repo", "hf.co#x/user/repo", "example.com /user/model", "hf.co\t/user/repo", "hf.co\x00/user/repo", "hf.co\r\nHost: x/a/b",
	"ｈｆ.co/user/repo", "hf。co/user/repo", "hf.co\u200b/user/repo", "\u212a.example/user/model", "", " ",
}

func TestOtherRegistriesAreRefused(t *testing.T) {
	f := ollamatest.NewFake(ollamatest.Script{})
	c := client(t, f)
	ctx := limited(t)
	refused := func(what, name string, err error) {
		t.Helper()
		var e *ollama.Error
		if !errors.As(err, &e) || e.Kind != ollama.Invalid || e.Status != 0 || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\x00\r\n") {
			t.Errorf("%s(%q): got %v, want it refused, in one clean line", what, name, err)
		}
	}
	for _, spelling := range otherRegistries {
		refused("Pull", spelling, follow(c.Pull(ctx, spelling)))
		name := ollama.Name(spelling)
		refused("Push", spelling, follow(c.Push(ctx, name)))
		refused("Create", spelling, follow(c.Create(ctx, &ollama.CreateRequest{Model: "made:latest", From: name})))
	}
	var registry *ollama.RegistryError
	if err := follow(c.Pull(ctx, "Example.com/user/model")); !errors.As(err, &registry) || registry.Registry != "example.com" {
		t.Errorf("Pull: got %v, want a RegistryError about example.com", err)
	}
	if got := f.Seen().Requests; len(got) > 0 {
		t.Errorf("requests left: %v, want none", got)
	}
}

// Only the operator's word makes a pull insecure.
func TestInsecureRegistry(t *testing.T) {
	registries, err := ollama.ParseRegistries([]string{"http://localhost:5000", "hf.co"})
	if err != nil {
		t.Fatal(err)
	}
	f := ollamatest.NewFake(ollamatest.Script{})
	defer f.Close()
	c := ollama.NewClient(ollama.ClientOptions{Dial: f.Dial, Registries: registries})
	defer c.Close()
	for model, want := range map[string]string{
		"localhost:5000/user/model": `{"model":"localhost:5000/user/model:latest","insecure":true,"stream":true}`,
		"hf.co/User/Repo:Q4_K_M":    `{"model":"hf.co/User/Repo:Q4_K_M","stream":true}`,
	} {
		if err := follow(c.Pull(limited(t), model)); !isKind(err, ollama.MissingModel) {
			t.Errorf("Pull(%q): got %v, want the fake not to know it", model, err)
		}
		if got := strings.TrimSpace(string(f.Seen().Last["/api/pull"].Body)); got != want {
			t.Errorf("Pull(%q) sent %s, want %s", model, got, want)
		}
	}
}

// A command's success is empty, and so what cuts its answer short cannot be told from it. All else is an error.
func TestCommandFaults(t *testing.T) {
	commands := map[string]func(context.Context, *ollama.Client) error{
		"copy":   func(ctx context.Context, c *ollama.Client) error { return c.Copy(ctx, tiny, "second:latest") },
		"delete": func(ctx context.Context, c *ollama.Client) error { return c.Delete(ctx, tiny) },
	}
	untold := []string{"stall", "cut", "end without done", "cut after done", "error line", "error object", "empty 200", "short body", "long line", "too long line"}
	for _, fault := range ollamatest.AllFaults() {
		if slices.Contains(untold, fault.Name) {
			continue
		}
		for name, do := range commands {
			t.Run(fault.Name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := ollamatest.NewPipeFake(ollamatest.Script{Faults: map[string]ollamatest.Fault{"/api/" + name: fault}})
					if err := do(t.Context(), client(t, f)); !fault.Allows(err, true) {
						t.Errorf("%s, %s: got %v, want one of %q, success %t", name, fault.Name, err, fault.Kinds, fault.Success)
					}
				})
			})
		}
	}
}

// Leaving closes the connection at once, which is all that Ollama takes for a cancel.
func TestLeavingAPull(t *testing.T) {
	for how, goOn := range leave {
		synctest.Test(t, func(t *testing.T) {
			f := ollamatest.NewPipeFake(ollamatest.Script{Registry: []ollamatest.FakePull{fetched()}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for p, err := range client(t, f).Pull(ctx, "big") {
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				if err == nil && p.Completed > 0 && !goOn(cancel) {
					break
				}
			}
			left := time.Now()
			if err := f.Await(t.Context(), func(s ollamatest.Seen) bool { return len(s.Aborts) == 1 }); err != nil {
				t.Fatal(err)
			}
			if late := f.Seen().Aborts[0].At.Sub(left); late > 0 {
				t.Errorf("%s: the fake saw it %v later, want at once", how, late)
			}
		})
	}
}
