package files

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSame(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write := func(path, content string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now()
	write(path, "one", at)
	steps := []struct {
		name   string
		change func()
		same   bool
	}{
		{"nothing", func() {}, true},
		{"a file that is not there", func() { os.Remove(other) }, true},
		{"size", func() { write(path, "three", at) }, false},
		{"time", func() { write(path, "three", at.Add(time.Second)) }, false},
		{"replaced, as long and as old", func() {
			write(other, "tiger", at.Add(time.Second))
			if err := os.Rename(other, path); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"added", func() { write(other, "", at) }, false},
		{"removed", func() { os.Remove(path) }, false},
	}
	before := Stat(path, other, "")
	for _, step := range steps {
		step.change()
		now := Stat(path, other, "")
		if got := before.Same(now); got != step.same {
			t.Errorf("Same after %s: %v, want %v", step.name, got, step.same)
		}
		before = now
	}
	if before.Same(Stat(path)) {
		t.Error("Same of other files: true, want false")
	}
}
