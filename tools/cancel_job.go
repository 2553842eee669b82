package tools

import (
	"context"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama/fleet"
)

const cancelName = "cancel_job"

type cancelJobInput struct {
	ID string `json:"id"`
}

type cancelJobOutput struct {
	Note string   `json:"note"`
	Job  *jobView `json:"job"`
	failure
}

func (o *cancelJobOutput) words() []string { return []string{o.Note} }

// cancelJob stops one of the caller's jobs.
func cancelJob(find func(owner, id string) (*jobs.Job, error)) Tool {
	return define(Tool{
		Name:        cancelName,
		Title:       "Cancel a job",
		Description: "Stop a job of yours and free Ollama of it. jobs shows what had come by then.",
		Effect:      Reads, // it ends only what its caller began
		Toolset:     Jobs,
	}, func(ctx context.Context, in cancelJobInput, _ *call) (cancelJobOutput, error) {
		j, err := find(owner(ctx), in.ID)
		if err != nil {
			return cancelJobOutput{}, err
		}
		before := j.Status()
		s := j.Cancel(ctx)
		note := standing(s)
		switch {
		case before.State != jobs.Running:
			note = "Nothing to cancel: " + note
		case s.State == jobs.Running:
			note = s.Tool + " has been told to stop and has not ended yet."
		case s.Phase == string(fleet.Loading):
			note += " Ollama goes on loading the model, which others may wait for; unload frees its memory."
		case s.Tool == pullName:
			note += " What had come stays on the host, for the next pull of the model; a transfer that others wait for goes on."
		}
		return cancelJobOutput{Note: note, Job: view(s)}, nil
	})
}
