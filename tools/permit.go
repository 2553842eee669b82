package tools

import (
	"context"
	"fmt"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/policy"
)

// chooseFunc settles which model a call uses; see [fleet.Fleet.Choose].
type chooseFunc func(ctx context.Context, named ollama.Name, capability string, may func(ollama.Name) bool) (ollama.Name, error)

// limits are what bounds the arguments of a call.
type limits struct {
	policy.Limits               // of the caller
	keepAlive     time.Duration // of all callers; 0 is none
	pinned        bool          // the operator has settled the keep_alive of calls that name none
}

// model settles which model the call uses, from an argument that may be empty, and that the
// caller may use it. It returns the limits that hold with it.
func (c *call) model(ctx context.Context, choose chooseFunc, argument, capability string) (ollama.Name, limits, error) {
	if argument != "" {
		named, l, err := c.named(ctx, argument)
		if err != nil {
			return "", l, err
		}
		named, err = choose(ctx, named, capability, nil)
		return named, l, err
	}
	var may func(ollama.Name) bool
	if c.pass != nil {
		may = c.pass.May
	}
	chosen, err := choose(ctx, "", capability, may)
	if err != nil {
		return "", limits{}, err
	}
	l, err := c.use(ctx, chosen)
	return chosen, l, err
}

// named is model for an argument that must be given. Whether a model that the caller may
// not use is installed does not show: nothing is asked of Ollama before.
func (c *call) named(ctx context.Context, argument string) (ollama.Name, limits, error) {
	n, err := modelArgument(argument)
	if err != nil {
		return "", limits{}, err
	}
	l, err := c.use(ctx, n)
	return n, l, err
}

func (c *call) use(ctx context.Context, model ollama.Name) (limits, error) {
	l, err := c.pass.Use(ctx, model)
	return limits{l, c.tool.most, c.tool.pinned != nil && c.tool.pinned(model)}, err
}

// allow refuses a model that the caller may not use with the tool, and counts nothing.
func (c *call) allow(ctx context.Context, model ollama.Name) error {
	return c.tool.policy.Allow(ctx, c.tool.Name, model)
}

// modelNamed reads a model argument that the caller may use, as allow does.
func (c *call) modelNamed(ctx context.Context, argument string) (ollama.Name, error) {
	n, err := modelArgument(argument)
	if err == nil {
		err = c.allow(ctx, n)
	}
	return n, err
}

// within holds the arguments to the limits: one that is above is an error, and one that is
// left out is set where Ollama's default would be above. What num_ctx defaults to is the
// operator's to set on the host.
func (s *sampling) within(l limits) (err error) {
	if l.MaxNumPredict != nil && (s.Options == nil || s.Options.NumPredict == nil) {
		var o ollama.Options
		if s.Options != nil {
			o = *s.Options
		}
		o.NumPredict = l.MaxNumPredict
		s.Options = &o
	}
	if o := s.Options; o != nil {
		// 0 and below are no limit at all.
		if most := l.MaxNumPredict; most != nil && (*o.NumPredict <= 0 || *o.NumPredict > *most) {
			return above("options.num_predict", *o.NumPredict, *most)
		}
		if err := numCtxWithin("options.num_ctx", o.NumCtx, l); err != nil {
			return err
		}
	}
	s.KeepAlive, err = keepAliveWithin(s.KeepAlive, l)
	return err
}

func numCtxWithin(argument string, n *int, l limits) error {
	if n != nil && l.MaxNumCtx != nil && *n > *l.MaxNumCtx {
		return above(argument, *n, *l.MaxNumCtx)
	}
	return nil
}

// defaultKeepAlive is how long Ollama keeps a model loaded when nobody says otherwise.
// Source: https://docs.ollama.com/faq, "How do I keep a model loaded in memory".
const defaultKeepAlive = 5 * time.Minute

// keepAliveWithin returns the keep_alive to send for one that checkKeepAlive has seen, "" for
// the pinned one or, without a limit of the caller's, the host's own, which may be for ever.
func keepAliveWithin(s string, l limits) (string, error) {
	most := l.keepAlive
	if of := l.MaxKeepAlive; of != nil && (most == 0 || *of < most) {
		most = *of
	}
	switch d, _ := time.ParseDuration(s); {
	case s == "" && l.MaxKeepAlive != nil && !l.pinned:
		return min(defaultKeepAlive, most).String(), nil
	case s != "" && most > 0 && d < 0:
		return "", above("keep_alive", s+", which is for ever,", most)
	case s != "" && most > 0 && d > most:
		return "", above("keep_alive", s, most)
	}
	return s, nil
}

func above(argument string, value, limit any) error {
	return &argumentError{fmt.Sprintf("%s %v is above the limit of %v that the operator set", argument, value, limit),
		fmt.Sprintf("Call again with at most %v, or leave %s out", limit, argument)}
}
