package fleet

import (
	"context"
	"errors"
	"iter"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/cache"
	"ollama-mcp/ollama/fleet/queue"
	"ollama-mcp/ollama/fleet/route"
)

// Generate streams an answer to a prompt; the model is loaded first, see [Fleet.Load]. Where
// answers are kept, one to the same request of the same caller may be it.
// Errors are *[Error], *[PlaceError], *[CloudError] or the context's.
func (f *Fleet) Generate(ctx context.Context, r *ollama.GenerateRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := need{op: "generate", model: r.Model, options: r.Options, images: len(r.Images), cut: cuts(r.Truncate)}
	need.texts = []string{r.Prompt, r.System, r.Suffix}
	need.opening = []string{r.System, r.Prompt}
	key := func(caller, digest string, o *ollama.Options) cache.AnswerKey {
		q := *r
		q.Options = o
		return cache.GenerateKey(caller, digest, &q)
	}
	return f.answer(ctx, need, w, key, func(ctx context.Context, v *visit, o *ollama.Options) iter.Seq2[ollama.Chunk, error] {
		q := *r
		q.Options, q.KeepAlive = o, v.opts.keepAlive(r.Model, r.KeepAlive)
		return v.Client.Generate(ctx, &q)
	})
}

// Chat streams the next message of a chat, as Generate does.
func (f *Fleet) Chat(ctx context.Context, r *ollama.ChatRequest, w Watch) iter.Seq2[ollama.Chunk, error] {
	need := need{op: "chat", model: r.Model, options: r.Options, cut: cuts(r.Truncate), opening: opening(r.Messages)}
	for _, m := range r.Messages {
		need.texts = append(need.texts, m.Content)
		need.images += len(m.Images)
	}
	key := func(caller, digest string, o *ollama.Options) cache.AnswerKey {
		q := *r
		q.Options = o
		return cache.ChatKey(caller, digest, &q)
	}
	return f.answer(ctx, need, w, key, func(ctx context.Context, v *visit, o *ollama.Options) iter.Seq2[ollama.Chunk, error] {
		q := *r
		q.Options, q.KeepAlive = o, v.opts.keepAlive(r.Model, r.KeepAlive)
		return v.Client.Chat(ctx, &q)
	})
}

// opening is the system prompt of a chat and its first message beside that.
func opening(messages []ollama.Message) []string {
	o := []string{"", ""}
	for i, m := range messages {
		if i == 0 && m.Role == "system" {
			o[0] = m.Content
			continue
		}
		o[1] = m.Content
		break
	}
	return o
}

// embed is Embed without what is kept.
func (f *Fleet) embed(ctx context.Context, r *ollama.EmbedRequest, digest string, w Watch) (*ollama.EmbedResponse, error) {
	need := need{op: "embed", model: r.Model, digest: digest, options: r.Options, texts: r.Input, apart: true, cut: cuts(r.Truncate)}
	var resp *ollama.EmbedResponse
	err := f.run(ctx, need, w, func(ctx context.Context, v *visit, o *ollama.Options) (err error) {
		q := *r
		q.Options, q.KeepAlive = o, v.opts.keepAlive(r.Model, r.KeepAlive)
		resp, err = v.Client.Embed(ctx, &q)
		return err
	})
	return resp, err
}

// cuts reports whether Ollama cuts what does not fit: it does unless told not to.
func cuts(truncate *bool) bool { return truncate == nil || *truncate }

// askFunc is a callFunc for what streams.
type askFunc func(ctx context.Context, v *visit, o *ollama.Options) iter.Seq2[ollama.Chunk, error]

// stream is run for what streams.
func (f *Fleet) stream(ctx context.Context, n need, w Watch, ask askFunc) iter.Seq2[ollama.Chunk, error] {
	return func(yield func(ollama.Chunk, error) bool) {
		left := false
		err := f.run(ctx, n, w, func(ctx context.Context, v *visit, o *ollama.Options) error {
			for c, err := range ask(ctx, v, o) {
				if err != nil {
					return err
				}
				if !v.alive() {
					return context.Canceled
				}
				if c.Done != nil {
					v.finished(c.Done)
				}
				if left = !yield(c, nil); left {
					return context.Canceled
				}
			}
			return nil
		})
		if err != nil && !left {
			yield(ollama.Chunk{}, err)
		}
	}
}

// callFunc makes a call on a host, with options, in a context that ends when the try does.
type callFunc func(ctx context.Context, v *visit, o *ollama.Options) error

// run makes a call on a host, with the options that the model is loaded with.
func (f *Fleet) run(ctx context.Context, n need, w Watch, call callFunc) error {
	var err error
	if n.options, err = f.opts.pinned(n.model, n.options); err != nil {
		return err
	}
	w.phase(Queued)
	return f.try(ctx, &n, func(v *visit) error { return v.attempt(&n, w, call) })
}

// try places a call on a host and makes it there; where the law of trying again allows it, on
// another host after that.
func (f *Fleet) try(ctx context.Context, n *need, call func(*visit) error) error {
	f.budget.earn()
	r := retries{budget: &f.budget}
	for {
		v, err := f.place(ctx, n, r.tried)
		if err != nil {
			return err
		}
		began := time.Now()
		err = v.visited(n, call)
		f.opts.Observe.ended(v, n, time.Since(began), err)
		if err == nil || !r.again(ctx, v, err, func(tried []string) bool { return f.elsewhere(ctx, n, tried) }) {
			return err
		}
		f.opts.Observe.retried(v, n, err)
	}
}

