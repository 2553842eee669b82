package cache

import (
	"fmt"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model is what an lru has to be: pages, the last one put first.
type model struct {
	max   int64
	pages []modelPage
}

type modelPage struct {
	value int
	bytes int64
	at    map[sum]int
}

func (m *model) put(value int, bytes int64, places []place) {
	p := modelPage{value, bytes + int64(len(places))*placeBytes, map[sum]int{}}
	if p.bytes > m.max || len(places) == 0 {
		return
	}
	for _, at := range places {
		p.at[at.sum] = at.i
		for _, old := range m.pages {
			delete(old.at, at.sum)
		}
	}
	m.pages = slices.DeleteFunc(m.pages, func(old modelPage) bool { return len(old.at) == 0 })
	m.pages = slices.Insert(m.pages, 0, p)
	for m.bytes() > m.max {
		m.pages = m.pages[:len(m.pages)-1]
	}
}

func (m *model) bytes() (n int64) {
	for _, p := range m.pages {
		n += p.bytes
	}
	return n
}

func (m *model) find(s sum) string {
	for _, p := range m.pages {
		if i, ok := p.at[s]; ok {
			return fmt.Sprint(p.value, " at ", i)
		}
	}
	return "nothing"
}

// TestLRU puts and looks; after each step the books are those of the model.
func TestLRU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := model{max: rapid.Int64Range(1, 20*placeBytes).Draw(t, "max")}
		l := newLRU(m.max)
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			bytes := rapid.Int64Range(0, 8*placeBytes).Draw(t, "bytes")
			var places []place
			for i, n := range rapid.SliceOfN(rapid.ByteRange(0, 9), 0, 5).Draw(t, "sums") {
				places = append(places, place{sum: sum{n}, i: i})
			}
			m.put(step, bytes, places)
			l.put(step, bytes, places)
			entries := 0
			for n := range byte(10) {
				got, want := "nothing", m.find(sum{n})
				if value, i, ok := l.find(sum{n}); ok {
					got = fmt.Sprint(value, " at ", i)
					entries++
				}
				if got != want {
					t.Fatalf("step %d: find(%d) = %s, want %s", step, n, got, want)
				}
			}
			want := Stats{Bytes: m.bytes(), Max: m.max, Entries: entries}
			if got := l.stats(); got != want || got.Bytes > got.Max || l.pages.Len() != len(m.pages) {
				t.Fatalf("step %d: %d pages, stats %+v, want %d, %+v", step, l.pages.Len(), got, len(m.pages), want)
			}
		}
	})
}
