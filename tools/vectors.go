package tools

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

func (in *embedInput) output(model ollama.Name, place fleet.Place, resp *ollama.EmbedResponse) (embedOutput, error) {
	o := embedOutput{
		Model: model, Host: place.Host, Count: resp.Embeddings.Len(), Dimensions: resp.Embeddings.Dim(),
		Usage:  &embedUsage{resp.PromptEvalCount},
		Timing: &embedTiming{LoadMS: ms(place.LoadWait + resp.LoadDuration), TotalMS: ms(place.LoadWait + resp.TotalDuration)},
	}
	for i := range o.Count {
		if resp.Embeddings.Zero(i) {
			return embedOutput{}, &vectorError{i, "zeros alone"}
		}
	}
	var err error
	if o.Embeddings, err = in.encode(resp.Embeddings); err != nil {
		return embedOutput{}, err
	}
	o.Note = fmt.Sprintf("%s of %d", count(o.Count, "vector"), o.Dimensions)
	if in.Dimensions != 0 && in.Dimensions != o.Dimensions {
		o.Note += fmt.Sprintf("; the model cannot give %d", in.Dimensions)
	}
	return o, nil
}

// vectorError says that a vector is of no use: cosine with one of zeros is undefined.
type vectorError struct {
	item int
	what string
}

func (e *vectorError) Error() string {
	return fmt.Sprintf("the vector of input[%d] is useless: it has %s", e.item, e.what)
}

// encode gives the vectors in the encoding asked for.
func (in *embedInput) encode(vectors ollama.Vectors) (json.RawMessage, error) {
	if in.Encoding != "base64" {
		return vectors.JSON(), nil
	}
	b, numbers := []byte("["), []byte(nil)
	for i := range vectors.Len() {
		floats, err := vectors.Float32(i)
		if err != nil {
			return nil, &vectorError{i, "a number that float32 cannot hold"}
		}
		numbers = numbers[:0]
		for _, n := range floats {
			numbers = binary.LittleEndian.AppendUint32(numbers, math.Float32bits(n))
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = base64.StdEncoding.AppendEncode(append(b, '"'), numbers)
		b = append(b, '"')
	}
	return append(b, ']'), nil
}

// JSONParts is the output's JSON with the vectors in a part of their own, which is written
// as it came: encoding/json would read and copy it three times, tens of megabytes at times.
func (o *embedOutput) JSONParts() ([][]byte, error) {
	small := *o
	small.Embeddings = nil
	b, err := json.Marshal(small)
	key := []byte(`"embeddings":`) // not within a string, where its quotes would be escaped
	head, tail, _ := bytes.Cut(b, append(key, "null"...))
	return [][]byte{head, key, o.Embeddings, tail}, err
}
