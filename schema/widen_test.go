package schema

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every example in the table is taken for what the table says.
func TestWiderExamples(t *testing.T) {
	type wide struct {
		Number  *float64  `json:"0,omitempty"`
		Strings *[]string `json:"1,omitempty"`
		Integer *int      `json:"2,omitempty"`
	}
	s := input[wide](t)
	for i, w := range Wider() {
		var got, want wide
		if err := s.Decode(fmt.Appendf(nil, `{"%d":%s}`, i, w.From), &got); err != nil {
			t.Errorf("Decode of %s for %s = %v", w.From, w.Due, err)
		}
		if err := json.Unmarshal(fmt.Appendf(nil, `{"%d":%s}`, i, w.To), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Decode of %s for %s (-want +got):\n%s", w.From, w.Due, diff)
		}
	}
}

// Nobody can change the table that Decode works by.
func TestWiderIsACopy(t *testing.T) {
	Wider()[0] = Widening{}
	if w := Wider()[0]; w.Given == "" {
		t.Errorf("Wider()[0] = %+v after a caller changed its own", w)
	}
}
