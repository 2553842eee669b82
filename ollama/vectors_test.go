package ollama

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestVectors(t *testing.T) {
	in := ` [ [0.1,-2e-3,3] , [0,-0.0,0e7],[ 1.5E+2 , 2 , 3 ]]`
	var v Vectors
	if err := v.UnmarshalJSON([]byte(in)); err != nil {
		t.Fatalf("UnmarshalJSON(%s): %v", in, err)
	}
	if v.Len() != 3 || v.Dim() != 3 {
		t.Errorf("UnmarshalJSON(%s) gave %d vectors of %d, want 3 of 3", in, v.Len(), v.Dim())
	}
	want := [][]float32{{0.1, -2e-3, 3}, {0, 0, 0}, {150, 2, 3}}
	for i := range want {
		got, err := v.Float32(i)
		if diff := cmp.Diff(want[i], got); err != nil || diff != "" {
			t.Errorf("Float32(%d): %v (-want +got):\n%s", i, err, diff)
		}
		if got, want := v.Zero(i), i == 1; got != want {
			t.Errorf("Zero(%d) = %t, want %t", i, got, want)
		}
	}
	if got, want := string(v.Raw(1)), "[0,-0.0,0e7]"; got != want {
		t.Errorf("Raw(1) = %s, want %s", got, want)
	}
}

func TestVectorsRefuse(t *testing.T) {
	tests := []struct{ in, says string }{
		{`{}`, "not an array"},
		{`1`, "not an array"},
		{``, "not an array"},
		{`[`, "item 0"},
		{`[1]`, "item 0"},
		{`[[1,2],null]`, "item 1"},
		{`[[1,2],[1,null]]`, "item 1"},
		{`[[1,2],[NaN,1]]`, "item 1"},
		{`[[1,2],[Infinity,1]]`, "item 1"},
		{`[[1,2],["1",2]]`, "item 1"},
		{`[[1,2],[[1],2]]`, "item 1"},
		{`[[1,2],[]]`, "item 1"},
		{`[[1,2],[1,]]`, "item 1"},
		{`[[1,2],[,1]]`, "item 1"},
		{`[[1,2],[1 2]]`, "item 1"},
		{`[[1,2],[1,2`, "item 1"},
		{`[[1,2],[1,2,3]]`, "item 1"},
		{`[[1,2],]`, "item 1"},
		{`[[1,2] [1,2]]`, "not an array of arrays"},
		{`[[1,2]`, "not an array of arrays"},
		{`[[1,2]]x`, "follows"},
	}
	for _, tt := range tests {
		var v Vectors
		err := v.UnmarshalJSON([]byte(tt.in))
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("UnmarshalJSON(%s) = %v, want it to say %q", tt.in, err, tt.says)
		}
		if diff := cmp.Diff(0, v.Len()); diff != "" {
			t.Errorf("UnmarshalJSON(%s) kept something (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestVectorsZeroValue(t *testing.T) {
	for _, in := range []string{"null", "[]", "[ ]"} {
		var v Vectors
		if err := json.Unmarshal([]byte(in), &v); err != nil || v.Len() != 0 || v.Dim() != 0 {
			t.Errorf("Unmarshal(%s) = %d vectors of %d, %v, want none", in, v.Len(), v.Dim(), err)
		}
	}
	if got, err := json.Marshal(Vectors{}); err != nil || string(got) != "[]" {
		t.Errorf("Marshal(Vectors{}) = %s, %v, want []", got, err)
	}
}

// TestVectorsEqualJSON: what encoding/json reads as vectors, Vectors reads the same.
func TestVectorsEqualJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dim := rapid.IntRange(1, 5).Draw(t, "dim")
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.Float32(), dim, dim), 1, 5).Draw(t, "vectors")
		b, err := json.Marshal(want)
		if err != nil {
			t.Skip("not finite")
		}
		var v Vectors
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("Unmarshal(%s): %v", b, err)
		}
		for i := range want {
			got, err := v.Float32(i)
			if diff := cmp.Diff(want[i], got); err != nil || diff != "" {
				t.Fatalf("Unmarshal(%s), Float32(%d): %v (-want +got):\n%s", b, i, err, diff)
			}
		}
		if again, err := json.Marshal(v); err != nil || !bytes.Equal(b, again) {
			t.Fatalf("Marshal = %s, %v, want %s", again, err, b)
		}
	})
}

