package cache

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"ollama-mcp/ollama"
)

// Answers keeps whole answers of generate and chat, for requests that would get the same
// again. Nil keeps nothing. It is safe for concurrent use; it must be made by [NewAnswers].
type Answers struct{ kept *lru }

// NewAnswers makes a cache of up to max bytes; nil if that is not above 0.
func NewAnswers(max int64) *Answers {
	if max <= 0 {
		return nil
	}
	return &Answers{kept: newLRU(max)}
}

// Stats tells how full the cache is.
func (a *Answers) Stats() Stats {
	if a == nil {
		return Stats{}
	}
	return a.kept.stats()
}

// Cacheable reports whether a generation with these options comes out the same each time: the
// likeliest token is always taken, or the seed is settled. Seed -1 is a random one, and so is
// what it is in 32 bits. Source: LLAMA_DEFAULT_SEED in llama.h of llama.cpp.
func Cacheable(o *ollama.Options) bool {
	return o != nil && (o.Temperature != nil && *o.Temperature == 0 || o.Seed != nil && uint32(*o.Seed) != math.MaxUint32)
}

// AnswerKey is all that an answer depends on. The zero value is that of an answer which is
// not to be kept.
type AnswerKey struct{ of sum }

// GenerateKey is the key of a request's answer for a caller, "" for those who share, by the
// model with a digest. Its options are those that it is sent with, load-time ones included.
// The key is zero when the request is not [Cacheable] or the digest "".
func GenerateKey(caller, digest string, r *ollama.GenerateRequest) AnswerKey {
	q := *r
	q.KeepAlive = ""
	return answerKey(caller, digest, q.Options, &q)
}

// ChatKey is GenerateKey for a chat.
func ChatKey(caller, digest string, r *ollama.ChatRequest) AnswerKey {
	q := *r
	q.KeepAlive = ""
	return answerKey(caller, digest, q.Options, &q)
}

// answerKey takes the request's JSON as it is sent. In a schema the order of keys stays as it
// is, because the answer follows it. Only a chat has the key "messages".
func answerKey(caller, digest string, o *ollama.Options, request any) AnswerKey {
	if digest == "" || !Cacheable(o) {
		return AnswerKey{}
	}
	b, err := json.Marshal(request)
	if err != nil {
		return AnswerKey{} // and no request that Ollama will be sent
	}
	return AnswerKey{sha256.Sum256(append(fmt.Appendf(nil, "%q %q ", caller, digest), b...))}
}

// Find returns the answer that is kept under a key, as one chunk. Its counts are those of the
// call that got it from Ollama; its durations are 0, for they are not the caller's. ToolCalls
// must not be changed.
func (a *Answers) Find(k AnswerKey) (c ollama.Chunk, ok bool) {
	if a == nil {
		return c, false
	}
	v, _, ok := a.kept.find(k.of)
	if !ok {
		return c, false
	}
	a.put(k, v.(*ollama.Chunk))
	c = *v.(*ollama.Chunk)
	done := *c.Done
	c.Done = &done
	return c, true
}

// Keep passes on an answer, and keeps it under a key when it has come to its end: never a part,
// nor what ollama.com's models say, which change behind their digest.
func (a *Answers) Keep(k AnswerKey, answer iter.Seq2[ollama.Chunk, error]) iter.Seq2[ollama.Chunk, error] {
	if a == nil || k == (AnswerKey{}) {
		return answer
	}
	return func(yield func(ollama.Chunk, error) bool) {
		var r record
		for c, err := range answer {
			r.add(c, err, a.kept.max)
			if !yield(c, err) {
				break
			}
		}
		if whole := r.whole(); whole != nil {
			a.put(k, whole)
		}
	}
}

func (a *Answers) put(k AnswerKey, c *ollama.Chunk) { a.kept.put(c, bytesOf(c), []place{{sum: k.of}}) }

// chunkBytes is about what an answer costs beside its texts, and a tool call beside its own.
const chunkBytes, callBytes = 512, 64

func bytesOf(c *ollama.Chunk) int64 {
	n := chunkBytes + len(c.Text) + len(c.Thinking)
	for _, t := range c.ToolCalls {
		n += callBytes + len(t.Function.Name) + len(t.Function.Arguments)
	}
	return int64(n)
}

// record joins an answer.
type record struct {
	text, thinking strings.Builder
	rest           ollama.Chunk // without its texts
	broken         bool
}

// add adds a chunk, while it is of use and the answer has no more than max bytes.
func (r *record) add(c ollama.Chunk, err error, max int64) {
	if r.broken = r.broken || err != nil || int64(r.text.Len()+r.thinking.Len()) > max; r.broken {
		*r = record{broken: true}
		return
	}
	r.text.WriteString(c.Text)
	r.thinking.WriteString(c.Thinking)
	r.rest.ToolCalls = append(r.rest.ToolCalls, c.ToolCalls...)
	r.rest.Tokens += c.Tokens
	if c.Done != nil {
		r.rest.Done = c.Done
	}
}

// finished are the reasons with which an answer ends that is one; Ollama gives "" when its
// runner went away. Source: llm/server.go of github.com/ollama/ollama v0.34.4, DoneReason.
var finished = []string{"stop", "length"}

// whole returns the answer as one chunk, nil if it is not to be kept.
func (r *record) whole() *ollama.Chunk {
	c := r.rest
	if r.broken || c.Done == nil || !slices.Contains(finished, c.Done.Reason) || c.Done.RemoteHost != "" {
		return nil
	}
	done := *c.Done
	done.TotalDuration, done.LoadDuration, done.PromptEvalDuration, done.EvalDuration = 0, 0, 0, 0
	c.Done, c.ToolCalls = &done, slices.Clip(c.ToolCalls)
	c.Text, c.Thinking = strings.Clone(r.text.String()), strings.Clone(r.thinking.String()) // without the builders' room
	return &c
}
