package transport

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var rewrite = flag.Bool("update", false, "rewrite what the server says in the transcripts")

// TestTranscripts replays conversations. A transcript is a txtar archive whose
// sections are the steps:
//
//	-- client --         lines to send
//	-- wait 5s --        time that passes, in fake time
//	-- tools changed --  the server's list of tools changes
//	-- server --         what it has said when nothing moves any more
//	-- end --            the end of input
//
// Connections are written as CONN in it. With -update the server sections are
// written anew, one after each other step that made the server speak.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("../testdata/transcripts/stdio/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob = %v, %v, want transcripts", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			synctest.Test(t, func(t *testing.T) { got = replay(t, txtar.Parse(want)) })
			if *rewrite {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// replay plays the client's part of a transcript, and returns it with what the
// server says now.
func replay(t *testing.T, script *txtar.Archive) []byte {
	srv := fixtures()
	in, out := io.Pipe()
	var said transcriptWriter
	done := make(chan error, 1)
	go func() { done <- ServeStdio(t.Context(), srv, in, &said, Options{}) }()

	played := &txtar.Archive{Comment: script.Comment}
	for _, step := range script.Files {
		switch kind, arg, _ := strings.Cut(step.Name, " "); kind {
		case "client":
			out.Write(step.Data)
		case "wait":
			d, err := time.ParseDuration(arg)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(d)
		case "tools":
			srv.SendNotificationToAllClients("notifications/tools/list_changed", nil)
		case "end":
			out.Close()
		case "server":
			continue
		default:
			t.Fatalf("unknown step %q", step.Name)
		}
		synctest.Wait()
		played.Files = append(played.Files, step)
		if words := said.take(); len(words) > 0 {
			played.Files = append(played.Files, txtar.File{Name: "server", Data: words})
		}
	}
	out.Close()
	if err := <-done; err != nil {
		t.Errorf("ServeStdio = %v, want nil", err)
	}
	return txtar.Format(played)
}

// transcriptWriter collects what the server says.
type transcriptWriter struct {
	mu   sync.Mutex // guards said
	said []byte
}

func (w *transcriptWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, b...)
	return len(b), nil
}

var connection = regexp.MustCompile(`\b[a-z2-7]{8}/(\d+)`)

func (w *transcriptWriter) take() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := connection.ReplaceAll(w.said, []byte("CONN/$1"))
	w.said = nil
	return said
}
