package tools

import (
	"context"
	"encoding/json"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
)

func twoModels() ollamatest.Script {
	return ollamatest.Script{
		Models: []ollamatest.FakeModel{{Name: "a"}, {Name: "b"}, {Name: "e", Capabilities: []string{fleet.Embedding}}},
		Tokens: []string{"Hello", " you"}, FirstDelay: time.Second, TokenDelay: time.Second,
	}
}

// answers are those of a result, in their order, as model=text or model!kind.
func (r *result) answers() []string {
	var out generateOutput
	structured, _ := json.Marshal(r.fields)
	_ = json.Unmarshal(structured, &out) // what does not decode is missing
	var got []string
	for _, a := range out.Answers {
		s := short(a.Model) + "=" + a.Text
		if a.Error != nil {
			s = short(a.Model) + "!" + a.Error.Kind
		} else if a.Timing == nil || a.Usage == nil {
			s += " without its timing"
		}
		got = append(got, s)
	}
	return got
}

func TestSideBySide(t *testing.T) {
	tests := []struct {
		args   string
		want   string
		kind   string // of the call's own error
		phrase string // somewhere in the words
	}{
		{`{"models":["a","b"],"prompt":"hi"}`, "a=Hello you b=Hello you", "", "2 answers side by side."},
		{`{"models":["b","a:latest"],"prompt":"hi","options":{"num_predict":1}}`, "b=Hello a=Hello", "", "tok/s"},
		{`{"models":["a","gone","e"],"prompt":"hi"}`, "a=Hello you gone!missing_model e!unsupported", "", "1 of 3 models answered"},
		{`{"models":["gone","e"],"prompt":"hi"}`, "gone!missing_model e!unsupported", "missing_model", "ollama pull gone"},
		{`{"models":["a","a:latest"],"prompt":"hi"}`, "", InvalidArguments, "names a twice"},
		{`{"models":["a","b"],"model":"a","prompt":"hi"}`, "", InvalidArguments, "both given"},
		{`{"models":["a"],"prompt":"hi"}`, "", InvalidArguments, "models"},
		{`{"models":["a","b","c","d","e"],"prompt":"hi"}`, "", InvalidArguments, "models"},
		{`{"models":["a","../b"],"prompt":"hi"}`, "", InvalidArguments, "../b"},
	}
	for _, tt := range tests {
		onFake(t, twoModels(), fleet.Options{}, func(b *bench) {
			r := b.call(b.t.Context(), "generate", tt.args)
			kind := ""
			if r.error != nil {
				kind = r.error.Kind
			}
			if got := strings.Join(r.answers(), " "); got != tt.want || kind != tt.kind {
				t.Errorf("generate(%s): answers %q, error %+v; want %q, kind %q", tt.args, got, r.error, tt.want, tt.kind)
			}
			if words := strings.Join(r.content, "\n"); !strings.Contains(words, tt.phrase) {
				t.Errorf("generate(%s): words %q, want %q in them", tt.args, words, tt.phrase)
			}
		})
	}
}

// TestSideBySideAtOnce: the models work at the same time, and the progress, which counts the
// tokens of all, says whose it is.
func TestSideBySideAtOnce(t *testing.T) {
	onFake(t, twoModels(), fleet.Options{}, func(b *bench) {
		start, done := time.Now(), 0.0
		said := map[string]bool{}
		tool := b.set[0]
		tool.jobs = nil // of what is reported at one moment a job tells only the last
		tool.Call(b.t.Context(), json.RawMessage(`{"models":["a","b"],"prompt":"hi","options":{"num_predict":2}}`), "r", func(p Progress) {
			if p.Done < done || p.Delta != "" || p.Total != 0 && p.Total != 4 {
				t.Errorf("progress %+v after %v tokens: want no fewer, of 4, and no text", p, done)
			}
			done = p.Done
			said[p.Message()] = true
		})
		if done != 4 {
			t.Errorf("two answers of 2 tokens: the progress ends at %v, want 4", done)
		}
		for _, want := range []string{"a: a is reading the prompt", "b: b is reading the prompt", "a: generating 1 token", "b: generating 1 token"} {
			if !said[want] {
				t.Errorf("no progress says %q, got %v", want, said)
			}
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("two answers of 2 s took %s, want them at once", took)
		}
	})
}

