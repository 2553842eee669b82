package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
)

// having is a host with models, of which those after "+" are loaded.
func having(models ...string) ollamatest.Script {
	s := ollamatest.Script{Vector: circle}
	for _, m := range models {
		name, loaded := strings.CutPrefix(m, "+")
		f := ollamatest.FakeModel{Name: name, Loaded: loaded}
		if strings.HasPrefix(name, "embed") {
			f.Capabilities = []string{"embedding"}
		}
		s.Models = append(s.Models, f)
	}
	return s
}

// with makes the tools go by rules.
func (b *bench) with(rules ...policy.Rule) {
	b.t.Helper()
	p, err := policy.New(rules, policy.Options{Tools: ForPolicy()})
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range b.set {
		b.set[i].policy = p
	}
}

// says checks that a result has words, and others not.
func (b *bench) says(what string, r result, want, not []string) {
	b.t.Helper()
	all := r.everything()
	for _, w := range want {
		if !strings.Contains(all, w) {
			b.t.Errorf("%s: lacks %s:\n%s", what, w, all)
		}
	}
	for _, w := range not {
		if strings.Contains(all, w) {
			b.t.Errorf("%s: has %s:\n%s", what, w, all)
		}
	}
}

func TestStatusOfManyHosts(t *testing.T) {
	onFakes(t, []ollamatest.Script{having("+m", "+secret"), having("m"), having("m")}, fleet.Options{}, func(b *bench) {
		b.with(policy.Rule{Callers: []string{"ci"}, Models: []string{"secret"}, Effect: policy.Deny}, policy.Rule{})
		r := b.call(as("ci"), "status", `{}`)
		b.says("status", r, []string{
			`"note":"3 of 3 hosts answer: 1 model loaded, 0 loading; 0 calls running, 0 waiting."`,
			`"name":"a"`, `"name":"c"`, `"state":"up"`, `"breaker":"closed"`, `"version":"0.34.4"`, "\na: m:latest: ",
		}, []string{"secret", "failure"})
		b.fakes[1].Change(func(s *ollamatest.Script) { s.Faults[""] = ollamatest.Down() })
		time.Sleep(10 * time.Second) // fake time, in which it is looked at
		r = b.call(as("ci"), "status", `{}`)
		b.says("status with a host that is down", r, []string{
			"2 of 3 hosts answer", "b is down since 20", ": unreachable.", `"failure":"unreachable"`, `"error":"unreachable"`, `"breaker":"open"`, "\nb: down, Ollama at http",
		}, []string{"refused"})
		for _, f := range b.fakes {
			f.Change(func(s *ollamatest.Script) { s.Faults[""] = ollamatest.Down() })
		}
		if r = b.call(as("ci"), "status", `{}`); r.error == nil || r.error.Kind != "unreachable" {
			t.Errorf("status without a host that answers: %+v, want unreachable", r.error)
		}
		b.says("status without a host that answers", r, []string{"0 of 3 hosts answer: which models are loaded is not known"}, nil)
	})
}

// A call that runs and one that waits for its turn are seen, with the line that they stand in.
func TestStatusOfALine(t *testing.T) {
	script := having("+m")
	script.Slots, script.FirstDelay = 1, 10*time.Second
	onFake(t, script, fleet.Options{}, func(b *bench) {
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				b.tool("generate").Call(as("ci"), json.RawMessage(`{"model":"m","prompt":"x"}`), "r", nil)
			})
			time.Sleep(11 * time.Second) // the first is over, and has told how long one takes
		}
		synctest.Wait()
		for range 2 {
			calls.Go(func() {
				b.tool("generate").Call(as("ci"), json.RawMessage(`{"model":"m","prompt":"x"}`), "r", nil)
			})
		}
		synctest.Wait()
		r := b.call(as("ci"), "status", `{}`)
		b.says("status of a line", r, []string{`"calls":[{"model":"m:latest","parallel":1,"running":1,"wait_s":`, `"waiting":1}]`, "1 call running, 1 waiting."}, nil)
		calls.Wait()
	})
}

