// Package files tells whether files have changed, without a library and without keeping them
// open. It owns no schedule: who uses it looks when it wants to know.
package files

import "os"

// Look is how files were at a moment: see [Stat].
type Look []os.FileInfo

// Stat looks at files, by their paths. One that is not there, or has no name, is none.
func Stat(paths ...string) Look {
	look := make(Look, len(paths))
	for i, path := range paths {
		look[i], _ = os.Stat(path)
	}
	return look
}

// Same reports whether the same files were the same at both moments: none was written to,
// replaced, added or removed.
func (l Look) Same(other Look) bool {
	if len(l) != len(other) {
		return false
	}
	for i, a := range l {
		switch b := other[i]; {
		case a == nil && b == nil:
		case a == nil || b == nil, !os.SameFile(a, b), !a.ModTime().Equal(b.ModTime()), a.Size() != b.Size():
			return false
		}
	}
	return true
}
