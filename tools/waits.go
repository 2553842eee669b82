package tools

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/fleet/queue"
)

// with says in a context who makes the calls in it, and what the policy says of those with the
// models: their priority, and the hosts they may use. Without models it is what it says of all.
func (t *Tool) with(ctx context.Context, models ...ollama.Name) context.Context {
	l := t.policy.Limits(ctx, t.Name, models...)
	return fleet.WithCaller(ctx, fleet.Caller{Name: owner(ctx), Priority: queue.Priority(l.Priority), Tags: l.Hosts})
}

// waits reports what a call waits for: its turn, the model, the first token.
func waits(report Report, model ollama.Name) fleet.Watch {
	var last time.Duration // that the model took to load
	return fleet.Watch{
		Phase: func(p fleet.Phase) {
			report(Progress{Phase: string(p), Message: waiting(p, model, last)})
		},
		Line: func(place int, wait time.Duration) {
			report(Progress{Phase: string(fleet.Queued), Message: func() string { return inLine(place, wait, model) }})
		},
		Expect: func(took time.Duration) { last = took },
	}
}

// waiting says what a call waits for and for how long, worked out only when it is shown.
func waiting(p fleet.Phase, model ollama.Name, last time.Duration) func() string {
	start := time.Now()
	return func() string {
		var notes []string
		if took := time.Since(start); took >= time.Second {
			notes = append(notes, seconds(took))
		}
		if p == fleet.Loading && last > 0 {
			notes = append(notes, "last time "+seconds(last))
		}
		what := awaited(p, short(model))
		if notes != nil {
			what += " (" + strings.Join(notes, ", ") + ")"
		}
		return what
	}
}

func awaited(p fleet.Phase, model string) string {
	switch p {
	case fleet.Queued:
		return "asking Ollama about " + model
	case fleet.Loading:
		return "loading " + model
	case fleet.Prompt:
		return model + " is reading the prompt"
	case fleet.Recovering:
		return model + " gave no answer and is being reloaded"
	case fleet.Unloading:
		return "waiting for " + model + " to leave the memory; calls that run on it end first"
	}
	return ""
}

// inLine says how a call stands that waits for its turn.
func inLine(place int, wait time.Duration, model ollama.Name) string {
	words := fmt.Sprintf("queued %s for %s", ordinal(place), short(model))
	if wait > 0 {
		words += ", about " + seconds(wait)
	}
	return words
}

func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprint(n) + suffix
}

// seconds is a duration as people say it, in whole seconds, at least one.
func seconds(d time.Duration) string {
	d = max(time.Second, d.Round(time.Second))
	if d < 100*time.Second {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return d.String()
}
