package ollamatest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"ollama-mcp/ollama"
)

// line is one line of a stream, with the fields of generate and of chat in Ollama's order.
type line struct {
	Model       string    `json:"model"`
	RemoteModel string    `json:"remote_model,omitempty"`
	RemoteHost  string    `json:"remote_host,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	Response    *string   `json:"response,omitempty"`
	Thinking    string    `json:"thinking,omitempty"`
	Message     *message  `json:"message,omitempty"`
	Done        bool      `json:"done"`
	DoneReason  string    `json:"done_reason,omitempty"`
	Context     []int     `json:"context,omitempty"`

	TotalDuration      time.Duration `json:"total_duration,omitempty"`
	LoadDuration       time.Duration `json:"load_duration,omitempty"`
	PromptEvalCount    int           `json:"prompt_eval_count,omitempty"`
	PromptCachedCount  *int          `json:"prompt_eval_cached_count,omitempty"`
	PromptEvalDuration time.Duration `json:"prompt_eval_duration,omitempty"`
	EvalCount          int           `json:"eval_count,omitempty"`
	EvalDuration       time.Duration `json:"eval_duration,omitempty"`
}

// message is what ollama.Message is to a reader.
type message struct {
	Role      string     `json:"role"`
	Content   string     `json:"content"`
	Thinking  string     `json:"thinking,omitempty"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
}

// toolCall has the fields that Ollama adds to ollama.ToolCall.
type toolCall struct {
	ID       string       `json:"id"`
	Function toolFunction `json:"function"`
}

type toolFunction struct {
	Index     int             `json:"index"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// line fills in what all lines of an answer share.
func (i *inference) line(text, thinking string) line {
	l := line{
		Model:       i.request.Model,
		RemoteModel: i.model.RemoteModel,
		RemoteHost:  i.model.RemoteHost,
		CreatedAt:   time.Now().UTC(),
	}
	if i.isChat {
		l.Message = &message{Role: "assistant", Content: text, Thinking: thinking}
	} else {
		l.Response, l.Thinking = &text, thinking
	}
	return l
}

// last is the line that ends an answer of so many tokens.
func (i *inference) last(reason, text, thinking string, tokens int) line {
	l := i.line(text, thinking)
	l.Done, l.DoneReason = true, reason
	if tokens == 0 {
		return l
	}
	if !i.isChat && !i.Raw {
		l.Context = make([]int, i.prompt+tokens)
		for n := range l.Context {
			l.Context[n] = n
		}
	}
	l.TotalDuration = time.Since(i.begun)
	l.LoadDuration = i.loaded.Sub(i.begun)
	l.PromptEvalCount = i.prompt
	l.PromptEvalDuration = max(i.script.FirstDelay, time.Nanosecond)
	l.EvalCount = tokens
	l.EvalDuration = max(time.Since(i.slot)-i.script.FirstDelay, time.Nanosecond)
	if i.script.since(34) {
		l.PromptCachedCount = new(int)
	}
	return l
}

// speak streams the answer, or sends it whole to who asked for that.
func (i *inference) speak() {
	a := i.script.answerTo(i)
	if !i.streams() {
		i.speakOnce(a)
		return
	}
	s := stream{inference: i, delay: i.script.TokenDelay}
	i.w.Header().Set("Content-Type", "application/x-ndjson")
	ok := s.tokens(a.thinking, a.thoughts, true) && s.tokens(a.text, a.words, false) && s.toolCalls(a.tools)
	if ok {
		s.add(i.last(a.reason, "", "", a.tokens()))
		i.answered = s.flush()
	}
}

func (i *inference) speakOnce(a answer) {
	if sleep(i.r.Context(), time.Duration(a.tokens()-1)*i.script.TokenDelay) != nil {
		return
	}
	l := i.last(a.reason, a.text.join(a.words), a.thinking.join(a.thoughts), a.tokens())
	if i.isChat {
		l.Message.ToolCalls = numbered(a.tools)
	}
	i.json(http.StatusOK, l)
}

// stream writes an answer's lines. It gathers them as long as they need not be seen one by one.
type stream struct {
	*inference
	delay time.Duration
	buf   []byte
	begun bool
}

// streamPiece is how much is gathered when tokens come without pauses.
const streamPiece = 32 << 10

// tokens writes so many lines of text or thinking. It reports whether the client is still there.
func (s *stream) tokens(p pieces, count int, thinking bool) bool {
	quoted := make([][]byte, min(len(p), count))
	for n := range quoted {
		quoted[n] = quote(p[n])
	}
	head, tail := s.frame(thinking)
	for n := range count {
		if s.begun && s.delay > 0 {
			if sleep(s.r.Context(), s.delay) != nil {
				return false
			}
			head, tail = s.frame(thinking) // with the time of this token
		}
		s.buf = append(append(append(s.buf, head...), quoted[n%len(quoted)]...), tail...)
		if !s.begun || s.delay > 0 || len(s.buf) >= streamPiece {
			if !s.flush() {
				return false
			}
		}
	}
	return true
}

// frame is a line without its text.
func (s *stream) frame(thinking bool) (head, tail []byte) {
	const here = "\x00"
	l := s.line(here, "")
	if thinking {
		l = s.line("", here)
	}
	head, tail, _ = bytes.Cut(encode(l), quote(here))
	return head, append(tail, '\n')
}

// toolCalls writes the calls in a line of their own.
func (s *stream) toolCalls(calls []ollama.ToolCall) bool {
	if len(calls) == 0 {
		return true
	}
	l := s.line("", "")
	l.Message.ToolCalls = numbered(calls)
	s.add(l)
	return s.flush()
}

func (s *stream) add(l line) { s.buf = append(append(s.buf, encode(l)...), '\n') }

// flush sends what was gathered. It reports whether the client is still there.
func (s *stream) flush() bool {
	s.begun = true
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if err == nil {
		err = http.NewResponseController(s.w).Flush()
	}
	return err == nil && s.r.Context().Err() == nil
}

func numbered(calls []ollama.ToolCall) []toolCall {
	var list []toolCall
	for n, c := range calls {
		f := toolFunction{Index: n, Name: c.Function.Name, Arguments: c.Function.Arguments}
		list = append(list, toolCall{ID: "call_" + strings.Repeat("0", 7) + string(rune('a'+n%26)), Function: f})
	}
	return list
}

func quote(s string) []byte { return encode(s) }

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("ollamatest: " + err.Error()) // the values are made in this package, or by the script
	}
	return b
}
