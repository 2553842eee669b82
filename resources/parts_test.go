package resources

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

// parted gives its JSON in parts, none when it is empty.
type parted struct {
	Whole int `json:"whole"`

	parts []string
	err   error
}

func (p parted) JSONParts() (parts [][]byte, err error) {
	for _, s := range p.parts {
		parts = append(parts, []byte(s))
	}
	return parts, p.err
}

func TestEncodeParts(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		content parted
		want    string
		err     error
	}{
		{parted{parts: []string{`{"a":`, `[1]`, `}`}}, `{"a":[1]}`, nil},
		{parted{Whole: 1}, `{"whole":1}`, nil},
		{parted{err: broken}, "", broken},
	} {
		if got, err := encode(tt.content, nil); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("encode(%+v) = %s, %v; want %s, %v", tt.content, got, err, tt.want, tt.err)
		}
	}
}

// Of a large part there is one copy, into the text.
func TestEncodeCopiesOnce(t *testing.T) {
	const size = 8 << 20
	content := stored{[]byte(strings.Repeat("1", size))}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	text, err := encode(content, nil)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err != nil || len(text) != size || n > size*3/2 {
		t.Errorf("encode of %d bytes allocates %d for %d, %v; want one copy", size, n, len(text), err)
	}
}

type stored struct{ part []byte }

func (s stored) JSONParts() ([][]byte, error) { return [][]byte{s.part}, nil }
