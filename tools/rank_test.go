package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// A thousand documents, one of them poison: the others are ranked, in few requests.
func TestRankOfAThousand(t *testing.T) {
	documents := numbered(1000, 2000)
	documents[617] = "poison"
	onFake(t, ollamatest.Script{Vector: circle}, fleet.Options{}, func(b *bench) {
		var last Progress
		args := arguments(t, map[string]any{"query": "q", "documents": documents, "top_k": 3})
		b.tool("rank").Call(b.t.Context(), json.RawMessage(args), "r", func(p Progress) {
			if p.Done < last.Done {
				t.Errorf("progress went back from %v to %v", last.Done, p.Done)
			}
			last = p
		})
		if last.Done != 1000 || last.Total != 1000 {
			t.Errorf("the last progress is %v of %v, want 1000 of 1000", last.Done, last.Total)
		}
		if n := b.fake.Seen().Requests["/api/embed"]; n > 50 {
			t.Errorf("%d requests, want a load, the query, 32 chunks, and 10 to find the bad document", n)
		}
		r := b.call(b.t.Context(), "rank", args)
		got, _ := json.Marshal([]any{r.fields["ranked"], r.fields["results"], r.fields["errors"]})
		want := `[999,[{"index":999,"score":0.999999},{"index":998,"score":0.999995},{"index":997,"score":0.999989}],` +
			`[{"index":617,"message":"Ollama refused the request: embedding contains NaN or Inf values"}]]`
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("rank of 1,000 (-want +got):\n%s", diff)
		}
		words := []string{"999 (1.0000), 998 (1.0000), 997 (1.0000)",
			"The best 3 of 999 documents ranked, as index and score. 1 document failed, at 617 (Ollama refused the request: embedding contains NaN or Inf values)."}
		if diff := cmp.Diff(words, r.content); diff != "" {
			t.Errorf("the words of rank (-want +got):\n%s", diff)
		}
	})
}

// Bad documents are left out however many they are and wherever they stand.
func TestRankLeavesOutABlock(t *testing.T) {
	documents := numbered(1000, 0)
	for i := range 160 {
		documents[i] = "poison"
	}
	onFake(t, ollamatest.Script{Vector: circle}, fleet.Options{}, func(b *bench) {
		r := b.call(b.t.Context(), "rank", arguments(t, map[string]any{"query": "q", "documents": documents, "top_k": 1, "wait": 1000}))
		if r.fields["ranked"] != 840.0 || r.indices("results") != "999" || len(r.fields["errors"].([]any)) != maxItemErrors {
			t.Errorf("rank of 1,000 of which the first 160 are bad: %.500s; want the other 840 ranked, and 100 errors", r.everything())
		}
	})
}

func TestRank(t *testing.T) {
	tests := []struct{ name, args, results, errors, kind, phrase string }{
		{"threshold", `{"query":"q","documents":["900","100","200"],"threshold":0.9}`, "1 2", "", "", "best 2 of 3 documents"},
		{"none above it", `{"query":"q","documents":["900"],"threshold":0.9}`, "", "", "", "best 0 of 1 document"},
		{"equals stay in order", `{"query":"q","top_k":16,"documents":["5","1"` + strings.Repeat(`,"5","1"`, 9) + `]}`, "1 3 5 7 9 11 13 15 17 19 0 2 4 6 8 10", "", "", ""},
		{"ten by default", arguments(t, map[string]any{"query": "q", "documents": numbered(40, 0)}), "39 38 37 36 35 34 33 32 31 30", "", "", "best 10 of 40"},
		{"zeros and too long", arguments(t, map[string]any{"query": "q", "documents": []string{"nothing", "7", strings.Repeat("1 ", 9000)}}), "1", "0 2", "", "at 0, 2"},
		{"cut", arguments(t, map[string]any{"query": "q", "truncate": true, "documents": []string{strings.Repeat("1 ", 9000)}}), "0", "", "", ""},
		{"all bad", `{"query":"q","documents":["nothing","poison"]}`, "", "", kindBadVector, "documents[0]"},
		{"the query is bad", `{"query":"nothing","documents":["1"]}`, "", "", kindBadVector, "the vector of query"},
		{"the query is poison", `{"query":"poison","documents":["1"]}`, "", "", string(ollama.Invalid), "NaN"},
		{"no documents", `{"query":"q","documents":[]}`, "", "", InvalidArguments, "documents"},
		{"a model that cannot", `{"model":"nowhere","query":"q","documents":["1"]}`, "", "", string(ollama.MissingModel), "nowhere"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onFake(t, ollamatest.Script{Vector: circle}, fleet.Options{}, func(b *bench) {
				r := b.call(b.t.Context(), "rank", tt.args)
				kind := ""
				if r.error != nil {
					kind = r.error.Kind
				}
				if got := r.indices("results"); got != tt.results || r.indices("errors") != tt.errors || kind != tt.kind {
					t.Errorf("rank(%.80s): results %q, errors %q, %+v; want %q, %q, kind %q", tt.args, got, r.indices("errors"), r.error, tt.results, tt.errors, tt.kind)
				}
				if words := strings.Join(r.content, "\n"); !strings.Contains(words, tt.phrase) {
					t.Errorf("rank(%.80s): words %q, want %q in them", tt.args, words, tt.phrase)
				}
			})
		})
	}
}

func TestPanicOfOneChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &embedder{answer: func(texts []string) error {
			if slices.Contains(texts, "40 ") {
				panic("secret")
			}
			return nil
		}}
		tool := rank(named, e.embed, false)
		p := ProblemOf(tool.Call(t.Context(), json.RawMessage(arguments(t, map[string]any{"model": "m", "query": "q", "documents": numbered(100, 0)})), "r7", nil))
		if p == nil || p.Kind != kindInternal || strings.Contains(p.sentence(), "secret") {
			t.Errorf("rank with a chunk that panics: %+v, want kind internal and nothing of the panic", p)
		}
	})
}

func TestVectorsOfAnotherLength(t *testing.T) {
	asked := 0
	tool := rank(named, func(context.Context, *ollama.EmbedRequest, string, fleet.Watch) (*ollama.EmbedResponse, error) {
		asked++
		var resp ollama.EmbedResponse
		return &resp, resp.Embeddings.UnmarshalJSON([]byte([]string{"[[1,2]]", "[[1,2,3]]"}[asked-1]))
	}, false)
	p := ProblemOf(tool.Call(t.Context(), json.RawMessage(`{"model":"m","query":"q","documents":["d"]}`), "r", nil))
	if p == nil || p.Kind != string(ollama.Failed) || !strings.Contains(p.Message, "3 numbers after one of 2") {
		t.Errorf("rank with vectors of another length than the query's: %+v, want to be told so", p)
	}
}

func TestPrefixes(t *testing.T) {
	for model, want := range map[string]string{
		"nomic-embed-text": "search_query: q|search_document: d",
		"hf.co/nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0": "search_query: q|search_document: d",
		"mxbai-embed-large:335m":                         represent + "q|d",
		"snowflake-arctic-embed:22m":                     represent + "q|d",
		"snowflake-arctic-embed2":                        "query: q|d",
		"someone/multilingual-e5-large-instruct":         retrieve + " q|d",
		"someone/multilingual-e5-small":                  "query: q|passage: d",
		"qwen3-embedding:0.6b":                           retrieve + "q|d",
		"embeddinggemma":                                 "task: search result | query: q|title: none | text: d",
		"bge-m3":                                         "q|d",
		"nomic-embed-text/other":                         "q|d",
	} {
		synctest.Test(t, func(t *testing.T) {
			e := &embedder{}
			tool := rank(named, e.embed, false)
			tool.Call(t.Context(), json.RawMessage(arguments(t, map[string]any{"model": model, "query": "q", "documents": []string{"d"}})), "r", nil)
			if got := strings.Join(e.texts, "|"); got != want {
				t.Errorf("rank with %s embeds %q, want %q", model, got, want)
			}
		})
	}
}

func TestRankAsJob(t *testing.T) {
	onFake(t, ollamatest.Script{Vector: circle, LoadDelay: 3 * time.Second}, fleet.Options{}, func(b *bench) {
		job, _ := b.becomes(b.t.Context(), "rank", `{"query":"q","documents":["9","1"],"wait":1}`)
		r := b.call(b.t.Context(), "jobs", fmt.Sprintf(`{"id":%q,"wait":50}`, job))
		if got, _ := json.Marshal(r.field("result.results")); !strings.HasPrefix(string(got), `[{"index":1,`) {
			t.Errorf("rank as a job: %s, want document 1 first", r.everything())
		}
	})
}