func TestListModelsOfManyHosts(t *testing.T) {
	scripts := []ollamatest.Script{having("+m", "only-a"), having("+m", "differs"), having("differs")}
	scripts[2].Models[0].Digest = "0123456789abcdef"
	onFakes(t, scripts, fleet.Options{}, func(b *bench) {
		r := b.call(b.t.Context(), "list_models", `{}`)
		b.says("list_models", r, []string{
			"3 models installed, 1 loaded. differs is not the same on all hosts: see its digests.",
			`"hosts":["a","b"],"loaded":{`, `"loaded_on":["a","b"]`, `"hosts":["a"],"modified_at"`, `"digest":"0123456789abcdef","family":"llama","hosts":["c"]`, `"hosts":["b"]`,
			"completion, tools, on a, b, loaded on a, b", "tools, on c, with digest 0123456789ab\n",
		}, []string{"not answer"})
		if n := len(r.fields["models"].([]any)); n != 4 {
			t.Errorf("list_models lists %d, want differs twice and two others", n)
		}
		b.fakes[2].Change(func(s *ollamatest.Script) { s.Faults[""] = ollamatest.Down() })
		r = b.call(b.t.Context(), "list_models", `{}`)
		b.says("list_models without c", r, []string{"3 models installed, 1 loaded. c does not answer; its models are not listed."}, []string{"not the same"})
	})
}

// What is meant for one host is done on that one; a name that there is not is told of with the
// valid ones, and on a server with one host the argument is not there.
func TestHostArgument(t *testing.T) {
	onFakes(t, []ollamatest.Script{having("m"), having("m"), having("m", "only-c")}, fleet.Options{}, func(b *bench) {
		ctx := b.t.Context()
		loaded := func() (on string) {
			for i, f := range b.fakes {
				if s := f.Seen(); s.Loads > s.Unloads {
					on += string(rune('a' + i))
				}
			}
			return on
		}
		for _, step := range []struct {
			tool, args, loaded string
			want               []string
		}{
			{"load", `{"model":"m","host":"b"}`, "b", []string{`"host":"b"`}},
			{"load", `{"model":"m","host":"c"}`, "bc", []string{`"host":"c"`}},
			{"unload", `{"model":"m","host":"b"}`, "c", []string{`"host":"b"`, "m is unloaded on b; its memory is free."}},
			{"unload", `{"model":"m","host":"b"}`, "c", []string{"not_loaded"}},
			{"load", `{"model":"m","host":"a"}`, "ac", nil},
			{"unload", `{"model":"m"}`, "", []string{`"hosts":["a","c"]`, "unloaded on a, c"}},
			{"pull", `{"model":"m","host":"c"}`, "", []string{`"host":"c"`, "m is installed on c"}},
			{"pull", `{"model":"m","host":"all"}`, "", []string{`"hosts":["a","b","c"]`, "on a, b, c"}},
			{"create", `{"model":"made","from":"m","host":"b"}`, "", []string{`"host":"b"`, "made is made of m on b."}},
			{"create", `{"model":"every","from":"m","host":"all"}`, "", []string{`"hosts":["a","b","c"]`}},
			{"copy", `{"source":"made","destination":"other"}`, "", []string{`"host":"b"`}},
			{"delete", `{"model":"every"}`, "", []string{`"hosts":["a","b","c"]`}},
		} {
			r := b.call(ctx, step.tool, step.args)
			if got := loaded(); r.IsError || got != step.loaded {
				t.Errorf("%s(%s): %+v, and m is loaded on %q, want %q", step.tool, step.args, r.error, got, step.loaded)
			}
			b.says(step.tool+step.args, r, step.want, nil)
		}
		r := b.call(ctx, "pull", `{"model":"only-c","host":"all"}`) // which the others cannot get
		b.says("pull of what one host has", r, []string{`"state":"incomplete"`, `"host":"c"`, "Complete on c alone.", "has no model only-c:latest; it is complete on c"}, nil)
		for tool, args := range map[string]string{"load": `{"model":"m"`, "unload": `{"model":"m"`, "pull": `{"model":"m"`, "create": `{"model":"x","from":"m"`} {
			r := b.call(ctx, tool, args+`,"host":"gpu"}`)
			if r.error == nil || r.error.Kind != InvalidArguments || !strings.Contains(r.error.sentence(), `"gpu"`) || !strings.Contains(r.error.Hint, "a, b, c") {
				t.Errorf("%s on a host that there is not: %+v, want to be told of a, b, c", tool, r.error)
			}
		}
	})
	onFake(t, having("m"), fleet.Options{}, func(b *bench) {
		for _, tool := range []string{"load", "unload", "pull", "create"} {
			r := b.call(b.t.Context(), tool, `{"model":"m","from":"m","host":"ollama.invalid:11434"}`)
			if s := string(b.tool(tool).Input.JSON()); strings.Contains(s, `"host"`) || r.error == nil || r.error.Kind != InvalidArguments {
				t.Errorf("%s where there is one host: %+v, schema %s; want no host in it", tool, r.error, s)
			}
		}
	})
}

