package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/jobs"
)

const jobsName = "jobs"

type jobsInput struct {
	ID    string     `json:"id,omitempty" jsonschema_description:"Default: a list"`
	Wait  *float64   `json:"wait,omitempty" jsonschema:"minimum=0" jsonschema_description:"Seconds to wait for the end of id"`
	State jobs.State `json:"state,omitempty" jsonschema:"enum=running,enum=done,enum=failed,enum=cancelled,enum=lost" jsonschema_description:"For a list"`
}

type jobsOutput struct {
	Note   string    `json:"note"`
	Job    *jobView  `json:"job,omitempty"`
	Text   string    `json:"text,omitempty" jsonschema_description:"so far, while it runs"`
	Result any       `json:"result,omitempty" jsonschema_description:"the tool's own, after the end"`
	Jobs   []jobView `json:"jobs,omitzero" jsonschema_description:"latest first"`
	failure

	content []string           // the words of Result
	linked  []mcp.ResourceLink // its links
}

func (o *jobsOutput) links() []mcp.ResourceLink { return o.linked }

func (o *jobsOutput) words() []string {
	words := append([]string{o.Note, o.Text}, o.content...)
	var lines []string
	for _, j := range o.Jobs {
		lines = append(lines, strings.TrimSuffix(fmt.Sprintf("%s: %s, %s, %s", j.ID, j.Tool, j.State, j.Message), ", "))
	}
	return append(words, strings.Join(lines, "\n"))
}

// JSONParts is the output's JSON with a large result in parts as it gives them itself.
func (o *jobsOutput) JSONParts() ([][]byte, error) {
	large, ok := o.Result.(interface{ JSONParts() ([][]byte, error) })
	if !ok {
		return nil, nil
	}
	small := *o
	small.Result = nil
	head, err := json.Marshal(small)
	if err != nil {
		return nil, err
	}
	parts, err := large.JSONParts()
	head = append(bytes.TrimSuffix(head, []byte("}")), `,"result":`...)
	return append(append([][]byte{head}, parts...), []byte("}")), err
}

// listJobs tells of the caller's jobs.
func listJobs(find func(owner, id string) (*jobs.Job, error), list func(owner string, states ...jobs.State) []jobs.Status) Tool {
	return define(Tool{
		Name:  jobsName,
		Title: "See jobs and their results",
		Description: "See the calls of yours that went on as jobs. With id: how far it is, its text so far, and after the end its " +
			"result; with wait it waits for that.",
		Effect:  Reads,
		Toolset: Jobs,
	}, func(ctx context.Context, in jobsInput, c *call) (jobsOutput, error) {
		switch {
		case in.ID != "" && in.State != "":
			return jobsOutput{}, &argumentError{"state is for a list, id for one job", "Leave one of them out"}
		case in.ID == "" && in.Wait != nil:
			return jobsOutput{}, &argumentError{"wait needs the id of a job", "Call again with id, or without wait for a list"}
		case in.ID == "" && in.State == "":
			return jobList(list(owner(ctx))), nil
		case in.ID == "":
			return jobList(list(owner(ctx), in.State)), nil
		}
		j, err := find(owner(ctx), in.ID)
		if err != nil {
			return jobsOutput{}, err
		}
		s, err := j.Wait(ctx, duration(in.Wait, 0), c.tell)
		if err != nil {
			return jobsOutput{}, err
		}
		return one(j, s), nil
	})
}

// maxJobs bounds a list, which a model has to read.
const maxJobs = 50

func jobList(all []jobs.Status) jobsOutput {
	o := jobsOutput{Jobs: []jobView{}, Note: count(len(all), "job") + "."}
	if n := len(all); n > maxJobs {
		o.Note = fmt.Sprintf("The latest %d of %d jobs.", maxJobs, n)
		all = all[:maxJobs]
	}
	for _, s := range all {
		o.Jobs = append(o.Jobs, *view(s))
	}
	return o
}

// one is all there is to say of a job.
func one(j *jobs.Job, s jobs.Status) jobsOutput {
	o := jobsOutput{Note: standing(s), Job: view(s)}
	if s.State != jobs.Running {
		r := resultOf(s)
		o.Result = r.StructuredContent
		for _, c := range r.Content {
			switch c := c.(type) {
			case mcp.TextContent:
				o.content = append(o.content, c.Text)
			case mcp.ResourceLink:
				o.linked = append(o.linked, c)
			}
		}
		return o
	}
	var lost int
	if o.Text, lost = j.Text(); lost > 0 {
		o.Note += fmt.Sprintf(" The first %d bytes of its text are no longer kept.", lost)
	}
	return o
}

// standing says where a job stands.
func standing(s jobs.Status) string {
	if s.State == jobs.Running {
		return fmt.Sprintf("%s has been running for %s. Call jobs again with id and wait for the result.", s.Tool, since(s.Started, time.Now()))
	}
	what := map[jobs.State]string{
		jobs.Done: "is done", jobs.Failed: "failed", jobs.Cancelled: "was cancelled", jobs.Lost: "ended with the server",
	}[s.State]
	return fmt.Sprintf("%s %s after %s.", s.Tool, what, since(s.Started, s.Ended))
}

func since(from, to time.Time) time.Duration {
	d := to.Sub(from)
	if d < 10*time.Second {
		return d.Round(time.Second / 10)
	}
	return d.Round(time.Second)
}

// Job returns what the tool jobs says of a job of the caller in ctx, for JSON. The error is
// that of [jobs.Table.Find].
func Job(ctx context.Context, table *jobs.Table, id string) (any, error) {
	j, err := table.Find(owner(ctx), id)
	if err != nil {
		return nil, err
	}
	o := one(j, j.Status())
	return &o, nil
}
