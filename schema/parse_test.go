package schema

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

// A value takes far more memory than its text: too many are refused before they are made.
func TestDecodeBoundsValues(t *testing.T) {
	many := func(n int) string { return `[` + strings.TrimSuffix(strings.Repeat("0,", n), ",") + `]` }
	var before, after runtime.MemStats
	args := json.RawMessage(with(`"input":` + many(8<<20)))
	runtime.ReadMemStats(&before)
	err := input[request](t).Decode(args, new(request))
	runtime.ReadMemStats(&after)
	if want := "the arguments are too many: 8388612 values, and at most 1000000 are taken"; err == nil || err.Error() != want {
		t.Errorf("Decode of 16 MiB = %v, want %s", err, want)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("Decode of 16 MiB took %d bytes of memory to refuse it", used)
	}
	if _, err := parse([]byte(many(maxValues - 1))); err != nil {
		t.Errorf("parse of %d values: %v", maxValues, err)
	}
	if _, err := parse([]byte(many(maxValues))); err == nil {
		t.Errorf("parse of %d values succeeded", maxValues+1)
	}
}

func TestMeasure(t *testing.T) {
	tests := []struct {
		data          string
		depth, values int
	}{
		{`1`, 0, 1}, {` "a,[b" `, 0, 1}, {`[]`, 1, 1}, {`{ }`, 1, 1}, {`[1]`, 1, 2}, {"[ [\n] , {\t} ]", 2, 3},
		{`{"a":{"b,":[1,"2",null]},"c":""}`, 3, 7}, {`[[[]],""]`, 3, 4},
	}
	for _, tt := range tests {
		if depth, values := measure([]byte(tt.data)); depth != tt.depth || values != tt.values {
			t.Errorf("measure(%s) = %d, %d; want %d, %d", tt.data, depth, values, tt.depth, tt.values)
		}
	}
}
