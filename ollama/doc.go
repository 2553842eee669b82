// Package ollama speaks to one Ollama host over HTTP.
//
// It owns the wire types, the streams, the one [Error] type, the rules of
// OLLAMA_HOST ([ParseHost]), the canonical form of model names ([ParseName]) and which
// registries a host may be sent to ([Registries]).
// It knows nothing of MCP, of other hosts, of queues or of retries, and it never
// logs: what happened comes back as a value or an [*Error].
//
// Ollama promises no stability for its Go API, so the types here are our own; the
// module in ollama/drift checks their JSON names against Ollama's source.
package ollama
