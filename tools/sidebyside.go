package tools

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

// sideBySide answers one prompt with several models at once. What goes wrong with one is in
// its answer; the call fails when all do.
func sideBySide(ctx context.Context, c *call, choose chooseFunc, run generateFunc, in generateInput) (generateOutput, error) {
	names, err := in.distinct()
	if err != nil {
		return generateOutput{}, err
	}
	out := generateOutput{Answers: make([]answerOutput, len(names))}
	errs := make([]error, len(names))
	together := newTogether(c.report, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		one := in
		_, limits, err := c.model(ctx, choose, string(name), fleet.Completion)
		if err == nil {
			err = one.within(limits)
		}
		if errs[i] = err; err != nil {
			together.end(i)
			continue
		}
		wg.Go(func() {
			defer together.end(i)
			errs[i] = c.tool.safely(func() (err error) {
				out.Answers[i], err = one.answer(c.tool.with(ctx, name), name, run, together.part(i, name))
				return err
			})
		})
	}
	wg.Wait()
	failed := 0
	for i, err := range errs {
		a := &out.Answers[i]
		if a.Model = names[i]; err != nil {
			a.fail(c.failed(err))
			failed++
		}
	}
	if failed == len(names) {
		return out, errs[0]
	}
	if out.Note = fmt.Sprintf("%d answers side by side.", len(names)-failed); failed > 0 {
		out.Note = fmt.Sprintf("%d of %d models answered; the other answers say what went wrong.", len(names)-failed, len(names))
	}
	return out, nil
}

// distinct reads the names of the models.
func (in *generateInput) distinct() ([]ollama.Name, error) {
	if in.Model != "" {
		return nil, &argumentError{"model and models are both given", "Name one model in model, or several in models"}
	}
	var names []ollama.Name
	for _, m := range in.Models {
		n, err := modelArgument(m)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, n) {
			return nil, &argumentError{fmt.Sprintf("models names %s twice", short(n)), "Name each model once"}
		}
		names = append(names, n)
	}
	return names, nil
}

// together makes one progress of those of several answers. Its phase is the least advanced
// of those that are under way, and never goes back: were it that of who reported last, it
// would change with every token.
type together struct {
	report Report

	mu     sync.Mutex // guards what follows, and the order of the reports
	parts  []Progress
	phases []int // by part, in phasesOfAnswer
	phase  int   // of all, there
}

// phasesOfAnswer are those of an answer in their order, and "" of one that has ended.
var phasesOfAnswer = []string{
	string(fleet.Queued), string(fleet.Loading), string(fleet.Prompt), string(fleet.Recovering), "thinking", "generating", "",
}

func newTogether(report Report, n int) *together {
	return &together{report: report, parts: make([]Progress, n), phases: make([]int, n)}
}

// end takes an answer out of what the phase is made of.
func (t *together) end(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phases[i] = len(phasesOfAnswer) - 1
}

// part takes the progress of one answer. Its text is left out: nobody could tell whose it is.
func (t *together) part(i int, model ollama.Name) Report {
	return func(p Progress) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.parts[i], t.phases[i] = p, slices.Index(phasesOfAnswer, p.Phase)
		t.phase = max(t.phase, slices.Min(t.phases))
		sum := Progress{Phase: phasesOfAnswer[t.phase], Message: func() string { return short(model) + ": " + p.Message() }}
		limited := true
		for _, p := range t.parts {
			sum.Done += p.Done
			sum.Total += p.Total
			limited = limited && p.Total > 0
		}
		if !limited {
			sum.Total = 0
		}
		t.report(sum)
	}
}

func (o *generateOutput) bytes() int {
	n := o.answerOutput.bytes()
	for i := range o.Answers {
		n += o.Answers[i].bytes()
	}
	return n
}

func (o *generateOutput) words() []string {
	if o.Answers == nil {
		return o.answerOutput.words()
	}
	words := []string{o.Note}
	for _, a := range o.Answers {
		head := short(a.Model)
		if a.Timing != nil {
			head += fmt.Sprintf(" (%.1f s, %.1f tok/s)", a.Timing.TotalMS/1000, a.Timing.TokensPerSecond)
		}
		if a.Error != nil {
			head += ": " + a.Error.sentence()
		}
		said := slices.DeleteFunc(append([]string{head}, a.words()...), func(s string) bool { return s == "" })
		words = append(words, strings.Join(said, "\n"))
	}
	return words
}
