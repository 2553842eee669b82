package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/fleet/queue"
	"ollama-mcp/policy"
	"ollama-mcp/schema"
)

// Problem is an error as a model reads it, in structuredContent.error and in words.
type Problem struct {
	Kind      string `json:"kind"`           // what sort of failure, such as missing_model, busy, no_job
	Message   string `json:"message"`        // what happened
	Host      string `json:"host,omitempty"` // the Ollama it happened on
	Retryable bool   `json:"retryable"`      // the same call can work later
	Hint      string `json:"hint,omitempty"` // what to do next
}

func (p *Problem) sentence() string {
	return strings.TrimSpace(sentence(p.Message) + " " + sentence(p.Hint))
}

// sentence ends s like one.
func sentence(s string) string {
	if s = strings.TrimSpace(s); s == "" || strings.ContainsAny(s[len(s)-1:], ".!?:") {
		return s
	}
	return s + "."
}

// Kinds of problems beside those of [ollama.Kind].
const (
	InvalidArguments = "invalid_arguments"
	kindForbidden    = "forbidden"
	kindRateLimited  = "rate_limited"
	kindNoModel      = "no_model"
	kindCloud        = "cloud_refused"
	kindBadVector    = "bad_vector"
	kindUnconfirmed  = "unconfirmed"
	kindCanceled     = "canceled"
	kindNoJob        = "no_job"
	kindTooLarge     = "too_large"
	kindBusy         = string(ollama.Busy)
	kindInternal     = "internal"
)

var (
	errPanic   = errors.New("panic")
	errConsent = errors.New("an answer of the user to something else")
)

// ProblemOf returns what went wrong in a call, or nil.
func ProblemOf(r *mcp.CallToolResult) *Problem {
	if o, ok := r.StructuredContent.(output); ok {
		return o.problem()
	}
	return nil
}

// argumentError is a mistake in an argument that its schema cannot express.
type argumentError struct{ message, hint string }

func (e *argumentError) Error() string { return e.message }