// The phase of all is the least advanced of those at work, and never goes back.
func TestPhaseOfAll(t *testing.T) {
	for _, tt := range []struct{ reports, want string }{
		{"a:prompt b:prompt a:thinking b:generating a:thinking b:generating a:generating", "queued prompt prompt thinking thinking thinking generating"},
		{"a:generating a:generating b:loading", "queued queued loading"},
		{"a:loading b:end a:generating", "queued generating"},
		{"a:loading b:prompt a:end b:generating", "queued loading generating"},
		{"a:generating b:generating b:recovering b:queued b:prompt a:generating", "queued generating generating generating generating generating"},
		{"b:end a:thinking a:generating a:thinking", "thinking generating generating"},
	} {
		var got []string
		all := newTogether(func(p Progress) { got = append(got, p.Phase) }, 2)
		for r := range strings.FieldsSeq(tt.reports) {
			who, phase, _ := strings.Cut(r, ":")
			i := strings.Index("ab", who)
			if phase == "end" {
				all.end(i)
				continue
			}
			all.part(i, ollama.Name(who))(Progress{Phase: phase})
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("the phase of all after %s (-want +got):\n%s", tt.reports, diff)
		}
	}
}

func TestSideBySideUnderPolicy(t *testing.T) {
	rules := []policy.Rule{{Callers: []string{"ci"}, Models: []string{"a"}, Effect: policy.Deny}, {}}
	underPolicy(t, twoModels(), fleet.Options{}, rules, func(b *bench) {
		r := b.call(as("ci"), "generate", `{"models":["a","b"],"prompt":"hi"}`)
		if got := strings.Join(r.answers(), " "); got != "a!forbidden b=Hello you" {
			t.Errorf("generate with a model that is forbidden: answers %q", got)
		}
		r = b.call(as("ci"), "generate", `{"models":["a","gone"],"prompt":"hi"}`)
		if got := strings.Join(r.answers(), " "); got != "a!forbidden gone!missing_model" || strings.Contains(r.everything(), "Installed: a") {
			t.Errorf("generate with a model that is forbidden: answers %q, %s", got, r.everything())
		}
	})
}

func TestCancelStopsAllSides(t *testing.T) {
	script := twoModels()
	script.TokenCount = 1000
	onFake(t, script, fleet.Options{}, func(b *bench) {
		ctx, cancel := context.WithCancel(b.t.Context())
		go func() {
			time.Sleep(10 * time.Second) // fake time
			cancel()
		}()
		r := b.call(ctx, "generate", `{"models":["a","b"],"prompt":"hi"}`)
		if got := strings.Join(r.answers(), " "); r.error == nil || r.error.Kind != kindCanceled || got != "a!canceled b!canceled" {
			t.Errorf("generate that is cancelled: got %+v, %q; want kind canceled for all", r.error, got)
		}
		synctest.Wait()
		if aborts := len(b.fake.Seen().Aborts); aborts != 2 {
			t.Errorf("%d requests were cut off, want 2", aborts)
		}
	})
}

func TestPanicOfOneSide(t *testing.T) {
	choose := func(_ context.Context, named ollama.Name, _ string, _ func(ollama.Name) bool) (ollama.Name, error) {
		return named, nil
	}
	tool := generate(choose, func(_ context.Context, r *ollama.GenerateRequest, _ fleet.Watch) iter.Seq2[ollama.Chunk, error] {
		return func(yield func(ollama.Chunk, error) bool) {
			if r.Model == "b:latest" {
				panic("secret")
			}
			yield(ollama.Chunk{Text: "hi", Done: &ollama.Done{Reason: "stop"}}, nil)
		}
	})
	structured, err := json.Marshal(tool.Call(t.Context(), json.RawMessage(`{"models":["a","b"],"prompt":"hi"}`), "r7", func(Progress) {}).StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{`"text":"hi"`, `"kind":"internal"`, "r7"} {
		if !strings.Contains(string(structured), w) || strings.Contains(string(structured), "secret") {
			t.Errorf("generate with a panic of one model: %s; want %s in it and nothing of the panic", structured, w)
		}
	}
}
