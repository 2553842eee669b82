package ollama

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
)

// Vectors are the embeddings of one answer, kept as the bytes that Ollama sent:
// a JSON array of arrays of numbers, checked to be just that, all of one length.
// The zero value has none.
type Vectors struct {
	raw   []byte
	items [][]byte // within raw
	dim   int
}

// Len is the number of vectors.
func (v Vectors) Len() int { return len(v.items) }

// Dim is the number of numbers in each vector, 0 when there is none.
func (v Vectors) Dim() int { return v.dim }

// Raw is the i-th vector's JSON, "[0.1,…]". It must not be changed.
func (v Vectors) Raw(i int) []byte { return v.items[i] }

// Float32 decodes the i-th vector.
func (v Vectors) Float32(i int) ([]float32, error) {
	floats := make([]float32, 0, v.dim)
	rest := v.items[i][1 : len(v.items[i])-1]
	for more := true; more; {
		var number []byte
		number, rest, more = bytes.Cut(rest, []byte(","))
		f, err := strconv.ParseFloat(string(bytes.TrimSpace(number)), 32)
		if err != nil {
			return nil, fmt.Errorf("number %d of vector %d: %w", len(floats), i, err)
		}
		floats = append(floats, float32(f))
	}
	return floats, nil
}

// Zero reports whether every number of the i-th vector is zero.
func (v Vectors) Zero(i int) bool {
	exponent := false
	for _, c := range v.items[i] {
		switch {
		case c == ',':
			exponent = false
		case c|0x20 == 'e':
			exponent = true
		case c >= '1' && c <= '9' && !exponent:
			return false
		}
	}
	return true
}

// JSON is the whole array as Ollama sent it, "[]" of no vectors. It must not be changed.
func (v Vectors) JSON() []byte {
	if v.raw == nil {
		return []byte("[]")
	}
	return v.raw
}

// MarshalJSON gives the whole array, without its blanks.
func (v Vectors) MarshalJSON() ([]byte, error) { return v.JSON(), nil }

// UnmarshalJSON checks and keeps a copy of the array; null is no vectors.
func (v *Vectors) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*v = Vectors{}
		return nil
	}
	read, rest, err := readVectors(bytes.Clone(bytes.TrimSpace(b)))
	if err == nil && len(rest) > 0 {
		err = errors.New("something follows the embeddings")
	}
	if err != nil {
		return err
	}
	*v = read
	return nil
}

// Vector is one of some vectors.
type Vector struct {
	Of *Vectors
	At int
}

// JoinVectors makes vectors of single ones, in their order, as the bytes that they are.
// It copies nothing if they are just those of one answer. It reports whether all are of one
// length; if not, it gives none.
func JoinVectors(single []Vector) (v Vectors, ok bool) {
	size, whole := 2, true
	for i, s := range single {
		if s.Of.dim != single[0].Of.dim {
			return Vectors{}, false
		}
		size += len(s.Of.items[s.At]) + 1
		whole = whole && s.Of == single[0].Of && s.At == i
	}
	if whole && len(single) > 0 && len(single) == single[0].Of.Len() {
		return *single[0].Of, true
	}
	v = Vectors{raw: append(make([]byte, 0, size), '['), items: make([][]byte, len(single))}
	for i, s := range single {
		if i > 0 {
			v.raw = append(v.raw, ',')
		}
		at := len(v.raw)
		v.raw = append(v.raw, s.Of.items[s.At]...)
		v.items[i], v.dim = v.raw[at:], s.Of.dim
	}
	v.raw = append(v.raw, ']')
	return v, true
}

