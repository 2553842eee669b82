// Package route chooses the host for a call: a pure function of the call and of a snapshot
// of what is known of the hosts. It owns the order of preference and the words for it.
//
// It asks no host, keeps no books and starts nothing; it knows neither HTTP nor queues. The
// same input gives the same host, whatever the order of the hosts.
//
// A snapshot is a slice of pointers to hosts that nobody changes any more. Who keeps the
// books holds an atomic pointer per host; a call that begins or ends, a poll, a change of
// health replaces one [Host] by a copy, which shares Models and all that did not change. To
// take a snapshot is to read the pointers.
package route

import (
	"slices"
	"sort"
	"time"

	"ollama-mcp/ollama"
)

// Host is what is known of one host at a moment.
type Host struct {
	Name  string    // unique
	Down  string    // why it gets no calls, in words; "" when it does
	Since time.Time // since when it is Down
	Until time.Time // when it takes calls again, if it has said so

	Doubtful bool // something went wrong there lately, or takes long: others come first

	Tags     []string // what calls may need; see [Call]
	Priority int      // a higher one comes first
	Weight   float64  // its share of the work, beside that of the others; 0 is 1

	Models map[ollama.Name]Model // installed; nil: nobody knows yet
	Loaded []Loaded

	MaxLoaded int   // how many models it holds in memory; 0: unknown
	Evictions int   // how many models of late had to leave its memory for others
	Room      int64 // bytes of memory that are free for models; 0: unknown; less: none
}

// Model is an installed model.
type Model struct {
	Digest string // names the content
	Size   int64  // bytes; 0: unknown
	Remote bool   // ollama.com runs it: there is nothing to load
	Barred bool   // the host may not run it: its patterns leave it out, which is looked up once per list of models
}

// Loaded is a model in a host's memory, or on its way there. Copies of a model run together.
type Loaded struct {
	Digest   string
	Loading  bool      // on its way
	Options  string    // the load-time options in force, spelt as in [Call]
	InFlight int       // our calls on it, those that wait for it included
	Slots    int       // how many of them it answers at a time; 0: unknown, and never full
	Before   time.Time // when the call before its last one began; zero: there was none
}

// Call is what a choice must know of a call. Only Model is needed.
type Call struct {
	Model    ollama.Name
	Digest   string   // only this content; "": what most hosts have
	Options  string   // load-time options, equal when they are the same; "": any will do
	Affinity uint64   // of [Affinity]; 0: no host has an advantage
	Needs    []string // tags that the host must have; its name is one of them
	Except   []string // names of hosts that were tried
	Spread   bool     // it is one of many, which all hosts that have the model and room for it may share
}

// Choice is where a call goes.
type Choice struct {
	Host   *Host
	Model  Model
	Loaded *Loaded // what it will run on; nil: to be loaded first, or remote
	Unload string  // digest of the idle model that should make room for the load; "": none

	most  string   // the digest that most hosts have
	of    int      // hosts that could take the call
	steps [11]step // as many as there are on the longest way
}

// step is a reason for which some hosts were passed over, and how many were left.
type step struct {
	why  reason
	left int
}

