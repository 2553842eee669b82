package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
)

// endJobs cancels what runs in a table.
func endJobs(t *testing.T, table *jobs.Table) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if !table.Shutdown(over) {
		t.Error("Shutdown left jobs behind")
	}
}

// field is one of a result's fields, however deep.
func (r *result) field(path string) any {
	var v any = r.fields
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// becomes calls a tool whose call has to become a job, and returns its id.
func (b *bench) becomes(ctx context.Context, name, args string) (id string, r result) {
	b.t.Helper()
	r = b.call(ctx, name, args)
	id, _ = r.field("job.id").(string)
	if id == "" || r.field("job.state") != "running" || r.field("job.tool") != name || r.IsError || !strings.Contains(r.content[0], id) {
		b.t.Fatalf("%s(%s): %s; want a job that runs, and a note with its id", name, args, r.everything())
	}
	return id, r
}

func id(s string) string { return fmt.Sprintf(`{"id":%q}`, s) }

// sixSeconds is a host that generates for six seconds.
var sixSeconds = ollamatest.Script{FirstDelay: time.Second, TokenDelay: time.Second, Tokens: []string{"a", "b", "c", "d", "e", "f"}}

func TestLongCallBecomesAJob(t *testing.T) {
	onFake(t, sixSeconds, fleet.Options{}, func(b *bench) {
		ctx := b.t.Context()
		begin := time.Now()
		job, call := b.becomes(ctx, "generate", `{"prompt":"x","wait":1}`)
		if took := time.Since(begin); took > 1500*time.Millisecond {
			t.Errorf("generate with wait 1 took %s, want at most 1.5 s", took)
		}
		time.Sleep(1500 * time.Millisecond) // fake time, between two tokens
		now := b.call(ctx, "jobs", id(job))
		if text, _ := now.fields["text"].(string); !strings.HasPrefix("abcdef", text) || len(text) < 1 || now.field("job.state") != "running" {
			t.Errorf("jobs after 2.5 s: %s; want it running, with the text so far", now.everything())
		}
		end := b.call(ctx, "jobs", fmt.Sprintf(`{"id":%q,"wait":50}`, job))
		if end.field("result.text") != "abcdef" || end.field("result.done_reason") != "stop" || end.field("job.state") != "done" || end.fields["text"] != nil || end.field("job.ended_at") == nil {
			t.Errorf("jobs with wait: %s; want it done, with the result of generate", end.everything())
		}
		if all := call.deltas + now.deltas + end.deltas; all != "abcdef" {
			t.Errorf("deltas %q, then %q, then %q; want them to be the text, joined", call.deltas, now.deltas, end.deltas)
		}
		if words := strings.Join(end.content, "\n"); !strings.Contains(words, "abcdef") || !strings.Contains(words, "generate is done after 6s.") {
			t.Errorf("jobs with wait says %q, want the text in it", words)
		}
		if again := b.call(ctx, "jobs", id(job)); again.field("result.text") != "abcdef" {
			t.Errorf("jobs, asked again: %s; want the result", again.everything())
		}
	})
}

// Text that nobody was told is told by whoever asks first with a progress token.
func TestProgressThatNobodyHeard(t *testing.T) {
	onFake(t, sixSeconds, fleet.Options{}, func(b *bench) {
		r := b.tool("generate").Call(b.t.Context(), json.RawMessage(`{"prompt":"x","wait":1}`), "r", nil)
		job := r.StructuredContent.(*deferredOutput).Job.ID
		b.tool("jobs").Call(b.t.Context(), json.RawMessage(fmt.Sprintf(`{"id":%q,"wait":1}`, job)), "r", nil)
		if r := b.call(b.t.Context(), "jobs", fmt.Sprintf(`{"id":%q,"wait":9}`, job)); r.deltas != "abcdef" {
			t.Errorf("jobs with progress after a call and a wait without: deltas %q, want the whole text", r.deltas)
		}
	})
}

func TestAnswerOrJob(t *testing.T) {
	slow := ollamatest.Script{LoadDelay: 70 * time.Second}
	tests := []struct {
		name, tool, args string
		script           ollamatest.Script
		job              bool
		took             time.Duration
	}{
		{"an answer in time", "generate", `{"prompt":"x","wait":7}`, sixSeconds, false, 0},
		{"the default wait", "generate", `{"prompt":"x"}`, slow, true, 50 * time.Second},
		{"wait 0", "chat", `{"messages":[{"role":"user"}],"wait":0}`, sixSeconds, true, 0},
		{"a wait in a string", "embed", `{"input":["x"],"wait":"0.5"}`, slow, true, time.Second / 2},
		{"a load", "load", `{"model":"tiny","wait":1}`, slow, true, time.Second},
		{"a wait without end", "load", `{"model":"tiny","wait":1e300}`, slow, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onFake(t, tt.script, fleet.Options{}, func(b *bench) {
				begin := time.Now()
				if !tt.job {
					if r := b.call(b.t.Context(), tt.tool, tt.args); r.IsError || r.fields["job"] != nil || len(b.jobs.List("local")) != 0 {
						t.Errorf("%s(%s) = %s; want an answer, and no job", tt.tool, tt.args, r.everything())
					}
					return
				}
				job, _ := b.becomes(b.t.Context(), tt.tool, tt.args)
				if took := time.Since(begin); took != tt.took {
					t.Errorf("%s(%s) took %s, want %s", tt.tool, tt.args, took, tt.took)
				}
				if r := b.call(b.t.Context(), "jobs", fmt.Sprintf(`{"id":%q,"wait":100}`, job)); r.field("job.state") != "done" || r.field("result.model") == nil {
					t.Errorf("the job of %s(%s) = %s; want it done", tt.tool, tt.args, r.everything())
				}
			})
		})
	}
}

