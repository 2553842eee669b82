package ollama

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"time"
)

// Ollama says nothing while it checks, quantizes or writes a model of any size.
const workStall = 30 * time.Minute

// Pull has the host fetch a model from its registry, and streams how that goes. model is
// what [ParseName] takes; the registry gets it as it is spelt, because it may tell upper
// case from lower. The stream ends with [Success] and nothing else is one, or with an
// error: a [*RegistryError] in it says that the request was not even sent. What came
// stays on the host's disk, so that another Pull goes on from there. Pulls of one model
// share one transfer, which ends with the last of them: breaking the loop is leaving it. One
// that joins a transfer which is just being given up ends with it, as [Busy].
func (c *Client) Pull(ctx context.Context, model string) iter.Seq2[Progress, error] {
	return c.transfer(ctx, "pull", model)
}

// Push has the host send an installed model to the registry in its name, as Pull fetches.
func (c *Client) Push(ctx context.Context, model Name) iter.Seq2[Progress, error] {
	return c.transfer(ctx, "push", string(model))
}

func (c *Client) transfer(ctx context.Context, op, model string) iter.Seq2[Progress, error] {
	spelled, insecure, err := c.checkSource(model)
	if err != nil {
		return c.refuse(op, err)
	}
	body := struct {
		Model    string `json:"model"`
		Insecure bool   `json:"insecure,omitempty"`
		Stream   bool   `json:"stream"`
	}{spelled, insecure, true}
	return c.progress(ctx, request{op: op, path: "/api/" + op, quick: true, body: body})
}

// checkSource finds whether a registry may be asked for a model, before anything is sent.
func (c *Client) checkSource(model string) (spelled string, insecure bool, err error) {
	name, err := ParseName(model)
	if err != nil {
		return "", false, err
	}
	if spelled, err = Spelling(model); err != nil {
		return "", false, err
	}
	insecure, err = c.registries.Check(name)
	return spelled, insecure, err
}

// CheckSource refuses, as Pull, Push and Create do before they send anything, a name that is
// none and a model of a registry that is not allowed: with a [*RegistryError].
func (c *Client) CheckSource(op, model string) error {
	if _, _, err := c.checkSource(model); err != nil {
		return &Error{Op: op, Host: c.name, Kind: Invalid, Err: err}
	}
	return nil
}

// Create makes a model out of another, and streams how that goes, as Pull does. It
// replaces a model of that name. Ollama pulls From when it is not installed, so that its
// registry must be an allowed one, and the call may be a long download.
func (c *Client) Create(ctx context.Context, r *CreateRequest) iter.Seq2[Progress, error] {
	if _, _, err := c.checkSource(string(r.From)); err != nil {
		return c.refuse("create", err)
	}
	body := struct {
		*CreateRequest
		Stream bool `json:"stream"`
	}{r, true}
	return c.progress(ctx, request{op: "create", path: "/api/create", body: body})
}

// Copy gives an installed model a second name. It replaces a model that had the name.
func (c *Client) Copy(ctx context.Context, source, destination Name) error {
	body := struct {
		Source      Name `json:"source"`
		Destination Name `json:"destination"`
	}{source, destination}
	return c.command(ctx, request{op: "copy", path: "/api/copy", quick: true, body: body})
}

// Delete removes a model from the host's disk, save for what other models share. One that
// is loaded stays in memory until its time is over: Unload does not find it any more.
func (c *Client) Delete(ctx context.Context, model Name) error {
	body := struct {
		Model Name `json:"model"`
	}{model}
	return c.command(ctx, request{op: "delete", method: http.MethodDelete, path: "/api/delete", quick: true, body: body})
}

// Show describes a model.
func (c *Client) Show(ctx context.Context, model Name) (*Shown, error) {
	return c.show(ctx, model, false)
}

// ShowFull is Show with the tensors and the long lists in ModelInfo: of a large model
// tens of megabytes, and at most 64.
func (c *Client) ShowFull(ctx context.Context, model Name) (*Shown, error) {
	return c.show(ctx, model, true)
}

func (c *Client) show(ctx context.Context, model Name, verbose bool) (*Shown, error) {
	body := struct {
		Model   Name `json:"model"`
		Verbose bool `json:"verbose,omitempty"`
	}{model, verbose}
	a, err := fetch(ctx, c, request{op: "show", path: "/api/show", quick: true, body: body},
		func(a *Shown) bool { return a.ModelInfo != nil || a.Capabilities != nil || a.Details.Format != "" })
	if err != nil {
		return nil, err
	}
	if !verbose {
		a.Tensors = nil // Ollama 0.17 sends them unasked
	}
	return &a, nil
}

// command makes a request whose success is an empty answer.
func (c *Client) command(ctx context.Context, r request) error {
	x, body, err := c.answer(ctx, r, maxRefusal)
	if err == nil && len(bytes.TrimSpace(body)) > 0 {
		err = x.unexpected(body)
	}
	return err
}

// refuse is the stream of a request that is not sent.
func (c *Client) refuse(op string, err error) iter.Seq2[Progress, error] {
	return func(yield func(Progress, error) bool) {
		yield(Progress{}, &Error{Op: op, Host: c.name, Kind: Invalid, Err: err})
	}
}

// progress sends a request and yields what comes, up to the success.
func (c *Client) progress(ctx context.Context, r request) iter.Seq2[Progress, error] {
	r.stall = max(c.stall, workStall)
	return func(yield func(Progress, error) bool) {
		x, err := c.exchange(ctx, r)
		if err != nil {
			yield(Progress{}, err)
			return
		}
		defer x.close()
		lines := lineReader{r: bufio.NewReader(x)}
		for first := true; ; first = false {
			line, ended := lines.next()
			p, ok := readProgress(line)
			switch {
			case ok && p.Status == Success:
				x.drain()
				yield(p, nil)
				return
			case ok && !yield(p, nil):
				return
			case !ok && len(bytes.TrimSpace(line)) > 0 && (ended == nil || ended == io.EOF):
				more, _ := lines.r.Peek(lines.r.Buffered())
				yield(Progress{}, x.broken(first, line, more))
				return
			case ended != nil:
				yield(Progress{}, x.ended(ended))
				return
			}
		}
	}
}

func readProgress(line []byte) (p Progress, ok bool) {
	var l struct {
		Progress
		Error json.RawMessage `json:"error"`
	}
	err := json.Unmarshal(line, &l)
	return l.Progress, err == nil && l.Error == nil && l.Status != ""
}
