package tools

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-mcp/ollama"
)

// Shelf keeps vectors that are too many for an answer, in memory, for the caller who made
// them. Make it with [NewShelf]; it is safe for concurrent use.
type Shelf struct {
	ttl time.Duration

	mu    sync.Mutex // guards what follows
	kept  []*shelved // the oldest first
	bytes int64
}

// What a Shelf keeps at most; the oldest of the caller who has most goes first.
const (
	maxShelved      = 1000
	maxShelvedBytes = 256 << 20
	maxEntryBytes   = 32 << 20 // of one call: who reads it gets it whole, and more than once in memory
)

type shelved struct {
	id, owner string
	vectors   keptVectors
	end       *time.Timer
}

// keptVectors are the content of the resource.
type keptVectors struct {
	Model      ollama.Name     `json:"model"`
	Count      int             `json:"count"`
	Dimensions int             `json:"dimensions"`
	Encoding   string          `json:"encoding"`
	Embeddings json.RawMessage `json:"embeddings"`
	Errors     []itemError     `json:"errors,omitempty"`
}

// ErrNoEmbedding is the answer to an id that is unknown, expired or another caller's.
var ErrNoEmbedding = errors.New("no such embedding")

// NewShelf makes a shelf on which vectors stay for ttl, or until there is no room.
func NewShelf(ttl time.Duration) *Shelf { return &Shelf{ttl: ttl} }

// Read returns the vectors that the caller in ctx has under an id, for JSON, which they also
// give in parts, or [ErrNoEmbedding].
func (s *Shelf) Read(ctx context.Context, id string) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(id); i >= 0 && s.kept[i].owner == owner(ctx) {
		return s.kept[i].vectors, nil
	}
	return nil, ErrNoEmbedding
}

// put keeps vectors for the caller in ctx and returns their id. It takes none that alone
// are too large.
func (s *Shelf) put(ctx context.Context, v keptVectors) (id string, ok bool) {
	n := int64(len(v.Embeddings))
	if n > maxEntryBytes {
		return "", false
	}
	id = strings.ToLower(rand.Text()) // base32 of at least 128 random bits
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.kept) >= maxShelved {
		s.drop(s.oldestOfMost(func(*shelved) int64 { return 1 }))
	}
	for s.bytes+n > maxShelvedBytes {
		s.drop(s.oldestOfMost((*shelved).bytes))
	}
	s.bytes += n
	s.kept = append(s.kept, &shelved{id, owner(ctx), v, time.AfterFunc(s.ttl, func() { s.expire(id) })})
	return id, true
}

func (s *Shelf) expire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(id); i >= 0 {
		s.drop(i)
	}
}

// index, oldestOfMost and drop want s.mu held.
func (s *Shelf) index(id string) int {
	return slices.IndexFunc(s.kept, func(k *shelved) bool { return k.id == id })
}

func (k *shelved) bytes() int64 { return int64(len(k.vectors.Embeddings)) }

// oldestOfMost is the index of the oldest of the caller's who holds most.
func (s *Shelf) oldestOfMost(holds func(*shelved) int64) (at int) {
	held := map[string]int64{}
	for _, k := range s.kept {
		held[k.owner] += holds(k)
	}
	for i, k := range s.kept {
		if held[k.owner] > held[s.kept[at].owner] {
			at = i
		}
	}
	return at
}

func (s *Shelf) drop(i int) {
	s.kept[i].end.Stop()
	s.bytes -= s.kept[i].bytes()
	s.kept = slices.Delete(s.kept, i, i+1)
}
