package ollamatest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
)

// Model says which tiny model WriteModel writes. The zero value is a chat model that talks until num_predict stops it.
//
// The model knows a few dozen English words and the 256 bytes. Its weights are noise from a seeded generator, except
// for two rigged dimensions of its hidden state: they make it say words, end a line of words with a full stop now
// and then, and close a JSON string when a format asks for one. It runs on any CPU at about 1 ms a token.
type Model struct {
	// Embedding makes a model that Ollama lists with the capability "embedding" and without "completion".
	Embedding bool
	// Stops makes a chat model that ends its answer by itself after a line or two (done_reason "stop").
	Stops bool
	// Seed picks the weights: models of different seeds say different things and have different digests.
	Seed uint64
}

// The size of the model. A file is about 500 kB, nearly all of it F32 weights.
const (
	modelBlocks    = 2
	modelHeads     = 4
	modelContext   = 2048
	modelNormEps   = 1e-5
	modelAlignment = 32 // of the tensor data, in bytes; GGUF's default

	// EmbeddingLength is the number of dimensions of a tiny model's embeddings.
	EmbeddingLength = 64
	feedForward     = 2 * EmbeddingLength
)

// Token numbers: three control tokens, the 256 bytes, the words, and each word again with a full stop.
const (
	tokenUnknown = iota
	tokenBegin
	tokenEnd
	tokenByte0
	tokenWord0 = tokenByte0 + 256
)

// How the vocabulary marks its tokens (tokenizer.ggml.token_type).
const (
	tokenTypeNormal  = 1
	tokenTypeUnknown = 2
	tokenTypeControl = 3
	tokenTypeByte    = 6
)

// The rigged dimensions. No layer writes to them, so what a token's embedding puts there reaches the output.
const (
	// dimBias is 1 for every token: an output weight on it is a constant head start.
	dimBias = 0
	// dimFullStop is fullStopSignal after a word with a full stop, and 0 after everything else.
	dimFullStop = 1

	fullStopSignal = 6
	// wordBias lifts the words over the bytes, whose score is 0.
	wordBias = 6
	// A full stop lifts the line break far over the words, and the quote halfway. So free text goes on in a new
	// line; inside a JSON string, where a raw line break is not allowed, the string ends.
	newlineAfterStop = 6
	quoteAfterStop   = 4
)

// modelWords is what a tiny model can say. None is longer than what a reader can check at a glance.
var modelWords = [...]string{
	"amber", "autumn", "bird", "bridge", "cloud", "coast", "dawn", "field", "forest", "garden", "gentle", "golden",
	"harbor", "hill", "lantern", "leaf", "light", "meadow", "moon", "morning", "mountain", "ocean", "quiet", "rain",
	"river", "road", "silver", "sky", "snow", "song", "star", "stone", "summer", "tree", "valley", "wind",
}

// closingWords is how many of the words can also end a line. It sets the length of a line: one word in seven or so.
const closingWords = 6

// WriteModel writes m to w as a GGUF file, version 3. The same m gives the same bytes on every machine.
// The error is w's.
func WriteModel(w io.Writer, m Model) error {
	tensors := m.tensors()
	var e ggufEncoder
	e.header(len(tensors), m.metadata())
	offset := 0
	for _, t := range tensors {
		e.tensorInfo(t, offset)
		offset += t.paddedSize()
	}
	e.pad()
	for _, t := range tensors {
		e.floats(t.values)
		e.pad()
	}
	if _, err := w.Write(e.buf.Bytes()); err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	return nil
}

// metadata returns the keys that Ollama 0.17.4 and its llama runner ask of a llama model, in file order.
func (m Model) metadata() []ggufKey {
	tokens, scores, types := vocabulary()
	keys := []ggufKey{
		{"general.architecture", "llama"},
		{"general.name", "tiny"},
		{"general.file_type", uint32(0)}, // all F32
		{"llama.block_count", uint32(modelBlocks)},
		{"llama.context_length", uint32(modelContext)},
		{"llama.embedding_length", uint32(EmbeddingLength)},
		{"llama.feed_forward_length", uint32(feedForward)},
		{"llama.attention.head_count", uint32(modelHeads)},
		{"llama.attention.head_count_kv", uint32(modelHeads)},
		{"llama.attention.layer_norm_rms_epsilon", float32(modelNormEps)},
		{"llama.rope.dimension_count", uint32(EmbeddingLength / modelHeads)},
		{"llama.vocab_size", uint32(len(tokens))},
		{"tokenizer.ggml.model", "llama"},
		{"tokenizer.ggml.tokens", tokens},
		{"tokenizer.ggml.scores", scores},
		{"tokenizer.ggml.token_type", types},
		{"tokenizer.ggml.unknown_token_id", uint32(tokenUnknown)},
		{"tokenizer.ggml.bos_token_id", uint32(tokenBegin)},
		{"tokenizer.ggml.eos_token_id", uint32(tokenEnd)},
	}
	if m.Embedding {
		// The key alone makes Ollama call it an embedding model; the runner ignores its value for this architecture
		// and returns the last token's state.
		const poolingMean = 1
		keys = append(keys, ggufKey{"llama.pooling_type", uint32(poolingMean)})
	}
	return keys
}

// vocabulary returns the text, score and type of every token. A leading "▁" stands for a space.
func vocabulary() (tokens []string, scores []float32, types []int32) {
	add := func(text string, kind int32) {
		tokens = append(tokens, text)
		scores = append(scores, 0)
		types = append(types, kind)
	}
	add("<unk>", tokenTypeUnknown)
	add("<s>", tokenTypeControl)
	add("</s>", tokenTypeControl)
	for b := range 256 {
		add(fmt.Sprintf("<0x%02X>", b), tokenTypeByte)
	}
	for _, word := range modelWords {
		add("▁"+word, tokenTypeNormal)
	}
	for _, word := range modelWords[:closingWords] {
		add("▁"+word+".", tokenTypeNormal)
	}
	return tokens, scores, types
}

// The number of tokens, and the first of those that end in a full stop.
const (
	tokenClosing0 = tokenWord0 + len(modelWords)
	tokenCount    = tokenClosing0 + closingWords
)

// tensors returns the weights in file order.
func (m Model) tensors() []tensor {
	n := noise{rand.NewPCG(m.Seed, uint64(len("tiny")))}
	embd := n.matrix("token_embd.weight", EmbeddingLength, tokenCount, 1)
	for token := range tokenCount {
		row := embd.row(token)
		row[dimBias], row[dimFullStop] = 1, 0
		if token >= tokenClosing0 {
			row[dimFullStop] = fullStopSignal
		}
	}
	all := []tensor{embd}
	for block := range modelBlocks {
		all = append(all, n.block(block)...)
	}
	return append(all, ones("output_norm.weight"), m.output(n))
}

// output returns the matrix that scores each token as the next one. All rows but those rigged here stay zero.
func (m Model) output(n noise) tensor {
	const wordContrast = 0.2 // how strongly the words before decide the next one
	out := n.matrix("output.weight", EmbeddingLength, tokenCount, wordContrast)
	for token := range tokenCount {
		row := out.row(token)
		if token < tokenWord0 {
			clear(row)
			continue
		}
		row[dimBias], row[dimFullStop] = wordBias, 0
	}
	out.row(tokenByte0 + '\n')[dimFullStop] = newlineAfterStop
	out.row(tokenByte0 + '"')[dimFullStop] = quoteAfterStop
	if m.Stops {
		out.row(tokenEnd)[dimFullStop] = newlineAfterStop
	}
	return out
}

// noise draws weights. It takes raw bits, not rand.Rand's floats, because only the bits are promised never to change.
type noise struct{ source *rand.PCG }

// matrix returns rows×cols weights, even between -scale and scale.
func (n noise) matrix(name string, cols, rows int, scale float32) tensor {
	const bits = 24 // what a float32 holds exactly
	t := tensor{name: name, shape: []int{cols, rows}, values: make([]float32, cols*rows)}
	for i := range t.values {
		t.values[i] = float32(int64(n.source.Uint64()>>(64-bits))-1<<(bits-1)) * (scale / (1 << (bits - 1)))
	}
	return t
}

// block returns the weights of one transformer block. The scales keep its sums near 1; attention counts more than
// the rest, because an embedding is the last token's state and should depend on the whole text.
func (n noise) block(i int) []tensor {
	const (
		attentionScale = 0.2
		mixScale       = 0.6
		forwardScale   = 0.1
	)
	name := func(part string) string { return fmt.Sprintf("blk.%d.%s.weight", i, part) }
	square := func(part string, scale float32) tensor {
		return n.matrix(name(part), EmbeddingLength, EmbeddingLength, scale)
	}
	block := []tensor{
		ones(name("attn_norm")),
		square("attn_q", attentionScale),
		square("attn_k", attentionScale),
		square("attn_v", attentionScale),
		square("attn_output", mixScale),
		ones(name("ffn_norm")),
		n.matrix(name("ffn_gate"), EmbeddingLength, feedForward, forwardScale),
		n.matrix(name("ffn_up"), EmbeddingLength, feedForward, forwardScale),
		n.matrix(name("ffn_down"), feedForward, EmbeddingLength, forwardScale),
	}
	for _, t := range block {
		if t.name == name("attn_output") || t.name == name("ffn_down") {
			clear(t.row(dimBias))
			clear(t.row(dimFullStop))
		}
	}
	return block
}

