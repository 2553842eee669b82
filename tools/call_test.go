package tools

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/schema"
)

// bench is the tools on a fake host, in fake time.
type bench struct {
	t     *testing.T
	fake  *ollamatest.Fake // the first of fakes
	fakes []*ollamatest.Fake
	fleet *fleet.Fleet
	set   []Tool
	jobs  *jobs.Table
	shelf *Shelf
}

// onFake runs a test in a bubble of fake time with the tools on a fake host.
func onFake(t *testing.T, s ollamatest.Script, o fleet.Options, test func(b *bench)) {
	t.Helper()
	o.Poll = cmp.Or(o.Poll, -1) // what is asked of the host is what the calls ask
	onFakes(t, []ollamatest.Script{s}, o, test)
}

// onFakes is onFake with several hosts, that are called a, b, … when they are not alone, and
// are looked at every 5 s.
func onFakes(t *testing.T, scripts []ollamatest.Script, o fleet.Options, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, shelf: NewShelf(time.Hour), jobs: jobs.New(jobs.Options{})}
		var hosts []fleet.Host
		for i, s := range scripts {
			fake := ollamatest.NewPipeFake(s)
			defer fake.Close()
			host, err := ollama.ParseHost(fake.URL)
			if err != nil {
				t.Fatal(err)
			}
			c := ollama.ClientOptions{Host: host, Dial: fake.Dial}
			if len(scripts) > 1 {
				c.Name = string(rune('a' + i))
			}
			b.fakes = append(b.fakes, fake)
			hosts = append(hosts, fleet.Host{Client: ollama.NewClient(c), Address: fake.URL, Origin: "OLLAMA_HOST", Parallel: s.Slots})
		}
		b.fake = b.fakes[0]
		b.fleet = fleet.New(hosts, o)
		defer b.fleet.Close()
		defer endJobs(t, b.jobs)
		var err error
		if b.set, err = All(b.fleet, Options{Jobs: b.jobs, Shelf: b.shelf, Hosts: len(hosts) > 1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the first looks are over
		test(b)
	})
}

// result is what a client gets of a call, decoded as a client would.
type result struct {
	*mcp.CallToolResult
	fields  map[string]any
	error   *Problem
	content []string
	deltas  string
	phases  []string
}

func (b *bench) tool(name string) *Tool {
	return &b.set[slices.IndexFunc(b.set, func(t Tool) bool { return t.Name == name })]
}

