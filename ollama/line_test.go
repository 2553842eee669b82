package ollama

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const head = `{"model":"tiny:latest","created_at":"2025-06-01T12:00:00.123456789Z"`

// TestScanTakesTokens shows that the quick way serves what a stream consists of: a scan
// that always declined would pass every other test.
func TestScanTakesTokens(t *testing.T) {
	tests := []struct {
		name     string
		kind     lineKind
		line     string
		text     string
		thinking string
	}{
		{"generate", generateLine, head + `,"response":" fox","done":false}`, " fox", ""},
		{"generate, thinking", generateLine, head + `,"response":"","thinking":"hm","done":false}`, "", "hm"},
		{"generate, escapes", generateLine, head + `,"response":"\n\u003cb\u003e\ud83e\udd8a","done":false}`, "\n<b>🦊", ""},
		{"generate, UTF-8", generateLine, head + `,"response":"Füchse 🦊","done":false}`, "Füchse 🦊", ""},
		{"chat", chatLine, head + `,"message":{"role":"assistant","content":" fox"},"done":false}`, " fox", ""},
		{"chat, thinking", chatLine, head + `,"message":{"role":"assistant","content":"","thinking":"\"hm\""},"done":false}`, "", `"hm"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d delta
			if !d.scan(tt.kind, []byte(tt.line)) {
				t.Fatalf("scan(%s) = false, want true", tt.line)
			}
			want := Chunk{Text: tt.text, Thinking: tt.thinking}
			if diff := cmp.Diff(want, d.take()); diff != "" {
				t.Errorf("scan(%s) (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

// TestScanDeclines holds lines that only a full decode understands.
func TestScanDeclines(t *testing.T) {
	tests := []struct {
		name string
		line string
	}{
		{"the end", head + `,"response":"","done":true,"done_reason":"stop"}`},
		{"error", `{"error":"the \"response\":\"x\" is lost"}`},
		{"error beside a text", head + `,"response":"x","error":"y","done":false}`},
		{"error before a text", `{"error":"y","response":"x","done":false}`},
		{"space", head + `, "response":"x","done":false}`},
		{"remote", `{"model":"m","remote_model":"m","remote_host":"h","created_at":"t","response":"x","done":false}`},
		{"logprobs", head + `,"response":"x","done":false,"logprobs":[{"token":"x"}]}`},
		{"twice", head + `,"response":"x","response":"y","done":false}`},
		{"cut", head + `,"response":"x","do`},
		{"cut in an escape", head + `,"response":"x\`},
		{"bad escape", head + `,"response":"\x","done":false}`},
		{"raw control character", head + ",\"response\":\"\t\",\"done\":false}"},
		{"chat", head + `,"message":{"role":"assistant","content":"x"},"done":false}`},
		{"empty", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d delta
			if d.scan(generateLine, []byte(tt.line)) {
				t.Errorf("scan(%s) = true, want false", tt.line)
			}
			if diff := cmp.Diff(Chunk{}, d.take()); diff != "" {
				t.Errorf("scan(%s) took something (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

// TestScanEqualsDecode: whatever a line is, scan gives what encoding/json gives, or declines.
func TestScanEqualsDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]lineKind{generateLine, chatLine}).Draw(t, "kind")
		checkScan(t, kind, drawLine(t))
	})
}

// FuzzScan is the same on lines that nobody thought of.
func FuzzScan(f *testing.F) {
	f.Add(false, []byte(head+`,"response":"a\u00e4\ud83e\udd8a\/","thinking":"b","done":false}`))
	f.Add(true, []byte(head+`,"message":{"role":"assistant","content":"\ud83e"},"done":false}`))
	f.Add(false, []byte(head+",\"response\":\"\xff\",\"done\":false}"))
	f.Fuzz(func(t *testing.T, chat bool, line []byte) {
		kind := generateLine
		if chat {
			kind = chatLine
		}
		checkScan(t, kind, line)
	})
}

func checkScan(t interface{ Fatalf(string, ...any) }, kind lineKind, line []byte) {
	var scanned, decoded delta
	if !scanned.scan(kind, line) {
		return
	}
	if err := decoded.decode(line); err != nil {
		t.Fatalf("scan(%s) = true, but decode: %v", line, err)
	}
	if diff := cmp.Diff(decoded.take(), scanned.take()); diff != "" {
		t.Fatalf("scan(%s) (-decoded +scanned):\n%s", line, diff)
	}
}

// drawLine draws a line as Ollama could write it, or nearly.
func drawLine(t *rapid.T) []byte {
	quoted := rapid.Custom(func(t *rapid.T) string {
		s := rapid.String().Draw(t, "text")
		switch rapid.IntRange(0, 2).Draw(t, "quoting") {
		case 0:
			return strconv.QuoteToASCII(s) // mostly JSON: \x and \U are not
		case 1:
			return `"` + s + `"` // rarely JSON
		}
		b, _ := json.Marshal(s)
		return string(b)
	})
	parts := []string{
		`{"model":`, quoted.Draw(t, "model"), `,"created_at":"now"`,
		rapid.SampledFrom([]string{``, `,"error":"x"`, `,"remote_host":"h"`}).Draw(t, "extra"),
	}
	if rapid.Bool().Draw(t, "chat") {
		parts = append(parts, `,"message":{"role":"assistant","content":`, quoted.Draw(t, "content"))
		if rapid.Bool().Draw(t, "thinks") {
			parts = append(parts, `,"thinking":`, quoted.Draw(t, "thinking"))
		}
		parts = append(parts, `}`)
	} else {
		parts = append(parts, `,"response":`, quoted.Draw(t, "response"))
	}
	parts = append(parts, rapid.SampledFrom([]string{`,"done":false}`, `,"done":true}`, `}`, ` ,"done":false}`}).Draw(t, "end"))
	return []byte(strings.Join(parts, ""))
}

func TestDecodeLastLine(t *testing.T) {
	line := head + `,"message":{"role":"assistant","content":"x","thinking":"y","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},` +
		`"done":true,"done_reason":"length","context":[1,2,3],"total_duration":5,"load_duration":4,"prompt_eval_count":3,` +
		`"prompt_eval_cached_count":0,"prompt_eval_duration":2,"eval_count":1,"eval_duration":9,"remote_model":"m","remote_host":"h"}`
	var d delta
	if err := d.add(chatLine, []byte(line)); err != nil {
		t.Fatalf("add(%s): %v", line, err)
	}
	want := Chunk{
		Text: "x", Thinking: "y", Tokens: 1,
		ToolCalls: []ToolCall{{Function: ToolCallFunction{Name: "f", Arguments: json.RawMessage(`{"a":1}`)}}},
		Done: &Done{
			Reason: "length", TotalDuration: 5, LoadDuration: 4, PromptEvalCount: 3, PromptCachedCount: new(int),
			PromptEvalDuration: 2, EvalCount: 1, EvalDuration: 9, RemoteModel: "m", RemoteHost: "h",
		},
	}
	if diff := cmp.Diff(want, d.take()); diff != "" {
		t.Errorf("add(%s) (-want +got):\n%s", line, diff)
	}
	if diff := cmp.Diff(Chunk{}, d.take()); diff != "" {
		t.Errorf("the second take (-want +got):\n%s", diff)
	}
}

func BenchmarkScan(b *testing.B) {
	for name, line := range map[string]string{
		"plain":    head + `,"response":" fox","done":false}`,
		"escape":   head + `,"response":"\n","done":false}`,
		"fallback": head + `,"response":" fox", "done":false}`,
	} {
		b.Run(name, func(b *testing.B) {
			var d delta
			bytes := []byte(line)
			b.ReportAllocs()
			for b.Loop() {
				if err := d.add(generateLine, bytes); err != nil {
					b.Fatal(err)
				}
				d.text = d.text[:0]
			}
		})
	}
}
