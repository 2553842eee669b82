package ollama

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

const (
	maxLine    = 64 << 20              // of a stream, and any other answer; generate's last line has a number for each token
	maxVectors = 256 << 20             // of an answer with embeddings
	maxRoom    = 32 << 20              // taken before it is known how long an answer is
	maxRefusal = 64 << 10              // of an answer that is not a success
	drainTime  = 50 * time.Millisecond // for the last bytes of a connection that could be used again
)

var errStalled = errors.New("stalled")

// transport makes the connections to one host. HTTP/1.1 only: a stream that is given
// up must close its connection, because that is what Ollama takes for a cancel.
func (o *ClientOptions) transport() *http.Transport {
	connect := cmp.Or(o.Connect, 5*time.Second)
	dial := o.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment, // never for loopback
		DialContext:         limited(dial, connect),
		TLSClientConfig:     o.TLS,
		TLSHandshakeTimeout: connect,
		DisableCompression:  true,
		MaxIdleConnsPerHost: cmp.Or(o.MaxIdle, 64),
		IdleConnTimeout:     45 * time.Second, // before a proxy closes it, usually after 60 s or more, while we send
		ReadBufferSize:      8 << 10,
		WriteBufferSize:     4 << 10,
	}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// limited hides the limit's own context error, which a caller would take for its own deadline.
func limited(dial dialer, limit time.Duration) dialer {
	return func(caller context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(caller, limit)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil && caller.Err() == nil && ctx.Err() != nil {
			return nil, fmt.Errorf("dial %s: no connection within %v", addr, limit)
		}
		return conn, err
	}
}

// request is what to ask of a host.
type request struct {
	op     string
	method string // "" is GET without a body and POST with one
	path   string
	quick  bool          // needs no model, so that the answer must begin soon
	stall  time.Duration // limit between two pieces of the answer; 0 is the client's
	body   any           // sent as JSON
	room   int           // bytes that the answer may need, in memory of its own; 0 when there is no telling
}

// exchange is one request and its answer. Reading from it reads the answer's body and
// feeds the watchdog.
type exchange struct {
	client   *Client
	op       string
	caller   context.Context         // its cancel or deadline is not an Error
	ctx      context.Context         // ends with caller, cancel or the watchdog
	cancel   context.CancelCauseFunc // closes the connection
	watchdog *time.Timer
	stall    time.Duration
	answered atomic.Bool // the host sent something; set by the transport's goroutine
	body     io.ReadCloser
	begun    bool // the body's first byte has come
}

// exchange sends a request. Without an error the answer has status 200, and the caller
// must close the exchange.
func (c *Client) exchange(ctx context.Context, r request) (*exchange, error) {
	x := &exchange{client: c, op: r.op, caller: ctx, stall: cmp.Or(r.stall, c.stall)}
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	x.watchdog = time.AfterFunc(x.stall, func() { x.cancel(errStalled) })
	if x.watchdog.Stop(); r.quick { // until the first byte
		x.watchdog.Reset(c.quick)
	}
	if err := x.send(r); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

func (x *exchange) send(r request) error {
	req, err := x.request(r)
	if err != nil {
		return &Error{Op: x.op, Host: x.client.name, Kind: Invalid, Err: err}
	}
	// The transport itself, not an http.Client: no redirects, no cookies, no timeout.
	res, err := x.client.transport.RoundTrip(req)
	if err != nil {
		return x.fail(err)
	}
	x.body = res.Body
	if res.StatusCode != http.StatusOK {
		return x.refused(res)
	}
	return nil
}

func (x *exchange) request(r request) (*http.Request, error) {
	ctx := httptrace.WithClientTrace(x.ctx, &httptrace.ClientTrace{
		GotFirstResponseByte: func() { x.answered.Store(true) },
	})
	method, body := http.MethodGet, io.Reader(nil)
	if r.body != nil {
		b, err := encode(r.body)
		if err != nil {
			return nil, err
		}
		// With a bytes.Reader the request has a Content-Length: Ollama does not
		// notice that the client of a chunked request has gone.
		method, body = http.MethodPost, bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.method, method), x.client.base+r.path, body)
	if err != nil {
		return nil, err
	}
	req.Header = x.client.header.Clone()
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if id, _ := x.caller.Value(requestIDKey{}).(string); id != "" {
		req.Header.Set("X-Request-ID", clean(id, maxExcerpt))
	}
	return req, nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// Read reads the answer's body. The watchdog runs while it waits for anything but the
// first byte; the time that the reader spends on what came is not the host's.
func (x *exchange) Read(p []byte) (int, error) {
	if x.begun {
		x.watchdog.Reset(x.stall)
	}
	n, err := x.body.Read(p)
	x.watchdog.Stop()
	x.begun = x.begun || n > 0
	return n, err
}

// drain reads what little is left of an answer whose content is complete, so that its
// connection can be used again; a host that is late with it loses the connection.
func (x *exchange) drain() {
	x.watchdog.Reset(drainTime)
	io.Copy(io.Discard, io.LimitReader(x.body, maxRefusal))
}

func (x *exchange) close() {
	x.watchdog.Stop()
	if x.body != nil {
		x.body.Close()
	}
	x.cancel(nil)
}

// answer sends a request and reads the whole answer, of at most limit bytes. The exchange
// is closed when it returns; it still makes errors.
func (c *Client) answer(ctx context.Context, r request, limit int64) (*exchange, []byte, error) {
	x, err := c.exchange(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer x.close()
	var b bytes.Buffer
	b.Grow(r.room)
	switch n, err := b.ReadFrom(io.LimitReader(x, limit+1)); {
	case err != nil:
		return nil, nil, x.fail(err)
	case n > limit:
		return nil, nil, x.error(NotOllama, fmt.Sprintf("an answer of more than %d MB", limit>>20))
	}
	return x, b.Bytes(), nil
}

// fetch sends a request and decodes the answer, in which whole finds what this
// operation of Ollama always sends.
func fetch[T any](ctx context.Context, c *Client, r request, whole func(*T) bool) (T, error) {
	var v T
	x, body, err := c.answer(ctx, r, maxLine)
	if err != nil {
		return v, err
	}
	if json.Unmarshal(body, &v) != nil || !whole(&v) {
		var none T
		return none, x.unexpected(body)
	}
	return v, nil
}
