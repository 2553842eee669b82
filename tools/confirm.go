package tools

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// user is the person behind a call, as far as the client lets them be asked. The zero value
// cannot be asked.
type user struct {
	asked  bool                   // can be asked
	answer *mcp.ElicitationResult // to our question; nil before it was put
	state  string                 // that came back with the answer
	ask    askFunc                // nil for a client that is asked by the result of the call
	agreed string                 // the question that they said yes to, "" when there was none to put
}

// askFunc has a client put a question to its user, and waits for what they say.
type askFunc func(context.Context, mcp.ElicitationRequest) (*mcp.ElicitationResult, error)

// errChanged says that a call would now do what its user has not agreed to.
var errChanged = errors.New("another question than the user was asked")

// errUnasked says that a client did not ask its user, though it had said that it can.
var errUnasked = errors.New("the client did not ask its user")

// await asks, and waits for as long as the answer would count. It returns nil when there is
// one, else what came of it: who has not answered by then has closed the question.
func (u *user) await(ctx context.Context, q *question) *outcome {
	limited, cancel := context.WithTimeout(ctx, consentTTL)
	defer cancel()
	answer, err := u.ask(limited, mcp.ElicitationRequest{
		Request: mcp.Request{Method: string(mcp.MethodElicitationCreate)}, Params: q.form(),
	})
	switch {
	case ctx.Err() != nil:
		return &outcome{&empty{}, ctx.Err()}
	case limited.Err() != nil:
		return closed()
	case err != nil:
		return &outcome{&empty{}, fmt.Errorf("%w: %w", errUnasked, err)}
	}
	u.answer, u.state, u.ask = answer, q.state, nil
	return nil
}

// questionFunc is what a tool asks the user before it acts, "" for nothing, and the
// arguments that it is about, as the tool reads them.
type questionFunc func(ctx context.Context, args json.RawMessage, c *call) (question string, decoded []byte, err error)

// confirmed makes a tool ask the user before it acts, where they can be asked. put
// says what is to be confirmed, "" for nothing; it has no effects, is put again with the
// answer, and must be the same then.
func confirmed[In any](t Tool, put func(context.Context, In, *call) (string, error)) Tool {
	in := t.Input
	t.question = func(ctx context.Context, args json.RawMessage, c *call) (string, []byte, error) {
		var input In
		if err := in.Decode(args, &input); err != nil {
			return "", nil, err
		}
		q, err := put(ctx, input, c)
		if err != nil || q == "" {
			return "", nil, err
		}
		decoded, err := json.Marshal(input)
		return q, decoded, err
	}
	return t
}

// confirmation returns nil when the call may go on, else the question to put, or what came of
// it. It comes before the call takes its turn: a call counts against the policy's limits when
// it goes on, not when its user is asked.
func (t *Tool) confirmation(ctx context.Context, args json.RawMessage, u *user) (q *question, o *outcome) {
	if t.question == nil || !u.asked {
		return nil, nil
	}
	err := t.safely(func() (err error) {
		q, o, err = t.confirm(ctx, args, u)
		return err
	})
	if err != nil {
		return nil, &outcome{&empty{}, err}
	}
	return q, o
}

func (t *Tool) confirm(ctx context.Context, args json.RawMessage, u *user) (*question, *outcome, error) {
	if err := t.policy.Allow(ctx, t.Name); err != nil {
		return nil, nil, err
	}
	words, decoded, err := t.question(ctx, args, &call{tool: t})
	if err != nil || words == "" && u.answer == nil {
		return nil, nil, err
	}
	about := [][]byte{[]byte(owner(ctx)), []byte(t.Name), decoded, []byte(words)}
	if u.answer == nil {
		return &question{words, t.consents.issue(about)}, nil, nil
	}
	if words != "" && !t.consents.redeem(u.state, about) { // a no stands when there is nothing to ask any more
		return nil, nil, errConsent
	}
	switch u.answer.Action {
	case mcp.ElicitationResponseActionAccept:
		u.agreed = words
		return nil, nil, nil
	case mcp.ElicitationResponseActionDecline:
		return nil, &outcome{output: &unconfirmed{Note: "The user declined. Nothing was changed.", State: "declined"}}, nil
	}
	return nil, closed(), nil
}

