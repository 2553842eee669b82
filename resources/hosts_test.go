package resources

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
	"ollama-mcp/tools"
	"ollama-mcp/transport/auth"
)

// many makes a fleet of hosts a, b, … in memory.
func many(t *testing.T, scripts ...ollamatest.Script) (Source, *fleet.Fleet, []*ollamatest.Fake) {
	t.Helper()
	var hosts []fleet.Host
	var fakes []*ollamatest.Fake
	for i, s := range scripts {
		fake := ollamatest.NewPipeFake(s)
		t.Cleanup(fake.Close)
		host, err := ollama.ParseHost(fake.URL)
		if err != nil {
			t.Fatal(err)
		}
		c := ollama.ClientOptions{Host: host, Dial: fake.Dial, Name: string(rune('a' + i))}
		hosts, fakes = append(hosts, fleet.Host{Client: ollama.NewClient(c), Address: fake.URL}), append(fakes, fake)
	}
	f := fleet.New(hosts, fleet.Options{})
	t.Cleanup(f.Close)
	return sourceOf(f), f, fakes
}

// A subscriber hears of what happens on one of several hosts, also where another goes on as before.
func TestWatchManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tiny := ollamatest.FakeModel{Name: "tiny", Loaded: true}
		script := ollamatest.Script{Models: []ollamatest.FakeModel{tiny}}
		source, f, fakes := many(t, script, script, ollamatest.Script{Models: []ollamatest.FakeModel{}})
		synctest.Wait()
		heard, end := watching(t, NewWatcher(New(source, Options{}), WatchOptions{}))
		defer end()
		moved := []string{"ollama://models", "ollama://models/tiny:latest", "ollama://running"}
		down := func(s *ollamatest.Script) { s.Faults[""] = ollamatest.Down() }
		for _, step := range []struct {
			what string
			do   func()
			want []string
		}{
			{"nothing", func() {}, nil},
			{"an unload on a", func() { _, _, _ = f.Unload(t.Context(), "tiny:latest", "a", fleet.Watch{}) }, moved},
			{"a move from b to a", func() {
				_, _ = f.Load(t.Context(), fleet.LoadRequest{Model: "tiny:latest", Host: "a"}, fleet.Watch{})
				_, _, _ = f.Unload(t.Context(), "tiny:latest", "b", fleet.Watch{})
				for _, fake := range fakes {
					fake.Change(func(s *ollamatest.Script) { s.LoadDelay = 3 * DefaultPoll })
				}
			}, moved},
			{"a load on b", func() { _, _ = f.Load(t.Context(), fleet.LoadRequest{Model: "tiny:latest", Host: "b"}, fleet.Watch{}) }, append([]string{"ollama://hosts"}, moved...)},
			{"other content on b", func() {
				fakes[1].Change(func(s *ollamatest.Script) { s.Models[0].Digest = "0123456789abcdef" })
			}, moved[:2]},
			{"c down", func() { fakes[2].Change(down) }, []string{"ollama://hosts"}},
			{"still down", func() { time.Sleep(time.Minute) }, nil},
			{"c up", func() { fakes[2].Change(func(s *ollamatest.Script) { delete(s.Faults, "") }) }, []string{"ollama://hosts"}},
		} {
			step.do()
			time.Sleep(3 * DefaultPoll)
			if diff := cmp.Diff(step.want, uris(heard())); diff != "" {
				t.Errorf("told after %s (-want +got):\n%s", step.what, diff)
			}
		}
	})
}

// A model that is not the same on all hosts is one resource, and twice in the list of models.
func TestModelsOfManyHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := func(digest string) ollamatest.Script {
			return ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "tiny", Digest: digest, Loaded: true}}}
		}
		source, _, _ := many(t, script(""), script("0123456789abcdef"))
		synctest.Wait()
		c := New(source, Options{})
		if all := list(t, c, "ann"); len(slices.DeleteFunc(all, func(l string) bool { return l != "ollama://models/tiny:latest" })) != 1 {
			t.Errorf("resources/list: %q, want tiny once", all)
		}
		for uri, want := range map[string][]string{
			"ollama://models":  {`"hosts":["a"]`, `"hosts":["b"]`},
			"ollama://running": {`"name":"tiny:latest","host":"a"`, `"name":"tiny:latest","host":"b"`},
			"ollama://hosts":   {`{"name":"a","address":"http`, `{"name":"b","address":"http`, `"loaded":[{"model":"tiny:latest"`},
		} {
			result, _ := ask(t, c, "ann", "resources/read", fmt.Sprintf(`{"uri":%q}`, uri))
			for _, w := range want {
				if text := content(t, result); !strings.Contains(text, w) {
					t.Errorf("%s = %s, want %s in it", uri, text, w)
				}
			}
		}
		if names := c.modelNames(auth.NewContext(t.Context(), auth.Caller{Name: "ann"}), showTool, "", ""); len(names) != 1 {
			t.Errorf("completions = %q, want tiny once", names)
		}
	})
}

// What the policy keeps from a caller of the hosts is not there to be read either, or to be
// completed or listed.
func TestHostsOfThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _, _ := many(t,
			ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "tiny", Loaded: true}, {Name: "tiny-of-a"}}},
			ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "tiny", Loaded: true}, {Name: "tiny-of-b"}}})
		synctest.Wait()
		on := policy.Limits{Hosts: []string{"b"}}
		p, err := policy.New([]policy.Rule{{}, {Callers: []string{"ann"}, Limits: on}, {Callers: []string{"bob"}, Models: []string{"tiny*"}, Tools: []string{"show"}, Limits: on}},
			policy.Options{Tools: tools.ForPolicy()})
		if err != nil {
			t.Fatal(err)
		}
		c := New(source, Options{Policy: p, Explain: tools.Explain})
		const complete = `{"ref":{"type":"ref/resource","uri":"ollama://models/{+name}"},"argument":{"name":"name","value":""}}`
		for _, step := range []struct {
			caller, method, params string
			a                      bool // whether there is something of a in the answer
		}{
			{"ann", "resources/read", `{"uri":"ollama://models"}`, false},
			{"ann", "resources/read", `{"uri":"ollama://models/tiny"}`, false},
			{"ann", "resources/read", `{"uri":"ollama://running"}`, false},
			{"ann", "resources/read", `{"uri":"ollama://hosts"}`, false},
			{"ann", "resources/list", `{}`, false},
			{"ann", "completion/complete", complete, false},
			{"bob", "resources/read", `{"uri":"ollama://models/tiny"}`, false},
			{"bob", "resources/read", `{"uri":"ollama://models"}`, true},
			{"eve", "resources/read", `{"uri":"ollama://models/tiny"}`, true},
			{"eve", "resources/list", `{}`, true},
			{"eve", "completion/complete", complete, true},
		} {
			result, failed := ask(t, c, step.caller, step.method, step.params)
			text := strings.ReplaceAll(string(result), `\`, "")
			if got := strings.Contains(text, `"a"`) || strings.Contains(text, "-of-a"); got != step.a || failed != nil || !strings.Contains(text, "b") {
				t.Errorf("%s for %s with %s = %s, %+v; something of a: %v, want %v", step.method, step.caller, step.params, text, failed, got, step.a)
			}
		}
		if _, failed := ask(t, c, "ann", "resources/read", `{"uri":"ollama://models/tiny-of-a"}`); failed == nil {
			t.Error("a model that is on a alone can be read of ann, who may use b alone")
		}
	})
}
