//go:build unix

package auth

import (
	"errors"
	"os"
	"syscall"
)

// keepMode gives f the mode and, where root replaces another user's file, the owner of the
// old file: the server must be able to read it still.
func keepMode(f *os.File, old os.FileInfo) error {
	err := f.Chmod(old.Mode().Perm())
	if s, ok := old.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		err = errors.Join(err, f.Chown(int(s.Uid), int(s.Gid)))
	}
	return err
}
