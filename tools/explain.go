package tools

import "ollama-mcp/ollama"

// Explain words an error of the fleet for what is not a tool's call, such as the reading of
// a resource: words to read, and the same as data. It names no models.
func Explain(err error, requestID string) (words string, data any) {
	p := problem(err, requestID, func(ollama.Name) bool { return false })
	return p.sentence(), p
}