// job starts a job of the caller in ctx that runs until it is cancelled, and returns its id.
func (b *bench) job(ctx context.Context) string {
	b.t.Helper()
	j := b.jobs.Start(ctx, jobs.Call{Owner: owner(ctx), Tool: "generate"}, func(ctx context.Context, _ jobs.Report) (jobs.Result, error) {
		<-ctx.Done()
		return jobs.Result{}, ctx.Err()
	})
	s, err := j.Wait(ctx, 0, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return s.ID
}

// call calls a tool and checks what holds for every call: the result fits the tool's
// output schema, an error has words, and the deltas joined are the text. JOB in the
// arguments becomes the id of a job that runs.
func (b *bench) call(ctx context.Context, name, args string) result {
	b.t.Helper()
	tool := b.tool(name)
	if strings.Contains(args, `"JOB"`) {
		args = strings.Replace(args, "JOB", b.job(ctx), 1)
	}
	var r result
	r.CallToolResult = tool.Call(ctx, json.RawMessage(args), "r1", func(p Progress) {
		r.deltas += p.Delta
		if n := len(r.phases); n == 0 || r.phases[n-1] != p.Phase {
			r.phases = append(r.phases, p.Phase)
		}
		if p.Message() == "" || strings.ContainsAny(p.Message(), "\r\n") {
			b.t.Errorf("%s: progress message %q, want one line", name, p.Message())
		}
	})
	structured, err := json.Marshal(r.StructuredContent)
	if err != nil {
		b.t.Fatalf("%s(%s): marshal the result: %v", name, args, err)
	}
	if problems := schema.Validate(tool.Output, structured); problems != nil {
		b.t.Errorf("%s(%s): %s does not fit the output schema: %v", name, args, structured, problems)
	}
	if err := json.Unmarshal(structured, &r.fields); err != nil {
		b.t.Fatal(err)
	}
	r.error = ProblemOf(r.CallToolResult)
	for _, c := range r.Content {
		if text, ok := c.(mcp.TextContent); ok {
			r.content = append(r.content, text.Text)
		}
	}
	switch {
	case r.IsError != (r.error != nil):
		b.t.Errorf("%s(%s): isError %v with error %v", name, args, r.IsError, r.error)
	case r.IsError && (r.error.Kind == "" || r.error.Message == "" || len(r.content) == 0):
		b.t.Errorf("%s(%s): an error without words: %+v", name, args, r.error)
	}
	if text, ok := r.fields["text"].(string); ok && text != r.deltas && name != jobsName {
		b.t.Errorf("%s(%s): deltas joined are %q, text is %q", name, args, r.deltas, text)
	}
	return r
}

// everyTool has arguments with which each tool works on a healthy fake.
var everyTool = map[string]string{
	"generate":    `{"model":"tiny","prompt":"hello"}`,
	"chat":        `{"model":"tiny","messages":[{"role":"user","content":"hello"}]}`,
	"embed":       `{"model":"tiny-embed","input":["a","b"]}`,
	"rank":        `{"model":"tiny-embed","query":"a","documents":["a","b"]}`,
	"list_models": `{}`,
	"load":        `{"model":"tiny"}`,
	"unload":      `{"model":"tiny"}`,
	"status":      `{}`,
	"jobs":        `{"id":"JOB"}`,
	"cancel_job":  `{"id":"JOB"}`,
	"show":        `{"model":"tiny"}`,
	"pull":        `{"model":"tiny"}`,
	"copy":        `{"source":"tiny","destination":"made"}`,
	"create":      `{"model":"made","from":"tiny","system":"Be brief."}`,
	"delete":      `{"model":"tiny"}`,
	"push":        `{"model":"tiny"}`,
}

func TestEveryToolWorks(t *testing.T) {
	for name, args := range everyTool {
		t.Run(name, func(t *testing.T) {
			onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
				if r := b.call(b.t.Context(), name, args); r.IsError {
					t.Errorf("%s(%s): %+v", name, args, r.error)
				}
			})
		})
	}
}

// TestEveryFaultOfEveryTool: whatever the host does, a call ends in a typed error or in a
// success that is one, in bounded time.
func TestEveryFaultOfEveryTool(t *testing.T) {
	for _, fault := range ollamatest.AllFaults() {
		if fault.Big {
			continue // tens of megabytes: in the tests of the client
		}
		for name, args := range everyTool {
			for _, loaded := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/loaded=%v", fault.Name, name, loaded), func(t *testing.T) {
					faulty(t, fault, name, args, loaded)
				})
			}
		}
		t.Run(fault.Name+"/generate/models", func(t *testing.T) {
			faulty(t, fault, "generate", `{"models":["tiny","tiny-embed"],"prompt":"hello"}`, true) // the second cannot
		})
	}
}

// faulty calls a tool on a host with a fault on every path, then on those that run models.
func faulty(t *testing.T, fault ollamatest.Fault, name, args string, loaded bool) {
	models := ollamatest.DefaultModels()
	for i := range models {
		models[i].Loaded = loaded
	}
	for _, paths := range [][]string{{""}, {"/api/generate", "/api/chat", "/api/embed"}} {
		s := ollamatest.Script{Models: models, Faults: map[string]ollamatest.Fault{}}
		for _, p := range paths {
			s.Faults[p] = fault
		}
		onFake(t, s, fleet.Options{}, func(b *bench) {
			ctx, cancel := context.WithTimeout(b.t.Context(), time.Hour)
			defer cancel()
			r := b.call(ctx, name, args)
			kind, state := r.field("error.kind"), r.field("state")
			if job, ok := r.field("job.id").(string); ok && b.tool(name).long {
				r = b.call(ctx, "jobs", fmt.Sprintf(`{"id":%q,"wait":86400}`, job))
				kind, state = cmp.Or(r.field("error.kind"), r.field("result.error.kind")), r.field("result.state")
			}
			if kind == kindInternal || kind == kindCanceled && !fault.Waits {
				t.Errorf("%s on %v with fault %s: got %s, want a typed error or a success", name, paths, fault.Name, r.everything())
			}
			if kind == nil && b.tool(name).UsesModel && name != "unload" && name != "status" && !fault.Success && state == nil {
				t.Errorf("%s on %v with fault %s: got a success %v", name, paths, fault.Name, r.fields)
			}
		})
	}
}

func TestGenerate(t *testing.T) {
	thinker := []ollamatest.FakeModel{{Name: "m", Capabilities: []string{"completion", "thinking"}}}
	tests := []struct {
		name   string
		script ollamatest.Script
		args   string
		want   map[string]any // fields of the result
		note   string         // a part of it
	}{
		{
			name: "plain", args: `{"prompt":"hi"}`, script: ollamatest.Script{Tokens: []string{"Hello", " wörld"}},
			want: map[string]any{"text": "Hello wörld", "done_reason": "stop", "truncated": "no", "model": "tiny:latest"},
		},
		{
			name: "cut off by num_predict", args: `{"prompt":"hi","options":{"num_predict":1}}`, script: ollamatest.Script{Tokens: []string{"Hello", " wörld"}},
			want: map[string]any{"text": "Hello", "done_reason": "length"}, note: "cut off by options.num_predict, after 1 token.",
		},
		{
			name: "spent on thinking", args: `{"prompt":"hi","options":{"num_predict":2}}`, script: ollamatest.Script{Models: thinker, Thinking: []string{"hm", " hm", " hm"}, Tokens: []string{"yes"}},
			want: map[string]any{"text": "", "thinking": "hm hm", "done_reason": "length"}, note: "all output tokens went on thinking",
		},
		{
			name: "schema met", args: `{"prompt":"hi","schema":{"type":"object","required":["a"]}}`, script: ollamatest.Script{Answers: []string{`{"a":1}`}},
			want: map[string]any{"text": `{"a":1}`, "structured": map[string]any{"a": 1.0}, "valid": true},
		},
		{
			name: "schema met at the second attempt", args: `{"prompt":"hi","schema":{"type":"object","required":["a"]}}`, script: ollamatest.Script{Answers: []string{`{"b":1}`, `{"a":1}`}},
			want: map[string]any{"text": `{"a":1}`, "structured": map[string]any{"a": 1.0}, "valid": true}, note: "this is the second",
		},
		{
			name: "schema not met", args: `{"prompt":"hi","schema":{"type":"object","required":["a"]}}`, script: ollamatest.Script{Answers: []string{`{"b":1}`, `{"c":1}`}},
			want: map[string]any{"text": `{"c":1}`, "valid": false, "structured": nil}, note: "not what was asked for after 2 attempts",
		},
		{
			name: "json", args: `{"prompt":"hi","json":true}`, script: ollamatest.Script{Answers: []string{`[1,2]`}},
			want: map[string]any{"text": `[1,2]`, "structured": []any{1.0, 2.0}, "valid": true},
		},
		{
			name: "json not met", args: `{"prompt":"hi","json":true}`, script: ollamatest.Script{Answers: []string{`no`}},
			want: map[string]any{"text": `no`, "valid": false}, note: "not JSON",
		},
		{
			name: "prompt cut", args: `{"prompt":"` + strings.Repeat("word ", 3000) + `","truncate":true}`,
			want: map[string]any{"truncated": "yes"}, note: "cut to fit the context of 2048 tokens",
		},
		{
			name: "remote", args: `{"prompt":"hi","model":"big:cloud"}`, script: ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "big:cloud", RemoteModel: "big", RemoteHost: "https://ollama.com:443"}}},
			want: map[string]any{"remote": true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onFake(t, tt.script, fleet.Options{}, func(b *bench) {
				r := b.call(b.t.Context(), "generate", tt.args)
				if r.IsError {
					t.Fatalf("generate(%.80s): %+v", tt.args, r.error)
				}
				for field, want := range tt.want {
					if got := r.fields[field]; fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("generate(%.80s): %s is %v, want %v", tt.args, field, got, want)
					}
				}
				note, _ := r.fields["note"].(string)
				if !strings.Contains(note, tt.note) || tt.note == "" && note != "" {
					t.Errorf("generate(%.80s): note %q, want %q in it", tt.args, note, tt.note)
				}
				if tt.note != "" && !strings.Contains(strings.Join(r.content, "\n"), tt.note) {
					t.Errorf("generate(%.80s): content %q lacks the note", tt.args, r.content)
				}
			})
		})
	}
}

