package fleet

import "time"

// pace is how fast a model of a host has been seen to read prompts. The zero value has seen
// none.
type pace struct {
	seen    int     // prompts
	slowest float64 // tokens a second
	long    bool    // of those that were long enough to tell; else of the others
}

// longPrompt is how many tokens tell a pace. What a prompt costs beside its tokens makes a
// shorter one, or one that the cache has but for its last token, look many times slower.
const longPrompt = 64

// enoughSeen is how many prompts make a pace.
const enoughSeen = 5

// note takes in what Ollama said of a prompt. What its cache had in store makes it look
// faster than it is, which the slowest of several is not.
func (p *pace) note(tokens int, took time.Duration) {
	if tokens <= 0 || took <= 0 {
		return
	}
	p.seen++
	long := tokens >= longPrompt
	if p.long && !long {
		return
	}
	if rate := float64(tokens) / took.Seconds(); p.slowest == 0 || rate < p.slowest || long && !p.long {
		p.slowest = rate
	}
	p.long = long
}

// How far from the slowest pace a prompt may be, how many bytes a token has at the least on
// average, and what an image may take.
const (
	slowFactor    = 4
	bytesPerToken = 2
	imageTokens   = 4096
)

// longest is how long the prompt of a call may take to be read.
func (p *pace) longest(n *need) time.Duration {
	tokens := n.bytes()/bytesPerToken + imageTokens*n.images
	return time.Duration(slowFactor * float64(tokens) / p.slowest * float64(time.Second))
}

// patience is how long a call waits for the first piece of its answer until the model is
// taken for wedged, at least atLeast; 0 is for ever: nothing says that it could be wedged, and
// too few prompts were seen to know.
func (t *traffic) patience(atLeast time.Duration, n *need) time.Duration {
	switch {
	case t.pace.seen >= enoughSeen && n.op != "embed": // which Ollama answers when all is done
		return max(atLeast, t.pace.longest(n))
	case t.gaveUp:
		return atLeast
	case t.suspect:
		return max(atLeast, DefaultWedgeAfter)
	}
	return 0
}

// pace takes in how long a prompt took.
func (v *visit) pace(tokens int, took time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state(v.model).pace.note(tokens, took)
}
