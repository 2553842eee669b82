package tools

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
)

type rankInput struct {
	Model     string   `json:"model,omitempty" jsonschema_description:"Default: the operator's, or the only fitting one"`
	Query     string   `json:"query" jsonschema:"minLength=1"`
	Documents []string `json:"documents" jsonschema:"minItems=1,maxItems=20000"`
	TopK      int      `json:"top_k,omitempty" jsonschema:"minimum=1,default=10"`
	Threshold *float64 `json:"threshold,omitempty" jsonschema:"minimum=-1,maximum=1" jsonschema_description:"Least score"`
	Truncate  bool     `json:"truncate,omitempty" jsonschema_description:"Cut what does not fit; default: leave it out"`
	patience
}

type rankOutput struct {
	Note  string      `json:"note"`
	Model ollama.Name `json:"model"`
	onHosts
	Ranked  int          `json:"ranked" jsonschema_description:"documents that have a score"`
	Results []ranked     `json:"results" jsonschema_description:"best first"`
	Errors  []itemError  `json:"errors,omitempty" jsonschema_description:"documents left out"`
	Usage   *embedUsage  `json:"usage,omitempty"`
	Timing  *embedTiming `json:"timing,omitempty"`
	deferrable
}

type ranked struct {
	Index int     `json:"index"`
	Score float64 `json:"score" jsonschema_description:"cosine with the query"`
}

func (o *rankOutput) bytes() int { return 32*len(o.Results) + 256*len(o.Errors) }

func (o *rankOutput) words() []string {
	var best []string
	for _, r := range o.Results {
		best = append(best, fmt.Sprintf("%d (%.4f)", r.Index, r.Score))
	}
	return []string{strings.Join(best, ", "), o.Note}
}

// rank finds the documents that are nearest to a query.
func rank(choose chooseFunc, run embedFunc, hosts bool) Tool {
	return define(Tool{
		Name:  "rank",
		Title: "Rank texts with a local model",
		Description: "Find which of many texts fit a query best, by meaning, with an embedding model on the user's own Ollama. " +
			"Returns indices of documents with scores, best first.",
		Effect:    Reads,
		Toolset:   Inference,
		UsesModel: true,
	}, func(ctx context.Context, in rankInput, c *call) (rankOutput, error) {
		start := time.Now()
		model, limits, err := c.model(ctx, choose, in.Model, fleet.Embedding)
		if err != nil {
			return rankOutput{}, err
		}
		keepAlive, err := keepAliveWithin("", limits)
		if err != nil {
			return rankOutput{}, err
		}
		r := ranking{
			batch: batch{
				run: run, texts: "documents", spread: hosts, report: c.report, safely: c.tool.safely,
				request: ollama.EmbedRequest{Model: model, Truncate: &in.Truncate, KeepAlive: keepAlive},
			},
			scores: make([]float64, len(in.Documents)),
		}
		if err := r.rank(c.tool.with(ctx, model), in.Query, in.Documents); err != nil {
			return rankOutput{}, err
		}
		return r.output(&in, start), nil
	})
}

// ranking is a rank at work. Of the documents only scores are kept.
type ranking struct {
	batch
	query  []float32
	scores []float64 // by document
}

func (r *ranking) rank(ctx context.Context, query string, documents []string) error {
	with := prefixesOf(r.request.Model)
	resp, err := r.ask(ctx, []string{with.query + query})
	if err != nil {
		return err
	}
	if resp.Embeddings.Zero(0) {
		return &vectorError{"query", allZeros}
	}
	if r.query, err = resp.Embeddings.Float32(0); err != nil {
		return &vectorError{"query", notFloat32}
	}
	r.dim, r.take = len(r.query), r.score
	return r.embed(ctx, with.documents(documents))
}

// score takes vectors of documents.
func (r *ranking) score(at int, v ollama.Vectors) error {
	for i := range v.Len() {
		if r.errs[at+i] != nil {
			continue
		}
		floats, err := v.Float32(i)
		if err != nil {
			r.bad(at+i, notFloat32)
			continue
		}
		if r.scores[at+i] = cosine(r.query, floats); math.IsNaN(r.scores[at+i]) {
			r.bad(at+i, allZeros) // in float32
		}
	}
	return nil
}

// cosine is that of two vectors of one length, NaN when one is zero.
func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i, x := range a {
		x, y := float64(x), float64(b[i])
		ab += x * y
		aa += x * x
		bb += y * y
	}
	return ab / math.Sqrt(aa*bb)
}

func (r *ranking) output(in *rankInput, start time.Time) rankOutput {
	o := rankOutput{
		Model: r.request.Model, onHosts: r.where(), Errors: r.itemErrors(), Results: []ranked{},
		Usage: &embedUsage{r.tokens, r.cached}, Timing: r.timing(start),
	}
	o.Ranked = len(in.Documents) - r.failed()
	for i, score := range r.scores {
		if r.errs[i] == nil && (in.Threshold == nil || score >= *in.Threshold) {
			o.Results = append(o.Results, ranked{i, score})
		}
	}
	sort.SliceStable(o.Results, func(i, j int) bool { return cmp.Compare(o.Results[i].Score, o.Results[j].Score) > 0 })
	o.Results = o.Results[:min(cmp.Or(in.TopK, 10), len(o.Results))]
	for i := range o.Results {
		o.Results[i].Score = math.Round(o.Results[i].Score*1e6) / 1e6
	}
	o.Note = join([]string{
		fmt.Sprintf("the best %d of %s ranked, as index and score", len(o.Results), count(o.Ranked, "document")),
		r.badOnes("document", o.Errors),
	})
	return o
}
