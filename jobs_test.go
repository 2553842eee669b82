package main

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ollama-mcp/ollama/ollamatest"
)

// The tests below are calls that outlive their request, in the program.

// What was asked for as a job goes on without its caller, and its result is all there.
func TestJob(t *testing.T) {
	const tokens = 200
	s := serve(t, ollamatest.NewReal(t).URL)
	r := s.must("generate", fmt.Sprintf(`{"model":"tiny","prompt":"the sea","wait":0,"options":{"num_predict":%d,"seed":1}}`, tokens))
	job := r.Structured.Job
	if job.ID == "" || job.State != "running" || r.Structured.Text != "" {
		t.Fatalf("generate with wait 0 = %+v, want a job that runs", r)
	}
	end, progress := s.call("jobs", fmt.Sprintf(`{"id":%q,"wait":60}`, job.ID))
	if o := end.Structured; end.IsError || o.Job.State != "done" || o.Result.Usage.OutputTokens != tokens || o.Result.Text == "" {
		t.Fatalf("jobs with wait = %+v, want it done, with %d tokens", end, tokens)
	}
	if got := deltas(progress); got != end.Structured.Result.Text {
		t.Errorf("the deltas, %d bytes, are not the text of %d bytes", len(got), len(end.Structured.Result.Text))
	}
}

// A call that takes longer than its wait goes on, and its text comes whole. A host that takes
// 3 s for it leaves a wait of 1 s more than a second on either side.
func TestJobText(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{TokenDelay: 20 * time.Millisecond, TokenCount: 150})
	defer fake.Close()
	s := serve(t, fake.URL)
	r, before := s.call("generate", `{"model":"tiny","prompt":"x","wait":1}`)
	job := r.Structured.Job
	if r.IsError || job.ID == "" || job.State != "running" || r.Structured.Text != "" {
		t.Fatalf("generate with wait 1 of 3 s = %+v, want a job that runs", r)
	}
	end, after := s.call("jobs", fmt.Sprintf(`{"id":%q,"wait":60}`, job.ID))
	if end.IsError || end.Structured.Job.State != "done" || end.Structured.Result.Text == "" {
		t.Fatalf("jobs with wait = %+v, want it done", end)
	}
	if got := deltas(before) + deltas(after); got != end.Structured.Result.Text || deltas(before) == "" || deltas(after) == "" {
		t.Errorf("the deltas of both calls, %d and %d bytes, joined are not the text of %d bytes", len(deltas(before)), len(deltas(after)), len(end.Structured.Result.Text))
	}
}

func TestCancelJob(t *testing.T) {
	address, aborted := watched(t, ollamatest.NewReal(t).URL)
	s := serve(t, address, wedgeSoon...)
	job := s.must("generate", `{"model":"tiny","prompt":"the sea","wait":0,"options":{"num_predict":-1}}`).Structured.Job
	for s.must("jobs", fmt.Sprintf(`{"id":%q,"wait":0.1}`, job.ID)).Structured.Text == "" {
	}
	begin := time.Now()
	if r := s.must("cancel_job", fmt.Sprintf(`{"id":%q}`, job.ID)); r.Structured.Job.State != "cancelled" {
		t.Errorf("cancel_job = %+v, want it cancelled", r)
	}
	select {
	case path := <-aborted:
		t.Logf("Ollama saw the close of %s after %s", path, time.Since(begin))
	case <-s.ctx.Done():
		t.Fatal("Ollama has not seen that the job was cancelled")
	}
	if r := s.must("generate", `{"model":"tiny","prompt":"the sea","options":{"num_predict":5}}`); r.Structured.Usage.OutputTokens != 5 {
		t.Errorf("generate after a cancelled job = %+v, want an answer", r)
	}
}

// A job goes by its caller, not by the connection: a client that comes back finds it.
func TestServeJob(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{Slots: len(eras), TokenDelay: 10 * time.Millisecond, TokenCount: 100})
	defer fake.Close()
	tokens := filepath.Join(t.TempDir(), "tokens.yaml")
	ann, bob := newToken(t, tokens, "ann"), newToken(t, tokens, "bob")
	w := serveWeb(t, fake.URL, "--tokens", tokens)
	for name, connect := range eras {
		t.Run(name, func(t *testing.T) {
			w.token = ann
			all, leave := connect(w).call(1, "generate", `{"model":"tiny","prompt":"x","wait":0.2}`)
			r, before := ended(t, all, 1)
			job := r.Structured.Job.ID
			if r.IsError || job == "" {
				t.Fatalf("generate with wait 0.2 = %+v, want a job", r)
			}
			if name != "2025-11-25" { // whose way is to cancel a call that has been answered
				leave()
			}
			w.token = bob
			all, _ = connect(w).call(2, "jobs", fmt.Sprintf(`{"id":%q}`, job))
			if r := whole(t, all, 2); r.Structured.Error.Kind != "no_job" {
				t.Errorf("another's job = %+v, want no_job", r)
			}
			w.token = ann
			all, _ = connect(w).call(3, "jobs", fmt.Sprintf(`{"id":%q,"wait":50}`, job))
			end, after := ended(t, all, 3)
			if end.Structured.Job.State != "done" || end.Structured.Result.Text != before+after || after == "" {
				t.Errorf("jobs = %+v after the deltas %q and %q, want them joined as the text", end, before, after)
			}
		})
	}
}

// What runs when the server ends has --drain to end, and is then cancelled.
func TestJobsEndWithTheServer(t *testing.T) {
	tests := []struct {
		name, drain string
		tokens      time.Duration // between two
		aborts      int
	}{
		{"drains", "30s", 20 * time.Millisecond, 0},
		{"cancels what does not end", "100ms", sessionLimit, 1},
	}
	for _, tt := range tests {
		for _, signal := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, by a signal: %v", tt.name, signal), func(t *testing.T) {
				fake := ollamatest.NewFake(ollamatest.Script{TokenDelay: tt.tokens, TokenCount: 20})
				defer fake.Close()
				s := serve(t, fake.URL, "--drain", tt.drain)
				if r := s.must("generate", `{"model":"tiny","prompt":"x","wait":0}`); r.Structured.Job.ID == "" {
					t.Fatalf("generate with wait 0 = %+v, want a job", r)
				}
				if err := fake.Await(s.ctx, func(seen ollamatest.Seen) bool { return seen.Requests["/api/generate"] == 2 }); err != nil {
					t.Fatal(err)
				}
				if signal {
					if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
						t.Fatal(err)
					}
				}
				if _, code := s.end(); code != 0 {
					t.Errorf("exit code %d, want 0", code)
				}
				if seen := fake.Seen(); len(seen.Aborts) != tt.aborts || seen.Active != 0 {
					t.Errorf("Ollama saw %d aborts and works on %d, want %d aborts", len(seen.Aborts), seen.Active, tt.aborts)
				}
			})
		}
	}
}
