package transport

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestProgressValues(t *testing.T) {
	type sent struct{ Progress, Total float64 }
	tests := []struct {
		name    string
		reports []sent // done, total; NaN, NaN: none, a heartbeat
		want    []sent // total 0: absent
	}{
		{"moves", []sent{{1, 0}, {2, 0}}, []sent{{1, 0}, {2, 0}}},
		{"stands", []sent{{1, 0}, {1, 0}, {1, 0}}, []sent{{1, 0}, {1.001, 0}, {1.002, 0}}},
		{"goes back", []sent{{10, 0}, {3, 0}, {11, 0}}, []sent{{10, 0}, {10.001, 0}, {11, 0}}},
		{"total", []sent{{1, 5}, {5, 5}, {5, 5}, {9, 5}}, []sent{{1, 5}, {5, 5}, {5.001, 5.001}, {9, 9}}},
		{"total becomes known", []sent{{1, 0}, {2, 5}}, []sent{{1, 0}, {2, 5}}},
		{"heartbeats", []sent{{math.NaN(), math.NaN()}, {math.NaN(), math.NaN()}, {7, 0}}, []sent{{0, 0}, {0.001, 0}, {7, 0}}},
		{"no numbers", []sent{{math.NaN(), 1}, {-3, -1}, {math.Inf(-1), math.Inf(1)}}, []sent{{0, 1}, {0.001, 0}, {0.002, 0}}},
		{"huge", []sent{{math.Inf(1), 0}, {math.MaxFloat64, 0}}, []sent{{1 << 53, 0}, {1<<53 + 2, 0}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := progress{token: json.RawMessage(`"t"`)}
			var got []sent
			for i, r := range test.reports {
				if !(math.IsNaN(r.Progress) && math.IsNaN(r.Total)) {
					p.report(r.Progress, r.Total, "", "", nil)
				}
				u, _ := p.take(time.Time{})
				n := decode(t, u.encode())
				if seq := n.Params.Meta[metaSeq]; seq != float64(i+1) {
					t.Errorf("seq of notification %d = %v", i+1, seq)
				}
				s := sent{Progress: n.Params.Progress}
				if n.Params.Total != nil {
					s.Total = *n.Params.Total
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("reports %v (-want +got):\n%s", test.reports, diff)
			}
		})
	}
}

// TestDeltas cuts a text anywhere, even inside characters, and takes updates
// anywhere between: what was sent, joined, is the text.
func TestDeltas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		p := progress{token: json.RawMessage(`1`)}
		var got strings.Builder
		var last float64 = -1
		collect := func(u update) {
			n := decode(t, u.encode())
			if n.Params.Progress <= last {
				t.Fatalf("progress %v after %v", n.Params.Progress, last)
			}
			last = n.Params.Progress
			delta, _ := n.Params.Meta[metaDelta].(string)
			got.WriteString(delta)
		}
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			p.report(rapid.Float64().Draw(t, "done"), 0, "", rest[:n], nil)
			rest = rest[n:]
			if rapid.Bool().Draw(t, "take") {
				u, _ := p.take(time.Time{})
				collect(u)
			}
		}
		if u, _, _ := p.end(time.Time{}); u != nil {
			collect(*u)
		}
		if got.String() != text {
			t.Fatalf("deltas of %q joined = %q", text, got.String())
		}
	})
}

func TestDeltaIsNeverCutInACharacter(t *testing.T) {
	p := progress{token: json.RawMessage(`1`)}
	p.report(1, 0, "", "a\xe2\x82", nil)
	u, _ := p.take(time.Time{})
	if u.delta != "a" {
		t.Errorf("take() with %q pending = %q, want %q", "a\xe2\x82", u.delta, "a")
	}
	p.report(2, 0, "", "\xac", nil)
	if last, _, _ := p.end(time.Time{}); last == nil || last.delta != "€" {
		t.Errorf("end() = %+v, want the delta %q", last, "€")
	}
}

func TestProgressEnd(t *testing.T) {
	p := progress{token: json.RawMessage(`1`)}
	p.report(1, 0, "", "a", nil)
	last, seq, _ := p.end(time.Time{})
	if last == nil || last.delta != "a" || seq != 2 {
		t.Errorf("end() = %+v, %d, want the pending update and 2", last, seq)
	}
	if p.report(2, 0, "", "b", nil) {
		t.Errorf("report() after end() = true, want false")
	}
	if u, ok := p.take(time.Time{}); ok {
		t.Errorf("take() after end() = %+v, want none", u)
	}
}

