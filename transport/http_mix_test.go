package transport

import (
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	mixClients = flag.Int("mix.clients", 16, "clients of TestNothingMixes")
	mixCalls   = flag.Int("mix.calls", 50, "calls of each client of TestNothingMixes")
)

// mixAtOnce is how many calls of one client are in flight.
const mixAtOnce = 16

// mixed is one client of TestNothingMixes. Its calls have the ids and tokens that the
// calls of all other clients have too, but their text is its own.
type mixed struct {
	t      *testing.T
	site   *site
	name   string
	header []string
}

func (c *mixed) body(id int) string {
	return call(fmt.Sprint(id), fmt.Sprintf(`"%d"`, id), "count", fmt.Sprintf(`{"n":3,"every_ms":1,"text":%q}`, c.text(id)))
}

func (c *mixed) text(id int) string { return fmt.Sprintf("%s/%d/", c.name, id) }

// progressOf checks what comes for the calls of one client, in the order in which it comes.
type progressOf struct {
	c    *mixed
	mu   sync.Mutex // guards the fields below
	seqs map[string]int
	text map[string]string
	done map[string]bool
}

func newProgressOf(c *mixed) *progressOf {
	return &progressOf{c: c, seqs: map[string]int{}, text: map[string]string{}, done: map[string]bool{}}
}

// take looks at one message, and tells whether it is an answer.
func (p *progressOf) take(m reply) (answer bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.c.t
	id, meta := string(m.ID), m.Result.Meta
	if m.ID == nil {
		id, meta = strings.Trim(string(m.Params.ProgressToken), `"`), m.Params.Meta
	}
	if id == "" || p.done[id] {
		t.Errorf("%s: %s comes after the answer, or is nobody's", p.c.name, m.raw)
	}
	if p.seqs[id]++; meta[metaSeq] != float64(p.seqs[id]) {
		t.Errorf("%s: %s has number %v, want %d", p.c.name, m.raw, meta[metaSeq], p.seqs[id])
	}
	own := ""
	for i := range 3 {
		own += fmt.Sprintf("%s/%s/%d€ ", p.c.name, id, i)
	}
	if m.ID == nil {
		delta, _ := meta[metaDelta].(string)
		if p.text[id] += delta; !strings.HasPrefix(own, p.text[id]) {
			t.Errorf("%s: progress of %s is %q, want the begin of %q", p.c.name, id, p.text[id], own)
		}
		return false
	}
	p.done[id] = true
	if m.text() != own || p.text[id] != own {
		t.Errorf("%s: call %s = %s after progress %q, want %q in both", p.c.name, id, m.raw, p.text[id], own)
	}
	return true
}

// all runs a client's calls, some at once, and checks that all are answered.
func (c *mixed) all(one func(id int)) {
	ids := make(chan int, *mixCalls)
	for id := range *mixCalls {
		ids <- id
	}
	close(ids)
	var wg sync.WaitGroup
	for range mixAtOnce {
		wg.Go(func() {
			for id := range ids {
				one(id)
			}
		})
	}
	wg.Wait()
}

// posts makes each call a POST of its own, of a version that header names.
func (c *mixed) posts(body func(id int) string) {
	p := newProgressOf(c)
	c.all(func(id int) {
		answers := 0
		for _, m := range c.site.do("POST", "/mcp", body(id), c.header...).replies(c.t) {
			if got := strings.Trim(string(m.ID)+string(m.Params.ProgressToken), `"`); got != fmt.Sprint(id) {
				c.t.Errorf("%s: the response to %d has %s", c.name, id, m.raw)
			}
			if p.take(m) {
				answers++
			}
		}
		if answers != 1 {
			c.t.Errorf("%s: the response to %d has %d answers, want 1", c.name, id, answers)
		}
	})
}

// stream makes all calls over HTTP+SSE.
func (c *mixed) stream() {
	e, path := c.site.pipe(c.header...)
	p := newProgressOf(c)
	answered := make([]chan struct{}, *mixCalls)
	for i := range answered {
		answered[i] = make(chan struct{})
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for range answered {
			for m := e.must(); !p.take(m); m = e.must() {
			}
			for id := range answered {
				p.mu.Lock()
				done := p.done[fmt.Sprint(id)]
				p.mu.Unlock()
				if done && answered[id] != nil {
					close(answered[id])
					answered[id] = nil
				}
			}
		}
	}()
	waits := append([]chan struct{}(nil), answered...)
	c.all(func(id int) {
		c.site.tell(path, []string{c.body(id)}, c.header...)
		select {
		case <-waits[id]:
		case <-read: // the stream has ended too early
		}
	})
	<-read
	e.close()
}

// TestNothingMixes has many clients make many calls at once, all with the same ids and
// progress tokens: each must get what is its own, whole and in order.
func TestNothingMixes(t *testing.T) {
	transports := map[string]func(*mixed){
		"session each": func(c *mixed) {
			c.header = c.site.session("2025-11-25", `{}`, c.header...)
			c.posts(c.body)
		},
		"modern": func(c *mixed) {
			c.header = append(headers("tools/call", "count"), c.header...)
			c.posts(func(id int) string {
				params := fmt.Sprintf(`"name":"count","arguments":{"n":3,"every_ms":1,"text":%q}`, c.text(id))
				return strings.Replace(modern(fmt.Sprint(id), "tools/call", params, `{}`), `"_meta":{`, fmt.Sprintf(`"_meta":{"progressToken":"%d",`, id), 1)
			})
		},
		"sse": (*mixed).stream,
	}
	for _, auth := range []bool{false, true} {
		for name, run := range transports {
			t.Run(fmt.Sprintf("%s, auth=%t", name, auth), func(t *testing.T) { mix(t, auth, run) })
		}
	}
}

func mix(t *testing.T, auth bool, run func(*mixed)) {
	o := HTTPOptions{Options: Options{ProgressInterval: time.Millisecond, MaxCallsPerCaller: 2048}, HeaderTimeout: patience}
	var names []string
	for i := range *mixClients {
		names = append(names, fmt.Sprintf("client%d", i))
	}
	if auth {
		o.Auth = callers(t, names...)
	}
	s := host(t, fixtures(), o)
	s.client.Transport.(*http.Transport).MaxIdleConnsPerHost = *mixClients * mixAtOnce
	var wg sync.WaitGroup
	for _, name := range names {
		c := &mixed{t: t, site: s, name: name}
		if auth {
			c.header = as(name)
		}
		wg.Go(func() { run(c) })
	}
	wg.Wait()
	s.eventually("all bytes are given back", func() bool { return s.h.hub.held("") == 0 })
}

// TestOneSessionForAll has the clients share one session, where ids must differ.
func TestOneSessionForAll(t *testing.T) {
	s := host(t, fixtures(), HTTPOptions{Options: Options{ProgressInterval: time.Millisecond, MaxCallsPerCaller: 2048}, HeaderTimeout: patience})
	s.client.Transport.(*http.Transport).MaxIdleConnsPerHost = *mixClients * mixAtOnce
	header := s.session("2025-06-18", `{}`)
	c := &mixed{t: t, site: s, name: "all", header: header}
	p := newProgressOf(c)
	var wg sync.WaitGroup
	for i := range *mixClients {
		wg.Go(func() {
			c.all(func(id int) {
				id += i * *mixCalls
				for _, m := range s.do("POST", "/mcp", c.body(id), header...).replies(t) {
					p.take(m)
				}
			})
		})
	}
	wg.Wait()
	if len(p.done) != *mixClients**mixCalls {
		t.Errorf("%d calls in one session: %d answers", *mixClients**mixCalls, len(p.done))
	}
}
