package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v4"
)

// Token is one entry of the tokens file, which is a YAML list of them. The file has no
// tokens in it, only their digests.
type Token struct {
	Name    string   `yaml:"name"`              // the caller's name: unique, without colons
	SHA256  string   `yaml:"sha256"`            // of the whole token, in hex
	Scopes  []string `yaml:"scopes,omitempty"`  // what policy may ask for
	Groups  []string `yaml:"groups,omitempty"`  // what policy may ask for
	Expires string   `yaml:"expires,omitempty"` // RFC 3339; "": never
}

// tokenSet is a tokens file that has been checked.
type tokenSet struct {
	callers map[[sha256.Size]byte]Caller
}

// openTokens reads the file, and again when it has changed.
func openTokens(path string, log zerolog.Logger) (*reloaded[tokenSet], error) {
	return newReloaded(func() (*tokenSet, error) {
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w; to make it: ollama-mcp token new NAME --tokens %s", err, path)
		} else if err != nil {
			return nil, err
		}
		set, err := parseTokens(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		warnOfMode(path, log)
		return set, nil
	}, log, path)
}

// warnOfMode warns of a file that others may read or change. Windows has no such modes.
func warnOfMode(path string, log zerolog.Logger) {
	info, err := os.Stat(path)
	if err == nil && runtime.GOOS != "windows" && info.Mode()&0o027 != 0 {
		log.Warn().Str("file", path).Str("mode", info.Mode().Perm().String()).Msg("others may read or change the tokens file: chmod 600 keeps them out")
	}
}

// parseTokens reads a tokens file. An empty one has no tokens. Its errors name the entry.
func parseTokens(data []byte) (*tokenSet, error) {
	set := &tokenSet{callers: map[[sha256.Size]byte]Caller{}}
	var documents [][]*Token
	err := yaml.Load(data, &documents, yaml.WithAllDocuments(), yaml.WithKnownFields())
	if err == nil && len(documents) > 1 {
		err = errors.New("it is more than one document")
	}
	if err != nil {
		return nil, fmt.Errorf("not a YAML list of tokens with name, sha256, scopes, groups and expires: %w", err)
	}
	names := map[string]bool{}
	for i, entry := range slices.Concat(documents...) {
		if entry == nil {
			return nil, fmt.Errorf("entry %d is empty: give it a name and a sha256", i+1)
		}
		digest, caller, err := entry.check()
		if err != nil {
			return nil, fmt.Errorf("entry %d (%q): %w", i+1, entry.Name, err)
		}
		if names[caller.Name] {
			return nil, fmt.Errorf("entry %d (%q): the name stands above already: give each token its own", i+1, entry.Name)
		}
		if other, ok := set.callers[digest]; ok {
			return nil, fmt.Errorf("entry %d (%q): its sha256 is that of %q: give each caller a token of its own", i+1, entry.Name, other.Name)
		}
		names[caller.Name], set.callers[digest] = true, caller
	}
	return set, nil
}

// check reads the entry. Its errors say what to write instead.
func (t *Token) check() (digest [sha256.Size]byte, c Caller, err error) {
	if err := checkName(t.Name); err != nil {
		return digest, c, err
	}
	sum, err := hex.DecodeString(t.SHA256)
	if err != nil || len(sum) != len(digest) {
		return digest, c, errors.New("sha256 must be the 64 hex digits that `printf %s TOKEN | sha256sum` prints")
	}
	digest = [sha256.Size]byte(sum)
	c = Caller{Name: t.Name, Scopes: t.Scopes, Groups: t.Groups}
	for _, word := range slices.Concat(t.Scopes, t.Groups) {
		if word == "" || strings.ContainsFunc(word, unicode.IsControl) {
			return digest, c, fmt.Errorf("the scope or group %q is empty or has control characters: write it plainly", word)
		}
	}
	if t.Expires != "" {
		if c.Expires, err = time.Parse(time.RFC3339, t.Expires); err != nil {
			return digest, c, fmt.Errorf("expires %q is not a time: write it as 2030-12-31T23:59:59Z", t.Expires)
		}
	}
	return digest, c, nil
}

// checkName refuses names that could be taken for another kind of caller or spoil a log.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("it has no name: give it one")
	case name == Local:
		return fmt.Errorf("the name %s is that of callers without authentication: choose another", Local)
	case len(name) > 128:
		return errors.New("the name is longer than 128 bytes: shorten it")
	case strings.Contains(name, ":"):
		return errors.New("the name must have no colon, which marks callers with JWTs and certificates: write a dash")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }), strings.TrimSpace(name) != name:
		return errors.New("the name must be printable, without space around it: write letters, digits and dashes")
	}
	return nil
}
