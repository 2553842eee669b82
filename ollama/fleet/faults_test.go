package fleet

import (
	"context"
	"strings"
	"testing"
	"time"

	"ollama-mcp/ollama"
)

// a call that was ended because its host is gone has no answer, even when the first piece of one comes in that very
// moment: it is made again elsewhere.
func TestAliveAfterRescue(t *testing.T) {
	h := &member{opts: &Options{}, visits: map[*visit]struct{}{}, traffic: map[ollama.Name]*traffic{}}
	v := &visit{member: h}
	v.ctx, v.cancel = context.WithCancelCause(t.Context())
	v.on = &attempt{}
	h.state(v.model).calls[v.on] = struct{}{}
	v.cancel(errGone) // as rescue does, under mu
	if v.alive() || v.answered {
		t.Errorf("a call that was ended is alive, answered: %t", v.answered)
	}
}

// a prompt that Ollama has in its cache, but for one token, is no measure of how fast it reads.
func TestPaceOfCachedPrompt(t *testing.T) {
	var p pace
	for range 9 {
		p.note(1000, time.Second)
	}
	n := &need{op: "chat", texts: []string{strings.Repeat("word ", 2000)}}
	before := p.longest(n)
	p.note(1, 50*time.Millisecond)
	if after := p.longest(n); after > 2*before {
		t.Errorf("10 kB may take %v, and %v after one cached prompt", before, after)
	}
}
