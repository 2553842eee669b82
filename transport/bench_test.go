package transport

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/server"
)

// BenchmarkReport is what a token costs a tool.
func BenchmarkReport(b *testing.B) {
	for _, token := range []string{"", `"t"`} {
		b.Run("token="+token, func(b *testing.B) {
			o := Options{}.withDefaults()
			c := &conn{out: newOutbox(&lineWriter{bufio.NewWriter(io.Discard)}, &o, func(error) {})}
			go c.out.run()
			call := &Call{conn: c, progress: progress{requestID: "x/1"}}
			if token != "" {
				call.progress.token = json.RawMessage(token)
				c.out.watch(call)
			}
			message := func() string { return "generating" }
			b.ReportAllocs()
			for b.Loop() {
				call.Report(1, 0, "generating", " token", message)
			}
			c.out.close()
			<-c.out.done
		})
	}
}

// BenchmarkParse is the envelope of a small call and of a large one.
func BenchmarkParse(b *testing.B) {
	for _, size := range []int{20, 1 << 20} {
		in := []byte(call("1", `"t"`, "echo", `{"text":"`+strings.Repeat("x", size)+`"}`))
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if _, err := parse(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRoundTrip is a tool that does nothing, through pipes, beside mcp-go's
// own stdio server.
func BenchmarkRoundTrip(b *testing.B) {
	serve := map[string]func(context.Context, io.Reader, io.Writer) error{
		"ours": func(ctx context.Context, in io.Reader, out io.Writer) error {
			return ServeStdio(ctx, fixtures(), in, out, Options{})
		},
		"mcp-go": func(ctx context.Context, in io.Reader, out io.Writer) error {
			return server.NewStdioServer(fixtures()).Listen(ctx, in, out)
		},
	}
	for _, name := range []string{"ours", "mcp-go"} {
		for _, inFlight := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", name, inFlight), func(b *testing.B) {
				inR, inW := io.Pipe()
				outR, outW := io.Pipe()
				done := make(chan error, 1)
				go func() { done <- serve[name](b.Context(), inR, outW); outW.Close() }()
				lines := bufio.NewScanner(outR)
				line := []byte(call("1", "", "echo", `{"text":"x"}`) + "\n")
				ids := make(chan []byte, inFlight)
				for i := range inFlight {
					ids <- []byte(strings.Replace(string(line), `"id":1`, fmt.Sprintf(`"id":%d`, i), 1))
				}
				go func() {
					for range b.N {
						inW.Write(<-ids)
					}
				}()
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					if !lines.Scan() {
						b.Fatal("no answer")
					}
					id := strings.SplitN(strings.SplitN(lines.Text(), `"id":`, 2)[1], ",", 2)[0]
					ids <- []byte(strings.Replace(string(line), `"id":1`, `"id":`+id, 1))
				}
				b.StopTimer()
				inW.Close()
				for lines.Scan() {
				}
				<-done
			})
		}
	}
}

// BenchmarkRawStructuredContent is a result of 25 MB.
func BenchmarkRawStructuredContent(b *testing.B) {
	raw := json.RawMessage(`{"embeddings":[` + strings.Repeat("0.123456,", 25<<20/9) + `1]}`)
	c := &Call{conn: &conn{}, id: "x/1", msg: message{id: json.RawMessage("1")}}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		result := newRawResult(raw)
		w := &lineWriter{bufio.NewWriterSize(io.Discard, ioBuffer)}
		if err := w.write(c.encode(result, 1)); err != nil {
			b.Fatal(err)
		}
	}
}
