package ollamatest

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"
)

// FakePull is a model that a fake can pull, and how that goes. Without a Rate it is there at once.
type FakePull struct {
	Model       FakeModel     // what is installed in the end; its Size is that of the layers
	Layers      []int64       // in bytes; nil is one of Model.Size
	Rate        int64         // bytes a second; 0 is at once
	VerifyDelay time.Duration // of silence, after the last layer
	StopAt      float64       // share of the bytes at which the transfer stops when it first gets there; 0 is never
	Error       string        // what Ollama says when it stops; "" breaks the connection
}

// complete fills in what a script left out.
func (p FakePull) complete() FakePull {
	p.Model = p.Model.complete()
	if p.Layers == nil {
		p.Layers = []int64{p.Model.Size}
	}
	p.Model.Size = 0
	for _, size := range p.Layers {
		p.Model.Size += size
	}
	return p
}

// download is a transfer that everybody shares who pulls the model. Fake.mu guards it.
type download struct {
	have    int64 // bytes that earlier downloads brought
	begun   time.Time
	users   int
	stopped bool
}

// at is how many bytes have come by now.
func (d *download) at(p FakePull) int64 {
	stop := int64(p.StopAt * float64(p.Model.Size))
	done := p.Model.Size
	if p.Rate > 0 {
		done = min(done, d.have+int64(float64(p.Rate)*time.Since(d.begun).Seconds()))
	}
	if d.stopped || d.have < stop && done >= stop {
		d.stopped = true
		return stop
	}
	return done
}

// joinDownload begins a download, or takes part in the one that runs. Leave it.
func (f *Fake) joinDownload(p FakePull) *download {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.downloads[p.Model.Name]
	if d == nil || d.stopped {
		have := f.partial[p.Model.Name]
		if d != nil { // those who took part in it are still leaving
			have = max(have, d.at(p))
		}
		d = &download{have: have, begun: time.Now()}
		f.downloads[p.Model.Name] = d
		f.seen.Downloads++
		f.notify()
	}
	d.users++
	return d
}

// leaveDownload ends a download with its last user. What came is kept.
func (f *Fake) leaveDownload(p FakePull, d *download) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d.users--
	if d.users > 0 {
		return
	}
	f.partial[p.Model.Name] = max(f.partial[p.Model.Name], d.at(p))
	if f.downloads[p.Model.Name] == d {
		delete(f.downloads, p.Model.Name)
	}
}

// progress is a line of a pull, push or create.
type progress struct {
	Status    string `json:"status"`
	Digest    string `json:"digest,omitempty"`
	Total     int64  `json:"total,omitempty"`
	Completed int64  `json:"completed,omitempty"`
}

// step is a progress about a layer.
func step(verb, digest string, total, completed int64) progress {
	return progress{verb + " " + digest[7:19], digest, total, completed}
}

func digestOf(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

// say writes lines of a stream. It reports whether the client is still there.
func (c *call) say(lines ...any) bool {
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	for _, line := range lines {
		if _, err := c.w.Write(append(encode(line), '\n')); err != nil {
			return false
		}
	}
	return http.NewResponseController(c.w).Flush() == nil && c.r.Context().Err() == nil
}

// succeed writes the last line.
func (c *call) succeed() { c.answered = c.say(progress{Status: "success"}) }

// giveUp ends a stream with an error.
func (c *call) giveUp(message string) { c.answered = c.say(map[string]string{"error": message}) }

func (c *call) pull() {
	name, ok := c.modelName()
	switch {
	case !ok:
	case !isName(name):
		c.fail(http.StatusBadRequest, invalidName)
	case c.fetch(name):
		c.succeed()
	}
}

// modelName reads the body of a request that has little else.
func (c *call) modelName() (name string, ok bool) {
	var req struct{ Model, Name string }
	if !c.decode(&req) {
		return "", false
	}
	return cmp.Or(req.Model, req.Name), true
}

// fetch pulls a model, up to the last line. It reports whether all went well.
func (c *call) fetch(name string) bool {
	if !c.say(progress{Status: "pulling manifest"}) {
		return false
	}
	for _, p := range c.script.Registry {
		if canonical(p.Model.Name) == canonical(name) {
			return c.download(p.complete())
		}
	}
	if m, ok := c.fake.installed(name); ok {
		return c.download(FakePull{Model: m}.complete())
	}
	c.giveUp("pull model manifest: file does not exist")
	return false
}

func (c *call) download(p FakePull) bool {
	d := c.fake.joinDownload(p)
	defer c.fake.leaveDownload(p, d)
	before := int64(0)
	for n, size := range p.Layers {
		if !c.downloadLayer(p, d, fmt.Sprint(p.Model.Name, n), before, size) {
			return false
		}
		before += size
	}
	if !c.say(progress{Status: "verifying sha256 digest"}) || sleep(c.r.Context(), p.VerifyDelay) != nil {
		return false
	}
	c.fake.install(p.Model)
	return c.say(progress{Status: "writing manifest"})
}

// downloadLayer tells of a layer, every 60 ms, until it is there (v0.34.4, server/download.go, Wait).
func (c *call) downloadLayer(p FakePull, d *download, layer string, before, size int64) bool {
	const tick = 60 * time.Millisecond
	for {
		c.fake.mu.Lock()
		done, stopped := d.at(p)-before, d.stopped
		c.fake.mu.Unlock()
		if !c.say(step("pulling", digestOf(layer), size, max(0, min(done, size)))) {
			return false
		}
		switch {
		case done >= size:
			return true
		case stopped && p.Error != "":
			c.giveUp(p.Error)
			return false
		case stopped:
			panic(http.ErrAbortHandler)
		case sleep(c.r.Context(), tick) != nil:
			return false
		}
	}
}
