package tools

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/schema"
)

// answerOutput is what generate and chat have in common.
type answerOutput struct {
	Text       string          `json:"text"`
	Note       string          `json:"note,omitempty"`
	Thinking   string          `json:"thinking,omitempty"`
	Structured json.RawMessage `json:"structured,omitempty" jsonschema_description:"the answer as JSON, for json and schema"`
	Valid      *bool           `json:"valid,omitempty" jsonschema_description:"whether it fits the schema"`
	Model      ollama.Name     `json:"model,omitempty"`
	Host       string          `json:"host,omitempty"`
	Cached     bool            `json:"cached,omitempty"`
	Remote     bool            `json:"remote,omitempty" jsonschema_description:"ran on ollama.com"`
	DoneReason string          `json:"done_reason,omitempty"`
	Truncated  string          `json:"truncated,omitempty" jsonschema:"enum=no,enum=suspected,enum=yes" jsonschema_description:"whether the prompt was cut"`
	Usage      *usage          `json:"usage,omitempty"`
	Timing     *timing         `json:"timing,omitempty"`
	deferrable
}

type usage struct {
	PromptTokens int  `json:"prompt_tokens"`
	CachedTokens *int `json:"cached_tokens,omitempty"`
	OutputTokens int  `json:"output_tokens"`
}

func (u *usage) add(d *ollama.Done) {
	u.PromptTokens += d.PromptEvalCount
	u.OutputTokens += d.EvalCount
	if d.PromptCachedCount != nil {
		n := *d.PromptCachedCount
		if u.CachedTokens != nil {
			n += *u.CachedTokens
		}
		u.CachedTokens = &n
	}
}

type timing struct {
	QueueMS         float64 `json:"queue_ms"`
	LoadMS          float64 `json:"load_ms"`
	PromptMS        float64 `json:"prompt_ms"`
	GenerateMS      float64 `json:"generate_ms"`
	TotalMS         float64 `json:"total_ms"`
	TokensPerSecond float64 `json:"tokens_per_second"`
}

func (o *answerOutput) words() []string {
	text := o.Text
	if o.Error != nil && text != "" {
		text = "Incomplete text that came before the error:\n" + text
	}
	return []string{text, o.Note}
}

func (o *answerOutput) bytes() int { return len(o.Text) + len(o.Thinking) + len(o.Structured) }

// output is the answer, or as much of it as came.
func (r *run) output() answerOutput {
	o := answerOutput{
		Text: r.text.String(), Thinking: r.think.String(), Model: r.model, Host: r.place.Host,
		Cached: r.cached, Remote: r.place.Remote, Truncated: "no",
	}
	if r.done == nil {
		return o
	}
	o.DoneReason = r.done.Reason
	o.Remote = o.Remote || r.done.RemoteHost != ""
	o.Truncated = r.truncated()
	o.Usage = &r.usage
	o.Timing = r.timing()
	var notes []string
	if r.mustFit() {
		notes = append(notes, r.structure(&o))
	}
	if r.place.Recovered {
		notes = append(notes, "the model was stuck and had to be reloaded for this answer")
	}
	o.Note = join(append(notes, r.endNote(), r.promptNote(o.Truncated)))
	return o
}

// problems are what keeps the answer from being the JSON that was asked for.
func (r *run) problems() []string {
	text := []byte(r.text.String())
	if len(r.calls) > 0 && len(text) == 0 {
		return nil // the model asked for tools instead: that is an answer
	}
	if len(r.sampling.Schema) > 0 {
		return schema.Validate(r.sampling.Schema, text)
	}
	if !json.Valid(text) {
		return []string{"it is not JSON"}
	}
	return nil
}

// structure fills in what json or schema asked for and says what is wrong with it.
func (r *run) structure(o *answerOutput) string {
	problems := r.problems()
	valid := len(problems) == 0
	o.Valid = &valid
	if !valid {
		return fmt.Sprintf("the answer is not what was asked for after %s (%s); text has it as it came", count(r.tries, "attempt"), strings.Join(problems, "; "))
	}
	if o.Text != "" {
		o.Structured = json.RawMessage(o.Text)
	}
	if r.tries > 1 {
		return "the first answer did not fit the schema; this is the second"
	}
	return ""
}

// endNote says why an answer is shorter than a reader would think.
func (r *run) endNote() string {
	if r.done.Reason != "length" {
		return ""
	}
	if r.text.Len() == 0 && r.think.Len() > 0 {
		return "no answer: all output tokens went on thinking; raise options.num_predict or set think to off"
	}
	if n := r.total(); n > 0 && float64(r.done.EvalCount) >= n {
		return fmt.Sprintf("the answer was cut off by options.num_predict, after %s", count(r.done.EvalCount, "token"))
	}
	return fmt.Sprintf("the answer was cut off after %s: the context is full, or the model itself sets num_predict", count(r.done.EvalCount, "token"))
}

// truncated says whether the prompt was cut. Yes is certain: Ollama refused the whole
// one. Suspected is for versions that ignore truncate and cut anyway: the prompt that
// they read fills the context.
func (r *run) truncated() string {
	switch {
	case r.cut:
		return "yes"
	case r.place.ContextLength > 0 && r.done.PromptEvalCount >= r.place.ContextLength-1:
		return "suspected"
	}
	return "no"
}

func (r *run) promptNote(truncated string) string {
	switch truncated {
	case "yes":
		of := ""
		if n := r.place.ContextLength; n > 0 { // ps knows a model that runs under another name only by that
			of = fmt.Sprintf(" of %d tokens", n)
		}
		return fmt.Sprintf("the prompt was cut to fit the context%s: the model read %d tokens of it", of, r.done.PromptEvalCount)
	case "suspected":
		return fmt.Sprintf("the prompt fills the context of %d tokens and may have been cut", r.place.ContextLength)
	}
	return ""
}

// timing splits the call's time. A call waits for a slot in our line, and where another program
// uses the model in Ollama's, of which it does not report: that is what remains of its total.
func (r *run) timing() *timing {
	d := r.done
	t := &timing{
		QueueMS:    ms(r.place.LineWait + max(0, d.TotalDuration-d.LoadDuration-d.PromptEvalDuration-d.EvalDuration)),
		LoadMS:     ms(r.place.LoadWait + d.LoadDuration),
		PromptMS:   ms(d.PromptEvalDuration),
		GenerateMS: ms(d.EvalDuration),
		TotalMS:    ms(time.Since(r.start)),
	}
	if d.EvalDuration > 0 {
		t.TokensPerSecond = round(float64(d.EvalCount) / d.EvalDuration.Seconds())
	}
	return t
}

// count says "1 token", "2 tokens".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ms is a duration in milliseconds with one decimal.
func ms(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

func round(f float64) float64 { return float64(int64(f*10+0.5)) / 10 }

// join makes one note of those that say something.
func join(notes []string) string {
	var said []string
	for _, n := range notes {
		if n != "" {
			said = append(said, sentence(strings.ToUpper(n[:1])+n[1:]))
		}
	}
	return strings.Join(said, " ")
}
