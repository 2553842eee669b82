package tools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/jobs"
	"ollama-mcp/transport/auth"
)

// patience is embedded in the input of every long tool.
type patience struct {
	Wait *float64 `json:"wait,omitempty" jsonschema:"minimum=0" jsonschema_description:"Seconds, then it is a job"`
}

func (p *patience) seconds() *float64 { return p.Wait }

type patient interface{ seconds() *float64 }

// deferrable is embedded in the output of every long tool.
type deferrable struct {
	Job *jobView `json:"job,omitempty"`
	failure
}

func (*deferrable) deferred() {}

type deferring interface{ deferred() }

// deferredOutput is the answer to a call that has become a job. It fits the schema of every
// long tool.
type deferredOutput struct {
	Note string `json:"note"`
	deferrable
}

func (o *deferredOutput) words() []string { return []string{o.Note} }

// jobView is a job as its owner sees it.
type jobView struct {
	ID        string     `json:"id"`
	Tool      string     `json:"tool"`
	State     jobs.State `json:"state"`
	Phase     string     `json:"phase,omitempty"`
	Progress  float64    `json:"progress"`
	Total     float64    `json:"total,omitempty"`
	Message   string     `json:"message,omitempty"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

func view(s jobs.Status) *jobView {
	v := &jobView{
		ID: s.ID, Tool: s.Tool, State: s.State, Phase: s.Phase, Progress: s.Done, Total: s.Total, StartedAt: s.Started,
	}
	if s.Message != nil {
		v.Message = s.Message()
	}
	if !s.Ended.IsZero() {
		v.EndedAt = &s.Ended
	}
	return v
}

// asks tells whether the caller can ask after jobs. For one that cannot a job would be lost:
// its calls are waited for to their end.
func (t *Tool) asks(ctx context.Context) bool { return t.beside(ctx, jobsName) }

// beside tells whether the caller can use the tool jobs or cancel_job.
func (t *Tool) beside(ctx context.Context, name string) bool {
	return !slices.Contains(t.lacks, name) && t.policy.Allow(ctx, name) == nil
}

// defers tells whether the tool's call can go on without its caller.
func (t *Tool) defers(ctx context.Context) bool {
	return t.long && t.jobs != nil && (t.Outlives || t.asks(ctx))
}

// maxSeconds bounds a wait, so that it is a duration.
const maxSeconds = 24 * 60 * 60

// duration is how long to wait for what was asked for in seconds.
func duration(seconds *float64, otherwise time.Duration) time.Duration {
	if seconds == nil {
		return otherwise
	}
	return time.Duration(min(*seconds, maxSeconds) * float64(time.Second))
}

// await runs work and waits for it as long as the caller asks: then it is a job. While there
// is no room for one it waits on. It reports whether the call is over.
func (t *Tool) await(ctx context.Context, r request, report Report, work func(context.Context, *call) (*mcp.CallToolResult, error)) (_ *mcp.CallToolResult, over bool) {
	c := jobs.Call{Owner: owner(ctx), Tool: t.Name, Bytes: int64(r.size), Outlives: t.Outlives}
	j := t.jobs.Start(ctx, c, func(ctx context.Context, report jobs.Report) (_ jobs.Result, err error) {
		defer t.recovered(&err)
		r, err := work(ctx, &call{report: report})
		return jobs.Result{Value: r, Bytes: weight(r)}, err
	})
	tell, most := telling(report), duration(r.wait, t.maxWait)
	if !t.asks(ctx) {
		most = maxSeconds * time.Second
	}
	s, err := j.Wait(ctx, most, tell)
	for errors.Is(err, jobs.ErrFull) {
		s, err = j.Wait(ctx, t.maxWait, tell)
	}
	switch {
	case s.State != jobs.Running:
		return resultOf(s), true
	case err != nil:
		return failed(problem(err, "", nil)), false
	}
	return toResult(&deferredOutput{Note: t.goesOn(ctx, s.ID), deferrable: deferrable{Job: view(s)}}), false
}

// goesOn says what the caller can do about a job.
func (t *Tool) goesOn(ctx context.Context, id string) string {
	note := fmt.Sprintf("Not done yet: it goes on as job %s.", id)
	if t.beside(ctx, jobsName) {
		note += fmt.Sprintf(" Call jobs with id %s and wait %g for the result.", id, t.maxWait.Seconds())
	}
	if t.beside(ctx, cancelName) {
		note += fmt.Sprintf(" %s stops it.", cancelName)
	}
	return note
}

func owner(ctx context.Context) string { return auth.FromContext(ctx).Name }

// telling makes a report of what a job has to tell. A nil report stays one, as text that was
// told is not told again.
func telling(report Report) func(jobs.Update) {
	if report == nil {
		return nil
	}
	return func(u jobs.Update) {
		if u.Message == nil {
			u.Message = func() string { return u.Phase }
		}
		report(u.Progress)
	}
}

// resultOf is the tool's own result of what has ended.
func resultOf(s jobs.Status) *mcp.CallToolResult {
	if r, ok := s.Result.Value.(*mcp.CallToolResult); ok {
		return r
	}
	return failed(problem(s.Err, "", nil))
}

// heavy is an output that takes more memory than its words.
type heavy interface{ bytes() int }

// weight is about what a result takes of memory, in bytes.
func weight(r *mcp.CallToolResult) int64 {
	n := 1 << 10
	for _, c := range r.Content {
		if t, ok := c.(mcp.TextContent); ok {
			n += len(t.Text)
		}
	}
	if h, ok := r.StructuredContent.(heavy); ok {
		n += h.bytes()
	}
	return int64(n)
}
