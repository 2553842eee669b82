package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

func TestEmbedPassesNumbersOnAsTheyAreSpelt(t *testing.T) {
	const vectors = `[[1e-7,-0.0,0.10000000149011612],[ 1.50 ,0,-3E+2]]`
	tests := []struct{ arguments, want string }{
		{`{"input":["a","b"]}`, vectors},
		{`{"input":["\"embeddings\":null","b"],"dimensions":2}`, vectors}, // whose note says more
		{`{"input":["a","b"],"encoding":"base64"}`, `["lb/WMwAAAIDNzMw9","AADAPwAAAAAAAJbD"]`},
	}
	tool := embed(
		func(context.Context, ollama.Name, string, func(ollama.Name) bool) (ollama.Name, error) {
			return "m:latest", nil
		},
		func(_ context.Context, _ *ollama.EmbedRequest, _ string, w fleet.Watch) (*ollama.EmbedResponse, error) {
			var resp ollama.EmbedResponse
			w.Placed(fleet.Place{Host: `"embeddings":null`})
			return &resp, resp.Embeddings.UnmarshalJSON([]byte(vectors))
		}, nil, false)
	for _, tt := range tests {
		r := tool.Call(t.Context(), json.RawMessage(tt.arguments), "r1", func(Progress) {})
		parts, err := r.StructuredContent.(*embedOutput).JSONParts()
		got := string(bytes.Join(parts, nil))
		if err != nil || !strings.Contains(got, `"embeddings":`+tt.want+`,"usage"`) {
			t.Errorf("embed %s = %s, %v, want %s in it", tt.arguments, got, err, tt.want)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(got)); err != nil {
			t.Fatal(err)
		}
		if want, err := json.Marshal(r.StructuredContent); err != nil || compact.String() != string(want) {
			t.Errorf("embed %s in parts:\n got %s\nwant %s, %v", tt.arguments, compact.Bytes(), want, err)
		}
	}
}

// What a shelf gives in parts is its JSON.
func TestKeptVectorsInParts(t *testing.T) {
	v := keptVectors{Model: `"embeddings":null`, Count: 1, Embeddings: json.RawMessage(`[[1,2],null]`), Errors: []itemError{{1, `"embeddings":null`}}}
	parts, err := v.JSONParts()
	want, _ := json.Marshal(v)
	if got := bytes.Join(parts, nil); err != nil || string(got) != string(want) {
		t.Errorf("JSONParts = %s, %v; want %s", got, err, want)
	}
}
