package transport

import (
	"cmp"
	"context"
	"iter"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/rs/zerolog"
)

// Options tunes a transport. The zero value works: each field that is zero
// takes its default.
type Options struct {
	// MaxCalls is how many requests may be in flight, an answer that waits to be
	// written counting as such, and MaxCallsPerCaller how many of one caller, who
	// on stdio is the only one. Defaults 2,048 and 64.
	MaxCalls, MaxCallsPerCaller int
	// MaxStreams and MaxStreamsPerCaller bound in the same way what stays open for
	// news: listen streams, and the streams of GET. Defaults 8,192 and 1,024.
	MaxStreams, MaxStreamsPerCaller int
	// MaxMessage is the size of the largest message taken, in bytes. Default 16 MiB.
	MaxMessage int
	// MaxBytes bounds the messages of all requests being handled, in bytes; one
	// caller's take half of it at most. Default 256 MiB.
	MaxBytes int64
	// ProgressInterval is the least time between two progress notifications of
	// one call. Default 100 ms.
	ProgressInterval time.Duration
	// Heartbeat is how long a call with a progress token may be silent before a
	// notification is sent that repeats where it stands. Default 5 s.
	Heartbeat time.Duration
	// KeepAlive is how long a stream over HTTP may be silent before it carries a
	// comment that keeps proxies from cutting it. Default 15 s.
	KeepAlive time.Duration
	// Drain is how long running calls may go on after the end of input or of the
	// context before they are cancelled, and then how long they may take to
	// notice. Default 3 s.
	Drain time.Duration
	// Busy words the result of a tools/call that a limit refuses; message says
	// which. It must not block nor return nil. Default: a plain tool error.
	Busy func(requestID, message string) *mcp.CallToolResult
	// Watch is run while a stream is open whose client subscribed to a resource or, in a listen
	// stream, to the list of them; what it yields goes to those who subscribed to that. It
	// returns, soon, when it knows how things are, and yields what changes from then on
	// until ctx ends. Default: there is no news.
	Watch func(ctx context.Context) iter.Seq[News]
	// Canonical is the one spelling in which News names the resource of a URI that a client
	// subscribed to. It must be quick. Default: the URI.
	Canonical func(uri string) string
	// Subscribable returns nil when the caller in ctx may subscribe to a resource, else words for
	// the client, for whom it is not there. It must be quick. Default: nil.
	Subscribable func(ctx context.Context, uri string) error
	// Log takes what went wrong on the server's side. The zero Logger is silent.
	Log zerolog.Logger
}

func (o Options) withDefaults() Options {
	o.MaxCalls = cmp.Or(o.MaxCalls, 2048)
	o.MaxCallsPerCaller = cmp.Or(o.MaxCallsPerCaller, 64)
	o.MaxStreams = cmp.Or(o.MaxStreams, 8192)
	o.MaxStreamsPerCaller = cmp.Or(o.MaxStreamsPerCaller, 1024)
	o.MaxMessage = cmp.Or(o.MaxMessage, 16<<20)
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<20)
	o.ProgressInterval = cmp.Or(o.ProgressInterval, 100*time.Millisecond)
	o.Heartbeat = cmp.Or(o.Heartbeat, 5*time.Second)
	o.Drain = cmp.Or(o.Drain, 3*time.Second)
	if o.Busy == nil {
		o.Busy = func(_, message string) *mcp.CallToolResult {
			return mcp.NewToolResultError("the server is busy: " + message)
		}
	}
	if o.Subscribable == nil {
		o.Subscribable = func(context.Context, string) error { return nil }
	}
	if o.Canonical == nil {
		o.Canonical = func(uri string) string { return uri }
	}
	return o
}