func TestJoinVectors(t *testing.T) {
	read := func(s string) *Vectors {
		var v Vectors
		if err := v.UnmarshalJSON([]byte(s)); err != nil {
			t.Fatal(err)
		}
		return &v
	}
	ab, c, long := read("[[1.50,2], [-3,4e0]]"), read("[[5,6]]"), read("[[1,2,3]]")
	tests := []struct {
		single []Vector
		want   string // "" when they do not fit
		same   *Vectors
	}{
		{nil, "[]", nil},
		{[]Vector{{ab, 0}, {ab, 1}}, "[[1.50,2], [-3,4e0]]", ab},
		{[]Vector{{ab, 1}, {ab, 0}}, "[[-3,4e0],[1.50,2]]", nil},
		{[]Vector{{ab, 0}}, "[[1.50,2]]", nil},
		{[]Vector{{ab, 0}, {ab, 1}, {ab, 1}}, "[[1.50,2],[-3,4e0],[-3,4e0]]", nil},
		{[]Vector{{ab, 0}, {c, 0}, {ab, 1}}, "[[1.50,2],[5,6],[-3,4e0]]", nil},
		{[]Vector{{c, 0}}, "[[5,6]]", c},
		{[]Vector{{c, 0}, {long, 0}}, "", nil},
	}
	for _, tt := range tests {
		v, ok := JoinVectors(tt.single)
		if ok != (tt.want != "") || ok && string(v.JSON()) != tt.want {
			t.Errorf("JoinVectors(%v) = %s, %t, want %q", tt.single, v.JSON(), ok, tt.want)
			continue
		}
		if !ok {
			continue
		}
		if v.Len() != len(tt.single) || v.Len() > 0 && v.Dim() != 2 || tt.same != nil && &v.JSON()[0] != &tt.same.JSON()[0] {
			t.Errorf("JoinVectors(%v) = %d vectors of %d, want %d of 2, and no copy of an answer", tt.single, v.Len(), v.Dim(), len(tt.single))
		}
		for i, s := range tt.single {
			if string(v.Raw(i)) != string(s.Of.Raw(s.At)) {
				t.Errorf("JoinVectors(%v).Raw(%d) = %s", tt.single, i, v.Raw(i))
			}
		}
	}
}

// TestFractionEndIsNumberEnd: the short way to the end of a number leads where the long one does.
func TestFractionEndIsNumberEnd(t *testing.T) {
	taken := 0
	for _, before := range []string{"", "0.", "5.", "-0.", "--0.", "00.", "-12.", ":.", "/.", "0", "-"} {
		for digits := range 20 {
			for _, after := range []string{"", "e", "E5", "e-7", ".1", ":", "/", "-", "\x80", "\xfa9", "\xff\xff0"} {
				number := before + "1234567890987654321"[:digits] + after
				for _, rest := range []string{"", "]", ",1", " ,-0.12345678901234567890", "],[0.12345678901234567890"} {
					got, want := fractionEnd([]byte(number+rest), 0), numberEnd([]byte(number+rest), 0)
					if got != 0 && got != want {
						t.Errorf("fractionEnd(%q) = %d, want numberEnd's %d", number+rest, got, want)
					}
					taken += min(got, 1)
				}
			}
		}
	}
	if taken == 0 {
		t.Error("fractionEnd took none of the numbers, want most")
	}
}

func FuzzReadEmbedded(f *testing.F) {
	f.Add([]byte(`{"model":"m","embeddings":[[1,2],[3,4]],"total_duration":5}`))
	f.Add([]byte(`{"embeddings" : [[1e5]] , "embeddings":[]}`))
	for _, number := range []string{"1..2", "--1", "01", "e", "1e", ".5", "1.", "+1", "1-2", "-"} {
		f.Add([]byte(`{"embeddings":[[1,` + number + `]]}`))
	}
	f.Add([]byte(`{"a":{"embeddings":[[1]]},"embeddings":[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := readEmbedded(body)
		if err != nil {
			return
		}
		for i := range a.Embeddings.Len() {
			if n := bytes.Count(a.Embeddings.Raw(i), []byte(",")) + 1; n != a.Embeddings.Dim() {
				t.Errorf("readEmbedded(%s): item %d has %d numbers, want %d", body, i, n, a.Embeddings.Dim())
			}
			if !json.Valid(a.Embeddings.Raw(i)) {
				t.Errorf("readEmbedded(%s): item %d is %s, want JSON", body, i, a.Embeddings.Raw(i))
			}
		}
	})
}

func BenchmarkReadEmbedded(b *testing.B) {
	for _, size := range []struct {
		name   string
		n, dim int
	}{{"64x768", 64, 768}, {"512x4096", 512, 4096}} {
		vector := "[" + strings.TrimSuffix(strings.Repeat("-0.01234567,", size.dim), ",") + "]"
		body := []byte(`{"model":"m","embeddings":[` + strings.TrimSuffix(strings.Repeat(vector+",", size.n), ",") + `],"total_duration":5}`)
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if a, err := readEmbedded(body); err != nil || a.Embeddings.Dim() != size.dim {
					b.Fatal(a, err)
				}
			}
		})
	}
}
