package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// BenchmarkFigures measures the program as a user has it, stripped and at the end of two
// pipes, in front of a fake Ollama. Beside each figure stands a control of the same run:
// a bare mcp-go server with the same tool, a reverse proxy, or plain HTTP to the same fake. The ratios are
// what counts; times of two runs cannot be compared. It prints a table at the end:
//
//	go test -run '^$' -bench Figures -benchtime 1x .
//
// A lost token or an answer to a cancelled call fails it; a figure that misses its limit
// is marked in the table. It needs Linux, for /proc.
func BenchmarkFigures(b *testing.B) {
	p := build(b)
	var t table
	for _, part := range []struct {
		name    string
		measure func(*testing.B, programs) []figure
	}{
		{"size", sizes}, {"start", starts}, {"list_models", lists}, {"memory", memories},
		{"parallel", parallel}, {"stream", streams}, {"cancel", cancels},
		{"http", overHTTP}, {"crowd", crowd}, {"fleet", alone},
	} {
		b.Run(part.name, func(b *testing.B) {
			if b.N == 1 { // a part repeats by itself what it measures
				t = append(t, part.measure(b, p)...)
			}
		})
	}
	t.print(os.Stdout)
}

// programs are the paths of what is measured.
type programs struct{ ours, bare, proxy string }

// build builds all programs in the same way; bench_bare_test.go and bench_proxy_test.go are
// the sources of the controls.
func build(b *testing.B) programs {
	b.Helper()
	dir := b.TempDir()
	p := programs{filepath.Join(dir, "ollama-mcp"), filepath.Join(dir, "bare"), filepath.Join(dir, "proxy")}
	must(b, exec.CommandContext(b.Context(), "make", "-s", "build", "BINARY="+p.ours))
	compileControl(b, p.bare, "bench_bare_test.go", "serveBare")
	compileControl(b, p.proxy, "bench_proxy_test.go", "serveProxy")
	return p
}

// compileControl makes a program of one test file, whose function serve becomes main.
func compileControl(b *testing.B, program, source, serve string) {
	b.Helper()
	code, err := os.ReadFile(source)
	if err != nil {
		b.Fatal(err)
	}
	file := program + ".go"
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(code), serve, "main")), 0o644); err != nil {
		b.Fatal(err)
	}
	compile(b, program, file)
}

func compile(b *testing.B, program, source string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w -funcalign=16", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	must(b, cmd)
}

func must(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// figure is one line of the table.
type figure struct {
	what          string
	ours, control float64 // control is 0 where there is none
	unit          string
	beside        string // what the control is
	limit         limit
}

// limit is what a figure must keep to. The zero value is none: the figure is there for
// orientation.
type limit struct {
	value   float64
	ratio   bool // it holds for the ratio of ours to the control, not for ours
	atLeast bool // not at most
}

// ratio is 0 where there is no control.
func (f figure) ratio() float64 {
	if f.control == 0 {
		return 0
	}
	return f.ours / f.control
}

// verdict is the limit in words, and whether it was kept.
func (f figure) verdict() (words, kept string) {
	l := f.limit
	if l.value == 0 {
		return "", ""
	}
	got, unit, sign := f.ours, " "+f.unit, "≤"
	if l.ratio {
		got, unit = f.ratio(), "×"
	}
	distance := cmp.Compare(got, l.value)
	if l.atLeast {
		distance, sign = -distance, "≥"
	}
	kept = "ok"
	if distance > 0 {
		kept = "MISS"
	}
	return sign + " " + number(l.value) + unit, kept
}

type table []figure

func (t table) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s %s/%s, %d processors\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tours\tcontrol\t\tratio\tlimit\t")
	for _, f := range t {
		var control, ratio string
		if f.control != 0 {
			control, ratio = number(f.control)+" "+f.unit, fmt.Sprintf("%.2f", f.ratio())
		}
		words, kept := f.verdict()
		fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\t%s\t%s\t%s\n", f.what, number(f.ours), f.unit, control, f.beside, ratio, words, kept)
	}
	w.Flush()
}

// number has three digits, or all that stand before the point.
func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// medians runs the functions in turn, n times each after a first round that does not
// count, and returns the median of what each returned.
func medians(n int, run ...func() time.Duration) []time.Duration {
	took := make([][]time.Duration, len(run))
	for range n + 1 {
		for i, f := range run {
			took[i] = append(took[i], f())
		}
	}
	medians := make([]time.Duration, len(run))
	for i := range took {
		took[i] = took[i][1:]
		slices.Sort(took[i])
		medians[i] = took[i][n/2]
	}
	return medians
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
