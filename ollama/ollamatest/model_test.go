package ollamatest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"ollama-mcp/ollama/ollamatest"
)

func TestModelBytesNeverChange(t *testing.T) {
	// The digests change only with the model itself: then, and only then, replace them.
	for _, c := range []struct {
		model  ollamatest.Model
		sha256 string
	}{
		{ollamatest.Model{}, "8a494bd7df3f3ea53e3687afa1c12019d44298ab5f67c76ca1e8569cc2465bda"},
		{ollamatest.Model{Embedding: true}, "7cdfe8e6466e939f4c108a0b154d794477efabea10e6bebafe20f17131f29d39"},
		{ollamatest.Model{Stops: true}, "f1899ec497355c3c2df6eef3ef142e0f80c7e1a6ce24ca78020db850e2985cf1"},
		{ollamatest.Model{Seed: 7}, "64d68d867e4a5a8d81ba4347dd1b13d1eb9d24bc8155f615278581b72f5dd1eb"},
	} {
		if got := fmt.Sprintf("%x", sha256.Sum256(modelBytes(t, c.model))); got != c.sha256 {
			t.Errorf("WriteModel(%+v) has sha256 %s, want %s", c.model, got, c.sha256)
		}
	}
}

func TestModelParsesBack(t *testing.T) {
	file := modelBytes(t, ollamatest.Model{})
	if n := len(file); n < 400_000 || n > 600_000 {
		t.Errorf("the model has %d bytes, want about 500000", n)
	}
	g := readGGUF(t, file)
	for key, want := range map[string]any{
		"general.architecture":      "llama",
		"llama.context_length":      uint32(2048),
		"llama.embedding_length":    uint32(ollamatest.EmbeddingLength),
		"tokenizer.ggml.model":      "llama",
		"llama.pooling_type":        nil,
		"llama.block_count":         uint32(2),
		"general.file_type":         uint32(0),
		"llama.vocab_size":          uint32(len(g.keys["tokenizer.ggml.tokens"].([]any))),
		"tokenizer.ggml.merges":     nil,
		"tokenizer.chat_template":   nil,
		"llama.feed_forward_length": uint32(128),
	} {
		if got := g.keys[key]; got != want {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
	tokens := len(g.keys["tokenizer.ggml.tokens"].([]any))
	for _, list := range []string{"tokenizer.ggml.scores", "tokenizer.ggml.token_type"} {
		if n := len(g.keys[list].([]any)); n != tokens {
			t.Errorf("%s has %d entries for %d tokens", list, n, tokens)
		}
	}
	for name, want := range map[string]string{
		"token_embd.weight":      fmt.Sprint([]uint64{64, uint64(tokens)}),
		"output.weight":          fmt.Sprint([]uint64{64, uint64(tokens)}),
		"output_norm.weight":     "[64]",
		"blk.0.attn_q.weight":    "[64 64]",
		"blk.1.attn_norm.weight": "[64]",
		"blk.1.ffn_gate.weight":  "[64 128]",
		"blk.1.ffn_down.weight":  "[128 64]",
	} {
		if got := fmt.Sprint(g.shapes[name]); got != want {
			t.Errorf("%s has shape %s, want %s", name, got, want)
		}
	}
	if n := len(g.shapes); n != 3+2*9 {
		t.Errorf("%d tensors, want %d", n, 3+2*9)
	}
}

func TestEmbeddingModelSaysSo(t *testing.T) {
	keys := readGGUF(t, modelBytes(t, ollamatest.Model{Embedding: true})).keys
	if _, ok := keys["llama.pooling_type"]; !ok {
		t.Error("no llama.pooling_type, by which Ollama knows an embedding model")
	}
}

func TestWriteModelReturnsTheWritersError(t *testing.T) {
	r, w := io.Pipe()
	r.CloseWithError(io.ErrNoProgress)
	if err := ollamatest.WriteModel(w, ollamatest.Model{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want %v", err, io.ErrNoProgress)
	}
}

func modelBytes(t *testing.T, m ollamatest.Model) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := ollamatest.WriteModel(&file, m); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// ggufFile is what readGGUF, written from the format's description and not from the writer, finds in a file.
type ggufFile struct {
	keys   map[string]any
	shapes map[string][]uint64
}

// readGGUF reads a whole file. It fails the test where tensors overlap, leave gaps or hold a number that is not one.
func readGGUF(t *testing.T, file []byte) ggufFile {
	t.Helper()
	r := ggufReader{t: t, Reader: bytes.NewReader(file)}
	if magic := string(r.bytes(4)); magic != "GGUF" {
		t.Fatalf("magic %q", magic)
	}
	if version := r.u32(); version != 3 {
		t.Fatalf("version %d", version)
	}
	g := ggufFile{keys: map[string]any{}, shapes: map[string][]uint64{}}
	tensors, keys := r.u64(), r.u64()
	for range keys {
		name := r.str()
		g.keys[name] = r.value(r.u32())
	}
	var end uint64 // of the tensors so far, in the tensor data
	for range tensors {
		name := r.str()
		numbers := uint64(1)
		for range r.u32() {
			n := r.u64()
			g.shapes[name] = append(g.shapes[name], n)
			numbers *= n
		}
		if kind := r.u32(); kind != 0 {
			t.Errorf("%s has type %d, want F32", name, kind)
		}
		if offset := r.u64(); offset != end {
			t.Errorf("%s starts at %d, want %d", name, offset, end)
		}
		end = (end + 4*numbers + 31) / 32 * 32
	}
	r.bytes(int(-(r.Size() - int64(r.Len())) & 31)) // the data starts at a multiple of 32
	if uint64(r.Len()) != end {
		t.Errorf("%d bytes of tensor data, want %d", r.Len(), end)
	}
	for r.Len() > 0 {
		if f := float64(r.f32()); math.IsNaN(f) || math.IsInf(f, 0) {
			t.Fatalf("a weight is %v", f)
		}
	}
	return g
}

type ggufReader struct {
	t *testing.T
	*bytes.Reader
}

func (r ggufReader) bytes(n int) []byte {
	r.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r ggufReader) u32() uint32  { return binary.LittleEndian.Uint32(r.bytes(4)) }
func (r ggufReader) u64() uint64  { return binary.LittleEndian.Uint64(r.bytes(8)) }
func (r ggufReader) f32() float32 { return math.Float32frombits(r.u32()) }
func (r ggufReader) str() string  { return string(r.bytes(int(r.u64()))) }

func (r ggufReader) value(kind uint32) any {
	switch kind {
	case 4:
		return r.u32()
	case 5:
		return int32(r.u32())
	case 6:
		return r.f32()
	case 8:
		return r.str()
	case 9:
		elem := r.u32()
		list := make([]any, r.u64())
		for i := range list {
			list[i] = r.value(elem)
		}
		return list
	}
	r.t.Fatalf("a value of type %d", kind)
	return nil
}
