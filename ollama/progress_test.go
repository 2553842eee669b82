package ollama

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestProgressLines says how a stream of statuses ends. Only Ollama's own success is one.
func TestProgressLines(t *testing.T) {
	tests := []struct {
		name, body string
		statuses   []string
		kind       Kind // of the error; "" is a success
	}{
		{"success", `{"status":"a"}` + "\n" + `{"status":"success"}` + "\n", []string{"a", "success"}, ""},
		{"blank lines", "\n" + `{"status":"a"}` + "\r\n\n \n" + `{"status":"success"}` + "\n", []string{"a", "success"}, ""},
		{"no line feed", `{"status":"success"}`, []string{"success"}, ""},
		{"more than success", `{"status":"success"}` + "\nrubbish", []string{"success"}, ""},
		{"no success", `{"status":"a"}` + "\n", []string{"a"}, Cut},
		{"half a line", `{"status":"a"}` + "\n" + `{"status":"succ`, []string{"a"}, Cut},
		{"nothing", "", nil, Cut},
		{"an error", `{"status":"a"}` + "\n" + `{"error":"no space left on device"}`, []string{"a"}, Failed},
		{"an error beside success", `{"status":"success","error":"but"}`, nil, Failed},
		{"an error before success", `{"error":"but"}` + "\n" + `{"status":"success"}`, nil, Failed},
		{"rubbish", `{"status":"a"}` + "\nrubbish\n", []string{"a"}, Cut},
		{"another JSON", `{"object":"list"}` + "\n", nil, NotOllama},
		{"a status of another kind", `{"status":200}` + "\n", nil, NotOllama},
		{"another success", `{"status":"Success"}` + "\n", []string{"Success"}, Cut},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, c := newRawHost(t, says(ok(tt.body)))
			var got []string
			var err error
			for p, e := range c.Pull(t.Context(), "m") {
				if err = e; e == nil {
					got = append(got, p.Status)
				}
			}
			if diff := cmp.Diff(tt.statuses, got); diff != "" {
				t.Errorf("Pull: statuses (-want +got):\n%s", diff)
			}
			if e, isError := err.(*Error); tt.kind == "" && err != nil || tt.kind != "" && (!isError || e.Kind != tt.kind) {
				t.Errorf("Pull: got %v, want kind %q", err, tt.kind)
			}
		})
	}
}