// TestProgressEndSaysOnlyNews ends a call on its second report, the first of which
// was sent a second before.
func TestProgressEndSaysOnlyNews(t *testing.T) {
	type report struct {
		done, total  float64
		phase, delta string
	}
	tests := []struct {
		name   string
		second *report // nil: none
		want   string  // of the last update; "": none is sent
	}{
		{"no report", nil, ""},
		{"the same report", &report{5, 9, "a", ""}, ""},
		{"delta", &report{5, 9, "a", "x"}, `"ollama-mcp/phase":"a","ollama-mcp/delta":"x"},"message":"m","progress":5.001,"progressToken":1,"total":9`},
		{"value", &report{6, 9, "a", ""}, `"ollama-mcp/phase":"a"},"message":"m","progress":6,"progressToken":1,"total":9`},
		{"value that goes back", &report{4, 9, "a", ""}, `"ollama-mcp/phase":"a"},"message":"m","progress":5.001,"progressToken":1,"total":9`},
		{"phase", &report{5, 9, "b", ""}, `"ollama-mcp/phase":"b"},"message":"m","progress":5.001,"progressToken":1,"total":9`},
		{"total", &report{5, 7, "a", ""}, `"ollama-mcp/phase":"a"},"message":"m","progress":5.001,"progressToken":1,"total":7`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := progress{token: json.RawMessage(`1`)}
			p.report(5, 9, "a", "", nil)
			sent := time.Unix(1, 0)
			p.take(sent)
			if s := test.second; s != nil {
				p.report(s.done, s.total, s.phase, s.delta, func() string { return "m" })
			}
			last, seq, answer := p.end(sent.Add(time.Second))
			got, wantSeq, wantAnswer := "", 2, sent.Add(answerDelay)
			if last != nil {
				got = string(last.encode())
			}
			if test.want != "" {
				wantSeq, wantAnswer = 3, sent.Add(time.Second+answerDelay)
			}
			if (got != "") != (test.want != "") || !strings.Contains(got, test.want) || seq != wantSeq || !answer.Equal(wantAnswer) {
				t.Errorf("end() after %+v = %s, %d, answer at %v, want %s, %d, %v", test.second, got, seq, answer, test.want, wantSeq, wantAnswer)
			}
		})
	}
}

// TestProgressEndWithoutNotification ends calls of which nothing was sent.
func TestProgressEndWithoutNotification(t *testing.T) {
	var silent, zero progress
	if last, seq, answer := silent.end(time.Unix(1, 0)); last != nil || seq != 1 || !answer.IsZero() {
		t.Errorf("end() without a report = %+v, %d, answer at %v, want none, 1, at once", last, seq, answer)
	}
	zero.report(0, 0, "", "", nil)
	if last, seq, _ := zero.end(time.Unix(1, 0)); last == nil || seq != 2 {
		t.Errorf("end() after a report of zero = %+v, %d, want it sent, 2", last, seq)
	}
}

func TestProgressMessage(t *testing.T) {
	tests := []struct {
		name string
		f    func() string
		want string
	}{
		{"none", nil, ""},
		{"plain", func() string { return "41 tok/s" }, "41 tok/s"},
		{"lines and escapes", func() string { return "a\nb\x1b[31mc\u2028d" }, "ab[31mcd"},
		{"long", func() string { return strings.Repeat("€", 300) }, strings.Repeat("€", 200)},
		{"panics", func() string { panic("kaboom") }, ""},
		{"not UTF-8", func() string { return "a\xffb" }, "a\ufffdb"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := progress{token: json.RawMessage(`"t"`)}
			p.report(1, 0, "p", "", test.f)
			u, _ := p.take(time.Time{})
			got := decode(t, u.encode()).Params.Message
			if got != test.want || utf8.RuneCountInString(got) > 200 {
				t.Errorf("message = %q, want %q", got, test.want)
			}
		})
	}
}

// slowSink is a client that takes its time for each message.
type slowSink struct{ got []string }

func (s *slowSink) write(it item) error {
	time.Sleep(10 * time.Millisecond)
	s.got = append(s.got, string(bytes.Join(it.parts, nil)))
	return nil
}

func (*slowSink) flush() error { return nil }
func (*slowSink) ping() error  { return nil }

// TestProgressDoesNotHoldUpAnswers has more progress due than the client takes.
func TestProgressDoesNotHoldUpAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Heartbeat: 100 * time.Millisecond}.withDefaults()
		s := &slowSink{}
		b := newOutbox(s, &o, nil)
		calls := make([]Call, 20)
		for i := range calls {
			calls[i].progress.token = json.RawMessage("1")
			b.watch(&calls[i])
		}
		go b.run()
		time.Sleep(time.Second) // of a hundred messages
		b.put(item{parts: [][]byte{[]byte("answer")}})
		time.Sleep(time.Second)
		for i := range calls {
			b.unwatch(&calls[i])
		}
		b.close()
		<-b.done
		if at := slices.Index(s.got, "answer"); at > 110 {
			t.Errorf("the answer is message %d, want one of the next after 100", at)
		}
	})
}