func TestTruncatedByVersionsThatIgnoreTruncate(t *testing.T) {
	for read, want := range map[int]string{2048: "suspected", 2047: "suspected", 2000: "no"} {
		r := &run{place: fleet.Place{ContextLength: 2048}, done: &ollama.Done{PromptEvalCount: read}}
		if got := r.truncated(); got != want {
			t.Errorf("%d tokens read of a prompt, context 2048: truncated %q, want %q", read, got, want)
		}
	}
}

func TestPhases(t *testing.T) {
	script := ollamatest.Script{
		Models:   []ollamatest.FakeModel{{Name: "m", Capabilities: []string{"completion", "thinking"}}},
		Thinking: []string{"hm"}, Tokens: []string{"yes"}, LoadDelay: time.Second, TokenDelay: time.Second,
	}
	onFake(t, script, fleet.Options{}, func(b *bench) {
		b.tool("generate").jobs = nil // of what is reported at one moment a job tells only the last
		r := b.call(b.t.Context(), "generate", `{"prompt":"hi"}`)
		if want := []string{"queued", "loading", "prompt", "thinking", "generating"}; !slices.Equal(r.phases, want) {
			t.Errorf("phases %v, want %v", r.phases, want)
		}
		order := func(a, b string) int { return slices.Index(phasesOfAnswer, a) - slices.Index(phasesOfAnswer, b) }
		if !slices.IsSortedFunc(r.phases, order) {
			t.Errorf("phases %v are not in the order of %v", r.phases, phasesOfAnswer)
		}
	})
}

func TestPartialTextIsMarked(t *testing.T) {
	onFake(t, ollamatest.Script{Faults: map[string]ollamatest.Fault{"/api/generate": ollamatest.CutAfter(3)}, Models: []ollamatest.FakeModel{{Name: "m", Loaded: true}}}, fleet.Options{}, func(b *bench) {
		r := b.call(b.t.Context(), "generate", `{"prompt":"hi"}`)
		if !r.IsError || r.error.Kind != string(ollama.Cut) || r.fields["text"] == "" || !strings.Contains(strings.Join(r.content, "\n"), "Incomplete") {
			t.Errorf("generate that is cut: got %v, %q; want an error of kind cut with the marked text", r.fields, r.content)
		}
	})
}

func TestChatTools(t *testing.T) {
	call := ollama.ToolCall{Function: ollama.ToolCallFunction{Name: "add", Arguments: json.RawMessage(`{"a":1}`)}}
	onFake(t, ollamatest.Script{ToolCalls: []ollama.ToolCall{call}}, fleet.Options{}, func(b *bench) {
		r := b.call(b.t.Context(), "chat", `{"messages":[{"role":"user","content":"1+1"}],"tools":[{"function":{"name":"add","parameters":{"type":"object"}}}]}`)
		message, _ := json.Marshal(r.fields["message"])
		if want := `{"content":"","role":"assistant","tool_calls":[{"function":{"arguments":{"a":1},"name":"add"}}]}`; string(message) != want {
			t.Errorf("chat with tools: message %s, want %s", message, want)
		}
		if !strings.Contains(strings.Join(r.content, "\n"), `"add"`) {
			t.Errorf("chat with tools: content %q does not name the tool", r.content)
		}
	})
}

