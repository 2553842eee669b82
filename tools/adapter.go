package tools

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/rs/zerolog"

	"ollama-mcp/ollama"
	"ollama-mcp/policy"
	"ollama-mcp/schema"
	"ollama-mcp/transport/auth"
)

// Progress is how far a call has come. Message may be called later, again, and from
// another goroutine: that is how a quiet call can say how long it has been waiting.
type Progress struct {
	Phase   string
	Done    float64 // tokens so far
	Total   float64 // tokens at most, 0 when unknown
	Delta   string  // text since the report before: joined, a call's deltas are its text
	Message func() string
}

// Report takes a call's progress. It never blocks and never fails.
type Report func(Progress)

// call is one call, as a tool's function sees it.
type call struct {
	report Report
	pass   *policy.Pass // what the caller may use
}

// callFunc is a tool's typed function behind JSON.
type callFunc func(ctx context.Context, args json.RawMessage, c *call) outcome

// outcome is what came of a call: an output, an error, or both when part of an answer
// had come before the error.
type outcome struct {
	output output
	err    error
}

// output is what every tool's output type has: words for clients that show only those,
// and a place for the error.
type output interface {
	words() []string
	fail(*Problem)
	problem() *Problem
}

// failure is embedded in every output.
type failure struct {
	Error *Problem `json:"error,omitempty"`
}

func (f *failure) fail(p *Problem)   { f.Error = p }
func (f *failure) problem() *Problem { return f.Error }

// define makes a tool of its words and its typed function. Out's pointer is the output.
func define[In, Out any, P interface {
	*Out
	output
}](t Tool, run func(context.Context, In, *call) (Out, error)) Tool {
	var inErr, outErr error
	t.Input, inErr = schema.Input[In]()
	t.Output, outErr = schema.Output[Out]()
	if t.err = errors.Join(inErr, outErr); t.err != nil {
		return t
	}
	in := t.Input
	t.call = func(ctx context.Context, args json.RawMessage, c *call) outcome {
		var input In
		if err := in.Decode(args, &input); err != nil {
			return outcome{&empty{}, err}
		}
		out, err := run(ctx, input, c)
		if err != nil && reflect.ValueOf(out).IsZero() {
			return outcome{&empty{}, err} // no field may look like an answer
		}
		return outcome{P(&out), err}
	}
	return t
}

// Call runs the tool. What goes wrong, a panic included, is in the result: one sentence
// of what happened, one of what to do next, and the same under structuredContent.error.
func (t *Tool) Call(ctx context.Context, args json.RawMessage, requestID string, report Report) *mcp.CallToolResult {
	start := time.Now()
	o := t.run(ollama.WithRequestID(ctx, requestID), args, report)
	var p *Problem
	if o.err != nil {
		p = problem(o.err, requestID, func(n ollama.Name) bool { return t.policy.Allow(ctx, t.Name, n) == nil })
		if cause := context.Cause(ctx); p.Kind == kindCanceled && cause != nil && !errors.Is(cause, ctx.Err()) {
			p.Message += ": " + cause.Error() // such as that the server ends
		}
		o.output.fail(p)
	}
	t.logCall(ctx, o.err, p, requestID, time.Since(start))
	result := &mcp.CallToolResult{StructuredContent: o.output, IsError: p != nil}
	if p != nil {
		result.Content = append(result.Content, mcp.NewTextContent(p.sentence()))
	}
	for _, w := range o.output.words() {
		if w != "" {
			result.Content = append(result.Content, mcp.NewTextContent(w))
		}
	}
	return result
}

// run is the call, once the policy has let it in, with a panic turned into an error.
func (t *Tool) run(ctx context.Context, args json.RawMessage, report Report) (o outcome) {
	defer func() {
		if r := recover(); r != nil {
			t.log.Error().Str("tool", t.Name).Interface("panic", r).Bytes("stack", debug.Stack()).Msg("tool panicked")
			o = outcome{&empty{}, errPanic}
		}
	}()
	pass, err := t.policy.Enter(ctx, t.Name)
	if err != nil {
		return outcome{&empty{}, err}
	}
	defer pass.Leave()
	return t.call(ctx, args, &call{report, pass})
}

// empty is the output of a call that came to none.
type empty struct{ failure }

func (*empty) words() []string { return nil }

func (t *Tool) logCall(ctx context.Context, err error, p *Problem, requestID string, took time.Duration) {
	e := t.log.Info()
	if p != nil {
		level := zerolog.WarnLevel
		switch p.Kind {
		case kindInternal:
			level = zerolog.ErrorLevel
		case kindCanceled:
			level = zerolog.InfoLevel // the caller's wish
		}
		e = t.log.WithLevel(level).Str("kind", p.Kind)
		if p.Kind != InvalidArguments { // whose error quotes what the caller sent
			e = e.AnErr("cause", err)
		}
	}
	if caller := auth.FromContext(ctx).Name; caller != auth.Local {
		e = e.Str("caller", caller)
	}
	e.Str("tool", t.Name).Str("request", requestID).Dur("ms", took).Msg("call")
}

// session is what the adapter needs of a transport's call. It is found in the context
// because that is where mcp-go puts it.
type session interface {
	RequestID() string
	Report(done, total float64, phase, delta string, message func() string)
}

// handle is the tool as mcp-go calls it.
func (t *Tool) handle(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	id, report := "", Report(func(Progress) {})
	if s, ok := server.ClientSessionFromContext(ctx).(session); ok {
		id = s.RequestID()
		report = func(p Progress) { s.Report(p.Done, p.Total, p.Phase, p.Delta, p.Message) }
	}
	return t.Call(ctx, r.Params.RawArguments, id, report), nil
}
