package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// Bad inputs are left out, wherever they stand, and the vectors stay in their places.
func TestEmbedLeavesOutBadInputs(t *testing.T) {
	for _, encoding := range []string{"float", "base64"} {
		for _, bad := range [][]int{{0}, {31, 32}, {69}, {3, 40, 41}, {0, 1, 2, 3, 4, 5}} {
			input := numbered(70, 0)
			for i, at := range bad {
				input[at] = []string{"poison", "nothing"}[i%2]
			}
			onFake(t, ollamatest.Script{Vector: circle}, fleet.Options{}, func(b *bench) {
				alone := b.call(b.t.Context(), "embed", arguments(t, map[string]any{"input": []string{"1"}, "encoding": encoding}))
				r := b.call(b.t.Context(), "embed", arguments(t, map[string]any{"input": input, "encoding": encoding, "inline": true}))
				vectors := r.fields["embeddings"].([]any)
				var null []int
				for i, v := range vectors {
					if v == nil {
						null = append(null, i)
					}
				}
				if diff := cmp.Diff(bad, null); diff != "" || len(vectors) != 70 || r.fields["count"] != float64(70-len(bad)) {
					t.Errorf("embed of 70 with %v bad: %d vectors, count %v, null at (-want +got):\n%s", bad, len(vectors), r.fields["count"], diff)
				}
				if got, want := r.indices("errors"), strings.Trim(fmt.Sprint(bad), "[]"); got != want || !strings.Contains(r.content[0], "failed, at ") {
					t.Errorf("embed of 70 with %v bad: errors %s, words %q", bad, got, r.content)
				}
				if last := alone.fields["embeddings"].([]any)[0]; bad[0] != 69 && !cmp.Equal(vectors[69], last) {
					t.Errorf("embed of 70: the last vector is %v, want %v", vectors[69], last)
				}
			})
		}
	}
}

func TestEmbedOfBadInputsAlone(t *testing.T) {
	onFake(t, ollamatest.Script{Vector: circle}, fleet.Options{}, func(b *bench) {
		for text, kind := range map[string]string{"poison": string(ollama.Invalid), "nothing": kindBadVector} {
			if r := b.call(b.t.Context(), "embed", fmt.Sprintf(`{"input":[%q,%[1]q]}`, text)); r.error == nil || r.error.Kind != kind || r.fields["embeddings"] != nil {
				t.Errorf("embed of %s alone: %s, want kind %s", text, r.everything(), kind)
			}
		}
	})
}

// read reads a link as a caller does.
func read(ctx context.Context, t *testing.T, s *Shelf, link string) (v keptVectors, err error) {
	t.Helper()
	id, ok := strings.CutPrefix(link, "ollama://embeddings/")
	if !ok || len(id) < 26 {
		t.Fatalf("link %q, want one with an id of 128 bits", link)
	}
	content, err := s.Read(ctx, id)
	v, _ = content.(keptVectors)
	return v, err
}

