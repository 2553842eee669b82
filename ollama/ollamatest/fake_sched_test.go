package ollamatest

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A load beyond MaxLoaded has the idle model of the shortest keep_alive go, or waits for the one that ends first by it.
func TestFakeMaxLoaded(t *testing.T) {
	const second = time.Second
	s := Script{
		Models:    []FakeModel{{Name: "a"}, {Name: "b"}, {Name: "c"}},
		LoadDelay: 10 * second, TokenDelay: second, TokenCount: 31, MaxLoaded: 2,
	}
	for _, test := range []struct {
		name      string
		bodies    []string // one after the other, but for those that stream
		took      time.Duration
		stays     string
		evictions int
	}{
		{"room", []string{`{"model":"a"}`, `{"model":"b"}`}, 20 * second, "a b", 0},
		{"idle of the shortest", []string{`{"model":"a","keep_alive":"1h"}`, `{"model":"b"}`, `{"model":"c"}`}, 30 * second, "a c", 1},
		{"idle before busy", []string{`{"model":"a","prompt":"x","keep_alive":9}`, `{"model":"b"}`, `{"model":"c"}`}, 30 * second, "a c", 1},
		{"busy", []string{`{"model":"a","prompt":"x","keep_alive":9}`, `{"model":"b","prompt":"x"}`, `{"model":"c"}`}, 50 * second, "b c", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			pipe(t, s, func(t *testing.T, f *Fake, b browser) {
				begun := time.Now()
				for _, body := range test.bodies {
					resp := b.open(t, t.Context(), "POST", "/api/generate", body)
					defer resp.Body.Close()
					go io.Copy(io.Discard, resp.Body)
				}
				took := time.Since(begun)
				var stays []string
				for name := range strings.FieldsSeq("a b c") {
					if _, _, ps := b.do(t, "GET", "/api/ps", ""); strings.Contains(ps, `"`+name+`:latest"`) {
						stays = append(stays, name)
					}
				}
				got := strings.Join(stays, " ")
				if seen := f.Seen(); took != test.took || got != test.stays || seen.Evictions != test.evictions {
					t.Errorf("%v: took %v, leaves %s, %d evictions; want %v, %s, %d",
						test.bodies, took, got, seen.Evictions, test.took, test.stays, test.evictions)
				}
				time.Sleep(time.Minute) // the streams end
			})
		})
	}
}

// The wait for a slot shows in total_duration alone.
func TestFakeTellsTheWaitForASlot(t *testing.T) {
	s := Script{LoadDelay: 10 * time.Second, FirstDelay: time.Second, TokenDelay: time.Second, TokenCount: 3}
	pipe(t, s, func(t *testing.T, f *Fake, b browser) {
		done := make(chan line)
		for range 2 {
			go func() {
				_, _, body := b.do(t, "POST", "/api/generate", `{"model":"tiny","prompt":"x"}`)
				all := lines(t, body)
				done <- all[len(all)-1]
			}()
			synctest.Wait()
		}
		for _, want := range []struct{ waited, load time.Duration }{{0, 10 * time.Second}, {3 * time.Second, 10 * time.Second}} {
			l := <-done
			waited := l.TotalDuration - l.LoadDuration - l.PromptEvalDuration - l.EvalDuration
			if waited != want.waited || l.LoadDuration != want.load {
				t.Errorf("last line: waited %v, load %v; want %v, %v", waited, l.LoadDuration, want.waited, want.load)
			}
		}
		if got, want := f.Seen().Models["tiny:latest"], (SeenModel{Calls: 2, Most: 2, Loads: 1}); got != want {
			t.Errorf("Seen.Models: got %+v, want %+v", got, want)
		}
	})
}
