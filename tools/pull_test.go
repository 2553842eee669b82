package tools

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
)

// fourSeconds is a host that takes four seconds to pull big, in three layers.
func fourSeconds(p ollamatest.FakePull) ollamatest.Script {
	p.Model.Name, p.Layers, p.Rate = "big", []int64{20e6, 12e6, 8e6}, 10e6
	return ollamatest.Script{Registry: []ollamatest.FakePull{p}}
}

func TestPull(t *testing.T) {
	onFake(t, fourSeconds(ollamatest.FakePull{StopAt: 0.6}), fleet.Options{}, func(b *bench) {
		r := b.call(b.t.Context(), "pull", `{"model":"big"}`)
		if !r.IsError || r.error.Kind != string(ollama.Cut) || !r.error.Retryable || r.fields["completed_bytes"] != 24e6 || r.fields["state"] != "incomplete" {
			t.Errorf("pull that is cut at 60 %%: got %v, want an error of kind cut with 24 MB", r.fields)
		}
		if !strings.Contains(r.content[0], "24.0 MB of 32.0 MB known so far were through") || !strings.Contains(r.content[0], "Call pull again") {
			t.Errorf("pull that is cut at 60 %%: got %q, want it to say how far it was", r.content)
		}
		if r = b.call(b.t.Context(), "pull", `{"model":"big"}`); r.IsError || r.fields["size_bytes"] != 40e6 || r.fields["state"] != "pulled" || r.fields["completed_bytes"] != r.fields["total_bytes"] {
			t.Errorf("pull again: got %v, want 40 MB", r.fields)
		}
		if r = b.call(b.t.Context(), "pull", `{"model":"nowhere"}`); r.error == nil || r.error.Kind != string(ollama.MissingModel) || strings.Contains(r.error.Hint, "ollama pull") || !strings.Contains(r.error.Message, "registry.ollama.ai has no model") {
			t.Errorf("pull of an unknown model: got %+v, want missing_model in words of a pull", r.error)
		}
	})
}

// The last that is told of a pull is where it ended, as a job or not.
func TestPullTellsWhereItEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		pull ollamatest.FakePull
		rate int64
		want string
	}{
		{"done", ollamatest.FakePull{}, 10e6, "big is complete"},
		{"done at once", ollamatest.FakePull{}, 0, "big is complete"},
		{"cut while it downloads", ollamatest.FakePull{StopAt: 0.6}, 10e6, "downloading big: 24.0 MB of 32.0 MB known so far"},
		{"cut at once", ollamatest.FakePull{StopAt: 0.6}, 1e12, "downloading big: 24.0 MB of 32.0 MB known so far"},
	} {
		script := fourSeconds(tt.pull)
		script.Registry[0].Rate = tt.rate
		onFake(t, script, fleet.Options{}, func(b *bench) {
			last := ""
			b.tool("pull").Call(b.t.Context(), []byte(`{"model":"big"}`), "r1", func(p Progress) { last = p.Message() })
			if !strings.HasPrefix(last, tt.want) {
				t.Errorf("pull, %s: told last %q, want %q", tt.name, last, tt.want)
			}
		})
	}
}

// pulls is how many pulls a host has seen, and how many of them end before their time.
func (b *bench) pulls() (asked, aborted int) {
	synctest.Wait()
	seen := b.fake.Seen()
	return seen.Requests["/api/pull"], len(seen.Aborts)
}

// Giving up the call that began a pull stops nothing, whether or not its caller may ask for
// the job that it becomes.
func TestPullOutlivesItsCall(t *testing.T) {
	pulls := []policy.Rule{{Tools: []string{"pull", "show"}}}
	for _, rules := range [][]policy.Rule{nil, pulls} {
		underPolicy(t, fourSeconds(ollamatest.FakePull{}), fleet.Options{}, rules, func(b *bench) {
			ctx, cancel := context.WithTimeout(as("ci"), time.Second)
			defer cancel()
			if r := b.call(ctx, "pull", `{"model":"big"}`); r.error == nil || r.error.Kind != kindCanceled {
				t.Errorf("pull that is given up: %s; want kind canceled", r.everything())
			}
			if list := b.jobs.List("ci"); len(list) != 1 || list[0].State != jobs.Running {
				t.Errorf("after pull was given up there are jobs %+v, want one that runs", list)
			}
			time.Sleep(4 * time.Second) // fake time
			if asked, aborted := b.pulls(); asked != 1 || aborted != 0 {
				t.Errorf("after pull was given up the host has seen %d pulls and %d aborts, want 1 and 0", asked, aborted)
			}
			if r := b.call(as("ci"), "show", `{"model":"big"}`); r.IsError {
				t.Errorf("show of what was pulled for nobody: %+v, want it installed", r.error)
			}
		})
	}
}

