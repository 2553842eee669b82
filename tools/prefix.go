package tools

import (
	"strings"

	"ollama-mcp/ollama"
)

// prefixes go before the texts that a model is to rank by.
type prefixes struct{ query, document string }

const (
	represent = "Represent this sentence for searching relevant passages: "
	retrieve  = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)

// trained are the prefixes that embedding models were trained with, by how the name of the
// model begins; the first that fits holds. Sources are the models' cards.
var trained = []struct {
	model string
	prefixes
}{
	{"nomic-embed-text", prefixes{"search_query: ", "search_document: "}},                 // https://huggingface.co/nomic-ai/nomic-embed-text-v1.5
	{"mxbai-embed-large", prefixes{represent, ""}},                                        // https://huggingface.co/mixedbread-ai/mxbai-embed-large-v1
	{"snowflake-arctic-embed2", prefixes{"query: ", ""}},                                  // https://huggingface.co/Snowflake/snowflake-arctic-embed-l-v2.0
	{"snowflake-arctic-embed-l-v2", prefixes{"query: ", ""}},                              // the same, under its own name
	{"snowflake-arctic-embed-m-v2", prefixes{"query: ", ""}},                              // https://huggingface.co/Snowflake/snowflake-arctic-embed-m-v2.0
	{"snowflake-arctic-embed", prefixes{represent, ""}},                                   // https://huggingface.co/Snowflake/snowflake-arctic-embed-l
	{"bge-large-en", prefixes{represent, ""}},                                             // https://huggingface.co/BAAI/bge-large-en-v1.5
	{"bge-large", prefixes{represent, ""}},                                                // the same, as Ollama's library names it
	{"multilingual-e5-large-instruct", prefixes{retrieve + " ", ""}},                      // https://huggingface.co/intfloat/multilingual-e5-large-instruct
	{"e5-mistral", prefixes{retrieve + " ", ""}},                                          // https://huggingface.co/intfloat/e5-mistral-7b-instruct
	{"multilingual-e5", prefixes{"query: ", "passage: "}},                                 // https://huggingface.co/intfloat/multilingual-e5-large
	{"e5-", prefixes{"query: ", "passage: "}},                                             // https://huggingface.co/intfloat/e5-large-v2
	{"qwen3-embedding", prefixes{retrieve, ""}},                                           // https://github.com/QwenLM/Qwen3-Embedding
	{"embeddinggemma", prefixes{"task: search result | query: ", "title: none | text: "}}, // https://huggingface.co/google/embeddinggemma-300m
}

// prefixesOf returns those of a model, which are empty for most.
func prefixesOf(model ollama.Name) prefixes {
	name := string(model[strings.LastIndexByte(string(model), '/')+1:])
	for _, t := range trained {
		if strings.HasPrefix(name, t.model) {
			return t.prefixes
		}
	}
	return prefixes{}
}

func (p prefixes) documents(texts []string) []string {
	if p.document == "" {
		return texts
	}
	with := make([]string, len(texts))
	for i, text := range texts {
		with[i] = p.document + text
	}
	return with
}
