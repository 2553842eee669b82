package tools

import (
	"strings"
	"testing"
	"time"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
)

// A call that comes when the jobs have been shut down holds nothing of its caller's.
func TestCallAfterTheEndOfJobs(t *testing.T) {
	one := []policy.Rule{{Limits: policy.Limits{ParallelCalls: new(1)}, Tools: []string{"generate"}}, {Tools: []string{"jobs"}}}
	underPolicy(t, sixSeconds, fleet.Options{}, one, func(b *bench) {
		endJobs(b.t, b.jobs)
		for range 2 {
			if r := b.call(as("ci"), "generate", `{"prompt":"x"}`); r.error == nil || r.error.Kind != kindCanceled || !strings.Contains(r.error.Message, "shut down") {
				t.Errorf("generate after the end of the jobs: %s; want to be told that the server shut down", r.everything())
			}
		}
	})
}

// While a job works on what it was called with, that takes room of other calls.
func TestArgumentsOfJobsTakeRoom(t *testing.T) {
	onFake(t, ollamatest.Script{LoadDelay: 3 * time.Minute, Vector: circle}, fleet.Options{}, func(b *bench) {
		small := jobs.New(jobs.Options{MaxBytes: 8000})
		defer endJobs(t, small)
		for i := range b.set {
			b.set[i].jobs = small
		}
		args := arguments(t, map[string]any{"query": "q", "documents": numbered(1, 1500), "wait": 0})
		b.becomes(b.t.Context(), "rank", args)
		if r := b.call(b.t.Context(), "rank", args); r.fields["ranked"] != 1.0 || len(small.List("local")) != 1 {
			t.Errorf("rank with 1,500 bytes beside a job with as many, of 2,000: %s; want the answer", r.everything())
		}
		b.becomes(b.t.Context(), "load", `{"model":"tiny","wait":0}`)
	})
}