// Many vectors are behind a link, which the caller alone can read, until their time is over.
func TestManyVectorsAreBehindALink(t *testing.T) {
	input := numbered(17, 0)
	input[4] = "poison"
	for _, encoding := range []string{"float", "base64"} {
		onFake(t, ollamatest.Script{Vector: circle}, fleet.Options{}, func(b *bench) {
			inline := b.call(as("ci"), "embed", arguments(t, map[string]any{"input": input, "encoding": encoding, "inline": true}))
			r := b.call(as("ci"), "embed", arguments(t, map[string]any{"input": input, "encoding": encoding}))
			link, _ := r.fields["link"].(string)
			block, _ := r.Content[len(r.Content)-1].(mcp.ResourceLink)
			if block.URI != link || block.Type != "resource_link" || r.fields["embeddings"] != nil || r.fields["count"] != 16.0 || !strings.Contains(r.content[0], link) {
				t.Fatalf("embed of 17: %s, last content %+v; want a link to 16 vectors", r.everything(), block)
			}
			shelf := b.shelf
			v, err := read(as("ci"), t, shelf, link)
			want, _ := json.Marshal(inline.fields["embeddings"])
			var got, wanted any
			_, _ = json.Unmarshal(v.Embeddings, &got), json.Unmarshal(want, &wanted)
			if diff := cmp.Diff(wanted, got); err != nil || diff != "" || v.Encoding != encoding || v.Count != 16 || v.Dimensions != 2 || len(v.Errors) != 1 {
				t.Errorf("the vectors behind the link: %+v, %v (-want +got):\n%s", v, err, diff)
			}
			if _, err := read(as("other"), t, shelf, link); err != ErrNoEmbedding {
				t.Errorf("another caller reads the link: %v, want ErrNoEmbedding", err)
			}
			time.Sleep(time.Hour - time.Second) // fake time
			if _, err := read(as("ci"), t, shelf, link); err != nil {
				t.Errorf("a second before the end: %v", err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if _, err := read(as("ci"), t, shelf, link); err != ErrNoEmbedding || shelf.bytes != 0 {
				t.Errorf("after an hour: %v and %d bytes, want ErrNoEmbedding and none", err, shelf.bytes)
			}
		})
	}
}

// A number that float32 cannot hold is one only where it is asked for.
func TestEmbedOfHugeNumbers(t *testing.T) {
	tool := embed(named, func(context.Context, *ollama.EmbedRequest, string, fleet.Watch) (*ollama.EmbedResponse, error) {
		var resp ollama.EmbedResponse
		return &resp, resp.Embeddings.UnmarshalJSON([]byte(`[[1e300],[1]]`))
	}, nil, false)
	for encoding, want := range map[string]string{"float": `[[1e300],[1]]`, "base64": `[null,"AACAPw=="]`} {
		r := tool.Call(t.Context(), json.RawMessage(fmt.Sprintf(`{"model":"m","input":["a","b"],"encoding":%q}`, encoding)), "r", nil)
		o, ok := r.StructuredContent.(*embedOutput)
		if !ok || string(o.Embeddings) != want || (len(o.Errors) == 1) != (encoding == "base64") {
			t.Errorf("embed of huge numbers as %s: %+v, want %s", encoding, r.StructuredContent, want)
		}
	}
}

func TestWithoutAShelf(t *testing.T) {
	tool := embed(named, (&embedder{}).embed, nil, false)
	p := ProblemOf(tool.Call(t.Context(), json.RawMessage(arguments(t, map[string]any{"model": "m", "input": numbered(17, 0)})), "r", nil))
	if p == nil || p.Kind != InvalidArguments || !strings.Contains(p.Hint, "inline") {
		t.Errorf("embed of 17 without a shelf: %+v, want to be told of inline", p)
	}
}

func TestShelfIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := json.RawMessage(make([]byte, maxEntryBytes+1))
		s := NewShelf(time.Hour)
		const most = maxShelvedBytes / maxEntryBytes
		var ids []string
		for range most + 1 {
			id, ok := s.put(t.Context(), keptVectors{Embeddings: large[1:]})
			if ids = append(ids, id); !ok {
				t.Fatalf("put of %d bytes: no room", maxEntryBytes)
			}
		}
		for i, id := range ids {
			if _, err := s.Read(t.Context(), id); (err == nil) != (i > 0) {
				t.Errorf("read of number %d of %d, of which %d fit: %v", i, most+1, most, err)
			}
		}
		if _, ok := s.put(t.Context(), keptVectors{Embeddings: large}); ok || len(s.kept) != most {
			t.Errorf("put of more than one may be: %v, and %d are left; want it refused and %d", ok, len(s.kept), most)
		}
		for range maxShelved + 5 {
			s.put(t.Context(), keptVectors{})
		}
		if len(s.kept) != maxShelved || s.bytes != 0 {
			t.Errorf("%d are kept, %d bytes, want %d and none of the large", len(s.kept), s.bytes, maxShelved)
		}
	})
}

// Who has much on the shelf, by number or by bytes, makes room with what is his own.
func TestNobodyThrowsOutVectorsOfOthers(t *testing.T) {
	for name, large := range map[string]json.RawMessage{"bytes": make([]byte, maxEntryBytes), "number": nil} {
		t.Run(name, func(t *testing.T) {
			s := NewShelf(time.Hour)
			ann, _ := s.put(as("ann"), keptVectors{Embeddings: make([]byte, 100)})
			for range maxShelved + 5 {
				last, _ := s.put(as("bob"), keptVectors{Embeddings: large})
				if _, err := s.Read(as("bob"), last); err != nil {
					t.Fatalf("bob reads his latest: %v", err)
				}
			}
			if _, err := s.Read(as("ann"), ann); err != nil {
				t.Errorf("ann reads her only one: %v", err)
			}
		})
	}
}