func TestWithoutJobsCallsAreWaitedFor(t *testing.T) {
	onFake(t, ollamatest.Script{LoadDelay: time.Hour}, fleet.Options{}, func(b *bench) {
		for i := range b.set {
			b.set[i].jobs = nil
		}
		if r := b.call(b.t.Context(), "generate", `{"prompt":"x","wait":0}`); r.IsError || r.fields["job"] != nil {
			t.Errorf("generate without a table of jobs: %s; want the answer", r.everything())
		}
	})
}

// Where the tool jobs is not offered, nobody could ask for what a job came to.
func TestWithoutTheToolCallsAreWaitedFor(t *testing.T) {
	for _, chosen := range []Selection{{Tools: []string{"generate"}}, {Toolsets: []string{"inference", "models"}}} {
		onFake(t, sixSeconds, fleet.Options{}, func(b *bench) {
			var err error
			if b.set, err = chosen.Select(b.set); err != nil {
				b.t.Fatal(err)
			}
			if r := b.call(b.t.Context(), "generate", `{"prompt":"x","wait":1}`); r.field("text") != "abcdef" {
				t.Errorf("generate, offered by %+v: %s; want the answer", chosen, r.everything())
			}
		})
	}
}

func TestCancelJob(t *testing.T) {
	onFake(t, sixSeconds, fleet.Options{}, func(b *bench) {
		ctx := b.t.Context()
		job, _ := b.becomes(ctx, "generate", `{"prompt":"x","wait":2.5}`)
		begin := time.Now()
		r := b.call(ctx, "cancel_job", id(job))
		if r.IsError || r.field("job.state") != "cancelled" || !strings.Contains(r.content[0], "generate was cancelled after 2.5s") {
			t.Errorf("cancel_job: %s; want it cancelled", r.everything())
		}
		synctest.Wait()
		if seen := b.fake.Seen(); len(seen.Aborts) != 1 || seen.Aborts[0].At.Sub(begin) > 200*time.Millisecond || seen.Active != 0 {
			t.Errorf("after cancel_job Ollama saw %+v; want the close within 200 ms", seen.Aborts)
		}
		r = b.call(ctx, "jobs", id(job))
		if text, _ := r.field("result.text").(string); r.field("result.error.kind") != kindCanceled || text == "" || !strings.HasPrefix("abcdef", text) {
			t.Errorf("jobs after cancel_job: %s; want kind canceled, and the text that had come", r.everything())
		}
		if r = b.call(ctx, "cancel_job", id(job)); r.IsError || !strings.Contains(r.content[0], "Nothing to cancel") {
			t.Errorf("cancel_job again: %s; want that there is nothing to cancel", r.everything())
		}
	})
}

// Loads are shared: who cancels a job that waits for one is told that it goes on.
func TestCancelJobThatLoads(t *testing.T) {
	onFake(t, ollamatest.Script{LoadDelay: time.Minute}, fleet.Options{}, func(b *bench) {
		job, _ := b.becomes(b.t.Context(), "load", `{"model":"tiny","wait":1}`)
		if r := b.call(b.t.Context(), "cancel_job", id(job)); r.field("job.state") != "cancelled" || !strings.Contains(r.content[0], "goes on loading") {
			t.Errorf("cancel_job of a load: %s; want it cancelled, and said that the load goes on", r.everything())
		}
		if r := b.call(b.t.Context(), "load", `{"model":"tiny","wait":100}`); r.fields["state"] != "loaded" || b.fake.Seen().Loads != 1 {
			t.Errorf("load after that: %s after %d loads, want the same load to have ended", r.everything(), b.fake.Seen().Loads)
		}
	})
}

