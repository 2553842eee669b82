package tools

import (
	"errors"
	"fmt"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// moved is what the outputs of pull, push and create have in common.
type moved struct {
	Note           string      `json:"note"`
	Model          ollama.Name `json:"model"`
	SizeBytes      int64       `json:"size_bytes,omitempty"`
	Digest         string      `json:"digest,omitempty"`
	CompletedBytes int64       `json:"completed_bytes,omitempty" jsonschema_description:"moved, also before an error"`
	TotalBytes     int64       `json:"total_bytes,omitempty" jsonschema_description:"of the layers known so far"`
	onHosts
}

func movedOf(model ollama.Name, m *fleet.Moved, note string) moved {
	o := moved{Note: note, Model: model, onHosts: hostsOf(m.Hosts), CompletedBytes: m.State.Done, TotalBytes: m.State.Total}
	if m.Model != nil {
		o.SizeBytes, o.Digest = m.Model.Size, m.Model.Digest
	}
	return o
}

// broken is as much as there is of an output when err ended a transfer: nothing when nothing
// was moved.
func broken(model ollama.Name, err error) (m moved, state string) {
	off, ok := errors.AsType[*fleet.TransferError](err)
	if !ok || off.State.Total == 0 {
		return moved{}, ""
	}
	m = moved{Note: "Not complete.", Model: model, CompletedBytes: off.State.Done, TotalBytes: off.State.Total, onHosts: hostsOf(off.Arrived)}
	if len(off.Arrived) > 0 {
		m.Note = fmt.Sprintf("Complete on %s alone.", list(off.Arrived))
	}
	return m, "incomplete"
}

// watch reports a transfer.
func (c *call) watch(model ollama.Name) func(ollama.TransferState) {
	return func(s ollama.TransferState) {
		c.report(Progress{Phase: string(s.Phase), Done: float64(s.Done), Total: float64(s.Total),
			Message: func() string { return transferWords(model, s) }})
	}
}

func transferWords(model ollama.Name, s ollama.TransferState) string {
	switch s.Phase {
	case ollama.PhaseManifest:
		return "reading the manifest of " + short(model)
	case ollama.PhaseVerifying:
		return "checking the digests of " + short(model)
	case ollama.PhaseWriting:
		return "writing " + short(model)
	case ollama.PhaseDone:
		return short(model) + " is complete"
	}
	words := fmt.Sprintf("%s %s: %s", s.Phase, short(model), soFar(s))
	if s.Rate > 0 {
		words += fmt.Sprintf(", %s/s", size(int64(s.Rate)))
	}
	if s.Left > 0 {
		words += fmt.Sprintf(", %s left for these", s.Left.Round(time.Second))
	}
	return words
}

// soFar says how much of a transfer is through. Ollama names the layers one by one: until the
// last is through, the whole is not known.
func soFar(s ollama.TransferState) string {
	if s.Growing() {
		return fmt.Sprintf("%s of %s known so far", size(s.Done), size(s.Total))
	}
	return fmt.Sprintf("%s of %s", size(s.Done), size(s.Total))
}

// transferProblem adds to what went wrong how far it had come, and where it is complete.
func transferProblem(e *fleet.TransferError, p *Problem) *Problem {
	p = resumed(e, p)
	if len(e.Arrived) > 0 {
		p.Message = fmt.Sprintf("%s; it is complete on %s", p.Message, list(e.Arrived))
	}
	return p
}

// resumed says what to do about a transfer that broke off.
func resumed(e *fleet.TransferError, p *Problem) *Problem {
	if e.Op == "pull" && p.Kind == string(ollama.MissingModel) {
		p.Message = fmt.Sprintf("the registry %s has no model %s", e.Model.Registry(), e.Model)
		p.Hint = "Check the name and the tag; https://ollama.com/library lists the models of the default registry"
		return p
	}
	if e.Op == "pull" && p.Kind == string(ollama.Invalid) && e.Model.Registry() == "hf.co" {
		p.Hint = "The name must be " + hubForm + "; the page of the repository lists its quants"
		return p
	}
	if s := e.State; s.Total > 0 && e.Op != "create" {
		again := fmt.Sprintf("%s were through. Call %s again: it goes on from there", soFar(s), e.Op)
		switch p.Kind {
		case string(ollama.Cut), kindCanceled:
			p.Hint = again
		case string(ollama.Failed), string(ollama.Stalled):
			p.Hint = again + ". If it breaks off again, Ollama's own log says why"
		default:
			p.Hint = again + ". " + p.Hint
		}
	}
	return p
}
