package tools

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"ollama-mcp/ollama"
)

// embedding is an embed at work.
type embedding struct {
	batch
	base64  bool
	shelved bool             // the vectors are for the shelf
	vectors []ollama.Vectors // by the text of which the first of each is
	bytes   atomic.Int64     // of them, as JSON
}

// maxVectorBytes is what one call holds of vectors at most, as Ollama sends them.
const maxVectorBytes = 256 << 20

// The errors for vectors that no answer holds, and for those that no shelf does.
var (
	errTooMuch       = tooMuch(maxVectorBytes, "")
	errTooMuchToKeep = tooMuch(maxEntryBytes, ", or with inline set to true to have them all in the answer")
)

func tooMuch(most int64, or string) error {
	return &argumentError{fmt.Sprintf("the vectors take more than %d MB", most>>20), "Call again with fewer inputs at a time" + or}
}

// keep takes vectors. What would not fit on the shelf ends the call as soon as that is certain:
// base64 takes less room than JSON.
func (e *embedding) keep(at int, v ollama.Vectors) error {
	switch n := e.bytes.Add(int64(len(v.JSON()))); {
	case n > maxVectorBytes:
		return errTooMuch
	case n > maxEntryBytes && e.shelved && !e.base64:
		return errTooMuchToKeep
	}
	e.vectors[at] = v
	return nil
}

func (e *embedding) output(in *embedInput, start time.Time) (embedOutput, error) {
	vectors := e.encode()
	if e.failed() == len(in.Input) {
		return embedOutput{}, e.errs[0]
	}
	o := embedOutput{
		Model: e.request.Model, onHosts: e.where(), Dimensions: e.dim, Embeddings: vectors, Errors: e.itemErrors(),
		Usage: &embedUsage{e.tokens, e.cached}, Timing: e.timing(start),
	}
	o.Count = len(in.Input) - e.failed()
	o.Note = fmt.Sprintf("%s of %d", count(o.Count, "vector"), o.Dimensions)
	if in.Dimensions != 0 && in.Dimensions != o.Dimensions {
		o.Note += fmt.Sprintf("; the model cannot give %d", in.Dimensions)
	}
	if len(o.Errors) > 0 {
		o.Note += "; " + e.badOnes("input", o.Errors)
	}
	return o, nil
}

// vectorError says that a vector is of no use: cosine with one of zeros is undefined.
type vectorError struct {
	text string // whose it is, as "input[3]"
	what string
}

const (
	allZeros   = "zeros alone"
	notFloat32 = "a number that float32 cannot hold"
)

func (e *vectorError) Error() string {
	return fmt.Sprintf("the vector of %s is useless: it has %s", e.text, e.what)
}

// encode gives the vectors in the encoding asked for, with null for the bad ones, of which it
// finds those that the encoding cannot hold. What came whole in one request is not copied.
func (e *embedding) encode() json.RawMessage {
	if !e.base64 && e.vectors[0].Len() == len(e.vectors) && e.failed() == 0 {
		return e.vectors[0].JSON()
	}
	b := append(make([]byte, 0, e.bytes.Load()+int64(8*len(e.vectors))), '[')
	for at := 0; at < len(e.vectors); {
		v := e.vectors[at]
		for i := range max(v.Len(), 1) {
			b = append(e.append(b, v, i, at), ',')
			at++
		}
	}
	b[len(b)-1] = ']'
	return b
}

// append appends the i-th of v, which is that of the text at.
func (e *embedding) append(b []byte, v ollama.Vectors, i, at int) []byte {
	switch {
	case e.errs[at] != nil:
		return append(b, "null"...)
	case !e.base64:
		return append(b, v.Raw(i)...)
	}
	floats, err := v.Float32(i)
	if err != nil {
		e.bad(at, notFloat32)
		return append(b, "null"...)
	}
	numbers := make([]byte, 0, 4*len(floats))
	for _, n := range floats {
		numbers = binary.LittleEndian.AppendUint32(numbers, math.Float32bits(n))
	}
	b = base64.StdEncoding.AppendEncode(append(b, '"'), numbers)
	return append(b, '"')
}

// JSONParts is the output's JSON with the vectors in a part of their own, which is written
// as it came: encoding/json would read and copy it three times, tens of megabytes at times.
func (o *embedOutput) JSONParts() ([][]byte, error) {
	small := *o
	if o.Embeddings == nil {
		b, err := json.Marshal(small)
		return [][]byte{b}, err
	}
	small.Embeddings = json.RawMessage("null")
	return partsWith(o.Embeddings, small)
}

// JSONParts is their JSON, as that of embedOutput.
func (v keptVectors) JSONParts() ([][]byte, error) {
	vectors := v.Embeddings
	v.Embeddings = json.RawMessage("null")
	return partsWith(vectors, v)
}

// partsWith is the JSON of small, in which embeddings is null, with the vectors in its place.
func partsWith(vectors json.RawMessage, small any) ([][]byte, error) {
	b, err := json.Marshal(small)
	key := []byte(`"embeddings":`) // not within a string, where its quotes would be escaped
	head, tail, _ := bytes.Cut(b, append(key, "null"...))
	return [][]byte{head, key, vectors, tail}, err
}