// tensor is one named array of weights. Its first dimension runs fastest.
type tensor struct {
	name   string
	shape  []int
	values []float32
}

// ones returns a vector of ones, which as a norm's weight changes nothing.
func ones(name string) tensor {
	t := tensor{name: name, shape: []int{EmbeddingLength}, values: make([]float32, EmbeddingLength)}
	for i := range t.values {
		t.values[i] = 1
	}
	return t
}

// row returns row i of a matrix. Writing to it writes to the matrix.
func (t tensor) row(i int) []float32 {
	cols := t.shape[0]
	return t.values[i*cols : (i+1)*cols]
}

// paddedSize is how many bytes the weights take in the file.
func (t tensor) paddedSize() int {
	const float32Size = 4
	size := len(t.values) * float32Size
	return (size + modelAlignment - 1) / modelAlignment * modelAlignment
}

// ggufKey is one entry of a file's metadata. Its value is a uint32, float32, string, or a slice of string, float32 or
// int32.
type ggufKey struct {
	name  string
	value any
}

// Codes of the GGUF format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
const (
	ggufMagic   = "GGUF"
	ggufVersion = 3

	ggufUint32  = 4
	ggufInt32   = 5
	ggufFloat32 = 6
	ggufString  = 8
	ggufArray   = 9

	ggmlTypeF32 = 0
)

// ggufEncoder builds a GGUF file in memory, little-endian.
type ggufEncoder struct{ buf bytes.Buffer }

func (e *ggufEncoder) uint32(v uint32) {
	e.buf.Write(binary.LittleEndian.AppendUint32(e.buf.AvailableBuffer(), v))
}

func (e *ggufEncoder) uint64(v uint64) {
	e.buf.Write(binary.LittleEndian.AppendUint64(e.buf.AvailableBuffer(), v))
}

func (e *ggufEncoder) string(s string) {
	e.uint64(uint64(len(s)))
	e.buf.WriteString(s)
}

func (e *ggufEncoder) floats(values []float32) {
	for _, v := range values {
		e.uint32(math.Float32bits(v))
	}
}

func (e *ggufEncoder) header(tensors int, keys []ggufKey) {
	e.buf.WriteString(ggufMagic)
	e.uint32(ggufVersion)
	e.uint64(uint64(tensors))
	e.uint64(uint64(len(keys)))
	for _, k := range keys {
		e.string(k.name)
		e.value(k.value)
	}
}

func (e *ggufEncoder) value(v any) {
	switch v := v.(type) {
	case uint32:
		e.uint32(ggufUint32)
		e.uint32(v)
	case float32:
		e.uint32(ggufFloat32)
		e.floats([]float32{v})
	case string:
		e.uint32(ggufString)
		e.string(v)
	case []string:
		e.array(ggufString, len(v))
		for _, s := range v {
			e.string(s)
		}
	case []float32:
		e.array(ggufFloat32, len(v))
		e.floats(v)
	case []int32:
		e.array(ggufInt32, len(v))
		for _, n := range v {
			e.uint32(uint32(n))
		}
	default:
		panic(fmt.Sprintf("ollamatest: no GGUF encoding for a %T", v)) // metadata is a list in this file
	}
}

func (e *ggufEncoder) array(elem uint32, n int) {
	e.uint32(ggufArray)
	e.uint32(elem)
	e.uint64(uint64(n))
}

// tensorInfo announces t, whose weights start at offset in the tensor data.
func (e *ggufEncoder) tensorInfo(t tensor, offset int) {
	e.string(t.name)
	e.uint32(uint32(len(t.shape)))
	for _, n := range t.shape {
		e.uint64(uint64(n))
	}
	e.uint32(ggmlTypeF32)
	e.uint64(uint64(offset))
}

func (e *ggufEncoder) pad() {
	for e.buf.Len()%modelAlignment != 0 {
		e.buf.WriteByte(0)
	}
}
