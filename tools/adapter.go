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

	"ollama-mcp/jobs"
	"ollama-mcp/ollama"
	"ollama-mcp/policy"
	"ollama-mcp/schema"
	"ollama-mcp/transport/auth"
)

// Progress is how far a call has come: Done and Total are tokens or bytes.
type Progress = jobs.Progress

// Report takes a call's progress. It never blocks and never fails.
type Report = jobs.Report

// call is one call, as a tool's function sees it.
type call struct {
	report Report
	pass   *policy.Pass // what the caller may use
	tool   *Tool
	failed func(error) *Problem // words an error of a part of the call
	tell   func(jobs.Update)    // progress of a job that the call waits for; nil when nobody wants it
}

// request is what a call asks for, once its arguments have been read.
type request struct {
	size int      // of its arguments, in bytes
	wait *float64 // seconds until it is a job; nil when the caller does not say
	run  func(context.Context, *call) outcome
}

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

// define makes a tool of its words and its typed function. Out's pointer is the output. The
// tool is a long one when In embeds [patience] and Out [deferrable]: neither comes alone.
func define[In, Out any, P interface {
	*Out
	output
}](t Tool, run func(context.Context, In, *call) (Out, error)) Tool {
	t.bind(new(In), new(Out), func(ctx context.Context, input any, c *call) (output, error) {
		out, err := run(ctx, *input.(*In), c)
		return P(&out), err
	})
	return t
}

// bind is the part of [define] that is compiled once and not for every tool, which would
// take 40 kB. in and out are pointers to zero values; run is given one like in.
func (t *Tool) bind(in, out any, run func(ctx context.Context, input any, c *call) (output, error)) {
	of := reflect.TypeOf(in).Elem()
	s, inErr := schema.Input(of, t.without...)
	words, outErr := schema.Output(reflect.TypeOf(out).Elem())
	t.Input, t.Output, t.err = s, words, errors.Join(inErr, outErr)
	_, t.long = in.(patient)
	if _, ok := out.(deferring); ok != t.long {
		t.err = errors.Join(t.err, errors.New("of patience and deferrable one is missing"))
	}
	t.read = func(args json.RawMessage) (r request, err error) {
		input := reflect.New(of).Interface()
		if err := s.Decode(args, input); err != nil {
			return r, err
		}
		r.size = len(args)
		if p, ok := input.(patient); ok {
			r.wait = p.seconds()
		}
		r.run = func(ctx context.Context, c *call) outcome {
			out, err := run(ctx, input, c)
			if err != nil && reflect.ValueOf(out).Elem().IsZero() {
				return outcome{&empty{}, err} // no field may look like an answer
			}
			return outcome{out, err}
		}
		return r, nil
	}
}

// Call runs the tool. What goes wrong, a panic included, is in the result: one sentence
// of what happened, one of what to do next, and the same under structuredContent.error.
// A long tool's call that takes longer than its caller waits becomes a job, which the result
// names. report is nil when nobody wants to hear of progress. No user is asked anything.
func (t *Tool) Call(ctx context.Context, args json.RawMessage, requestID string, report Report) *mcp.CallToolResult {
	return t.answer(ctx, args, requestID, report, user{})
}

// answer is Call for a caller whose user can be asked: then the result may be a question,
// or the call waits for its answer.
func (t *Tool) answer(ctx context.Context, args json.RawMessage, requestID string, report Report, u user) *mcp.CallToolResult {
	ctx = ollama.WithRequestID(ctx, requestID)
	start := time.Now()
	switch q, o := t.confirmation(ctx, args, &u); {
	case q != nil && u.ask == nil:
		t.logCall(ctx, nil, nil, requestID, time.Since(start))
		return q.result()
	case q != nil:
		if o := u.await(ctx, q); o != nil {
			return t.result(ctx, *o, requestID, start)
		}
		return t.answer(ctx, args, requestID, report, u)
	case o != nil:
		return t.result(ctx, *o, requestID, start)
	}
	r, pass, err := t.enter(ctx, args)
	if err != nil {
		return t.result(ctx, outcome{&empty{}, err}, requestID, start)
	}
	r = t.confirmedStill(r, args, u)
	work := func(ctx context.Context, c *call) (*mcp.CallToolResult, error) {
		defer pass.Leave()
		ctx = t.with(ctx)
		c.pass, c.tool = pass, t
		c.failed = func(err error) *Problem {
			p := t.problem(ctx, err, requestID)
			t.logCall(ctx, err, p, requestID, time.Since(start))
			return p
		}
		o := t.run(ctx, r, c)
		return t.result(ctx, o, requestID, start), o.err
	}
	if t.defers(ctx) {
		result, over := t.await(ctx, r, report, work)
		if over {
			pass.Leave() // for work that never began because the server ends
		}
		return result
	}
	c := &call{report: func(Progress) {}}
	if report != nil {
		c.report, c.tell = report, telling(report)
	}
	result, _ := work(ctx, c)
	return result
}

