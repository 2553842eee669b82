package resources

import (
	"context"

	"ollama-mcp/policy"
)

// job is a call that outlived its request.
func (c *Catalog) job() resource {
	return resource{
		uri: JobURI("{id}"), tool: jobsTool, name: "job", title: "One job",
		description: "Where a job stands, its text so far, and its result once it is done. Only the caller who started it sees it.",
		absent:      "The tool jobs lists yours",
		read:        func(ctx context.Context, _ *policy.Pass, id string) (any, error) { return c.source.Job(ctx, id) },
	}
}

// embedding is vectors that were too many for an answer.
func (c *Catalog) embedding() resource {
	return resource{
		uri: EmbeddingURI("{id}"), tool: embedTool, name: "embedding", title: "Vectors of one embed call",
		description: "The vectors of an embed call that were too many for its answer. Kept as long as a job.",
		absent:      "Call embed again",
		read:        func(ctx context.Context, _ *policy.Pass, id string) (any, error) { return c.source.Embedding(ctx, id) },
	}
}

// JobURI is the resource of a job.
func JobURI(id string) string { return scheme + "jobs/" + id }

// EmbeddingURI is the resource of the vectors of a call.
func EmbeddingURI(id string) string { return scheme + "embeddings/" + id }