// A caller who may not use jobs waits for a pull to its end.
func TestPullWithoutJobs(t *testing.T) {
	underPolicy(t, fourSeconds(ollamatest.FakePull{}), fleet.Options{}, []policy.Rule{{Tools: []string{"pull"}}}, func(b *bench) {
		if r := b.call(as("ci"), "pull", `{"model":"big","wait":1}`); r.fields["state"] != "pulled" {
			t.Errorf("pull as one who may not use jobs: %s; want it pulled", r.everything())
		}
	})
}

// cancel_job stops a pull, unless others wait for the same; what came then stays.
func TestCancelJobThatPulls(t *testing.T) {
	onFake(t, fourSeconds(ollamatest.FakePull{}), fleet.Options{}, func(b *bench) {
		var ids []string
		for _, caller := range []string{"ann", "bob"} {
			job, _ := b.becomes(as(caller), "pull", `{"model":"big","wait":1}`)
			ids = append(ids, job)
		}
		for i, caller := range []string{"ann", "bob"} {
			r := b.call(as(caller), "cancel_job", id(ids[i]))
			if r.field("job.state") != "cancelled" || !strings.Contains(r.content[0], "stays on the host") {
				t.Errorf("cancel_job of a pull: %s; want it cancelled, and said what stays", r.everything())
			}
			if asked, aborted := b.pulls(); asked != 1 || aborted != i {
				t.Errorf("two share a pull, %s cancelled: the host has seen %d pulls and %d aborts; want 1 and %d", caller, asked, aborted, i)
			}
		}
		r := b.call(as("bob"), "jobs", id(ids[1]))
		if r.field("result.error.kind") != kindCanceled || r.field("result.completed_bytes").(float64) < 15e6 || !strings.Contains(fmt.Sprint(r.field("result.error.hint")), "Call pull again") {
			t.Errorf("jobs after cancel_job of a pull: %s; want kind canceled, with about 20 MB, and how to go on", r.everything())
		}
		begin := time.Now()
		if r := b.call(as("ann"), "pull", `{"model":"big"}`); r.fields["state"] != "pulled" || time.Since(begin) > 3*time.Second {
			t.Errorf("pull after that: %s, after %s; want it to go on from there", r.everything(), time.Since(begin))
		}
	})
}

// The end of the server ends a pull that nobody waits for.
func TestPullEndsWithTheServer(t *testing.T) {
	onFake(t, fourSeconds(ollamatest.FakePull{}), fleet.Options{}, func(b *bench) {
		job, _ := b.becomes(b.t.Context(), "pull", `{"model":"big","wait":1}`)
		endJobs(b.t, b.jobs)
		if _, aborted := b.pulls(); aborted != 1 {
			t.Errorf("after the end of the jobs the host has seen %d aborts, want 1", aborted)
		}
		if r := b.call(b.t.Context(), "jobs", id(job)); r.field("job.state") != "lost" || r.field("result.completed_bytes") == nil {
			t.Errorf("the job of a pull after the end: %s; want it lost, and how far it was", r.everything())
		}
	})
}

func TestTransferWords(t *testing.T) {
	for want, s := range map[string]ollama.TransferState{
		"downloading m: 1.2 GB of 2.0 GB known so far, 35.1 MB/s, 23s left for these": {Phase: ollama.PhaseDownloading, Done: 12e8, Total: 2e9, Rate: 351e5, Left: 23 * time.Second},
		"uploading m: 0.0 MB of 0.5 MB known so far":                                  {Phase: ollama.PhaseUploading, Total: 5e5},
		"reading the manifest of m":                                                   {Phase: ollama.PhaseManifest},
		"checking the digests of m":                                                   {Phase: ollama.PhaseVerifying},
		"m is complete":                                                               {Phase: ollama.PhaseDone},
	} {
		if got := transferWords("m:latest", s); got != want {
			t.Errorf("transferWords(%+v) = %q, want %q", s, got, want)
		}
	}
}