// With several hosts a question to the user is about the model that the host has.
func TestCreateAsksOfItsHost(t *testing.T) {
	onFakes(t, []ollamatest.Script{having("m", "made"), having("m")}, fleet.Options{}, func(b *bench) {
		for host, want := range map[string]bool{"a": true, "b": false, "all": true} {
			r := b.ask(b.t.Context(), "create", fmt.Sprintf(`{"model":"made","from":"m","host":%q}`, host), user{asked: true})
			_, asked := r.StructuredContent.(*createOutput)
			if asked == want {
				t.Errorf("create on %s: %+v, want the user asked: %v", host, r.StructuredContent, want)
			}
		}
	})
}

// Chunks go to all hosts with the content of the first, and to no other.
func TestEmbedSpreads(t *testing.T) {
	scripts := []ollamatest.Script{having("+embed"), having("+embed"), having("+embed"), having("+embed")}
	scripts[3].Models[0].Digest = "0123456789abcdef"
	for i := range scripts {
		scripts[i].FirstDelay = time.Second
	}
	for tool, args := range map[string]map[string]any{
		"embed": {"input": numbered(640, 0)},
		"rank":  {"query": "q", "documents": numbered(640, 0)},
	} {
		onFakes(t, scripts, fleet.Options{}, func(b *bench) {
			begun := time.Now()
			r := b.call(b.t.Context(), tool, arguments(t, args))
			b.says(tool, r, []string{`"hosts":["a","b","c"]`}, nil)
			for i, f := range b.fakes {
				if n := f.Seen().Requests["/api/embed"]; (n > 2) != (i < 3) {
					t.Errorf("%s: host %d was asked %d times, want only those with the same content", tool, i, n)
				}
			}
			if took := time.Since(begun); took > 12*time.Second {
				t.Errorf("%s of 20 chunks of a second each on 3 hosts took %v", tool, took)
			}
		})
	}
}

// Of which content the vectors are is known from one answer, before more is asked; then it is
// asked for much at once.
func TestEmbedOfOneContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &embedder{}
		var mu sync.Mutex
		var digests []string
		run := func(ctx context.Context, r *ollama.EmbedRequest, digest string, w fleet.Watch) (*ollama.EmbedResponse, error) {
			mu.Lock()
			digests = append(digests, digest)
			mu.Unlock()
			w.Placed(fleet.Place{Host: "a", Digest: "D"})
			return e.embed(ctx, r, digest, w)
		}
		tool := embed(named, run, NewShelf(time.Hour), true)
		p := ProblemOf(tool.Call(t.Context(), json.RawMessage(arguments(t, map[string]any{"model": "m", "input": numbered(320, 0)})), "r", nil))
		if i := slices.Index(digests[1:], ""); p != nil || digests[0] != "" || i >= 0 || len(digests) != 10 || e.atOnce != 9 {
			t.Errorf("embed of 10 chunks on several hosts: %+v, asked for %q, %d at once; want any content once, and then D 9 times at once", p, digests, e.atOnce)
		}
	})
}

