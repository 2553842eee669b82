package tools

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
)

// elsewhere are names of models that would make Ollama's host talk to another address, or
// that try to.
var elsewhere = []string{
	"example.com/user/model", "EXAMPLE.com/user/model:tag", "127.0.0.1/user/model", "127.0.0.1:5000/user/model", "127.1/user/model",
	"2130706433/user/model", "0x7f000001/user/model", "0/user/model", "localhost/user/model", "localhost:11434/user/model",
	"169.254.169.254/latest/meta-data", "registry.ollama.ai:443/library/m", "registry.ollama.ai./library/m", "hf.co:8080/user/repo",
	"hf.co./user/repo", "hf.co:443:80/user/repo", "evil-hf.co/user/repo", "hf.co.example.com/user/repo", "x.hf.co/user/repo",
	"http://hf.co/user/repo", "https://hf.co/user/repo", "file:///etc/passwd", "//hf.co/user/repo", "http:/hf.co/user", "/hf.co/user/repo",
	`hf.co\\user\\repo`, "../../etc/passwd", "hf.co/../example.com/m", "hf.co/user/..", "user@hf.co/a/b", "user:secret@example.com/a/b",
	"hf.co@example.com/a/b", "[::1]/user/model", "[::1]:5000/user/model", "::1/user/model", "[fe80::1%25eth0]/a/b", "hf.co%2fuser%2frepo",
	"%68f.co/user/repo", "hf.co%40example.com/a/b", "hf.co?x/user/repo", "hf.co#x/user/repo", "hf.co\\u0000/user/repo", "hf.co\\r\\nHost: x/a/b",
}

func TestOtherRegistriesAreRefusedUnasked(t *testing.T) {
	onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
		for _, name := range elsewhere {
			for tool, args := range map[string]string{
				"pull": `{"model":"%s"}`, "push": `{"model":"%s"}`, "create": `{"model":"made","from":"%s"}`,
			} {
				for _, may := range []bool{false, true} {
					r := b.ask(b.t.Context(), tool, fmt.Sprintf(args, name), user{asked: may})
					if p := ProblemOf(r); p == nil || p.Kind != InvalidArguments && p.Kind != kindForbidden || p.Retryable {
						t.Errorf("%s of %q: got %+v, want it refused", tool, name, p)
					}
				}
			}
		}
		if seen := b.fake.Seen().Requests; len(seen) != 0 {
			t.Errorf("after names of other registries Ollama has seen %v, want nothing", seen)
		}
	})
}

// A model that is made with a longer context than its maker may use would load with it.
func TestCreateKeepsToLimits(t *testing.T) {
	most := 1024
	rules := []policy.Rule{{Limits: policy.Limits{MaxNumCtx: &most}}}
	underPolicy(t, ollamatest.Script{}, fleet.Options{}, rules, func(b *bench) {
		for n, ok := range map[int]bool{1024: true, 1025: false} {
			r := b.call(as("ci"), "create", fmt.Sprintf(`{"model":"made","from":"tiny","parameters":{"num_ctx":%d}}`, n))
			if r.IsError == ok {
				t.Errorf("create with num_ctx %d under a limit of %d: %+v, want success %v", n, most, r.error, ok)
			}
		}
	})
}

// Every model that is named is asked about, before the user and Ollama are asked anything.
func TestEveryModelNamedMustBeAllowed(t *testing.T) {
	rules := []policy.Rule{{Callers: []string{"ci"}, Models: []string{"secret*"}, Effect: policy.Deny}, {}}
	models := append(ollamatest.DefaultModels(), ollamatest.FakeModel{Name: "secret"})
	for tool, all := range map[string][]string{
		"copy":   {`{"source":"secret","destination":"made"}`, `{"source":"tiny","destination":"secret"}`},
		"create": {`{"model":"made","from":"secret"}`, `{"model":"secret","from":"tiny"}`},
		"delete": {`{"model":"secret"}`}, "push": {`{"model":"secret"}`},
	} {
		underPolicy(t, ollamatest.Script{Models: models}, fleet.Options{}, rules, func(b *bench) {
			for _, args := range all {
				for _, may := range []bool{true, false} {
					r := b.ask(as("ci"), tool, args, user{asked: may})
					if p := ProblemOf(r); p == nil || p.Kind != kindForbidden || !strings.Contains(p.Message, "secret") {
						t.Errorf("%s(%s): got %+v, want it forbidden", tool, args, p)
					}
				}
			}
			if seen := b.fake.Seen().Requests; len(seen) != 0 {
				t.Errorf("%s: Ollama has seen %v, want nothing", tool, seen)
			}
		})
	}
}

