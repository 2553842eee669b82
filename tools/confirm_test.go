package tools

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
	"ollama-mcp/schema"
)

// ask calls a tool for a user who can be asked, if u says so. What is no question fits the
// tool's output schema.
func (b *bench) ask(ctx context.Context, name, args string, u user) *mcp.CallToolResult {
	b.t.Helper()
	tool := b.tool(name)
	r := tool.answer(ctx, json.RawMessage(args), "r1", nil, u)
	if r.NeedsInput() {
		return r
	}
	structured, err := json.Marshal(r.StructuredContent)
	if err != nil {
		b.t.Fatal(err)
	}
	if problems := schema.Validate(tool.Output, structured); problems != nil {
		b.t.Errorf("%s(%s): %s does not fit the output schema: %v", name, args, structured, problems)
	}
	return r
}

func says(action mcp.ElicitationResponseAction) *mcp.ElicitationResult {
	r := new(mcp.ElicitationResult)
	r.Action = action
	return r
}

var accepts = says(mcp.ElicitationResponseActionAccept)

// mustAsk are the calls that must be confirmed, and the request that would show their effect.
var mustAsk = []struct{ tool, args, question, path, done string }{
	{"delete", `{"model":"tiny"}`, "Delete the model tiny:latest (", "/api/delete", "deleted"},
	{"push", `{"model":"tiny"}`, "Upload the model tiny:latest (0.5 MB, ", "/api/push", "pushed"},
	{"copy", `{"source":"tiny","destination":"tiny-embed"}`, "Replace the installed model tiny-embed:latest (", "/api/copy", "copied"},
	{"create", `{"model":"tiny-embed","from":"tiny","system":"x"}`, "by one made of tiny:latest?", "/api/create", "created"},
}

func TestOnlyAcceptActs(t *testing.T) {
	for _, tt := range mustAsk {
		for action, want := range map[mcp.ElicitationResponseAction]string{
			mcp.ElicitationResponseActionAccept: tt.done, mcp.ElicitationResponseActionDecline: "declined",
			mcp.ElicitationResponseActionCancel: "canceled", "yes": "canceled",
		} {
			t.Run(tt.tool+" "+string(action), func(t *testing.T) {
				onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
					q := b.ask(b.t.Context(), tt.tool, tt.args, user{asked: true})
					if !q.NeedsInput() || !strings.Contains(q.InputRequests[confirmID].Elicitation.Message, tt.question) || q.RequestState == "" {
						t.Fatalf("%s(%s) = %+v, want the question %q", tt.tool, tt.args, q, tt.question)
					}
					if err := q.InputRequests[confirmID].Elicitation.Validate(); err != nil {
						t.Errorf("the question is not valid: %v", err)
					}
					if n := b.fake.Seen().Requests[tt.path]; n != 0 {
						t.Errorf("%s has asked Ollama %d times before it was confirmed", tt.tool, n)
					}
					r := b.ask(b.t.Context(), tt.tool, tt.args, user{asked: true, answer: says(action), state: q.RequestState})
					got := fields(t, r)["state"]
					if acted := b.fake.Seen().Requests[tt.path] == 1; r.IsError || got != want || acted != (want == tt.done) {
						t.Errorf("%s after %s: state %v, acted %v, %+v; want %s", tt.tool, action, got, acted, ProblemOf(r), want)
					}
				})
			})
		}
	}
}

// A client that waits for the answer to its call is asked in between, for five minutes. What
// does not come to a yes changes nothing.
func TestAskedInBetween(t *testing.T) {
	answering := func(a *mcp.ElicitationResult, after time.Duration) func(context.Context, func()) (*mcp.ElicitationResult, error) {
		return func(context.Context, func()) (*mcp.ElicitationResult, error) {
			time.Sleep(after) // fake time
			return a, nil
		}
	}
	tests := []struct {
		name        string
		ask         func(ctx context.Context, giveUp func()) (*mcp.ElicitationResult, error)
		state, kind string
		took        time.Duration
	}{
		{"accepted", answering(accepts, 0), "deleted", "", 0},
		{"declined", answering(says(mcp.ElicitationResponseActionDecline), 0), "declined", "", 0},
		{"closed", answering(says(mcp.ElicitationResponseActionCancel), 0), "canceled", "", 0},
		{"accepted at the last moment", answering(accepts, consentTTL-time.Second), "deleted", "", consentTTL - time.Second},
		{"never answered", func(ctx context.Context, _ func()) (*mcp.ElicitationResult, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, "canceled", "", consentTTL},
		{"refused by the client", func(context.Context, func()) (*mcp.ElicitationResult, error) {
			return nil, errors.New("method not found")
		}, "", kindUnconfirmed, 0},
		{"given up by the caller", func(ctx context.Context, giveUp func()) (*mcp.ElicitationResult, error) {
			giveUp()
			<-ctx.Done()
			return nil, ctx.Err()
		}, "", kindCanceled, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
				ctx, giveUp := context.WithCancel(b.t.Context())
				defer giveUp()
				start := time.Now()
				r := b.ask(ctx, "delete", `{"model":"tiny"}`, user{asked: true, ask: func(ctx context.Context, q mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
					if err := q.Params.Validate(); err != nil || !strings.Contains(q.Params.Message, "Delete the model tiny:latest (") {
						t.Errorf("the user is asked %+v (%v), want what would be deleted", q.Params, err)
					}
					return tt.ask(ctx, giveUp)
				}})
				state, _ := fields(t, r)["state"].(string)
				kind := ""
				if p := ProblemOf(r); p != nil {
					kind = p.Kind
				}
				if took := time.Since(start); state != tt.state || kind != tt.kind || took != tt.took {
					t.Errorf("delete: %+v after %s; want state %q, kind %q after %s", fields(t, r), took, tt.state, tt.kind, tt.took)
				}
				if acted := b.fake.Seen().Requests["/api/delete"] == 1; acted != (tt.state == "deleted") {
					t.Errorf("delete: acted %v, want %v", acted, tt.state == "deleted")
				}
			})
		})
	}
}

// A model that comes by the name after the user was asked, or was not, is not replaced.
func TestAppearedSinceIsNotReplaced(t *testing.T) {
	one, two := &fleet.Model{Model: ollama.Model{Digest: "one"}}, &fleet.Model{Model: ollama.Model{Digest: "two"}}
	tests := []struct {
		name string
		seen []*fleet.Model // by that name, each time that it is looked up: the last for the note
		want bool
	}{
		{"free", []*fleet.Model{nil, nil, nil}, true},
		{"taken since", []*fleet.Model{nil, one}, false},
		{"agreed to", []*fleet.Model{one, one, one, one}, true},
		{"another since", []*fleet.Model{one, one, two}, false},
		{"gone since", []*fleet.Model{one, one, nil, nil}, true},
		{"gone, and another since", []*fleet.Model{one, nil, two}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			copied, seen := false, tt.seen
			set, err := collect(Options{}, copyModel(func(context.Context, ollama.Name, ollama.Name) (fleet.Reached, error) {
				copied = true
				return fleet.Reached{Hosts: []string{"host"}}, nil
			}, func(context.Context, ollama.Name, string) (m *fleet.Model, _ error) {
				m, seen = seen[0], seen[1:]
				return m, nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			r := set[0].answer(t.Context(), json.RawMessage(`{"source":"a","destination":"b"}`), "r1", nil, user{asked: true, ask: func(context.Context, mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
				return accepts, nil
			}})
			if p := ProblemOf(r); copied != tt.want || (p == nil) != tt.want || p != nil && p.Kind != kindUnconfirmed || len(seen) != 0 {
				t.Errorf("copy: copied %v, %+v, %d looks left; want copied %v", copied, p, len(seen), tt.want)
			}
		})
	}
}

// A no stands, even when what it was about is no longer there to be asked about.
func TestDeclinedStaysDeclined(t *testing.T) {
	const args = `{"source":"tiny","destination":"tiny-embed"}`
	onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
		q := b.ask(b.t.Context(), "copy", args, user{asked: true})
		b.fake.Change(func(s *ollamatest.Script) { s.Models = s.Models[:1] })
		r := b.ask(b.t.Context(), "copy", args, user{asked: true, answer: says(mcp.ElicitationResponseActionDecline), state: q.RequestState})
		if state := fields(t, r)["state"]; state != "declined" || b.fake.Seen().Requests["/api/copy"] != 0 {
			t.Errorf("copy after a no, over a model that is gone: state %v, want it declined and nothing copied", state)
		}
	})
}

func fields(t *testing.T, r *mcp.CallToolResult) map[string]any {
	t.Helper()
	b, err := json.Marshal(r.StructuredContent)
	m := map[string]any{}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A state counts for the caller, the tool, the arguments and the model that were asked
// about, for five minutes, once.
func TestStateOfAnAnswer(t *testing.T) {
	const args = `{"model":"tiny"}`
	flip := func(at int) func(*bench, *string) {
		return func(b *bench, state *string) {
			raw, err := base64.RawURLEncoding.DecodeString(*state)
			if err != nil {
				b.t.Fatal(err)
			}
			raw[(at+len(raw))%len(raw)] ^= 1
			*state = base64.RawURLEncoding.EncodeToString(raw)
		}
	}
	first := func(a *mcp.ElicitationResult) func(*bench, *string) {
		return func(b *bench, state *string) {
			b.ask(as("ann"), "delete", args, user{asked: true, answer: a, state: *state})
		}
	}
	tests := []struct {
		name, caller, tool, args string
		before                   func(*bench, *string)
		want                     bool
	}{
		{name: "as asked", want: true},
		{name: "other spelling of the JSON", args: ` { "model" : "tiny" } `, want: true},
		{name: "in time", want: true, before: func(*bench, *string) { time.Sleep(consentTTL - time.Second) }},
		{name: "too late", before: func(*bench, *string) { time.Sleep(consentTTL + time.Second) }},
		{name: "other caller", caller: "bob"},
		{name: "other tool", tool: "push"},
		{name: "other arguments", args: `{"model":"tiny-embed"}`},
		{name: "forged number", before: flip(0)},
		{name: "forged time", before: flip(nonceSize + 7)},
		{name: "forged signature", before: flip(-1)},
		{name: "cut", before: func(_ *bench, s *string) { *s = (*s)[:8] }},
		{name: "none", before: func(_ *bench, s *string) { *s = "" }},
		{name: "of another process", before: func(b *bench, _ *string) {
			for i := range b.set {
				b.set[i].consents = newConsents(nil)
			}
		}},
		{name: "used", before: first(accepts)},
		{name: "declined before", before: first(says(mcp.ElicitationResponseActionDecline))},
		{name: "the model has changed", before: func(b *bench, _ *string) {
			b.fake.Change(func(s *ollamatest.Script) { s.Models = []ollamatest.FakeModel{{Name: "tiny", Digest: "other"}} })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
				state := b.ask(as("ann"), "delete", args, user{asked: true}).RequestState
				if tt.before != nil {
					tt.before(b, &state)
				}
				b.fake.Change(func(s *ollamatest.Script) { // so that what was deleted before is there again
					if len(s.Models) == 1 && s.Models[0].Name != "tiny" {
						s.Models = ollamatest.DefaultModels()
					}
				})
				before := b.fake.Seen().Requests
				caller, tool, given := tt.caller, tt.tool, tt.args
				if caller == "" {
					caller = "ann"
				}
				if tool == "" {
					tool = "delete"
				}
				if given == "" {
					given = args
				}
				r := b.ask(as(caller), tool, given, user{asked: true, answer: accepts, state: state})
				seen := b.fake.Seen().Requests
				acted := seen["/api/delete"]+seen["/api/push"] > before["/api/delete"]+before["/api/push"]
				if p := ProblemOf(r); acted != tt.want || (p == nil) != tt.want || p != nil && p.Kind != kindUnconfirmed {
					t.Errorf("%s(%s) with the state: acted %v, %+v; want %v", tool, given, acted, p, tt.want)
				}
			})
		})
	}
}

// The same question about other arguments is another question.
func TestStateIsBoundToAllArguments(t *testing.T) {
	const args = `{"model":"tiny-embed","from":"tiny","system":"%s"}`
	onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
		q := b.ask(b.t.Context(), "create", fmt.Sprintf(args, "one"), user{asked: true})
		r := b.ask(b.t.Context(), "create", fmt.Sprintf(args, "two"), user{asked: true, answer: accepts, state: q.RequestState})
		if p := ProblemOf(r); p == nil || p.Kind != kindUnconfirmed || b.fake.Seen().Requests["/api/create"] != 0 {
			t.Errorf("create with another system prompt than was asked about: got %+v, want it unconfirmed", p)
		}
	})
}

// A push is confirmed for the content that the user was asked about.
func TestPushIsConfirmedForItsContent(t *testing.T) {
	onFake(t, ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "tiny", Size: 2e9, Digest: "0123456789abcdef"}}}, fleet.Options{}, func(b *bench) {
		q := b.ask(b.t.Context(), "push", `{"model":"tiny"}`, user{asked: true})
		const want = "Upload the model tiny:latest (2.0 GB, 0123456789ab) to registry.ollama.ai? Others may be able to see it there."
		if got := q.InputRequests[confirmID].Elicitation.Message; got != want {
			t.Errorf("push asks %q, want %q", got, want)
		}
		b.fake.Change(func(s *ollamatest.Script) {
			s.Models = []ollamatest.FakeModel{{Name: "tiny", Size: 2e9, Digest: "other"}}
		})
		r := b.ask(b.t.Context(), "push", `{"model":"tiny"}`, user{asked: true, answer: accepts, state: q.RequestState})
		if p := ProblemOf(r); p == nil || p.Kind != kindUnconfirmed || b.fake.Seen().Requests["/api/push"] != 0 {
			t.Errorf("push of other content than was asked about: got %+v, want it unconfirmed", p)
		}
	})
}

// The same question of another tool is another question, and one that panics is an error.
func TestQuestionIsTheToolsOwn(t *testing.T) {
	asking := func(name string, words func() string) Tool {
		return confirmed(define(Tool{Name: name, Effect: Destroys, Toolset: Library}, func(context.Context, deleteInput, *call) (deleteOutput, error) {
			return deleteOutput{State: "deleted"}, nil
		}), func(context.Context, deleteInput, *call) (string, error) { return words(), nil })
	}
	sure := func() string { return "Sure?" }
	set, err := collect(Options{}, asking("one", sure), asking("two", sure), asking("three", func() string { panic("no words") }))
	if err != nil {
		t.Fatal(err)
	}
	state := set[0].answer(t.Context(), json.RawMessage(`{"model":"m"}`), "r1", nil, user{asked: true}).RequestState
	for i, want := range map[int]string{1: kindUnconfirmed, 2: kindInternal} {
		r := set[i].answer(t.Context(), json.RawMessage(`{"model":"m"}`), "r1", nil, user{asked: true, answer: accepts, state: state})
		if p := ProblemOf(r); p == nil || p.Kind != want {
			t.Errorf("%s with an answer to the question of %s: got %+v, want kind %s", set[i].Name, set[0].Name, p, want)
		}
	}
	if r := set[0].answer(t.Context(), json.RawMessage(`{"model":"m"}`), "r1", nil, user{asked: true, answer: accepts, state: state}); r.IsError {
		t.Errorf("%s with the answer to its question: got %+v, want success", set[0].Name, ProblemOf(r))
	}
}

// Servers that share a secret take each other's states.
func TestStateOfAnotherServer(t *testing.T) {
	about := [][]byte{[]byte("x")}
	one, two := newConsents([]byte("secret")), newConsents([]byte("secret"))
	if state := one.issue(about); !two.redeem(state, about) || two.redeem(state, about) {
		t.Error("a state of a server with the same secret: want it taken, once")
	}
	if newConsents([]byte("other")).redeem(one.issue(about), about) {
		t.Error("a state of a server with another secret: want it refused")
	}
	if one.redeem(one.issue([][]byte{[]byte("a"), []byte("bc")}), [][]byte{[]byte("ab"), []byte("c")}) {
		t.Error("a state about other parts that join to the same: want it refused")
	}
}

func TestNothingToConfirm(t *testing.T) {
	for _, tt := range []struct {
		tool, args string
		may        bool
	}{
		{"copy", `{"source":"tiny","destination":"made"}`, true},
		{"create", `{"model":"made","from":"tiny"}`, true},
		{"delete", `{"model":"tiny"}`, false}, // nobody can be asked
		{"copy", `{"source":"tiny","destination":"tiny-embed"}`, false},
	} {
		onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
			if r := b.ask(b.t.Context(), tt.tool, tt.args, user{asked: tt.may}); r.NeedsInput() || r.IsError {
				t.Errorf("%s(%s) with a user who can be asked %v: %+v, want no question", tt.tool, tt.args, tt.may, ProblemOf(r))
			}
		})
	}
}

// A call that must be confirmed counts once against the limits, when it acts.
func TestQuestionsAreNotCounted(t *testing.T) {
	once := 1
	rules := []policy.Rule{{Limits: policy.Limits{CallsPerMinute: &once, ParallelCalls: &once}}}
	underPolicy(t, ollamatest.Script{}, fleet.Options{}, rules, func(b *bench) {
		for i, want := range []string{"", kindRateLimited} {
			model := []string{`{"model":"tiny"}`, `{"model":"tiny-embed"}`}[i]
			q := b.ask(as("ci"), "delete", model, user{asked: true})
			r := b.ask(as("ci"), "delete", model, user{asked: true, answer: accepts, state: q.RequestState})
			if p := ProblemOf(r); (p == nil) != (want == "") || p != nil && p.Kind != want {
				t.Errorf("delete %d, confirmed, under a limit of one a minute: got %+v, want %q", i+1, p, want)
			}
		}
	})
}
