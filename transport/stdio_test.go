package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/rs/zerolog"
)

// serve runs ServeStdio on a whole input and returns its whole output.
func serve(t *testing.T, o Options, lines ...string) []reply {
	t.Helper()
	p := dial(t, fixtures(), o)
	go func() {
		io.WriteString(p.in, strings.Join(lines, "\n"))
		p.in.Close()
	}()
	rest, err := p.rest()
	if err != nil {
		t.Errorf("ServeStdio = %v, want nil", err)
	}
	return rest
}

func TestFiftyCallsThenEndOfInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		for i := range 50 {
			lines = append(lines, call(fmt.Sprint(i), "", "count", `{"n":1,"every_ms":50}`))
		}
		answered := map[string]bool{}
		for _, r := range serve(t, Options{}, lines...) {
			if r.text() != "0€ " {
				t.Errorf("answer = %s, want the tool's text", r.raw)
			}
			answered[string(r.ID)] = true
		}
		if len(answered) != 50 {
			t.Errorf("50 calls, then end of input: %d answers, want 50", len(answered))
		}
	})
}

func TestPipelinedHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		// The call must already see what the handshake has agreed on, or mcp-go
		// would not let it notify.
		go io.WriteString(p.in, strings.Join([]string{
			`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			call("1", "", "notify", `{"n":3}`), ""}, "\n"))
		var got []string
		for range 5 {
			r := p.must()
			got = append(got, r.Method+string(r.ID)+r.text())
		}
		want := "0 notifications/fixture notifications/fixture notifications/fixture 1sent"
		if s := strings.Join(got, " "); s != want {
			t.Errorf("messages = %s, want %s", s, want)
		}
		p.close()
	})
}

func TestLines(t *testing.T) {
	ping := `{"jsonrpc":"2.0","id":%d,"method":"ping"}`
	long := `{"jsonrpc":"2.0","id":9,"method":"ping","params":{"a":"` + strings.Repeat("x", 17<<20) + `"}}`
	fits := `{"jsonrpc":"2.0","id":9,"method":"ping","params":{"a":"` + strings.Repeat("x", 10<<20) + `"}}`
	tests := []struct {
		name, in string
		want     []string // id, code
	}{
		{"CRLF and blank lines", "\r\n\n" + fmt.Sprintf(ping, 1) + "\r\n  \n", []string{"1 0"}},
		{"last line without end", fmt.Sprintf(ping, 1), []string{"1 0"}},
		{"17 MiB line", long + "\n" + fmt.Sprintf(ping, 1), []string{" -32600", "1 0"}},
		{"10 MiB line", fits + "\n" + fmt.Sprintf(ping, 1), []string{"9 0", "1 0"}},
		{"byte order mark", "\ufeff" + fmt.Sprintf(ping, 1) + "\n" + fmt.Sprintf(ping, 2), []string{"1 0", "2 0"}},
		{"only a byte order mark", "\ufeff\n" + fmt.Sprintf(ping, 1), []string{" -32700", "1 0"}},
		{"garbage", "garbage\n" + fmt.Sprintf(ping, 1), []string{" -32700", "1 0"}},
		{"cut off", `{"jsonrpc":"2.0","id":1,`, []string{"1 -32700"}},
		{"nothing", "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, r := range serve(t, Options{}, test.in) {
				code := 0
				if r.Error != nil {
					code = r.Error.Code
				}
				got = append(got, fmt.Sprintf("%s %d", strings.TrimPrefix(string(r.ID), "null"), code))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("input %.80q: answers %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestLineReaderHoldsNoMoreThanALine(t *testing.T) {
	tests := []struct {
		in   string
		max  int
		want []string
	}{
		{"12345\n123456\n1\n", 5, []string{"12345", "too long", "1"}},
		{"12345\r\n", 5, []string{"12345"}},
		{strings.Repeat("x", 3*16) + "\ny", 16, []string{"too long", "y"}},
		{strings.Repeat("x", 20), 16, []string{"too long"}},
		{"", 5, nil},
	}
	for _, test := range tests {
		l := newLineReader(strings.NewReader(test.in), test.max, 16)
		var got []string
		for {
			line, err := l.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, errTooLong) {
				line = []byte("too long")
			}
			got = append(got, string(line))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("lines of %.80q, at most %d long = %q, want %q", test.in, test.max, got, test.want)
		}
	}
}

func TestIDsAreEchoed(t *testing.T) {
	ids := []string{`9007199254740993`, `1e2`, `100`, `7`, `"7"`, `"\u0037"`, `-0`, `"a<b>&"`, `123456789012345678901234567890`}
	var lines []string
	for _, id := range ids {
		lines = append(lines, call(id, id, "count", `{}`))
	}
	synctest.Test(t, func(t *testing.T) {
		answers, tokens := map[string]int{}, map[string]int{}
		for _, r := range serve(t, Options{}, lines...) {
			if r.Method == "" {
				answers[string(r.ID)]++
			} else {
				tokens[string(r.Params.ProgressToken)]++
			}
		}
		for _, id := range ids {
			if answers[id] != 1 || tokens[id] != 1 {
				t.Errorf("id %s: %d answers, %d progress notifications, want 1 and 1 (got %v, %v)", id, answers[id], tokens[id], answers, tokens)
			}
		}
	})
}

func TestProgressIsOrderedCoalescedAndComplete(t *testing.T) {
	tests := []struct {
		args        string
		least, most int // notifications
		took        time.Duration
	}{
		{`{"n":100000}`, 1, 2, answerDelay},
		{`{"n":1000,"every_ms":1}`, 10, 11, time.Second + answerDelay},
		{`{"n":3,"every_ms":200}`, 3, 3, 600 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := dial(t, fixtures(), Options{})
				start := time.Now()
				p.send(call("1", `"tok"`, "count", test.args))
				text, n, last := "", 0, 0.0
				var answer reply
				for answer = p.must(); answer.Method != ""; answer = p.must() {
					n++
					if answer.Params.Progress <= last || answer.Params.Meta[metaSeq] != float64(n) {
						t.Errorf("notification %d after progress %v: %.300s", n, last, answer.raw)
					}
					last = answer.Params.Progress
					delta, _ := answer.Params.Meta[metaDelta].(string)
					text += delta
				}
				if n < test.least || n > test.most {
					t.Errorf("count(%s): %d notifications, want %d to %d", test.args, n, test.least, test.most)
				}
				if text != answer.text() {
					t.Errorf("deltas joined: %d bytes, want the %d of the text", len(text), len(answer.text()))
				}
				if seq := answer.Result.Meta[metaSeq]; seq != float64(n+1) {
					t.Errorf("seq of the answer = %v, want %d", seq, n+1)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("count(%s) took %v, want %v", test.args, took, test.took)
				}
				p.close()
			})
		})
	}
}

// TestAnswerFollowsTheLastProgressLater has a client that would miss progress that it
// reads together with the answer.
func TestAnswerFollowsTheLastProgressLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		start := time.Now()
		want := func(what string, r reply, after time.Duration) {
			t.Helper()
			if got := r.Method + string(r.ID); got != what || time.Since(start) != after {
				t.Errorf("message = %s after %v, want %s after %v", r.raw, time.Since(start), what, after)
			}
		}
		p.send(call("1", `"t"`, "count", `{}`))
		want("notifications/progress", p.must(), 0)
		synctest.Wait()
		p.send(call("2", "", "count", `{}`), call("3", `"u"`, "echo", `{}`), `{"jsonrpc":"2.0","id":4,"method":"ping"}`)
		for others := map[string]bool{}; len(others) < 3; {
			r := p.must()
			if others[string(r.ID)] = true; string(r.ID) == "1" || time.Since(start) != 0 {
				t.Errorf("while call 1 waits: %s after %v, want the other answers at once", r.raw, time.Since(start))
			}
		}
		want("1", p.must(), answerDelay)
		p.close()
	})
}

// TestNoWaitForWhatNeedsNoAnswer ends a call that waits to be answered.
func TestNoWaitForWhatNeedsNoAnswer(t *testing.T) {
	tests := []struct {
		name  string
		drain time.Duration
		act   func(*peer)
		want  int // messages that follow
	}{
		{"cancel", time.Second, func(p *peer) { p.send(cancelled("1")); p.in.Close() }, 0},
		{"drain", time.Millisecond, func(p *peer) { p.in.Close() }, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := dial(t, fixtures(), Options{Drain: test.drain})
				p.send(call("1", `"t"`, "count", `{}`))
				p.must()
				synctest.Wait()
				start := time.Now()
				test.act(p)
				rest, err := p.rest()
				if took := time.Since(start); len(rest) != test.want || err != nil || took > time.Millisecond {
					t.Errorf("after %s: %v, %v after %v, want %d messages at once", test.name, rest, err, took, test.want)
				}
			})
		})
	}
}

// TestManyCallsAtOnce has 300 calls in flight, each with progress, of which every
// third is cancelled on the way, and checks each call's messages for itself.
func TestManyCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 300
		p := dial(t, fixtures(), Options{MaxCallsPerCaller: calls})
		go func() {
			defer p.in.Close()
			for i := range calls {
				io.WriteString(p.in, call(fmt.Sprint(i), fmt.Sprint(i), "count", fmt.Sprintf(`{"n":%d,"every_ms":%d}`, i%17+3, i%13+20))+"\n")
			}
			for i := range calls / 3 {
				time.Sleep(500 * time.Microsecond) // the last before the shortest call is over
				io.WriteString(p.in, cancelled(fmt.Sprint(3*i))+"\n")
			}
		}()
		type state struct {
			seq  float64
			text string
			over bool
		}
		seen := map[string]*state{}
		rest, err := p.rest()
		for _, r := range rest {
			id, meta := string(r.ID), r.Result.Meta
			if r.Method != "" {
				id, meta = string(r.Params.ProgressToken), r.Params.Meta
			}
			s := seen[id]
			if s == nil {
				s = new(state)
				seen[id] = s
			}
			if s.seq++; meta[metaSeq] != s.seq || s.over {
				t.Errorf("call %s, message %v, answered before: %t: %s", id, s.seq, s.over, r.raw)
			}
			delta, _ := meta[metaDelta].(string)
			s.text += delta
			if s.over = r.Method == ""; s.over && s.text != r.text() {
				t.Errorf("call %s: deltas %q, text %q", id, s.text, r.text())
			}
		}
		for i := range calls {
			s, want := seen[fmt.Sprint(i)], i%3 != 0
			if got := s != nil && s.over; got != want {
				t.Errorf("call %d: answered %t, want %t", i, got, want)
			}
		}
		if err != nil {
			t.Errorf("ServeStdio = %v, want nil", err)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		start := time.Now()
		p.send(call("1", `5`, "block", `{}`), call("2", ``, "block", `{}`))
		for i := range 3 {
			r := p.must()
			want := time.Duration(i+1) * 5 * time.Second
			if got := time.Since(start); got != want || string(r.Params.ProgressToken) != "5" {
				t.Errorf("heartbeat %d after %v: %s, want one of token 5 after %v", i+1, got, r.raw, want)
			}
		}
		p.send(cancelled("1"), cancelled("2"))
		if rest, err := p.close(); len(rest) != 0 || err != nil {
			t.Errorf("after cancels: %v, %v, want silence", rest, err)
		}
	})
}

func TestCancelSilencesOnlyTheCallMeant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		p.send(call(`7`, `"a"`, "count", `{"n":40,"every_ms":100}`), call(`"7"`, `"b"`, "count", `{"n":40,"every_ms":100}`))
		for range 4 {
			p.must()
		}
		p.send(cancelled(`"7"`), cancelled(`"8"`), `{"jsonrpc":"2.0","method":"notifications/cancelled"}`)
		p.send(`{"jsonrpc":"2.0","id":"after","method":"ping"}`)
		for r := p.must(); string(r.ID) != `"after"`; {
			r = p.must()
		}
		rest, _ := p.close()
		counts := map[string]int{}
		for _, r := range rest {
			counts[string(r.Params.ProgressToken)+string(r.ID)]++
		}
		if want := map[string]int{`"a"`: counts[`"a"`], `7`: 1}; !maps.Equal(counts, want) || counts[`"a"`] < 20 {
			t.Errorf(`after cancelling "7": messages by token or id %v, want those of "a" and the answer to 7`, counts)
		}
	})
}

// TestCancelOfAQueuedAnswer has a client that does not read cancel a call whose
// answer waits behind another one.
func TestCancelOfAQueuedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		for _, line := range []string{
			call("1", "", "echo", `{"text":"being written"}`), call("2", "", "echo", `{"text":"queued"}`),
			cancelled("2"), call("2", "", "echo", `{"text":"again"}`),
		} {
			p.send(line)
			synctest.Wait()
		}
		rest, _ := p.close()
		var got []string
		for _, r := range rest {
			got = append(got, string(r.ID)+" "+r.text())
		}
		if diff := cmp.Diff([]string{"1 being written", "2 again"}, got); diff != "" {
			t.Errorf("answers, the first one to 2 cancelled (-want +got):\n%s", diff)
		}
	})
}

func TestIDInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		p.send(call("1", "", "block", `{}`), call("1", "", "echo", `{}`))
		if r := p.must(); r.Error == nil || r.Error.Code != mcp.INVALID_REQUEST || string(r.ID) != "1" {
			t.Errorf("second request with id 1 = %s, want error %d", r.raw, mcp.INVALID_REQUEST)
		}
		p.send(cancelled("1"), call("1", "", "echo", `{"text":"again"}`))
		if r := p.must(); r.text() != "again" {
			t.Errorf("id 1 used again after a cancel = %s, want the answer", r.raw)
		}
		p.send(call("1", "", "echo", `{"text":"third"}`))
		if r := p.must(); r.text() != "third" {
			t.Errorf("id 1 used again after an answer = %s, want the answer", r.raw)
		}
		// The end of a cancelled call must not make the id of the next one free.
		p.send(call("1", "", "deaf", `{"ms":1000}`), cancelled("1"), call("1", "", "block", `{}`))
		time.Sleep(2 * time.Second)
		p.send(cancelled("1"))
		if rest, _ := p.close(); len(rest) != 0 {
			t.Errorf("after cancelling both calls with id 1: %v, want silence", rest)
		}
	})
}

func TestPanicIsOneFailedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := dial(t, fixtures(), Options{Log: zerolog.New(&log)})
		p.send(call("1", `"t"`, "panic", `{}`))
		r := p.must()
		if r.Error == nil || r.Error.Code != mcp.INTERNAL_ERROR || strings.Contains(r.raw, "kaboom") {
			t.Errorf("a tool that panics = %s, want error %d without the cause", r.raw, mcp.INTERNAL_ERROR)
		}
		_, id, _ := strings.Cut(strings.TrimSuffix(r.Error.Message, ")"), "(request ")
		for _, want := range []string{"kaboom", "fixture_test.go", id} {
			if id == "" || !strings.Contains(log.String(), want) {
				t.Errorf("log = %s, want %q in it", log.String(), want)
			}
		}
		p.send(call("2", "", "echo", `{"text":"alive"}`))
		if r := p.must(); r.text() != "alive" {
			t.Errorf("the call after = %s, want an answer", r.raw)
		}
		p.close()
	})
}

func TestRawStructuredContentIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dial(t, fixtures(), Options{})
		p.send(call("1", "", "raw", `{}`))
		// Of the line itself, as decoding would fold the case of the key.
		if r := p.must(); !strings.Contains(r.raw, `,"structuredContent":{"floats":[1.50,-0,1E2]}}`) || r.text() != "raw" || r.Result.Meta[metaSeq] != 1.0 {
			t.Errorf("raw = %s, want its bytes as they are", r.raw)
		}
		p.send(call("2", "", "raw", `{"json":"{\n\"a\": 1}"}`))
		if r := p.must(); string(r.Result.StructuredContent) != `{"a":1}` {
			t.Errorf("raw with a line break = %s, want it on one line", r.raw)
		}
		p.send(call("3", "", "raw", `{"json":"{\n"}`))
		if r := p.must(); r.Error == nil || r.Error.Code != mcp.INTERNAL_ERROR {
			t.Errorf("raw that is not JSON = %s, want error %d", r.raw, mcp.INTERNAL_ERROR)
		}
		p.close()
	})
}

// failing is an out whose client has gone.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestOutputFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, w := io.Pipe()
		go io.WriteString(w, call("1", "", "block", `{}`)+"\n"+`{"jsonrpc":"2.0","id":2,"method":"ping"}`+"\n")
		err := ServeStdio(context.Background(), fixtures(), in, failing{}, Options{})
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("ServeStdio with a broken out = %v, want %v", err, io.ErrClosedPipe)
		}
	})
}

func TestInputFails(t *testing.T) {
	in := io.MultiReader(strings.NewReader(call("1", "", "echo", `{"text":"x"}`)+"\n"), failingReader{})
	var out bytes.Buffer
	err := ServeStdio(t.Context(), fixtures(), in, &out, Options{})
	if !errors.Is(err, io.ErrNoProgress) || !strings.Contains(out.String(), `"x"`) {
		t.Errorf("ServeStdio with a broken in = %v, output %s, want %v and the answer", err, out.String(), io.ErrNoProgress)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrNoProgress }
