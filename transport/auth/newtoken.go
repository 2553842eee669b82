package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// AddToken makes a token of 256 random bits, adds its digest to the tokens file, which it
// creates for its owner only if there is none, and returns it: nothing else ever knows it.
// t.SHA256 is ignored. What stands in the file stays as it is. The file is replaced at once
// and whole, keeping its mode and owner; where path is a symbolic link, its target is. Its
// errors name the file.
func AddToken(path string, t Token) (secret string, err error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return "", fmt.Errorf("%s is a symbolic link to a file that does not exist: create that, or remove the link", path)
		}
		target = path
	} else if err != nil {
		return "", err
	}
	random := make([]byte, 32)
	rand.Read(random) // never fails: it ends the program instead
	secret = "omcp_" + base64.RawURLEncoding.EncodeToString(random)
	digest := sha256.Sum256([]byte(secret))
	t.SHA256 = hex.EncodeToString(digest[:])
	err = replace(target, func(old []byte) ([]byte, error) { return appendToken(old, t) })
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// appendToken returns the file with an entry more. It changes no byte of what stands there.
func appendToken(file []byte, t Token) ([]byte, error) {
	old, err := parseTokens(file)
	if err != nil {
		return nil, err
	}
	for _, c := range old.callers {
		if c.Name == t.Name {
			return nil, fmt.Errorf("a token named %q stands there already: choose another name, or remove that entry", t.Name)
		}
	}
	digest, _, err := t.check()
	if err != nil {
		return nil, err
	}
	if len(file) > 0 && file[len(file)-1] != '\n' {
		file = append(file, '\n')
	}
	all := append(file, indented(t.entry(), listIndent(file))...)
	// Text was put after text: see that it is the list that was meant.
	if set, err := parseTokens(all); err != nil || len(set.callers) != len(old.callers)+1 || set.callers[digest].Name != t.Name {
		return nil, errors.New("nothing can be added at its end: write the list as lines that begin with a dash")
	}
	return all, nil
}

// entry writes t as an entry of the list. What Go quotes, YAML reads as it was meant; the
// library's own writer would take 80 kB of the program.
func (t *Token) entry() string {
	text := fmt.Sprintf("- name: %q\n  sha256: %q\n", t.Name, t.SHA256)
	if len(t.Scopes) > 0 {
		text += fmt.Sprintf("  scopes: [%s]\n", quoted(t.Scopes))
	}
	if len(t.Groups) > 0 {
		text += fmt.Sprintf("  groups: [%s]\n", quoted(t.Groups))
	}
	if t.Expires != "" {
		text += fmt.Sprintf("  expires: %q\n", t.Expires)
	}
	return text
}

func quoted(words []string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = strconv.Quote(w)
	}
	return strings.Join(all, ", ")
}

// listIndent is how many spaces stand before the dashes of the list.
func listIndent(file []byte) int {
	var root yaml.Node
	if err := yaml.Load(file, &root); err != nil || len(root.Content) == 0 {
		return 0
	}
	return max(root.Content[0].Column-1, 0)
}

func indented(text string, by int) string {
	margin := strings.Repeat(" ", by)
	return margin + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+margin) + "\n"
}

// replace changes a file whole or not at all. The file beside it, which is renamed over it
// in the end, also keeps out others who would change it at the same time.
func replace(path string, change func(old []byte) ([]byte, error)) (err error) {
	beside := path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: somebody else is changing the file, or was stopped while doing so; then remove it", beside)
	} else if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(beside)
		}
	}()
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	changed, err := change(old)
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil {
		if err := keepMode(f, info); err != nil {
			return err
		}
	}
	if _, err := f.Write(changed); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(beside, path)
}
