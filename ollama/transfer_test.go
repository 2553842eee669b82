package ollama

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// layerLine is a line about a layer.
func layerLine(verb, digest string, total, completed int64) Progress {
	return Progress{Status: verb + " " + digest, Digest: digest, Total: total, Completed: completed}
}

func TestTransfer(t *testing.T) {
	pulling := func(digest string, total, completed int64) Progress {
		return layerLine("pulling", digest, total, completed)
	}
	pushing := func(digest string, total, completed int64) Progress {
		return layerLine("pushing", digest, total, completed)
	}
	type step struct {
		line Progress
		want TransferState
	}
	tests := []struct {
		name  string
		steps []step // a second apart
	}{
		{"a pull", []step{
			{Progress{Status: "pulling manifest"}, TransferState{Phase: PhaseManifest}},
			{pulling("a", 1000, 0), TransferState{Phase: PhaseDownloading, Total: 1000}},
			{pulling("a", 1000, 100), TransferState{Phase: PhaseDownloading, Done: 100, Total: 1000, Rate: 100, Left: 9 * time.Second}},
			{pulling("a", 1000, 200), TransferState{Phase: PhaseDownloading, Done: 200, Total: 1000, Rate: 100, Left: 8 * time.Second}},
			{Progress{Status: "verifying sha256 digest"}, TransferState{Phase: PhaseVerifying, Done: 1000, Total: 1000}},
			{Progress{Status: "writing manifest"}, TransferState{Phase: PhaseWriting, Done: 1000, Total: 1000}},
			{Progress{Status: "removing unused layers"}, TransferState{Phase: PhaseWriting, Done: 1000, Total: 1000}},
			{Progress{Status: Success}, TransferState{Phase: PhaseDone, Done: 1000, Total: 1000}},
		}},
		{"what is there already is not speed", []step{
			{pulling("a", 1000, 900), TransferState{Phase: PhaseDownloading, Done: 900, Total: 1000}},
			{pulling("a", 1000, 910), TransferState{Phase: PhaseDownloading, Done: 910, Total: 1000, Rate: 10, Left: 9 * time.Second}},
			{pulling("b", 500, 500), TransferState{Phase: PhaseDownloading, Done: 1500, Total: 1500, Rate: 90 - 80*math.Exp(-0.2)}},
		}},
		{"a layer that appears late", []step{
			{pulling("a", 10, 10), TransferState{Phase: PhaseDownloading, Done: 10, Total: 10}},
			{pulling("b", 20, 0), TransferState{Phase: PhaseDownloading, Done: 10, Total: 30}},
		}},
		{"a retry takes bytes back", []step{
			{pulling("a", 10, 6), TransferState{Phase: PhaseDownloading, Done: 6, Total: 10}},
			{pulling("a", 10, 2), TransferState{Phase: PhaseDownloading, Done: 6, Total: 10}},
		}},
		{"a push", []step{
			{Progress{Status: "retrieving manifest"}, TransferState{Phase: PhaseManifest}},
			{pushing("a", 10, 10), TransferState{Phase: PhaseUploading, Done: 10, Total: 10}},
			{Progress{Status: "pushing manifest"}, TransferState{Phase: PhaseWriting, Done: 10, Total: 10}},
			{Progress{Status: Success}, TransferState{Phase: PhaseDone, Done: 10, Total: 10}},
		}},
		{"a create", []step{
			{Progress{Status: "using existing layer sha256:0"}, TransferState{Phase: PhaseWriting}},
			{Progress{Status: "creating new layer sha256:1"}, TransferState{Phase: PhaseWriting}},
			{Progress{Status: Success}, TransferState{Phase: PhaseDone}},
		}},
		{"words of another version", []step{
			{Progress{Status: "success at last"}, TransferState{}},
			{Progress{Status: "thinking it over"}, TransferState{}},
		}},
		{"nonsense", []step{
			{pulling("a", -5, -7), TransferState{Phase: PhaseDownloading}},
			{pulling("a", 0, 3), TransferState{Phase: PhaseDownloading, Done: 3, Total: 3, Rate: 3}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var transfer Transfer
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for n, s := range tt.steps {
				got := transfer.Add(s.line, at)
				if diff := cmp.Diff(s.want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
					t.Errorf("Add(%+v), line %d (-want +got):\n%s", s.line, n, diff)
				}
				at = at.Add(time.Second)
			}
		})
	}
}

// A rate follows a change within seconds, and falls when nothing comes any more.
func TestTransferRate(t *testing.T) {
	var transfer Transfer
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var done int64
	run := func(d time.Duration, rate int64) (s TransferState) {
		const tick = 60 * time.Millisecond
		for range d / tick {
			at = at.Add(tick)
			done += rate * int64(tick) / int64(time.Second)
			s = transfer.Add(layerLine("pulling", "a", 1e12, done), at)
		}
		return s
	}
	for _, tt := range []struct {
		during   time.Duration
		rate     int64
		from, to float64
	}{
		{10 * time.Second, 1e6, 0.95e6, 1.05e6},
		{20 * time.Second, 1e7, 0.9e7, 1.05e7},
		{60 * time.Second, 0, 0, 1e3},
	} {
		if got := run(tt.during, tt.rate).Rate; got < tt.from || got > tt.to {
			t.Errorf("after %v at %d bytes/s: Rate = %.0f, want %.0f to %.0f", tt.during, tt.rate, got, tt.from, tt.to)
		}
	}
}

// Whatever comes, Done and Total never decrease, and success is all of it.
func TestTransferNeverDecreases(t *testing.T) {
	line := rapid.Custom(func(t *rapid.T) Progress {
		p := Progress{Status: rapid.SampledFrom([]string{"pulling x", "pulling manifest", "verifying sha256 digest", "pushing y", "?"}).Draw(t, "status")}
		if rapid.Bool().Draw(t, "layer") {
			p.Digest = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "digest")
			p.Total = rapid.Int64Range(-1, 1000).Draw(t, "total")
			p.Completed = rapid.Int64Range(-1, 1000).Draw(t, "completed")
		}
		return p
	})
	rapid.Check(t, func(t *rapid.T) {
		var transfer Transfer
		var before TransferState
		at := time.Unix(0, 0)
		for _, p := range rapid.SliceOf(line).Draw(t, "lines") {
			at = at.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			s := transfer.Add(p, at)
			if s.Done < before.Done || s.Total < before.Total || s.Done > s.Total || s.Rate < 0 || s.Left < 0 {
				t.Fatalf("Add(%+v) = %+v after %+v", p, s, before)
			}
			before = s
		}
		if s := transfer.Add(Progress{Status: Success}, at); s.Done != s.Total || s.Phase != PhaseDone || s != transfer.State() {
			t.Fatalf("Add(success) = %+v, want all done", s)
		}
	})
}
