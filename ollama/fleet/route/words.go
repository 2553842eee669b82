package route

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"ollama-mcp/ollama"
)

// reason is what a step looks at.
type reason uint8

const (
	version reason = iota
	well
	spare
	warm
	coming
	slot
	bounded
	prefix
	priority
	fewest
	fits
	undisturbed
	unwanted
	modelHash
)

func (r reason) String() string {
	return [...]string{
		version:     "with the version that most hosts have",
		well:        "that are well",
		spare:       "with room beside those whose slots are taken",
		warm:        "with it loaded as the call wants",
		coming:      "loading it already",
		slot:        "with a free slot",
		bounded:     "without more than twice its share of calls",
		prefix:      "by prefix affinity",
		priority:    "by priority",
		fewest:      "with the fewest calls for its weight",
		fits:        "with the most room",
		undisturbed: "with the fewest calls in the way",
		unwanted:    "with a model to unload that was not wanted for long",
		modelHash:   "by the hash of the model",
	}[r]
}

// Why says in one line how the host was chosen: "of 3 hosts 2 with it loaded as asked, 1 by
// prefix affinity".
func (c *Choice) Why() string {
	var b strings.Builder
	if c.of == 1 {
		b.WriteString("the only host that can take it")
	} else {
		fmt.Fprintf(&b, "of %d hosts", c.of)
	}
	for i, s := range c.steps {
		if s.left == 0 {
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %d %s", s.left, s.why)
	}
	switch {
	case c.Model.Remote:
	case c.Loaded == nil:
		b.WriteString("; to be loaded")
	case c.Loaded.Loading:
		b.WriteString("; being loaded")
	}
	if c.Model.Digest != c.most {
		b.WriteString("; another version than most hosts have")
	}
	return b.String()
}

// Reason is why a host cannot take a call.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	Unfit   Reason = "unfit"         // it lacks a tag that the call needs
	Unknown Reason = "unknown"       // nobody has learnt yet which models it has
	Missing Reason = "missing"       // it does not have the model
	Barred  Reason = "barred"        // it has the model and may not run it
	Other   Reason = "other_version" // it has another content under that name
	Tried   Reason = "tried"         // the call has failed on it
	Down    Reason = "down"          // its health; it may have the model
)

// Refusal is a host that cannot take a call, and why.
type Refusal struct {
	Host   *Host
	Reason Reason
	Has    bool // some version of the model is installed, as far as is known
}

func (r Refusal) String() string {
	h := r.Host
	switch r.Reason {
	case Unfit:
		return h.Name + " is not a host for this call"
	case Unknown:
		return h.Name + " has not yet told which models it has"
	case Missing:
		return h.Name + " does not have it"
	case Barred:
		return h.Name + " has it and may not run it"
	case Other:
		return h.Name + " has another version of it"
	case Tried:
		return h.Name + " has it and was tried"
	}
	has := "has it, and"
	if !r.Has {
		has = "may have it, and"
	}
	return fmt.Sprintf("%s %s takes no calls since %s: %s", h.Name, has, h.Since.Format(time.RFC3339), h.Down)
}

// Error says that no host can take a call.
type Error struct {
	Model ollama.Name
	Hosts []Refusal // all of them, by name
}

func (e *Error) Error() string {
	words := make([]string, len(e.Hosts))
	for i, r := range e.Hosts {
		words[i] = r.String()
	}
	return fmt.Sprintf("no host for %s: %s", e.Model, strings.Join(words, "; "))
}

func refuse(hosts []*Host, c *Call) error { return &Error{c.Model, refusals(hosts, c)} }

// refusals are the hosts that cannot take a call, by name.
func refusals(hosts []*Host, c *Call) []Refusal {
	var all []Refusal
	for _, h := range hosts {
		if _, why := h.check(c); why != "" {
			_, has := h.Models[c.Model]
			all = append(all, Refusal{h, why, has})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Host.Name < all[j].Host.Name })
	return all
}
