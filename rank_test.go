package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ollama-mcp/ollama/ollamatest"
)

// A thousand documents in front of a real Ollama, one of them too long for it, which only
// Ollama itself can tell: the others are ranked.
func TestRank(t *testing.T) {
	s := serve(t, ollamatest.NewReal(t).URL)
	documents := make([]string, 1000)
	for i := range documents {
		documents[i] = fmt.Sprintf("the sea %d", i)
	}
	documents[617] = strings.Repeat("x", 3000)
	documents[42] = "the golden moon"
	args, err := json.Marshal(map[string]any{"model": "tiny-embed", "query": "the golden moon", "documents": documents, "top_k": 5, "wait": 200})
	if err != nil {
		t.Fatal(err)
	}
	r, progress := s.call("rank", string(args))
	o := r.Structured
	if r.IsError || o.Ranked != 999 || len(o.Results) != 5 || o.Results[0].Index != 42 || o.Results[0].Score < 0.9999 {
		t.Errorf("rank of 1,000 = %+v, want 999 ranked, 42 first, which is the query", o)
	}
	if len(o.Errors) != 1 || o.Errors[0].Index != 617 || !strings.Contains(o.Errors[0].Message, "does not fit the context") {
		t.Errorf("rank of 1,000 = errors %+v, want 617, too long", o.Errors)
	}
	if len(progress) == 0 || progress[len(progress)-1].Params.Progress != 1000 {
		t.Errorf("rank of 1,000: %d reports of progress, the last %+v; want it to end at 1000", len(progress), progress)
	}
}

// Vectors behind a link are read from there.
func TestManyEmbeddings(t *testing.T) {
	s := serve(t, ollamatest.NewReal(t).URL)
	args := func(inline bool) string {
		return fmt.Sprintf(`{"model":"tiny-embed","inline":%v,"input":["the sea","the sky"%s]}`, inline, strings.Repeat(`,"the land"`, 38))
	}
	inline := s.must("embed", args(true)).Structured
	linked := s.must("embed", args(false)).Structured
	if len(inline.Embeddings) != 40 || linked.Count != 40 || linked.Embeddings != nil || linked.Link == "" {
		t.Fatalf("embed of 40 = %d vectors inline, %+v; want 40, and a link", len(inline.Embeddings), linked)
	}
	s.request("resources/read", map[string]any{"uri": linked.Link})
	var text string
	for text == "" {
		m := s.next()
		if m.Error != nil {
			t.Fatalf("read of %s = %s", linked.Link, m.Error)
		}
		if m.Result != nil {
			text = m.Result.Contents[0].Text
		}
	}
	var kept struct{ Embeddings [][]float64 }
	if err := json.Unmarshal([]byte(text), &kept); err != nil || len(kept.Embeddings) != 40 {
		t.Fatalf("read of %s = %.200s, %v; want 40 vectors", linked.Link, text, err)
	}
	for i, v := range inline.Embeddings {
		if len(v) != 64 || v[0] != kept.Embeddings[i][0] {
			t.Errorf("vector %d is %v inline, %v behind the link", i, v[0], kept.Embeddings[i][0])
		}
	}
}
