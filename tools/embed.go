package tools

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type embedInput struct {
	Model      string   `json:"model,omitempty" jsonschema_description:"Default: the operator's, or the only fitting one"`
	Input      []string `json:"input" jsonschema:"minItems=1,maxItems=20000" jsonschema_description:"Texts, one vector each"`
	Dimensions int      `json:"dimensions,omitempty" jsonschema:"minimum=1" jsonschema_description:"Shorter vectors, for models that can"`
	Truncate   bool     `json:"truncate,omitempty" jsonschema_description:"Cut a text that does not fit; default: fail"`
	Encoding   string   `json:"encoding,omitempty" jsonschema:"enum=float,enum=base64,default=float" jsonschema_description:"base64: little-endian float32"`
	Inline     bool     `json:"inline,omitempty" jsonschema_description:"More than 16 vectors in the answer too, not behind a link"`
	KeepAlive  string   `json:"keep_alive,omitempty" jsonschema_description:"As 10m; default: Ollama's"`
	patience
}

type embedOutput struct {
	Note  string      `json:"note"`
	Model ollama.Name `json:"model"`
	onHosts
	Count      int             `json:"count"`
	Dimensions int             `json:"dimensions"`
	Embeddings json.RawMessage `json:"embeddings,omitempty" jsonschema:"type=array" jsonschema_description:"in the order of input; null for one in errors"`
	Link       string          `json:"link,omitempty" jsonschema_description:"resource with the embeddings, when they are not here"`
	Errors     []itemError     `json:"errors,omitempty" jsonschema_description:"inputs without a vector"`
	Usage      *embedUsage     `json:"usage,omitempty"`
	Timing     *embedTiming    `json:"timing,omitempty"`
	deferrable
}

type embedUsage struct {
	PromptTokens int `json:"prompt_tokens"`
	Cached       int `json:"cached,omitempty" jsonschema_description:"texts not asked again"`
}

type embedTiming struct {
	LoadMS  float64 `json:"load_ms"`
	TotalMS float64 `json:"total_ms"`
}

func (o *embedOutput) words() []string { return []string{o.Note} }
func (o *embedOutput) bytes() int      { return len(o.Embeddings) }

func (o *embedOutput) links() []mcp.ResourceLink {
	if o.Link == "" {
		return nil
	}
	return []mcp.ResourceLink{mcp.NewResourceLink(o.Link, "embedding", o.Note, "application/json")}
}

// maxInline is how many vectors go into an answer unasked: a model cannot read vectors,
// and 17 of 768 numbers already take the room of a long text.
const maxInline = 16

// embed turns texts into vectors. Without a shelf many of them go into an answer or nowhere.
func embed(choose chooseFunc, run embedFunc, shelf *Shelf, hosts bool) Tool {
	return define(Tool{
		Name:  "embed",
		Title: "Embed texts with a local model",
		Description: "Turn texts into vectors with an embedding model on the user's own Ollama, for a program that searches, " +
			"clusters or compares. The vectors stand in structuredContent.embeddings; do not read them as text.",
		Effect:    Reads,
		Toolset:   Inference,
		UsesModel: true,
	}, func(ctx context.Context, in embedInput, c *call) (embedOutput, error) {
		start := time.Now()
		if err := in.check(shelf); err != nil {
			return embedOutput{}, err
		}
		model, limits, err := c.model(ctx, choose, in.Model, fleet.Embedding)
		if err == nil {
			in.KeepAlive, err = keepAliveWithin(in.KeepAlive, limits)
		}
		if err != nil {
			return embedOutput{}, err
		}
		e := embedding{
			batch: batch{
				run: run, texts: "input", spread: hosts, report: c.report, safely: c.tool.safely,
				request: ollama.EmbedRequest{Model: model, Truncate: &in.Truncate, Dimensions: in.Dimensions, KeepAlive: in.KeepAlive},
			},
			vectors: make([]ollama.Vectors, len(in.Input)),
			base64:  in.Encoding == "base64",
			shelved: in.shelved(),
		}
		e.take = e.keep
		if err := e.embed(c.tool.with(ctx, model), in.Input); err != nil {
			return embedOutput{}, err
		}
		o, err := e.output(&in, start)
		if err != nil || !e.shelved {
			return o, err
		}
		return o.shelve(ctx, shelf, cmp.Or(in.Encoding, "float"))
	})
}

// shelved reports whether the vectors go on the shelf.
func (in *embedInput) shelved() bool { return len(in.Input) > maxInline && !in.Inline }

func (in *embedInput) check(shelf *Shelf) error {
	if in.shelved() && shelf == nil {
		return &argumentError{
			fmt.Sprintf("%d inputs make more than %d vectors, too many to return unasked", len(in.Input), maxInline),
			"Set inline to true to have them all in the answer, or send fewer inputs",
		}
	}
	return checkKeepAlive(in.KeepAlive)
}

// shelve puts the vectors on the shelf, and a link in their place.
func (o embedOutput) shelve(ctx context.Context, shelf *Shelf, encoding string) (embedOutput, error) {
	id, ok := shelf.put(ctx, keptVectors{o.Model, o.Count, o.Dimensions, encoding, o.Embeddings, o.Errors})
	if !ok {
		return embedOutput{}, errTooMuchToKeep
	}
	o.Embeddings, o.Link = nil, embeddingURI+id
	o.Note += fmt.Sprintf("; kept for %s as the resource %s", shelf.ttl, o.Link)
	return o, nil
}

// embeddingURI is the URI of vectors on a shelf, but for their id.
const embeddingURI = "ollama://embeddings/"