// problem words an error for a model. This is the one table from errors to words; what
// is not in it is an internal error, whose cause only the log has. Models that sees refuses
// are not named, none where sees is nil.
func problem(err error, requestID string, sees func(ollama.Name) bool) *Problem {
	var (
		denied    *policy.Denied
		limit     *policy.LimitError
		arguments *schema.Error
		argument  *argumentError
		choice    *fleet.ChoiceError
		cloud     *fleet.CloudError
		pinned    *fleet.PinnedError
		vector    *vectorError
		registry  *ollama.RegistryError
		transfer  *fleet.TransferError
		place     *fleet.PlaceError
		unknown   *fleet.UnknownHostError
		at        *fleet.Error
		host      *ollama.Error
	)
	switch {
	case errors.As(err, &denied):
		return deniedProblem(denied)
	case errors.As(err, &limit):
		return limitProblem(limit)
	case errors.As(err, &arguments):
		return &Problem{Kind: InvalidArguments, Message: arguments.Error(), Hint: "Call again with these arguments corrected"}
	case errors.As(err, &argument):
		return &Problem{Kind: InvalidArguments, Message: argument.message, Hint: argument.hint}
	case errors.As(err, &choice):
		return choiceProblem(choice)
	case errors.As(err, &cloud):
		return &Problem{Kind: kindCloud, Message: cloud.Error(),
			Hint: "Use a local model from list_models; the operator set --no-cloud"}
	case errors.As(err, &pinned):
		return &Problem{Kind: InvalidArguments,
			Message: fmt.Sprintf("the operator has pinned num_ctx of %s to %d, so that calls do not reload it; %d is refused", short(pinned.Model), pinned.Pinned, pinned.Asked),
			Hint:    fmt.Sprintf("Call again with num_ctx %d, or without it", pinned.Pinned)}
	case errors.As(err, &vector):
		return &Problem{Kind: kindBadVector, Message: vector.Error(),
			Hint: "Leave that text out, change it, or use another embedding model"}
	case errors.Is(err, errConsent):
		return &Problem{Kind: kindUnconfirmed,
			Message: "the user's answer does not count: it is older than 5 minutes, was used before, or is about another call or another state of things",
			Hint:    "Make the call anew, without a requestState if it had one, so that the user is asked about things as they are"}
	case errors.Is(err, errChanged):
		return &Problem{Kind: kindUnconfirmed,
			Message: "what the call would replace or delete has changed just now: nothing was done",
			Hint:    "Call again, so that the user is asked about it as it is now"}
	case errors.Is(err, errUnasked):
		return &Problem{Kind: kindUnconfirmed,
			Message: "the user must be asked first, and the client refused to ask: nothing was changed",
			Hint:    "Tell the user, who can do it with another client or with Ollama itself"}
	case errors.As(err, &registry):
		return &Problem{Kind: kindForbidden, Message: registry.Error(),
			Hint: "Use a model of an allowed registry; the operator's --allow-registries can allow another"}
	case errors.As(err, &transfer):
		return transferProblem(transfer, problem(transfer.Err, requestID, sees))
	case errors.As(err, &place):
		return placeProblem(place)
	case errors.As(err, &unknown):
		return &Problem{Kind: InvalidArguments, Message: fmt.Sprintf("there is no host %q", unknown.Name),
			Hint: "Call again with host set to one of: " + list(unknown.Hosts) + "; or without it"}
	case errors.As(err, &host):
		errors.As(err, &at)
		return hostProblem(host, at, sees)
	case errors.Is(err, jobs.ErrNoJob):
		return &Problem{Kind: kindNoJob, Message: "there is no such job here: it has expired, ended with the server, or is not yours",
			Hint: "jobs without id lists yours; if it is gone, make the call again"}
	case errors.Is(err, jobs.ErrTooLarge):
		return &Problem{Kind: kindTooLarge, Message: "the job ended, but its result was too large to be kept",
			Hint: "Make the call again for less at a time, or with a longer wait, so that it is answered at once"}
	case errors.Is(err, jobs.ErrShutdown):
		return &Problem{Kind: kindCanceled, Message: "the server shut down before the work was done", Retryable: true}
	case errors.Is(err, context.Canceled):
		return &Problem{Kind: kindCanceled, Message: "the call was cancelled", Retryable: true}
	case errors.Is(err, context.DeadlineExceeded):
		return &Problem{Kind: kindCanceled, Message: "the call ran out of time", Retryable: true}
	}
	return &Problem{Kind: kindInternal, Message: fmt.Sprintf("internal error (request %s)", requestID),
		Hint: "The server's log has the cause under this request id"}
}

func deniedProblem(e *policy.Denied) *Problem {
	p := &Problem{Kind: kindForbidden, Message: e.What(),
		Hint: fmt.Sprintf("Ask the operator, to whom `%s` shows why", e.Command())}
	if e.Model != "" {
		p.Hint = "Use a model that list_models shows. " + p.Hint
	}
	return p
}

func limitProblem(e *policy.LimitError) *Problem {
	if e.Parallel {
		return &Problem{Kind: kindBusy, Retryable: true,
			Message: fmt.Sprintf("%s already has %s of this sort in flight, which is the operator's limit", e.Caller, count(e.Limit, "call")),
			Hint:    "Wait for one of them to end, then call again"}
	}
	wait := max(time.Second, e.Wait.Truncate(time.Second)+time.Second) // never too early
	return &Problem{Kind: kindRateLimited, Retryable: true,
		Message: fmt.Sprintf("%s has made the %s a minute that the operator allows", e.Caller, count(e.Limit, "call")),
		Hint:    "Call again " + after(wait)}
}

func choiceProblem(e *fleet.ChoiceError) *Problem {
	p := &Problem{Kind: kindNoModel}
	switch {
	case e.Installed == 0 && e.Restricted:
		p.Message = "none of the installed models is one that you may use here"
		p.Hint = "Ask the operator which models you may use"
	case e.Installed == 0:
		p.Message = "no models are installed on this Ollama"
		p.Hint = "Ask the user to run `ollama pull llama3.2`, or another model that fits the machine"
		if e.Capability == fleet.Embedding {
			p.Hint = "Ask the user to run `ollama pull nomic-embed-text`"
		}
	case len(e.Candidates) == 0:
		p.Message = fmt.Sprintf("none of the %d installed models has the capability %s", e.Installed, e.Capability)
		if e.Restricted {
			p.Message = fmt.Sprintf("none of the installed models that you may use has the capability %s", e.Capability)
		}
		p.Hint = "list_models shows what each can do; the user can install another with `ollama pull`"
	default:
		p.Message = "no model was named and several are installed"
		p.Hint = "Call again with model set to one of: " + list(e.Candidates)
	}
	return p
}