func TestImagesReachOllamaAsBareBase64(t *testing.T) {
	png := base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n…"))
	seeing := []ollamatest.FakeModel{{Name: "m", Capabilities: []string{fleet.Completion, fleet.Vision}}}
	onFake(t, ollamatest.Script{Models: seeing}, fleet.Options{}, func(b *bench) {
		b.call(b.t.Context(), "generate", `{"prompt":"x","images":["data:image/png;base64,`+png+`","`+png+`"]}`)
		if body := string(b.fake.Seen().Last["/api/generate"].Body); !strings.Contains(body, `"images":["`+png+`","`+png+`"]`) {
			t.Errorf("generate with a data URL and base64: sent %s", body)
		}
	})
}

func TestEmbed(t *testing.T) {
	onFake(t, ollamatest.Script{Vector: func(s string) []float32 { return []float32{float32(len(s)), 0} }}, fleet.Options{}, func(b *bench) {
		for encoding, want := range map[string]string{"float": `[[1,0],[1,0]]`, "base64": `["AACAPwAAAAA=","AACAPwAAAAA="]`} {
			r := b.call(b.t.Context(), "embed", `{"input":["a","bb"],"encoding":"`+encoding+`"}`)
			if got, _ := json.Marshal(r.fields["embeddings"]); string(got) != want || r.fields["note"] != "2 vectors of 2" {
				t.Errorf("embed as %s: got %s, %v; want %s", encoding, got, r.fields["note"], want)
			}
		}
		many := `["a"` + strings.Repeat(`,"a"`, 16) + `]`
		if r := b.call(b.t.Context(), "embed", `{"inline":true,"input":`+many+`}`); r.fields["count"] != 17.0 {
			t.Errorf("embed of 17 inline: got %v, want 17 vectors", r.fields["count"])
		}
	})
}

func TestListModels(t *testing.T) {
	models := []ollamatest.FakeModel{
		{Name: "zeta", Loaded: true}, {Name: "hf.co/User/Repo:Q4_K_M"}, {Name: "alpha", Capabilities: []string{"embedding"}},
		{Name: "big:cloud", RemoteModel: "big", RemoteHost: "https://ollama.com:443"},
	}
	tests := []struct {
		args string
		want []string
	}{
		{`{}`, []string{"alpha:latest", "big:cloud", "hf.co/user/repo:q4_k_m", "zeta:latest"}},
		{`{"filter":"Z*"}`, []string{"zeta:latest"}},
		{`{"filter":"zeta"}`, []string{"zeta:latest"}},
		{`{"filter":"repo:*"}`, []string{"hf.co/user/repo:q4_k_m"}},
		{`{"capability":"embedding"}`, []string{"alpha:latest"}},
		{`{"filter":"nothing"}`, nil},
	}
	for _, version := range []string{"0.34.4", "0.17.4"} {
		onFake(t, ollamatest.Script{Models: models, Version: version}, fleet.Options{}, func(b *bench) {
			for _, tt := range tests {
				r := b.call(b.t.Context(), "list_models", tt.args)
				var got []string
				for _, m := range r.fields["models"].([]any) {
					m := m.(map[string]any)
					got = append(got, m["name"].(string))
					if loaded := m["loaded"] != nil; loaded != (m["name"] == "zeta:latest") {
						t.Errorf("list_models(%s) on %s: %v loaded: %v", tt.args, version, m["name"], loaded)
					}
				}
				if line := "big:cloud: 121K unknown, runs on ollama.com, "; slices.Contains(got, "big:cloud") && !strings.Contains(r.content[0], line) {
					t.Errorf("list_models(%s) on %s: got %q, want %q in it, and no size", tt.args, version, r.content[0], line)
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("list_models(%s) on %s: got %v, want %v", tt.args, version, got, tt.want)
				}
			}
		})
	}
}

func TestLoadOfRemoteModelLoadsNothing(t *testing.T) {
	big := ollamatest.FakeModel{Name: "big:cloud", RemoteModel: "big", RemoteHost: "https://ollama.com:443"}
	onFake(t, ollamatest.Script{Models: []ollamatest.FakeModel{big}}, fleet.Options{}, func(b *bench) {
		r := b.call(b.t.Context(), "load", `{"model":"big:cloud"}`)
		if n := b.fake.Seen().Requests["/api/generate"]; r.fields["state"] != "remote" || n != 0 {
			t.Errorf("load of a remote model: got %v after %d requests to it, want state remote and none", r.fields, n)
		}
	})
}