// Among calls that wait those of a rule with a high priority go first.
func TestPriorityOfThePolicy(t *testing.T) {
	script := having("+m", "+embed")
	script.Slots, script.FirstDelay = 1, 10*time.Second
	for tool, args := range map[string]string{
		"generate": `{"model":"m","prompt":"x"}`, "chat": `{"model":"m","messages":[{"role":"user","content":"x"}]}`,
		"embed": `{"model":"embed","input":["x"]}`, "rank": `{"model":"embed","query":"q","documents":["x"]}`,
	} {
		t.Run(tool, func(t *testing.T) {
			onFake(t, script, fleet.Options{}, func(b *bench) {
				b.with(policy.Rule{Callers: []string{"boss"}, Limits: policy.Limits{Priority: policy.High}}, policy.Rule{Callers: []string{"low*"}, Limits: policy.Limits{Priority: policy.Low}}, policy.Rule{Callers: []string{"ci"}})
				var mu sync.Mutex
				var order []string
				var calls sync.WaitGroup
				for _, caller := range []string{"ci", "low1", "low2", "ci", "boss"} {
					calls.Go(func() {
						b.tool(tool).Call(as(caller), json.RawMessage(args), "r", nil)
						mu.Lock()
						defer mu.Unlock()
						order = append(order, caller)
					})
					synctest.Wait()
				}
				calls.Wait()
				want := "ci boss ci low1 low2"
				if got := strings.Join(order, " "); tool != "rank" && got != want || tool == "rank" && !strings.Contains(got, "boss") {
					t.Errorf("calls ended in the order %s, want %s", got, want)
				}
			})
		})
	}
}

// Who waits for a turn, or for a load, hears how long.
func TestWaitingIsTold(t *testing.T) {
	script := having("m")
	script.Slots, script.LoadDelay, script.FirstDelay = 1, 40*time.Second, 10*time.Second
	onFake(t, script, fleet.Options{}, func(b *bench) {
		said := func(args string) (all string) {
			b.tool("generate").Call(as("ci"), json.RawMessage(args), "r", func(p Progress) {
				all += p.Phase + ": " + p.Message() + "\n"
			})
			return all
		}
		const args = `{"model":"m","prompt":"x"}`
		if got := said(args); strings.Contains(got, "last time") {
			t.Errorf("of the first load is told\n%s", got)
		}
		b.call(as("ci"), "unload", `{"model":"m"}`)
		if got := said(args); !strings.Contains(got, "loading: loading m (last time 40 s)") {
			t.Errorf("of the second load is told\n%s, want how long the first took", got)
		}
		var calls sync.WaitGroup
		calls.Go(func() { said(args) })
		synctest.Wait()
		if got := said(args); !strings.Contains(got, "queued: queued 1st for m, about 1") {
			t.Errorf("to a call that waits is told\n%s, want its place", got)
		}
		calls.Wait()
	})
}

// A line that is full, and one that is too long for the call's deadline, are told of at once.
func TestLineThatIsFull(t *testing.T) {
	script := having("+m")
	script.Slots, script.FirstDelay = 1, 10*time.Second
	onFake(t, script, fleet.Options{MaxQueue: 4}, func(b *bench) { // of which one caller may have one
		const args = `{"model":"m","prompt":"x"}`
		b.tool("generate").jobs = nil      // as a job a call has no deadline
		b.call(as("ci"), "generate", args) // tells how long one takes
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() { b.tool("generate").Call(as("ci"), json.RawMessage(args), "r", nil) })
			synctest.Wait()
		}
		short, cancel := context.WithTimeout(as("boss"), 5*time.Second)
		defer cancel()
		begun := time.Now()
		for ctx, words := range map[context.Context]string{
			as("ci"): "1 call of yours wait for m already. Call again in about 1",
			short:    "the call would wait for m for about 20 s and has 5 s. Call again with more time, or in about 15 s.",
		} {
			r := b.call(ctx, "generate", args)
			if r.error == nil || r.error.Kind != kindBusy || !r.error.Retryable || !strings.Contains(r.error.sentence(), words) {
				t.Errorf("generate: %+v, want busy and %q", r.error, words)
			}
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("told after %v, want at once", took)
		}
		calls.Wait()
	})
}

func TestOrdinals(t *testing.T) {
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 102: "102nd", 111: "111th"} {
		if got := ordinal(n); got != want {
			t.Errorf("ordinal(%d) = %s, want %s", n, got, want)
		}
	}
}