// hostProblem words the failure of a host; at may be nil.
func hostProblem(e *ollama.Error, at *fleet.Error, sees func(ollama.Name) bool) *Problem {
	at = cmp.Or(at, &fleet.Error{})
	p := &Problem{Kind: string(e.Kind), Host: e.Host}
	said := withoutPaths(cmp.Or(e.Message, causeOf(e)))
	switch e.Kind {
	case ollama.Unreachable:
		p.Retryable = true
		p.Message = fmt.Sprintf("no Ollama answers at %s (address from %s): %s", at.Address, at.Origin, said)
		p.Hint = "Ask the user to start Ollama (the app, or `ollama serve`), or to correct the address in --ollama or OLLAMA_HOST"
	case ollama.NotOllama:
		p.Message = fmt.Sprintf("what answers at %s (address from %s) is not Ollama: %s", at.Address, at.Origin, said)
		p.Hint = "Ask the user to check the address in --ollama or OLLAMA_HOST; a proxy in between may answer in Ollama's place"
	case ollama.Unauthorized:
		p.Message = fmt.Sprintf("Ollama at %s refused access (HTTP %d): %s", at.Address, e.Status, said)
		p.Hint = "Ask the user to check OLLAMA_API_KEY, Ollama's OLLAMA_ORIGINS, or, for a cloud model, to run `ollama signin`"
	case ollama.MissingModel:
		p.Message, p.Hint = missingModel(e.Op, at, sees)
	case ollama.Unsupported:
		p.Message = fmt.Sprintf("%s cannot do this: %s", at.Model, said)
		p.Hint = "list_models shows the capabilities of each model"
		if e.Op == "create" {
			p.Hint = "Leave quantize out, if it is set: Ollama before 0.34 quantizes installed models of F16 and F32 alone, later ones none. " +
				"A registry has models that are quantized already, under tags such as 3b-instruct-q4_K_M"
		}
	case ollama.TooLong:
		p.Message = fmt.Sprintf("the input does not fit the context of %s: %s", at.Model, said)
		p.Hint = shorten(at.Remedy)
	case ollama.Invalid:
		p.Message = "Ollama refused the request: " + said
		p.Hint = "Correct the argument that it names"
		if e.Op == "generate" || e.Op == "chat" {
			p.Hint += "; a schema must do without recursion"
		}
	case ollama.Busy:
		p.Retryable = true
		p.Message = "Ollama is busy: " + said
		p.Hint = "Call again " + after(e.RetryAfter)
		lineProblem(e, at.Model, p)
	case ollama.LoadFailed:
		p.Message = fmt.Sprintf("%s could not be loaded: %s", at.Model, said)
		p.Hint = "Use a smaller model or a smaller options.num_ctx, or unload another model first"
	case ollama.Stalled:
		p.Retryable = true
		p.Message = "Ollama stopped answering: " + said
		p.Hint = "Call again; if it happens again, ask the user to restart Ollama"
	case ollama.Cut:
		p.Retryable = true
		p.Message = "Ollama's answer broke off before its end: " + said
		p.Hint = "Call again; text that came with this error is incomplete"
	default:
		p.Retryable = true
		p.Message = "Ollama failed: " + said
		p.Hint = "Call again; if it happens again, Ollama's own log says why"
	}
	return p
}

// lineProblem says what it is when the line before a model is full, or too long for a call.
func lineProblem(e *ollama.Error, model ollama.Name, p *Problem) {
	var full *queue.FullError
	var late *queue.TooLateError
	switch {
	case errors.As(e.Err, &full):
		whose := ""
		if full.PerCaller {
			whose = " of yours"
		}
		p.Message = fmt.Sprintf("%s%s wait for %s already", count(full.Limit, "call"), whose, short(model))
		p.Hint = "Call again in about " + seconds(full.Wait)
	case errors.As(e.Err, &late):
		p.Message = fmt.Sprintf("the call would wait for %s for about %s and has %s", short(model), seconds(late.Wait), seconds(late.Left))
		p.Hint = fmt.Sprintf("Call again with more time, or in about %s", seconds(late.Wait-late.Left))
	}
}