func TestPanicIsOneFailedCall(t *testing.T) {
	tool := define(Tool{Name: "panics", Effect: Reads}, func(context.Context, unloadInput, *call) (unloadOutput, error) { panic("secret") })
	r := tool.Call(t.Context(), json.RawMessage(`{"model":"m"}`), "r7", nil)
	p := ProblemOf(r)
	if p == nil || p.Kind != kindInternal || !strings.Contains(p.Message, "r7") || strings.Contains(p.sentence(), "secret") {
		t.Errorf("a tool that panics: got %+v, want kind internal, the request id and nothing of the panic", p)
	}
}

func TestCanceledCall(t *testing.T) {
	onFake(t, ollamatest.Script{TokenDelay: time.Second, TokenCount: 100}, fleet.Options{}, func(b *bench) {
		ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
		defer cancel()
		r := b.call(ctx, "generate", `{"prompt":"x"}`)
		if r.error == nil || r.error.Kind != kindCanceled || strings.Contains(r.error.Message, "deadline") {
			t.Errorf("generate that is cancelled: got %+v, want kind canceled, in plain words", r.error)
		}
		if err := b.fake.Await(b.t.Context(), func(s ollamatest.Seen) bool { return len(s.Aborts) == 1 }); err != nil {
			t.Error(err)
		}
	})
}

// TestCanceledCallSaysWhy has a server end under a call.
func TestCanceledCallSaysWhy(t *testing.T) {
	onFake(t, ollamatest.Script{TokenDelay: time.Second, TokenCount: 100}, fleet.Options{}, func(b *bench) {
		ctx, cancel := context.WithCancelCause(b.t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(errors.New("the server ends")) })
		r := b.call(ctx, "generate", `{"prompt":"x"}`)
		if r.error == nil || r.error.Kind != kindCanceled || !strings.HasSuffix(r.error.Message, ": the server ends") {
			t.Errorf("generate under which the server ends: got %+v, want kind canceled and why", r.error)
		}
	})
}

func TestFirstAnswerStandsWhenAskingAgainFails(t *testing.T) {
	asked := 0
	out, _, err := answer(t.Context(), asking{
		sampling: &sampling{JSON: true},
		model:    "m:latest",
		ask: func(context.Context, bool, fleet.Watch) iter.Seq2[ollama.Chunk, error] {
			return func(yield func(ollama.Chunk, error) bool) {
				if asked++; asked == 1 {
					yield(ollama.Chunk{Text: "first", Tokens: 1, Done: &ollama.Done{Reason: "stop"}}, nil)
					return
				}
				if yield(ollama.Chunk{Text: "{", Tokens: 1}, nil) {
					yield(ollama.Chunk{}, &ollama.Error{Kind: ollama.Cut})
				}
			}
		},
		again: func(string, string) {},
	}, func(Progress) {})
	if err != nil || out.Text != "first" || out.Valid == nil || *out.Valid || asked != 2 {
		t.Errorf("an invalid answer and a second one that is cut: got %q, valid %v, %v after %d requests; want the first, invalid", out.Text, out.Valid, err, asked)
	}
}

func TestRecoveryIsSaid(t *testing.T) {
	out, _, err := answer(t.Context(), asking{
		sampling: &sampling{},
		model:    "m:latest",
		ask: func(_ context.Context, _ bool, w fleet.Watch) iter.Seq2[ollama.Chunk, error] {
			return func(yield func(ollama.Chunk, error) bool) {
				w.Phase(fleet.Recovering)
				w.Placed(fleet.Place{Host: "h", Recovered: true})
				yield(ollama.Chunk{Text: "hi", Done: &ollama.Done{Reason: "stop"}}, nil)
			}
		},
	}, func(p Progress) {
		if p.Message() == "" {
			t.Errorf("phase %s has no message", p.Phase)
		}
	})
	if err != nil || !strings.Contains(out.Note, "reloaded") {
		t.Errorf("an answer after a recovery: note %q, %v; want it said", out.Note, err)
	}
}
