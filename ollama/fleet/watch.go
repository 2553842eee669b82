package fleet

import "time"

// Phase is where a call stands before its first token.
type Phase string

// The phases of a call, in their order. A tool adds thinking and generating.
const (
	Queued  Phase = "queued"  // accepted, nothing asked of Ollama yet
	Loading Phase = "loading" // the model is being loaded
	Prompt  Phase = "prompt"  // sent; Ollama reads the prompt or waits for a free slot

	Recovering Phase = "recovering" // the model was wedged and is being unloaded, to be loaded again

	Unloading Phase = "unloading" // of an unload or delete: asked for, and the model is still in memory
)

// Place says where a call runs.
type Place struct {
	Host          string        // the host's name
	Digest        string        // of the model; "" when nobody knows
	ContextLength int           // tokens that the loaded model can hold; 0 when unknown
	Remote        bool          // ollama.com runs the model
	LoadWait      time.Duration // how long the call waited for the model to load
	LineWait      time.Duration // how long it waited for a slot, in our line
	Recovered     bool          // the model was wedged and had to be reloaded for this call
}

// Watch is told how a call goes, from the call's own goroutine. Nil functions are not called.
type Watch struct {
	Phase  func(Phase)
	Line   func(place int, wait time.Duration) // of a call that waits for a slot: 1 goes next, after about that time; 0 when that is unknown. At once, and then every second
	Expect func(took time.Duration)            // before phase Loading: how long the model took to load there the last time, when that is known
	Cached func(texts int, digest string)      // what is kept was the answer, by the model of that content: 1, or so many texts of an Embed. Then nothing else need be told
	Placed func(Place)                         // before the request is sent, and again after a recovery or on another host
}

func (w Watch) phase(p Phase) {
	if w.Phase != nil {
		w.Phase(p)
	}
}

func (w Watch) placed(p Place) {
	if w.Placed != nil {
		w.Placed(p)
	}
}

func (w Watch) expect(took time.Duration) {
	if w.Expect != nil && took > 0 {
		w.Expect(took)
	}
}

func (w Watch) cached(texts int, digest string) {
	if w.Cached != nil && texts > 0 {
		w.Cached(texts, digest)
	}
}
