package ollama

import (
	"math"
	"strings"
	"time"
)

// Phase is what a pull, push or create is doing.
type Phase string

// The phases, in the order in which they come. None has all, and one that is quick shows few.
const (
	PhaseManifest    Phase = "manifest"    // asking what the model is made of
	PhaseDownloading Phase = "downloading" // bytes come
	PhaseUploading   Phase = "uploading"   // bytes go
	PhaseVerifying   Phase = "verifying"   // checking digests, in silence
	PhaseWriting     Phase = "writing"     // making layers and the manifest, or sending it
	PhaseDone        Phase = "done"        // Ollama said success
)

// phases are by the beginning of a status; the first that fits counts.
var phases = []struct {
	status string
	phase  Phase
}{
	{"pulling manifest", PhaseManifest},
	{"retrieving manifest", PhaseManifest},
	{"pulling ", PhaseDownloading},
	{"pushing manifest", PhaseWriting},
	{"pushing ", PhaseUploading},
	{"verifying ", PhaseVerifying},
	{"quantizing ", PhaseWriting},
	{"using existing layer", PhaseWriting},
	{"creating new layer", PhaseWriting},
	{"writing manifest", PhaseWriting},
}

func phaseOf(status string, before Phase) Phase {
	if status == Success {
		return PhaseDone
	}
	for _, p := range phases {
		if strings.HasPrefix(status, p.status) {
			return p.phase
		}
	}
	return before
}

// Transfer adds up the lines of a pull, push or create. The zero value is one that has not begun.
// It is not safe for concurrent use.
type Transfer struct {
	state  TransferState
	layers map[string]*layer // by digest
	moved  int64             // bytes that went over the network, what was there before not among them
	marked int64             // moved at the last measure of the rate
	mark   time.Time         // of that; zero before the first bytes
}

type layer struct{ total, done int64 }

// TransferState is how far a [Transfer] is. Done and Total never decrease, but Total grows
// with each layer that Ollama begins: it names them one by one, the largest first as a
// rule, and none that takes less than 60 ms. At PhaseDone they are equal.
type TransferState struct {
	Phase Phase         // "" before the first line
	Done  int64         // bytes, of all layers so far; those that were there before count too
	Total int64         // bytes; 0 when no layer has begun
	Rate  float64       // bytes a second, over the last few seconds; 0 when unknown or nothing moves
	Left  time.Duration // until the layers so far are through, at that rate; 0 when unknown
}

// Growing reports whether layers may come that Total does not know yet.
func (s TransferState) Growing() bool {
	return s.Phase == PhaseManifest || s.Phase == PhaseDownloading || s.Phase == PhaseUploading
}

// State is how far the transfer is.
func (t *Transfer) State() TransferState { return t.state }

// Add takes the next line, which came at a time not before that of the line before it.
func (t *Transfer) Add(p Progress, at time.Time) TransferState {
	l := t.layers[p.Digest]
	if l == nil { // Ollama moves one after the other, and need not say of any that it is complete
		for _, l := range t.layers {
			t.advance(l, l.total)
		}
	}
	t.state.Phase = phaseOf(p.Status, t.state.Phase)
	if p.Digest != "" {
		t.addLayer(l, p)
	}
	t.measure(at)
	return t.state
}

// addLayer takes a line about a layer, nil when it is the first.
func (t *Transfer) addLayer(l *layer, p Progress) {
	if l == nil {
		l = &layer{done: max(p.Completed, 0)}
		if t.layers == nil {
			t.layers = map[string]*layer{}
		}
		t.layers[p.Digest] = l
		t.state.Done += l.done
	}
	total := max(l.total, p.Total, p.Completed)
	t.state.Total += total - l.total
	l.total = total
	t.advance(l, p.Completed)
}

// advance counts what is new of a layer: after a retry it may be less than before.
func (t *Transfer) advance(l *layer, done int64) {
	if more := done - l.done; more > 0 {
		l.done = done
		t.state.Done += more
		t.moved += more
	}
}

const (
	rateStep   = 500 * time.Millisecond // between two measures
	rateMemory = 5 * time.Second        // after which a measure counts for a third
)

// measure keeps the rate, an exponentially weighted mean.
func (t *Transfer) measure(at time.Time) {
	if t.state.Phase != PhaseDownloading && t.state.Phase != PhaseUploading {
		t.state.Rate, t.state.Left = 0, 0
		return
	}
	if t.mark.IsZero() {
		t.mark, t.marked = at, t.moved
	}
	passed := at.Sub(t.mark)
	if passed < rateStep {
		return
	}
	rate := float64(t.moved-t.marked) / passed.Seconds()
	if t.state.Rate > 0 {
		rate += (t.state.Rate - rate) * math.Exp(-passed.Seconds()/rateMemory.Seconds())
	}
	t.state.Rate, t.mark, t.marked = rate, at, t.moved
	t.state.Left = left(t.state.Total-t.state.Done, rate)
}

// left is how long bytes take at a rate, in whole seconds; 0 when that is not to be told.
func left(bytes int64, rate float64) time.Duration {
	const day = 24 * time.Hour
	seconds := float64(bytes) / rate
	if !(seconds < (100 * day).Seconds()) { // nor when it is not a number
		return 0
	}
	return time.Duration(math.Ceil(seconds)) * time.Second
}
