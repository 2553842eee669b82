package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ollama-mcp/ollama"
)

// glob is a checked pattern: * is any run of characters, "/" and none included, ? is one
// character, and every other character is itself.
type glob string

// anything is the pattern that every text matches.
const anything glob = "*"

// match reports whether all of s fits the pattern. After a mismatch only the latest * is
// tried again, which is enough, so the time is at most the product of the lengths.
func (g glob) match(s string) bool {
	p, at := 0, 0       // where pattern and text are read
	star, from := -1, 0 // the latest *, and where its run of text ends
	for at < len(s) {
		switch {
		case p < len(g) && g[p] == '*':
			star, from = p, at
			p++
		case p < len(g) && g[p] == '?' && s[at] != '*': // a * stands in s when s is a pattern: see covers
			_, n := utf8.DecodeRuneInString(s[at:])
			p, at = p+1, at+n
		case p < len(g) && g[p] == s[at]:
			p, at = p+1, at+1
		case star < 0:
			return false
		default:
			from++
			p, at = star+1, from
		}
	}
	return strings.Trim(string(g[p:]), "*") == ""
}

// covers reports whether all that fits h surely fits g: g matches h read as a text.
func (g glob) covers(h glob) bool { return g.match(string(h)) }

// matchAny reports whether a text fits one of the patterns.
func matchAny(globs []glob, s string) bool {
	return slices.ContainsFunc(globs, func(g glob) bool { return g.match(s) })
}

// parseGlob checks a pattern.
func parseGlob(s string) (glob, error) {
	const longest = 512
	switch {
	case s == "":
		return "", errors.New("a pattern is empty: write * for all")
	case len(s) > longest:
		return "", fmt.Errorf("a pattern has more than %d bytes", longest)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return "", fmt.Errorf("the pattern %q holds a blank or a character that cannot be printed", s)
	case strings.ContainsAny(s, `[]{}\`):
		return "", fmt.Errorf(`the pattern %q holds one of []{}\: only * (any characters) and ? (one) are special here`, s)
	}
	return glob(s), nil
}

// parseModelGlob checks a pattern over canonical model names. One without a tag means
// every tag, and so becomes two patterns when it could also span the colon.
func parseModelGlob(s string) ([]glob, error) {
	g, err := parseGlob(strings.ToLower(s))
	if err != nil {
		return nil, err
	}
	switch {
	case strings.Trim(string(g), "abcdefghijklmnopqrstuvwxyz0123456789._-:/*?") != "":
		return nil, fmt.Errorf("the pattern %q holds a character that no model's name has", s)
	case strings.HasPrefix(string(g), "registry.ollama.ai"), strings.HasPrefix(string(g), "library/"):
		return nil, fmt.Errorf("the pattern %q never matches: names of Ollama's own registry are compared without registry.ollama.ai/library/; write model:tag or namespace/model:tag", s)
	case strings.LastIndexByte(string(g), ':') > strings.LastIndexByte(string(g), '/'), strings.HasSuffix(string(g), "*"):
		return []glob{g}, nil
	case strings.ContainsRune(string(g), '*'):
		return []glob{g, g + ":*"}, nil
	}
	return []glob{g + ":*"}, nil
}

// Models compiles patterns over models, as rules have them, for what is no rule. The function
// takes canonical names; it is nil when every model matches, as with nil patterns.
func Models(patterns []string) (func(ollama.Name) bool, error) {
	globs, err := compileList("models", patterns, parseModelGlob)
	if err != nil || globs == nil || slices.Contains(globs, anything) {
		return nil, err
	}
	return func(n ollama.Name) bool { return matchAny(globs, string(n)) }, nil
}