// confirmedStill looks again just before r runs: a model may have come by the name since.
func (t *Tool) confirmedStill(r request, args json.RawMessage, u user) request {
	if t.question == nil || !u.asked {
		return r
	}
	run := r.run
	r.run = func(ctx context.Context, c *call) outcome {
		words, _, err := t.question(ctx, args, &call{tool: t})
		if err == nil && words != "" && words != u.agreed {
			err = errChanged
		}
		if err != nil {
			return outcome{&empty{}, err}
		}
		return run(ctx, c)
	}
	return r
}

func closed() *outcome {
	return &outcome{output: &unconfirmed{Note: "The user closed the question without an answer. Nothing was changed.", State: "canceled"}}
}

// unconfirmed is the output of a call that its user did not confirm. It fits the output
// schema of every tool that asks.
type unconfirmed struct {
	Note  string `json:"note"`
	State string `json:"state"`
	failure
}

func (o *unconfirmed) words() []string { return []string{o.Note} }

// question ends a call until its user has answered it.
type question struct{ words, state string }

// confirmID names the question in a call's input requests.
const confirmID = "confirm"

// result asks.
func (q *question) result() *mcp.CallToolResult {
	return server.NewInputRequestBuilder(q.state).Elicit(confirmID, q.form()).ToolResult()
}

// form is one without fields: a question to accept or decline.
func (q *question) form() mcp.ElicitationParams {
	return mcp.ElicitationParams{
		Message:         q.words,
		RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{}},
	}
}

// consents signs the state that a client hands back with its user's answer, so that it
// stands for one question, of one caller about one call, for consentTTL, once. It is safe for
// concurrent use.
type consents struct {
	key []byte

	mu     sync.Mutex     // guards what follows
	turned time.Time      // used becomes before every consentTTL, when all in before are over
	used   map[nonce]bool // of states that were redeemed
	before map[nonce]bool
}

type nonce [16]byte

const consentTTL = 5 * time.Minute

// newConsents takes the key that several processes share, nil for one of its own: then an
// answer must reach the process that asked. Across processes a state may be used once in each.
func newConsents(secret []byte) *consents {
	c := &consents{key: make([]byte, sha256.Size), used: map[nonce]bool{}}
	if secret == nil {
		_, _ = rand.Read(c.key) // never fails: https://pkg.go.dev/crypto/rand#Read
		return c
	}
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("ollama-mcp consent"))
	c.key = h.Sum(nil)
	return c
}

// A state is a random number, the end of its time in Unix seconds, and the signature.
const (
	nonceSize = len(nonce{})
	headSize  = nonceSize + 8
)

func (c *consents) issue(about [][]byte) string {
	head := make([]byte, headSize)
	_, _ = rand.Read(head[:nonceSize])
	binary.BigEndian.PutUint64(head[nonceSize:], uint64(time.Now().Add(consentTTL).Unix()))
	return base64.RawURLEncoding.EncodeToString(append(head, c.sign(head, about)...))
}

// sign covers each part with its length, so that none can be taken for another.
func (c *consents) sign(head []byte, about [][]byte) []byte {
	h := hmac.New(sha256.New, c.key)
	h.Write(head)
	for _, part := range about {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return h.Sum(nil)
}

// redeem reports whether a state was issued for this, is in time, and was not redeemed here.
func (c *consents) redeem(state string, about [][]byte) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(state)
	if err != nil || len(b) != headSize+sha256.Size || !hmac.Equal(b[headSize:], c.sign(b[:headSize], about)) {
		return false
	}
	if time.Now().After(time.Unix(int64(binary.BigEndian.Uint64(b[nonceSize:])), 0)) {
		return false
	}
	return c.first(nonce(b[:nonceSize]))
}

// first reports whether a state is redeemed for the first time.
func (c *consents) first(n nonce) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.turned) > consentTTL {
		c.turned, c.used, c.before = now, map[nonce]bool{}, c.used
	}
	if c.used[n] || c.before[n] {
		return false
	}
	c.used[n] = true
	return true
}
