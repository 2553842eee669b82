package ollamatest

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"
)

// A host that is killed answers nothing in good form, and comes back with nothing loaded.
func TestFakeIsKilled(t *testing.T) {
	for name, start := range map[string]func(Script) *Fake{"tcp": NewFake, "pipe": NewPipeFake} {
		t.Run(name, func(t *testing.T) {
			f := start(Script{TokenDelay: time.Hour})
			b := browse(t, f)
			resp := b.open(t, t.Context(), "POST", "/api/generate", `{"model":"tiny","prompt":"x"}`)
			defer resp.Body.Close()
			f.Change(func(s *Script) { s.Faults[""] = Killed() })
			if got, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("a stream of a host that is killed: got %q to its end, want an error", got)
			}
			f.Change(func(s *Script) { delete(s.Faults, "") })
			if _, _, ps := b.do(t, "GET", "/api/ps", ""); ps != `{"models":[]}` {
				t.Errorf("ps of a host that comes back: got %s, want nothing", ps)
			}
			if got := f.Seen(); got.Active != 0 || len(got.Aborts) != 0 {
				t.Errorf("Seen: got %d active, aborts %v; want none", got.Active, got.Aborts)
			}
		})
	}
}

// A host that hangs holds back what it has begun and what it is asked, and answers it when it goes on.
func TestFakeHangs(t *testing.T) {
	pipe(t, Script{TokenDelay: time.Second, TokenCount: 3}, func(t *testing.T, f *Fake, b browser) {
		begun := time.Now()
		stream := make(chan string)
		resp := b.open(t, t.Context(), "POST", "/api/generate", `{"model":"tiny","prompt":"x"}`)
		defer resp.Body.Close()
		text := bufio.NewReader(resp.Body)
		if _, err := text.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		f.Change(func(s *Script) { s.Faults[""] = Hang() })
		time.AfterFunc(time.Hour, func() { f.Change(func(s *Script) { delete(s.Faults, "") }) })
		go func() {
			rest, err := io.ReadAll(text)
			if err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took < time.Hour {
				t.Errorf("the rest of a stream of a host that hangs for an hour: took %v", took)
			}
			stream <- string(rest)
		}()
		b.do(t, "GET", "/api/version", "")
		if took := time.Since(begun); took != time.Hour {
			t.Errorf("version of a host that hangs for an hour: took %v", took)
		}
		if rest := <-stream; !strings.Contains(rest, `"done":true`) {
			t.Errorf("a stream of a host that hung: got %q, want it to its end", rest)
		}
	})
}