// readVectors reads the array at the front of b, keeps it without copying, and returns
// what follows. It looks at each byte once and works out no number, which is
// thirty times as fast as encoding/json.
func readVectors(b []byte) (v Vectors, rest []byte, err error) {
	rest, ok := bytes.CutPrefix(b, []byte("["))
	if !ok {
		return Vectors{}, nil, errors.New("the embeddings are not an array")
	}
	for rest = skipSpace(rest); ; rest = skipSpace(rest[1:]) {
		if v.items == nil && bytes.HasPrefix(rest, []byte("]")) {
			break
		}
		n, dim := vectorLen(rest)
		switch {
		case n == 0:
			return Vectors{}, nil, fmt.Errorf("the embedding of item %d is not an array of numbers", len(v.items))
		case v.items != nil && dim != v.dim:
			return Vectors{}, nil, fmt.Errorf("the embedding of item %d has %d numbers, those before it have %d", len(v.items), dim, v.dim)
		}
		v.items, v.dim = append(v.items, rest[:n]), dim
		rest = skipSpace(rest[n:])
		if bytes.HasPrefix(rest, []byte("]")) {
			break
		}
		if !bytes.HasPrefix(rest, []byte(",")) {
			return Vectors{}, nil, errors.New("the embeddings are not an array of arrays")
		}
	}
	rest = rest[1:]
	v.raw = b[:len(b)-len(rest)]
	return v, rest, nil
}

// vectorLen gives the length in bytes of the array of numbers at the front of b, and how
// many numbers it has; 0 when there is no such array.
func vectorLen(b []byte) (n, numbers int) {
	if len(b) == 0 || b[0] != '[' {
		return 0, 0
	}
	for i := 1; i < len(b); i++ {
		end := fractionEnd(b, i)
		if end == 0 {
			end = numberEnd(b, len(b)-len(skipSpace(b[i:])))
		}
		if end == 0 {
			return 0, 0
		}
		numbers++
		if i = end; i < len(b) && isSpace(b[i]) {
			i = len(b) - len(skipSpace(b[i:]))
		}
		switch {
		case i < len(b) && b[i] == ']':
			return i + 1, numbers
		case i < len(b) && b[i] != ',':
			return 0, 0
		}
	}
	return 0, 0
}

// numberEnd gives where the JSON number at b[i] ends, 0 when there is none.
func numberEnd(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	start := i
	if i = digitsEnd(b, i); i == start || b[start] == '0' && i > start+1 {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		start = i + 1
		if i = digitsEnd(b, start); i == start {
			return 0
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start = i
		if i = digitsEnd(b, start); i == start {
			return 0
		}
	}
	return i
}

func digitsEnd(b []byte, i int) int {
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	return i
}

// fractionEnd is numberEnd for what nearly all numbers of a vector are, as -0.0123456789,
// and faster; it gives 0 for any other. It looks at 16 bytes at once, so that it need not
// know where one thing ends before it looks for the next.
func fractionEnd(b []byte, i int) int {
	if i+16 > len(b) {
		return 0
	}
	f := (*[16]byte)(b[i:])
	sign := 0
	if f[0] == '-' { // compiled without a jump, which would be mispredicted for half the numbers
		sign = 1
	}
	point := sign + 1
	if f[sign]-'0' > 9 || f[point] != '.' {
		return 0
	}
	// Neither - nor . carries to the bytes after it.
	n := (bits.TrailingZeros64(noDigits((*[8]byte)(f[:]))>>(8*point+8)))/8 + point + 1
	if n > 8 {
		n = 8 + bits.TrailingZeros64(noDigits((*[8]byte)(f[8:])))/8
	}
	if n == point+1 || n == 16 || f[n]|0x20 == 'e' {
		return 0
	}
	return i + n
}

// noDigits marks the first byte that is not a digit: those have the high half 3, also when
// 6 is added. A carry goes from a byte that is no digit to those after it.
func noDigits(b *[8]byte) uint64 {
	const high, sixes, threes = 0xF0F0F0F0F0F0F0F0, 0x0606060606060606, 0x3333333333333333
	w := binary.LittleEndian.Uint64(b[:])
	return (w&high | (w+sixes)&high>>4) ^ threes
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }
