package route

import (
	"math"

	"ollama-mcp/ollama"
)

// slack is by how much a host's load may be above its fair share before affinity gives way.
// Less than 2 would part two calls of one conversation on an idle fleet of three.
const slack = 2

// bound is how many calls a host of weight 1 may have so that affinity still counts, the
// call to come included in the sum.
// Source: Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads, 2016.
func (l *list) bound() float64 {
	calls, weight := 1, 0.0
	for i := range l.left {
		calls += l.left[i].calls
		weight += l.left[i].host.weight()
	}
	return slack * float64(calls) / weight
}

// Affinity is the key by which calls that begin alike go to the host that has their prompt
// in its cache: who calls, the model, the system prompt and the first message. It is the
// same in every process, and never 0. Long texts count by their beginnings.
func Affinity(caller string, model ollama.Name, system, first string) uint64 {
	const enough = 4 << 10
	h := hash(seed, caller)
	h = hash(h, string(model))
	h = hash(h, system[:min(len(system), enough)])
	h = hash(h, first[:min(len(first), enough)])
	return max(mix(h), 1)
}

// rank is how far a host is down the list of a key; the least is first. By rendezvous hashing a
// host that comes or goes moves its own keys and no others (Thaler and Ravishankar, Using
// Name-Based Mappings to Increase Hit Rates, 1998). Weights: of exponential variables with
// these rates each is the least with a probability of its share of their sum.
func (h *Host) rank(key uint64) float64 {
	const bits = 53
	u := (float64(mix(key^hash(seed, h.Name))>>(64-bits)) + 0.5) / (1 << bits) // in (0, 1]
	return -math.Log(u) / h.weight()
}

func (h *Host) weight() float64 {
	if h.Weight > 0 {
		return h.Weight
	}
	return 1
}

// hash goes on from h with a text and its length, by FNV-1a. It begins with seed.
// Source: http://www.isthe.com/chongo/tech/comp/fnv/
func hash(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime
	}
	return (h ^ uint64(len(s))) * prime
}

const (
	seed  = 0xcbf29ce484222325
	prime = 0x100000001b3
)

// mix spreads what two keys differ in over all bits: the finalizer of SplitMix64 (Steele,
// Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
