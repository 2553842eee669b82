package fleet

import (
	"maps"
	"slices"
	"sort"

	"ollama-mcp/ollama"
)

// work is the loads, the calls in progress and the lines they stand in.
func (h *member) work() (loading []ollama.Name, calls map[ollama.Name]Calls, lines []Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range h.loads {
		loading = append(loading, key.model)
	}
	for n, m := range h.known.models {
		if q := h.queues[m.Digest]; q != nil && h.calls[n] != (Calls{}) {
			lines = append(lines, Line{n, q.Stats()})
		}
	}
	slices.Sort(loading)
	sort.Slice(lines, func(i, j int) bool { return lines[i].Model < lines[j].Model })
	return slices.Compact(loading), maps.Clone(h.calls), lines
}

// count adds to the calls of a model, and forgets one that has none.
func (h *member) count(model ollama.Name, running, waiting int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.calls[model]
	c.Running += running
	c.Waiting += waiting
	if h.calls[model] = c; c == (Calls{}) {
		delete(h.calls, model)
	}
}