// Every tool works where there are several hosts.
func TestEveryToolOnManyHosts(t *testing.T) {
	for name, args := range everyTool {
		onFakes(t, []ollamatest.Script{{}, {}, {}}, fleet.Options{}, func(b *bench) {
			if r := b.call(b.t.Context(), name, args); r.IsError {
				t.Errorf("%s(%s) with three hosts: %+v", name, args, r.error)
			}
		})
	}
}

// A rule's hosts hold for every tool, also when the rule is about models: then but for what is
// asked of no model.
func TestHostsOfThePolicy(t *testing.T) {
	on := policy.Limits{Hosts: []string{"b"}}
	for _, tt := range []struct {
		name  string
		rules []policy.Rule
		all   []string // the tools that reach all hosts
	}{
		{"every model", []policy.Rule{{Callers: []string{"ci"}, Limits: on}}, nil},
		{"some models", []policy.Rule{{Callers: []string{"ci"}}, {Callers: []string{"ci"}, Models: []string{"?*"}, Limits: on}}, []string{"list_models", "status"}},
		{"other callers", []policy.Rule{{Callers: []string{"ci"}}, {Callers: []string{"boss"}, Limits: on}}, []string{"list_models", "status", "copy", "delete", "unload"}},
	} {
		for name, args := range everyTool {
			if slices.Contains([]string{"jobs", "cancel_job"}, name) || tt.name == "other callers" && !slices.Contains(tt.all, name) {
				continue
			}
			onFakes(t, []ollamatest.Script{{}, {}, {}}, fleet.Options{}, func(b *bench) {
				b.with(tt.rules...)
				if r := b.call(as("ci"), name, args); r.IsError {
					t.Errorf("hosts of %s: %s(%s): %+v", tt.name, name, args, r.error)
				}
				var got string
				for i, f := range b.fakes {
					if slices.ContainsFunc(f.Seen().Arrivals, func(a ollamatest.Arrival) bool { return a.RequestID == "r1" }) {
						got += string(rune('a' + i))
					}
				}
				want := "b"
				if slices.Contains(tt.all, name) {
					want = "abc"
				}
				if got != want {
					t.Errorf("hosts of %s: %s(%s) reached %q, want %q", tt.name, name, args, got, want)
				}
			})
		}
	}
}

// A host that the policy keeps from a caller is one that there is not, and shows nowhere.
func TestHostsOfThePolicyAreNotTold(t *testing.T) {
	onFakes(t, []ollamatest.Script{having("m", "n", "+secret"), having("m", "n"), having("+m", "n")}, fleet.Options{}, func(b *bench) {
		b.with(policy.Rule{Callers: []string{"half"}}, policy.Rule{Callers: []string{"half"}, Models: []string{"m", "n"}, Limits: policy.Limits{Hosts: []string{"b"}}},
			policy.Rule{Callers: []string{"ci"}, Limits: policy.Limits{Hosts: []string{"b"}}}, policy.Rule{Callers: []string{"lost"}, Limits: policy.Limits{Hosts: []string{"b", "c"}}})
		const args = `{"model":"m","host":"a"}`
		for tool, args := range map[string]string{"load": args, "unload": args, "pull": args, "create": `{"model":"x","from":"m","host":"a"}`} {
			r := b.call(as("ci"), tool, args)
			if r.error == nil || r.error.Kind != InvalidArguments || !strings.Contains(r.error.Hint, "one of: b;") {
				t.Errorf("%s on a: %+v, want to be told of b alone", tool, r.error)
			}
		}
		b.says("generate side by side", b.call(as("half"), "generate", `{"models":["m","n"],"prompt":"x"}`), []string{`"host":"b"`}, []string{`"host":"a"`, `"host":"c"`})
		b.says("list_models", b.call(as("ci"), "list_models", `{}`), []string{`"hosts":["b"]`}, []string{"secret", `"a"`, `"c"`})
		b.says("status", b.call(as("ci"), "status", `{}`), []string{`"name":"b"`}, []string{`"name":"a"`, `"name":"c"`, "secret"})
		r := b.call(as("lost"), "generate", `{"model":"m","prompt":"x"}`)
		if r.error == nil || !strings.Contains(r.error.Message, "no Ollama hosts at the moment that you may use") {
			t.Errorf("generate for a caller of two names at once: %+v, want that there are no hosts it may use", r.error)
		}
	})
}
