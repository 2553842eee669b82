package tools

import (
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
		v, err := in.encode(resp.Embeddings, i)
		if err != nil {
			return embedOutput{}, err
		}
		o.Embeddings = append(o.Embeddings, v)
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

// encode gives a vector in the encoding asked for.
func (in *embedInput) encode(vectors ollama.Vectors, i int) (json.RawMessage, error) {
	if in.Encoding != "base64" {
		return vectors.Raw(i), nil
	}
	numbers, err := vectors.Float32(i)
	if err != nil {
		return nil, &vectorError{i, "a number that float32 cannot hold"}
	}
	b := make([]byte, 0, 4*len(numbers))
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(n))
	}
	return json.RawMessage(`"` + base64.StdEncoding.EncodeToString(b) + `"`), nil
}