func TestListOfManyJobs(t *testing.T) {
	onFake(t, ollamatest.Script{}, fleet.Options{}, func(b *bench) {
		for range maxJobs + 1 {
			b.job(b.t.Context())
		}
		r := b.call(b.t.Context(), "jobs", `{}`)
		if n := len(r.fields["jobs"].([]any)); n != maxJobs || !strings.Contains(r.content[0], "50 of 51") {
			t.Errorf("jobs of one who has %d: %d of them, %q", maxJobs+1, n, r.content[0])
		}
	})
}

// A caller who gives up before its call is a job stops the work, but for a load, and then
// who gives up waiting stops nothing.
func TestCallersWhoGiveUp(t *testing.T) {
	script := sixSeconds
	script.LoadDelay = 10 * time.Second
	for name, want := range map[string]int{"generate": 0, "load": 1} {
		onFake(t, script, fleet.Options{}, func(b *bench) {
			ctx, cancel := context.WithTimeout(b.t.Context(), 3*time.Second)
			defer cancel()
			if r := b.call(ctx, name, everyTool[name]); r.error == nil || r.error.Kind != kindCanceled {
				t.Errorf("%s that is given up: %s; want kind canceled", name, r.everything())
			}
			if list := b.jobs.List("local"); len(list) != want {
				t.Errorf("after %s was given up there are jobs %+v, want %d", name, list, want)
			}
		})
	}
	onFake(t, sixSeconds, fleet.Options{}, func(b *bench) {
		job, _ := b.becomes(b.t.Context(), "generate", `{"prompt":"x","wait":1}`)
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
		defer cancel()
		if r := b.call(ctx, "jobs", fmt.Sprintf(`{"id":%q,"wait":50}`, job)); r.error == nil || r.error.Kind != kindCanceled {
			t.Errorf("jobs that is given up: %s; want kind canceled", r.everything())
		}
		if r := b.call(b.t.Context(), "jobs", fmt.Sprintf(`{"id":%q,"wait":50}`, job)); r.field("result.text") != "abcdef" {
			t.Errorf("the job that nobody waited for any more: %s; want it done", r.everything())
		}
	})
}

func TestFailedJob(t *testing.T) {
	script := sixSeconds
	script.Models = []ollamatest.FakeModel{{Name: "m", Loaded: true}}
	script.Faults = map[string]ollamatest.Fault{"/api/generate": ollamatest.CutAfter(3)}
	onFake(t, script, fleet.Options{}, func(b *bench) {
		job, _ := b.becomes(b.t.Context(), "generate", `{"prompt":"x","wait":1}`)
		r := b.call(b.t.Context(), "jobs", fmt.Sprintf(`{"id":%q,"wait":50}`, job))
		if r.field("job.state") != "failed" || r.field("result.error.kind") != string(ollama.Cut) || !strings.Contains(strings.Join(r.content, "\n"), "Incomplete text") {
			t.Errorf("the job of a generation that is cut: %s; want it failed, of kind cut, with the marked text", r.everything())
		}
	})
}

// A job is its owner's: nobody else sees, awaits or cancels it.
func TestJobsOfOthers(t *testing.T) {
	onFake(t, sixSeconds, fleet.Options{}, func(b *bench) {
		job, _ := b.becomes(as("ann"), "generate", `{"prompt":"x","wait":0}`)
		unknown := b.call(as("bob"), "jobs", id("no-such-id"))
		for _, tool := range []string{"jobs", "cancel_job"} {
			r := b.call(as("bob"), tool, id(job))
			if diff := cmp.Diff(unknown.everything(), r.everything()); diff != "" {
				t.Errorf("%s of another's job differs from one that does not exist (-unknown +other's):\n%s", tool, diff)
			}
		}
		if r := b.call(as("bob"), "jobs", `{}`); len(r.fields["jobs"].([]any)) != 0 || strings.Contains(r.everything(), job) {
			t.Errorf("jobs of another: %s; want none", r.everything())
		}
		if r := b.call(as("ann"), "jobs", `{"state":"running"}`); len(r.fields["jobs"].([]any)) != 1 || !strings.Contains(r.content[1], job) {
			t.Errorf("jobs that run: %s; want one", r.everything())
		}
		if r := b.call(as("ann"), "jobs", `{"state":"done"}`); len(r.fields["jobs"].([]any)) != 0 {
			t.Errorf("jobs that are done: %s; want none", r.everything())
		}
	})
}

// A call whose caller may not ask for jobs never becomes one, and one that has become one
// counts among the calls at once until it ends.
func TestJobsUnderPolicy(t *testing.T) {
	underPolicy(t, sixSeconds, fleet.Options{}, []policy.Rule{{Tools: []string{"generate"}}}, func(b *bench) {
		if r := b.call(as("ci"), "generate", `{"prompt":"x","wait":1}`); r.field("text") != "abcdef" {
			t.Errorf("generate as one who may not use jobs: %s; want the answer", r.everything())
		}
	})
	one := []policy.Rule{{Limits: policy.Limits{ParallelCalls: new(1)}, Tools: []string{"generate"}}, {Tools: []string{"jobs", "cancel_job"}}}
	underPolicy(t, sixSeconds, fleet.Options{}, one, func(b *bench) {
		job, _ := b.becomes(as("ci"), "generate", `{"prompt":"x","wait":1}`)
		if r := b.call(as("ci"), "generate", `{"prompt":"x"}`); r.error == nil || r.error.Kind != kindBusy {
			t.Errorf("generate beside a job, with one call at once: %s; want kind busy", r.everything())
		}
		b.call(as("ci"), "cancel_job", id(job))
		if r := b.call(as("ci"), "generate", `{"prompt":"x"}`); r.IsError {
			t.Errorf("generate after the job has ended: %s; want the answer", r.everything())
		}
	})
}

// With no room for another job, calls are waited for, and still stop when given up.
func TestNoRoomForAJob(t *testing.T) {
	script := sixSeconds
	script.FirstDelay = 3 * time.Minute // some default waits
	onFake(t, script, fleet.Options{}, func(b *bench) {
		small := jobs.New(jobs.Options{Max: 1})
		defer endJobs(t, small)
		b.jobs = small
		for i := range b.set {
			b.set[i].jobs = small
		}
		b.job(b.t.Context())
		if r := b.call(b.t.Context(), "generate", `{"prompt":"x","wait":1}`); r.fields["text"] != "abcdef" {
			t.Errorf("generate with no room for a job: %s; want the answer", r.everything())
		}
		ctx, cancel := context.WithTimeout(b.t.Context(), 3*time.Second)
		defer cancel()
		if r := b.call(ctx, "generate", `{"prompt":"x","wait":1}`); r.error == nil || r.error.Kind != kindCanceled {
			t.Errorf("generate that is given up, with no room for a job: %s; want kind canceled", r.everything())
		}
	})
}

func TestVectorsOfAJob(t *testing.T) {
	onFake(t, ollamatest.Script{LoadDelay: 2 * time.Second, Vector: func(string) []float32 { return []float32{1, 0} }}, fleet.Options{}, func(b *bench) {
		job, _ := b.becomes(b.t.Context(), "embed", `{"input":["a"],"wait":1}`)
		r := b.call(b.t.Context(), "jobs", fmt.Sprintf(`{"id":%q,"wait":50}`, job))
		parts, err := r.StructuredContent.(*jobsOutput).JSONParts()
		if err != nil {
			t.Fatal(err)
		}
		var joined []byte
		for _, p := range parts {
			joined = append(joined, p...)
		}
		var got map[string]any
		if err := json.Unmarshal(joined, &got); err != nil {
			t.Fatalf("%v: %s", err, joined)
		}
		if diff := cmp.Diff(r.fields, got); diff != "" {
			t.Errorf("jobs in parts (-whole +parts):\n%s", diff)
		}
		if v, _ := json.Marshal(r.field("result.embeddings")); string(v) != `[[1,0]]` {
			t.Errorf("the vectors of a job: %s, want [[1,0]]", v)
		}
	})
}

// 200 jobs at once, a third cancelled: all end as they should.
func TestManyJobs(t *testing.T) {
	script := sixSeconds
	script.Slots = 200
	script.Models = []ollamatest.FakeModel{{Name: "m", Loaded: true}}
	onFake(t, script, fleet.Options{}, func(b *bench) {
		var calls sync.WaitGroup
		for i := range 200 {
			calls.Go(func() {
				job, _ := b.becomes(b.t.Context(), "generate", `{"prompt":"x","wait":1}`)
				want := "done"
				if i%3 == 0 {
					want = "cancelled"
					b.call(b.t.Context(), "cancel_job", id(job))
				}
				r := b.call(b.t.Context(), "jobs", fmt.Sprintf(`{"id":%q,"wait":50}`, job))
				if got := r.field("job.state"); got != want || want == "done" && r.field("result.text") != "abcdef" {
					t.Errorf("job %d of 200: %s; want %s", i, r.everything(), want)
				}
			})
		}
		calls.Wait()
		synctest.Wait()
		if seen := b.fake.Seen(); seen.Active != 0 || len(seen.Aborts) != 67 {
			t.Errorf("after 200 jobs, 67 of them cancelled: Ollama works on %d and saw %d aborts", seen.Active, len(seen.Aborts))
		}
	})
}
