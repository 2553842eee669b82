package tools

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// asking is one question to a model: how to ask it, and how to ask again when the answer
// did not fit its schema.
type asking struct {
	sampling *sampling
	model    ollama.Name
	ask      func(ctx context.Context, truncate bool, w fleet.Watch) iter.Seq2[ollama.Chunk, error]
	again    func(answer, complaint string) // changes what ask asks
}

// answer runs a question to its end. The output holds what came even when err is not nil.
func answer(ctx context.Context, a asking, report Report) (answerOutput, []ollama.ToolCall, error) {
	r := newRun(a, report)
	err := r.stream(ctx)
	if err == nil && r.mustFit() && r.done.Reason != "length" {
		if problems := r.problems(); len(problems) > 0 {
			err = r.repair(ctx, problems)
		}
	}
	r.release()
	if err != nil && r.text.Len()+r.think.Len() == 0 {
		return answerOutput{}, nil, err
	}
	return r.output(), r.calls, err
}

// repair asks once more. When the second answer does not come the first one stands, as
// invalid as it is; only the caller's own cancel is an error.
func (r *run) repair(ctx context.Context, problems []string) error {
	first := *r
	r.again(r.text.String(), complaint(problems))
	r.begin()
	err := r.stream(ctx)
	if err == nil {
		return nil
	}
	r.text, r.think, r.calls, r.done, r.cut = first.text, first.think, first.calls, first.done, first.cut
	return ctx.Err()
}

// complaint tells a model what was wrong with its answer.
func complaint(problems []string) string {
	return "Your answer does not fit the JSON Schema: " + strings.Join(problems, "; ") +
		". Answer again with the corrected JSON only."
}

// run is an answer as it comes.
type run struct {
	asking
	report Report
	place  fleet.Place
	start  time.Time
	first  time.Time // of the first token
	text   *strings.Builder
	think  *strings.Builder
	calls  []ollama.ToolCall
	done   *ollama.Done
	usage  usage // of all tries
	tokens int   // of all tries
	held   bool  // deltas are held back until the answer is known to be the final one
	cached bool  // no host was asked
	cut    bool  // Ollama refused the whole prompt and was asked to cut it
	tries  int
}

func newRun(a asking, report Report) *run {
	r := &run{asking: a, report: report, start: time.Now()}
	r.held = r.mustFit()
	r.begin()
	return r
}

// begin forgets the answer so far.
func (r *run) begin() {
	r.text, r.think = new(strings.Builder), new(strings.Builder)
	r.calls, r.done = nil, nil
	r.tries++
}

func (r *run) mustFit() bool { return r.sampling.format() != nil }

// stream asks and takes in the answer, reporting as it comes. It asks strictly first, even
// when the caller allows cutting: Ollama cuts a prompt without a word
// (github.com/ollama/ollama/issues/4967), and its refusal is the only sure sign.
func (r *run) stream(ctx context.Context) error {
	err := r.once(ctx, r.cut)
	if r.sampling.Truncate && !r.cut && errors.Is(err, &ollama.Error{Kind: ollama.TooLong}) {
		r.cut = true
		err = r.once(ctx, true)
	}
	return err
}

func (r *run) once(ctx context.Context, truncate bool) error {
	watch := waits(r.report, r.model)
	watch.Placed = func(p fleet.Place) {
		p.LoadWait += r.place.LoadWait
		p.LineWait += r.place.LineWait
		r.place = p
	}
	watch.Cached = func(int, string) { r.cached = true }
	for c, err := range r.ask(ctx, truncate, watch) {
		if err != nil {
			return err
		}
		r.take(c)
	}
	return nil
}

// take adds a chunk to the answer and reports it.
func (r *run) take(c ollama.Chunk) {
	if r.first.IsZero() {
		r.first = time.Now()
	}
	r.text.WriteString(c.Text)
	r.think.WriteString(c.Thinking)
	r.calls = append(r.calls, c.ToolCalls...)
	r.tokens += c.Tokens
	if c.Done != nil {
		r.tokens-- // its line is no token
		r.done = c.Done
		r.usage.add(c.Done)
	}
	phase := "generating"
	if c.Text == "" && c.Thinking != "" {
		phase = "thinking"
	}
	if r.held {
		c.Text = ""
	}
	r.tell(phase, c.Text)
}

// release reports the text that was held back, now that it is the final one.
func (r *run) release() {
	if r.held {
		r.tell("generating", r.text.String())
	}
}

func (r *run) tell(phase, delta string) {
	r.report(Progress{Phase: phase, Done: float64(r.tokens), Total: r.total(), Delta: delta, Message: r.speed(phase)})
}

// total is the most tokens that can come, 0 when nobody limited them.
func (r *run) total() float64 {
	if o := r.sampling.Options; o != nil && o.NumPredict != nil && *o.NumPredict > 0 {
		return float64(*o.NumPredict)
	}
	return 0
}

// speed says "generating 132 tokens, 41.2 tok/s", worked out only when it is shown.
func (r *run) speed(phase string) func() string {
	tokens, first := r.tokens, r.first
	return func() string {
		seconds := time.Since(first).Seconds()
		if tokens < 2 || seconds <= 0 {
			return phase + " " + count(tokens, "token")
		}
		return fmt.Sprintf("%s %d tokens, %.1f tok/s", phase, tokens, float64(tokens)/seconds)
	}
}
