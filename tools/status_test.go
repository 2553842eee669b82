package tools

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/jobs"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
)

func TestStatus(t *testing.T) {
	script := ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "a", Loaded: true}, {Name: "b", Loaded: true}}, FirstDelay: time.Minute}
	rules := []policy.Rule{{Callers: []string{"ci"}, Models: []string{"b"}, Effect: policy.Deny}, {}}
	underPolicy(t, script, fleet.Options{}, rules, func(b *bench) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.set[0].Call(as("boss"), json.RawMessage(`{"model":"b","prompt":"hi"}`), "r", func(Progress) {})
		}()
		synctest.Wait()
		for caller, want := range map[string][2]string{
			"boss": {`"calls":[{"model":"b:latest","parallel":4,"running":1,"waiting":0}]`, "2 models loaded, 0 loading; 1 call running, 0 waiting."},
			"ci":   {`"calls":[]`, "1 model loaded, 0 loading; 0 calls running, 0 waiting."},
		} {
			r := b.call(as(caller), "status", `{}`)
			all := r.everything()
			for _, w := range append(want[:], `"version":"0.34.4"`, b.fake.URL, `"model":"a:latest"`, "until 20") {
				if !strings.Contains(all, w) {
					t.Errorf("status as %s: %s lacks %s", caller, all, w)
				}
			}
			if caller == "ci" && strings.Contains(all, "b:latest") {
				t.Errorf("status as ci: %s names a model that is forbidden", all)
			}
		}
		<-done
	})
}

func TestStatusOfTheServer(t *testing.T) {
	about := About{Version: "1.2.3", Limits: Limits{MaxWait: 50, MaxCalls: 7, DefaultModel: "secret:latest"}}
	list := func(owner string, states ...jobs.State) []jobs.Status {
		if owner != "ci" {
			t.Errorf("status as ci lists the jobs of %s", owner)
		}
		return make([]jobs.Status, 5-3*len(states)) // 2 of 5 are running
	}
	down := []fleet.HostStatus{{Address: "http://gpu-box:11434", Err: context.DeadlineExceeded}}
	p, err := policy.New([]policy.Rule{{Models: []string{"tiny"}}}, policy.Options{Tools: ForPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	tool := status(func(context.Context) []fleet.HostStatus { return down }, list, about)
	tool.policy = p
	r := tool.Call(as("ci"), json.RawMessage(`{}`), "r", func(Progress) {})
	got, err := json.Marshal(r.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{`"version":"1.2.3"`, `"max_wait_s":50`, `"max_calls":7`, `"jobs":{"running":2,"ended":3}`, "gpu-box", `"kind":"canceled"`} {
		if !strings.Contains(string(got), w) {
			t.Errorf("status while Ollama is gone: %s lacks %s", got, w)
		}
	}
	if !strings.Contains(string(got), `"note":"Ollama at http://gpu-box:11434: which models are loaded is not known, 0 loading; 0 calls`) || strings.Contains(string(got), `"loaded":`) {
		t.Errorf("status while Ollama is gone: %s; want no word of how many models are loaded", got)
	}
	if strings.Contains(string(got), "secret") {
		t.Errorf("status: %s names a default model that is forbidden", got)
	}
}