// placeProblem words that no host can take a call.
func placeProblem(e *fleet.PlaceError) *Problem {
	p := &Problem{Kind: string(e.Kind), Retryable: e.Kind == ollama.Unreachable}
	switch {
	case len(e.Hosts) == 0:
		p.Message = "there are no Ollama hosts at the moment"
		if e.Restricted {
			p.Message += " that you may use"
		}
		p.Hint = "Call again later; if it stays so, ask the operator to look at the hosts in the settings"
		return p
	case e.Model == "":
		p.Message = "no host can take the call: " + withoutPaths(listWith(e.Hosts, "; "))
	default:
		p.Message = fmt.Sprintf("no host can take %s: %s", short(e.Model), withoutPaths(listWith(e.Hosts, "; ")))
	}
	p.Hint = "list_models shows what is installed on which host"
	if p.Retryable {
		p.Hint = "Call again in a little while, or with another model; status shows how the hosts are"
	}
	return p
}

// shorten says what helps against what is too long; remedy may be nil.
func shorten(remedy *fleet.Remedy) string {
	ways := []string{"Shorten it"}
	if remedy != nil && remedy.Cut {
		ways = append(ways, "set truncate to true and lose part of it")
	}
	if remedy != nil && remedy.Raise {
		ways = append(ways, "set a higher options.num_ctx")
	}
	return strings.Join(ways, ", or ")
}

// hostPath is a path on the host of Ollama.
var hostPath = regexp.MustCompile(`(^|[\s"'(=])(?:/|[A-Za-z]:\\)[^\s"')]+`)

// withoutPaths is what Ollama says without the paths of its host, which are nobody's business.
func withoutPaths(said string) string { return hostPath.ReplaceAllString(said, "${1}…") }

func causeOf(e *ollama.Error) string {
	if e.Err == nil {
		return "no details"
	}
	return e.Err.Error()
}

func after(d time.Duration) string {
	if d <= 0 {
		return "in a few seconds"
	}
	return fmt.Sprintf("in %s", d.Round(time.Second))
}

// missingModel names what is installed and seen, and the nearest of it. Nobody pulls a model to
// be rid of it.
func missingModel(op string, at *fleet.Error, sees func(ollama.Name) bool) (message, hint string) {
	message = fmt.Sprintf("the model %s is not installed at %s", at.Model, cmp.Or(at.Address, "any of the hosts"))
	if at.Installed != nil && len(at.Installed) == 0 {
		message += ", where no models are installed at all"
	}
	hint = fmt.Sprintf("Call pull, if you have it, or ask the user to run `ollama pull %s`", short(at.Model))
	if slices.Contains([]string{"delete", "unload", "push"}, op) {
		hint = "Check the name; list_models shows what is installed"
	}
	var names []string
	for _, n := range at.Installed {
		if sees != nil && sees(n) {
			names = append(names, short(n))
		}
	}
	if len(names) == 0 {
		return message, hint
	}
	if near := schema.Nearest(short(at.Model), names); near != "" {
		message += fmt.Sprintf("; did you mean %s?", near)
	}
	return message, "Installed: " + list(names) + ". " + hint
}

// short is a name without the tag that needs no saying.
func short(n ollama.Name) string { return strings.TrimSuffix(string(n), ":latest") }

// maxListed bounds how many choices an error names.
const maxListed = 10

func list[S ~string](names []S) string { return listWith(names, ", ") }

func listWith[S ~string](names []S, between string) string {
	var b strings.Builder
	for i, n := range names {
		if i == maxListed {
			fmt.Fprintf(&b, " and %d more", len(names)-maxListed)
			break
		}
		if i > 0 {
			b.WriteString(between)
		}
		b.WriteString(string(n))
	}
	return b.String()
}

// Busy is the answer to a call above a limit of the transport, which message names.
func Busy(_, message string) *mcp.CallToolResult {
	return failed(&Problem{Kind: kindBusy, Retryable: true, Message: message,
		Hint: "Wait for one of the calls in flight to end, then call again"})
}

// failed is the result of a call that came to nothing else.
func failed(p *Problem) *mcp.CallToolResult {
	out := &empty{}
	out.fail(p)
	return toResult(out)
}
