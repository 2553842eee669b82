package ollama

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

func (c *Client) embed(ctx context.Context, op string, r EmbedRequest) (*EmbedResponse, error) {
	if r.Input == nil {
		r.Input = []string{} // null is not no input to every version
	}
	room := int(min(int64(len(r.Input))*c.vectorSize.Load(), maxRoom))
	x, body, err := c.answer(ctx, request{op: op, path: "/api/embed", body: r, room: room}, maxVectors)
	if err != nil {
		return nil, err
	}
	a, err := readEmbedded(body)
	switch {
	case errors.Is(err, errShape), err != nil && truncated(body):
		return nil, x.unexpected(body)
	case err != nil:
		return nil, x.error(Failed, err.Error())
	case a.Embeddings.Len() != len(r.Input):
		return nil, x.error(Failed, fmt.Sprintf("%d embeddings came for %d inputs", a.Embeddings.Len(), len(r.Input)))
	}
	if n := a.Embeddings.Len(); n > 0 {
		c.vectorSize.Store(int64(len(body)/n + 512))
	}
	return a, nil
}

// readEmbedded decodes an answer of /api/embed. The vectors, nearly all of it, are
// checked and kept where they stand; encoding/json sees only the rest.
func readEmbedded(body []byte) (*EmbedResponse, error) {
	at, ok := valueOf("embeddings", body)
	if !ok {
		return nil, errShape
	}
	vectors, rest, err := readVectors(body[at:])
	if err != nil {
		return nil, err
	}
	var a EmbedResponse
	if err := json.Unmarshal(slices.Concat(body[:at], []byte("null"), rest), &a); err != nil {
		return nil, errShape
	}
	a.Embeddings = vectors
	return &a, nil
}

// valueOf finds where the value of a key of a JSON object begins.
func valueOf(key string, object []byte) (at int, ok bool) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return 0, false
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return 0, false
		}
		if t == key {
			rest, ok := bytes.CutPrefix(skipSpace(object[d.InputOffset():]), []byte(":"))
			return len(object) - len(skipSpace(rest)), ok
		}
		var other json.RawMessage
		if d.Decode(&other) != nil {
			return 0, false
		}
	}
	return 0, false
}
