package tools

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// maxImage bounds one image, decoded.
const maxImage = 10 << 20

// signatures are the first bytes of the image types that Ollama's models read.
// Source: https://mimesniff.spec.whatwg.org/#image-type-pattern-matching-algorithm.
var signatures = []struct {
	kind   string
	prefix []byte
	at     int // where second stands
	second []byte
}{
	{"PNG", []byte("\x89PNG\r\n\x1a\n"), 0, nil},
	{"JPEG", []byte("\xff\xd8\xff"), 0, nil},
	{"GIF", []byte("GIF8"), 0, nil},
	{"WebP", []byte("RIFF"), 8, []byte("WEBP")},
}

// decodeImages checks images and gives them as the bare base64 that Ollama takes. A path
// or a URL is never read: an image is only what its bytes say. The error names the item.
func decodeImages(argument string, images []string) ([]string, error) {
	bare := make([]string, 0, len(images))
	for i, s := range images {
		b, err := decodeImage(s)
		if err != nil {
			return nil, &argumentError{
				fmt.Sprintf("%s[%d] is not a usable image: %v", argument, i, err),
				"Pass the bytes of a PNG, JPEG, WebP or GIF in base64, or as a data URL; paths and web addresses are not read",
			}
		}
		bare = append(bare, base64.StdEncoding.EncodeToString(b))
	}
	return bare, nil
}

func decodeImage(s string) ([]byte, error) {
	if rest, ok := strings.CutPrefix(s, "data:"); ok {
		_, data, ok := strings.Cut(rest, ";base64,")
		if !ok {
			return nil, fmt.Errorf("a data URL without base64")
		}
		s = data
	}
	if base64.StdEncoding.DecodedLen(len(s)) > maxImage {
		return nil, fmt.Errorf("larger than %d MiB", maxImage>>20)
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("not base64")
	}
	for _, g := range signatures {
		if bytes.HasPrefix(b, g.prefix) && (g.second == nil || len(b) >= g.at && bytes.HasPrefix(b[g.at:], g.second)) {
			return b, nil
		}
	}
	return nil, fmt.Errorf("none of PNG, JPEG, WebP, GIF by its first bytes")
}