// visited makes a call on the host where it is placed, and leaves.
func (v *visit) visited(n *need, call func(*visit) error) (err error) {
	err = context.Canceled // what a call is that ends in a panic
	defer func() { v.leave(err) }()
	if v.others {
		defer time.AfterFunc(silence, v.ask).Stop()
	}
	if err = call(v); err != nil && errors.Is(context.Cause(v.ctx), errGone) {
		err = v.fail(v.ctx, n.model, v.gone(n.op))
	}
	var fe *Error
	if v.forAll && isKind(err, ollama.MissingModel) && errors.As(err, &fe) {
		fe.Address = ""
	}
	return err
}

// elsewhere reports whether a call can go to a host that it has not been on.
func (f *Fleet) elsewhere(ctx context.Context, n *need, tried []string) bool {
	call := n.route(callerOf(ctx), false)
	call.Except = tried
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := route.Choose(f.facts(), call, time.Now())
	return err == nil
}

// silence is how long nothing may come of a call before its host is asked whether it is well:
// while it loads a model or reads a prompt, it answers that at once.
const silence = 300 * time.Millisecond

// ask has the host looked at, if nothing has come of the call.
func (v *visit) ask() {
	v.mu.Lock()
	answered := v.answered
	v.mu.Unlock()
	if !answered {
		v.watcher.Check()
	}
}

// attempt makes the model ready on the host, waits for a slot and makes the call. When the
// model is found to be wedged, the call is made again after the recovery.
func (v *visit) attempt(n *need, w Watch, call callFunc) error {
	v.count(n.model, 0, 1)
	defer v.count(n.model, 0, -1)
	content, err := v.content(n)
	if err != nil {
		return err
	}
	var p Place
	var options *ollama.Options
	recovered := false
	ready := func() (err error) {
		p, options, err = v.ready(v.ctx, n, w)
		p.Recovered, p.Digest = recovered, content
		return err
	}
	send := func(ctx context.Context) error {
		return v.send(ctx, n, w, p, func(ctx context.Context) error { return call(ctx, v, options) })
	}
	for {
		if err := ready(); err != nil {
			return err
		}
		if v.remote = p.Remote; p.Remote { // ollama.com's slots are not ours to give, nor to bring back
			return send(v.ctx)
		}
		r, err := v.inTurn(n, w, ready, send)
		if r == nil {
			return err
		}
		if err := v.healed(r, w); err != nil {
			return err
		}
		recovered = recovered || r.unloaded
	}
}

// inTurn sends a call when the line lets it, and the model is still there then. The recovery
// is that for which the call was ended, or nil.
func (v *visit) inTurn(n *need, w Watch, ready func() error, send func(context.Context) error) (*recovery, error) {
	slot, waited, err := v.enter(n, w)
	if err != nil {
		return nil, err
	}
	defer func() { slot.Leave(v.timing) }() // with none unless the call ended well
	leave, err := v.keep(waited && !v.moving(), ready)
	if err != nil {
		return nil, err
	}
	defer leave()
	return v.guard(n, send)
}

// healed waits for a recovery.
func (v *visit) healed(r *recovery, w Watch) error {
	w.phase(Recovering)
	select {
	case <-r.done:
	case <-v.ctx.Done():
		return v.ctx.Err()
	}
	if r.unloaded {
		v.opts.Observe.recovered(v.Client.Name(), v.model)
	}
	return r.err
}

// content is the digest of the model as the host has it now. Vectors of other content are of no
// use: another program may have pulled it since the host was looked at.
func (v *visit) content(n *need) (string, error) {
	if n.op != "embed" || !v.others || v.digest == "" {
		return v.digest, nil
	}
	digest, err := v.member.digest(v.ctx, n.model)
	if err == nil && n.digest != "" && digest != n.digest {
		err = v.fail(v.ctx, n.model, &ollama.Error{Op: n.op, Host: v.Client.Name(), Kind: ollama.MissingModel, Message: "it has another version by now"})
	}
	return digest, err
}

// send checks that the call fits where it is going, and sends it.
func (v *visit) send(ctx context.Context, n *need, w Watch, p Place, call func(context.Context) error) error {
	p.LineWait = v.waited
	w.placed(p)
	if err := v.check(ctx, n, p); err != nil {
		return err
	}
	w.phase(Prompt)
	v.mu.Lock()
	v.sent = time.Now()
	v.mu.Unlock()
	v.count(n.model, 1, -1)
	defer v.count(n.model, -1, 1)
	return v.failRun(ctx, n, n.sized(call(ctx), p.ContextLength), p.ContextLength)
}

// gone is the error of a call that was ended because the host is down.
func (v *visit) gone(op string) error {
	s := v.watcher.Snapshot()
	return &ollama.Error{Op: op, Host: v.Client.Name(), Kind: ollama.Unreachable, Message: s.Why}
}

// finished takes in what Ollama says at the end of an answer.
func (v *visit) finished(c *ollama.Done) {
	v.tokens = c.EvalCount
	v.timing = queue.Timing{Total: c.TotalDuration, Load: c.LoadDuration, Prompt: c.PromptEvalDuration, Eval: c.EvalDuration}
	read := c.PromptEvalCount
	if c.PromptCachedCount != nil {
		read -= *c.PromptCachedCount
	}
	v.pace(read, c.PromptEvalDuration)
}