// problem words an error for the caller.
func (t *Tool) problem(ctx context.Context, err error, requestID string) *Problem {
	return problem(err, requestID, func(n ollama.Name) bool { return t.policy.Allow(ctx, t.Name, n) == nil })
}

// enter lets a call in, if the policy does, and reads its arguments.
func (t *Tool) enter(ctx context.Context, args json.RawMessage) (r request, pass *policy.Pass, err error) {
	defer func() {
		if err != nil {
			pass.Leave()
		}
	}()
	defer t.recovered(&err)
	if pass, err = t.policy.Enter(ctx, t.Name); err == nil {
		r, err = t.read(args)
	}
	return r, pass, err
}

// run runs the tool's function, with a panic turned into an error.
func (t *Tool) run(ctx context.Context, r request, c *call) (o outcome) {
	o.output = &empty{}
	defer t.recovered(&o.err)
	return r.run(ctx, c)
}

// safely runs f, which may be in a goroutine of its own, with a panic turned into an error.
func (t *Tool) safely(f func() error) (err error) {
	defer t.recovered(&err)
	return f()
}

// recovered is to be deferred.
func (t *Tool) recovered(err *error) {
	if v := recover(); v != nil {
		t.log.Error().Str("tool", t.Name).Interface("panic", v).Bytes("stack", debug.Stack()).Msg("tool panicked")
		*err = errPanic
	}
}

// result is what a client gets of a call that is over, which is logged.
func (t *Tool) result(ctx context.Context, o outcome, requestID string, start time.Time) *mcp.CallToolResult {
	var p *Problem
	if errors.Is(o.err, context.Canceled) && errors.Is(context.Cause(ctx), jobs.ErrShutdown) {
		o.err = jobs.ErrShutdown
	}
	if o.err != nil {
		p = t.problem(ctx, o.err, requestID)
		if cause := context.Cause(ctx); p.Kind == kindCanceled && cause != nil &&
			!errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
			p.Message += ": " + cause.Error() // such as that the server ends
		}
		o.output.fail(p)
	}
	t.logCall(ctx, o.err, p, requestID, time.Since(start))
	r := toResult(o.output)
	if l, ok := o.output.(linking); ok && takesLinks(ctx) {
		for _, link := range l.links() {
			r.Content = append(r.Content, link)
		}
	}
	return r
}

// linking is an output of which a part is to be read as a resource.
type linking interface{ links() []mcp.ResourceLink }

// takesLinks reports whether the caller knows links as content, which came with this version.
// Source: https://modelcontextprotocol.io/specification/2025-06-18/changelog
func takesLinks(ctx context.Context) bool {
	version := server.RequestProtocolVersion(ctx)
	return version == "" || version >= "2025-06-18"
}

// toResult is an output in MCP's form.
func toResult(o output) *mcp.CallToolResult {
	p := o.problem()
	r := &mcp.CallToolResult{StructuredContent: o, IsError: p != nil}
	if p != nil {
		r.Content = append(r.Content, mcp.NewTextContent(p.sentence()))
	}
	for _, w := range o.words() {
		if w != "" {
			r.Content = append(r.Content, mcp.NewTextContent(w))
		}
	}
	return r
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
	WantsProgress() bool
	CanElicit() bool
	RequestElicitation(context.Context, mcp.ElicitationRequest) (*mcp.ElicitationResult, error)
	Report(done, total float64, phase, delta string, message func() string)
}

// handle is the tool as mcp-go calls it.
func (t *Tool) handle(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	var id string
	var report Report
	var who user
	if s, ok := server.ClientSessionFromContext(ctx).(session); ok {
		id = s.RequestID()
		if s.WantsProgress() {
			report = func(p Progress) { s.Report(p.Done, p.Total, p.Phase, p.Delta, p.Message) }
		}
		who = user{asked: s.CanElicit(), answer: server.ElicitationResponse(r.Params.InputResponses, confirmID), state: r.Params.RequestState}
		if !mcp.IsModernProtocol(server.RequestProtocolVersion(ctx)) {
			who.ask = s.RequestElicitation // mcp-go would make an error of the protocol of a refusal
		}
	}
	return t.answer(ctx, r.Params.RawArguments, id, report, who), nil
}