// Vectors that are too many for the shelf end the call early, and the error names the way out.
func TestTooManyVectorsForTheShelf(t *testing.T) {
	vector := "[1," + strings.Repeat(" ", maxEntryBytes/60) + "2]"
	var chunk ollama.EmbedResponse
	if err := chunk.Embeddings.UnmarshalJSON([]byte("[" + vector + strings.Repeat(","+vector, chunkSize-1) + "]")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args  map[string]any
		most  int64 // texts that are embedded
		error string
	}{
		{map[string]any{"input": numbered(320, 0)}, 200, "more than 32 MB. Call again with fewer inputs at a time, or with inline set"},
		{map[string]any{"input": numbered(96, 0), "inline": true}, 96, ""},
		{map[string]any{"input": numbered(96, 0), "encoding": "base64"}, 96, ""}, // which takes less
	} {
		var asked atomic.Int64
		tool := embed(named, func(_ context.Context, r *ollama.EmbedRequest, _ string, _ fleet.Watch) (*ollama.EmbedResponse, error) {
			asked.Add(int64(len(r.Input)))
			return &chunk, nil
		}, NewShelf(time.Hour), false)
		tt.args["model"] = "m"
		got := ""
		if p := ProblemOf(tool.Call(t.Context(), json.RawMessage(arguments(t, tt.args)), "r", nil)); p != nil {
			got = p.sentence()
		}
		if !strings.Contains(got, tt.error) || (got == "") != (tt.error == "") || asked.Load() > tt.most {
			t.Errorf("embed of %d inputs with vectors of %d bytes: %q after %d, want %q after %d at most",
				len(tt.args["input"].([]string)), len(vector), got, asked.Load(), tt.error, tt.most)
		}
	}
}

// speaking is a session of a version of the protocol.
type speaking struct{ version string }

func (speaking) Initialize()                                         {}
func (speaking) Initialized() bool                                   { return true }
func (speaking) NotificationChannel() chan<- mcp.JSONRPCNotification { return nil }
func (speaking) SessionID() string                                   { return "s" }
func (s speaking) ProtocolVersion() string                           { return s.version }
func (speaking) SetProtocolVersion(string)                           {}

// The result of a job has the link as a block too, as the call itself would have had.
func TestJobLinks(t *testing.T) {
	onFake(t, ollamatest.Script{Vector: circle}, fleet.Options{}, func(b *bench) {
		job, _ := b.becomes(b.t.Context(), "embed", arguments(t, map[string]any{"input": numbered(17, 0), "wait": 0}))
		r := b.call(b.t.Context(), "jobs", arguments(t, map[string]any{"id": job, "wait": 60}))
		block, _ := r.Content[len(r.Content)-1].(mcp.ResourceLink)
		if block.URI == "" || block.URI != r.field("result.link") {
			t.Errorf("jobs of an embed of 17: %s, last content %+v; want the link", r.everything(), block)
		}
	})
}

// Clients of versions that know no links as content get the address in words alone.
func TestLinksOnlyWhereTheyAreKnown(t *testing.T) {
	tool := embed(named, (&embedder{}).embed, NewShelf(time.Hour), false)
	for version, want := range map[string]int{"2024-11-05": 1, "2025-03-26": 1, "2025-06-18": 2, "2026-07-28": 2} {
		synctest.Test(t, func(t *testing.T) {
			ctx := server.NewMCPServer("test", "0").WithContext(t.Context(), speaking{version})
			r := tool.Call(ctx, json.RawMessage(arguments(t, map[string]any{"model": "m", "input": numbered(17, 0)})), "r", nil)
			if text := r.Content[0].(mcp.TextContent).Text; len(r.Content) != want || !strings.Contains(text, embeddingURI) {
				t.Errorf("embed of 17 in %s: content %+v, want %d blocks", version, r.Content, want)
			}
		})
	}
}