// Choose returns the host for a call, or an [*Error]. A call that may be tried elsewhere is
// chosen for anew, on the snapshot of then, with the hosts that failed in Except.
//
// What most hosts have goes before other versions of it, and hosts that are well before
// doubtful ones. Where it is loaded as the call wants
// goes before where it is being loaded, and that before all others. Then:
//
//   - loaded: a free slot; if there is one, prefix affinity, for hosts whose load is within bounds; priority;
//     the fewest calls for the host's weight.
//   - not loaded: room for it; the fewest calls in its way; a model to unload that has not been
//     wanted for long; priority.
//
// What is still a tie falls to a hash of the model, so that models spread and stay put.
//
// It costs time linear in the number of hosts, and one allocation. It is safe for concurrent use.
func Choose(hosts []*Host, call Call, now time.Time) (Choice, error) {
	l := list{left: make([]candidate, 0, len(hosts))}
	agreed := true
	for _, h := range hosts {
		m, why := h.check(&call)
		if why == "" {
			l.left = append(l.left, newCandidate(h, m, &call))
		}
		digest := vote(m, why)
		if l.most == "" {
			l.most = digest
		}
		agreed = agreed && (digest == "" || digest == l.most)
	}
	if len(l.left) == 0 {
		return Choice{}, refuse(hosts, &call)
	}
	l.of = len(l.left)
	if !agreed {
		l.most = plurality(hosts, &call)
		l.least(version, func(c *candidate) float64 { return cost(c.model.Digest != l.most) })
	}
	l.least(well, func(c *candidate) float64 { return cost(c.host.Doubtful) })
	if call.Spread {
		l.spread()
	}
	l.least(warm, func(c *candidate) float64 { return cost(!c.warm()) })
	l.least(coming, func(c *candidate) float64 { return cost(!c.warm() && c.loaded == nil) })
	if c := &l.left[0]; c.warm() || c.loaded != nil {
		l.loaded(call.Affinity)
	} else {
		l.unloaded(now)
	}
	key := hash(seed, l.most)
	l.least(modelHash, func(c *candidate) float64 { return c.host.rank(key) })
	return l.choice(), nil
}

// Order lists the hosts as a call and its retries would try them, and why the others are
// not among them. It is for people: it costs time quadratic in the number of hosts.
func Order(hosts []*Host, call Call, now time.Time) ([]Choice, []Refusal) {
	var order []Choice
	refused := refusals(hosts, &call)
	call.Except = slices.Clone(call.Except)
	for len(order)+len(refused) < len(hosts) {
		c, err := Choose(hosts, call, now)
		if err != nil {
			break
		}
		order = append(order, c)
		call.Except = append(call.Except, c.Host.Name)
	}
	return order, refused
}

// check returns what the host has for a call, and why it cannot take it, "" when it can.
func (h *Host) check(c *Call) (Model, Reason) {
	m, has := h.Models[c.Model]
	switch {
	case !h.Fits(c.Needs):
		return m, Unfit
	case h.Models == nil && h.Down != "":
		return m, Down
	case h.Models == nil:
		return m, Unknown
	case !has:
		return m, Missing
	case m.Barred:
		return m, Barred
	case c.Digest != "" && c.Digest != m.Digest:
		return m, Other
	case slices.Contains(c.Except, h.Name):
		return m, Tried
	case h.Down != "":
		return m, Down
	}
	return m, ""
}

// Fits reports whether the host has all of the tags, of which its name is one.
func (h *Host) Fits(tags []string) bool {
	for _, tag := range tags {
		if tag != h.Name && !slices.Contains(h.Tags, tag) {
			return false
		}
	}
	return true
}

// vote is the digest for which a host has a say in which version of a model is the one to
// use, "" when it has none. One that is down has a say: that a host comes or goes should not
// change the version that answers.
func vote(m Model, why Reason) string {
	if why == "" || why == Tried || why == Down {
		return m.Digest
	}
	return ""
}

// plurality is the digest that has most of the votes, of equals the first by the alphabet.
func plurality(hosts []*Host, c *Call) (most string) {
	count := map[string]int{}
	for _, h := range hosts {
		if digest := vote(h.check(c)); digest != "" {
			count[digest]++
		}
	}
	for digest, n := range count {
		if n > count[most] || n == count[most] && digest < most {
			most = digest
		}
	}
	return most
}

// Homes lists hosts in the order in which a model should be brought to them: by priority,
// then by a hash of the model, so that models spread and stay put.
func Homes(hosts []*Host, model ollama.Name) []*Host {
	key := hash(seed, string(model))
	homes := slices.Clone(hosts)
	sort.SliceStable(homes, func(i, j int) bool {
		a, b := homes[i], homes[j]
		if a.Priority != b.Priority {
			return a.Priority > b.Priority
		}
		return a.rank(key) < b.rank(key)
	})
	return homes
}