func TestHostPathsAreNotShown(t *testing.T) {
	for said, want := range map[string]string{
		"open /root/.ollama/models/blobs/sha256-1: permission denied": "open … permission denied",
		`open C:\Users\me\.ollama\models: denied`:                     "open … denied",
		`Get "https://registry.ollama.ai/v2/": EOF`:                   `Get "https://registry.ollama.ai/v2/": EOF`,
		"300 of 400 B/s": "300 of 400 B/s",
	} {
		if got := withoutPaths(said); got != want {
			t.Errorf("withoutPaths(%q) = %q, want %q", said, got, want)
		}
	}
}

func TestCopySaysWhatItReplaced(t *testing.T) {
	onFake(t, ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "tiny"}, {Name: "old", Size: 2e9, Digest: "0123456789abcdef"}}}, fleet.Options{}, func(b *bench) {
		for destination, want := range map[string]string{
			"new": "tiny is new too now.",
			"old": "tiny is old too now. It replaced the model that had the name (2.0 GB, 0123456789ab).",
		} {
			r := b.call(b.t.Context(), "copy", fmt.Sprintf(`{"source":"tiny","destination":%q}`, destination))
			if r.fields["note"] != want {
				t.Errorf("copy to %s: %v, want %q", destination, r.fields["note"], want)
			}
		}
	})
}

// What a model in use keeps waiting is told.
func TestUnloadTellsWhatItWaitsFor(t *testing.T) {
	const want = "waiting for tiny to leave the memory; calls that run on it end first"
	for tool, takes := range map[string]time.Duration{"unload": 5 * time.Second, "delete": 5 * time.Second, "unload ": 0} {
		script := ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "tiny", Loaded: true}}, FirstDelay: takes}
		onFake(t, script, fleet.Options{}, func(b *bench) {
			var wg sync.WaitGroup
			if takes > 0 {
				wg.Go(func() {
					b.tool("generate").Call(b.t.Context(), json.RawMessage(`{"model":"tiny","prompt":"x"}`), "r1", nil)
				})
				synctest.Wait()
			}
			var told []string
			r := b.tool(strings.TrimSpace(tool)).Call(b.t.Context(), json.RawMessage(`{"model":"tiny"}`), "r2", func(p Progress) {
				told = append(told, p.Phase+": "+p.Message())
			})
			if takes == 0 && told != nil || takes > 0 && !slices.Equal(told, []string{"unloading: " + want}) || r.IsError {
				t.Errorf("%s of a model that is in use for %s tells %q, %+v; want %q once, if at all", tool, takes, told, ProblemOf(r), want)
			}
			wg.Wait()
		})
	}
}

func TestShow(t *testing.T) {
	license := "  The License\n" + strings.Repeat("and so on\n", 1000)
	m := ollamatest.FakeModel{Name: "m", License: license, System: "Be brief.", Template: strings.Repeat("x", maxText+1), Loaded: true,
		Capabilities: []string{"completion", "vision"}, Parameters: map[string]any{"temperature": 0.5}, Quantization: "Q4_K_M"}
	onFake(t, ollamatest.Script{Models: []ollamatest.FakeModel{m}}, fleet.Options{}, func(b *bench) {
		short := b.call(b.t.Context(), "show", `{"model":"m"}`)
		for field, want := range map[string]any{
			"license": "The License", "system": "Be brief.", "parameters": "[temperature 0.5]", "quantization_level": "Q4_K_M",
			"capabilities": "[completion vision]", "context_length": 2048.0, "tensors": nil, "info": nil,
		} {
			if got := short.fields[field]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("show: %s is %v, want %v", field, got, want)
			}
		}
		if template := short.fields["template"].(string); len(template) > maxText+40 || !strings.HasSuffix(template, "(4001 bytes in all)") {
			t.Errorf("show: template ends with %.60q, want it cut and said", template[len(template)-60:])
		}
		if short.fields["loaded"] == nil || !strings.Contains(short.content[0], "loaded on") {
			t.Errorf("show of a loaded model: got %v, %q", short.fields["loaded"], short.content)
		}
		full := b.call(b.t.Context(), "show", `{"model":"m","verbose":true}`)
		if full.fields["license"] != license || full.fields["tensors"] == nil || !strings.Contains(fmt.Sprint(full.fields["info"]), "tokens: a list of 3") {
			t.Errorf("show verbose: got %v, want the license, tensors and metadata", full.fields)
		}
		if size := len(short.everything()); size > 16<<10 {
			t.Errorf("show takes %d bytes, want at most 16 KB", size)
		}
	})
}
