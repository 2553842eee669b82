package clients

import (
	"encoding/json"
	"slices"
	"testing"

	"ollama-mcp/interop/npm"
	"ollama-mcp/interop/program"
	"ollama-mcp/ollama/ollamatest"
)

// TestResultsFitSchemas has the TypeScript SDK's client check the result of each tool by the
// tool's output schema, as it does by itself: answers, jobs, and errors.
func TestResultsFitSchemas(t *testing.T) {
	packages, err := npm.Install(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	calls := []toCall{
		{"generate", json.RawMessage(`{"model":"tiny","prompt":"hi"}`)},
		{"generate", json.RawMessage(`{"model":"tiny","prompt":"hi","schema":{"type":"object"}}`)},
		{"generate", json.RawMessage(`{"models":["tiny","tiny-embed"],"prompt":"hi"}`)},
		{"generate", json.RawMessage(`{"model":"tinny","prompt":"hi"}`)},
		{"generate", json.RawMessage(`{"model":"tiny"}`)},
		{"generate", json.RawMessage(`{"model":"tiny","prompt":"hi","wait":0}`)},
		{"jobs", json.RawMessage(`{"id":"JOB","wait":20}`)},
		{"cancel_job", json.RawMessage(`{"id":"JOB"}`)},
		{"jobs", json.RawMessage(`{}`)},
		{"jobs", json.RawMessage(`{"id":"nobody"}`)},
		{"chat", json.RawMessage(`{"model":"tiny","messages":[{"role":"user","content":"hi"}]}`)},
		{"chat", json.RawMessage(`{"model":"tiny","messages":[],"wait":0}`)},
		{"embed", json.RawMessage(`{"model":"tiny-embed","input":["a","b"]}`)},
		{"embed", json.RawMessage(`{"model":"tiny-embed","input":["a"],"encoding":"base64"}`)},
		{"embed", json.RawMessage(`{"model":"tiny-embed","input":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}`)},
		{"embed", json.RawMessage(`{"model":"tiny-embed","input":["a"],"wait":0}`)},
		{"rank", json.RawMessage(`{"model":"tiny-embed","query":"a","documents":["a","b"]}`)},
		{"rank", json.RawMessage(`{"model":"tiny","query":"","documents":[]}`)},
		{"list_models", json.RawMessage(`{}`)},
		{"show", json.RawMessage(`{"model":"tiny","verbose":true}`)},
		{"show", json.RawMessage(`{"model":"tinny"}`)},
		{"load", json.RawMessage(`{"model":"tiny"}`)},
		{"load", json.RawMessage(`{"model":"tinny"}`)},
		{"status", json.RawMessage(`{}`)},
		{"unload", json.RawMessage(`{"model":"tiny"}`)},
		{"pull", json.RawMessage(`{"model":"new"}`)},
		{"pull", json.RawMessage(`{"model":"evil.example/a/b"}`)},
		{"pull", json.RawMessage(`{"model":"new","wait":0}`)},
		{"copy", json.RawMessage(`{"source":"tiny","destination":"copied"}`)},
		{"copy", json.RawMessage(`{"source":"tiny","destination":"copied"}`)},
		{"create", json.RawMessage(`{"model":"made","from":"tiny","system":"be brief"}`)},
		{"push", json.RawMessage(`{"model":"someone/copied"}`)},
		{"delete", json.RawMessage(`{"model":"copied"}`)},
		{"delete", json.RawMessage(`{"model":"copied"}`)},
	}
	for _, way := range []plan{{SDK: 1, Transport: "http", Era: "legacy"}, {SDK: 2, Transport: "http", Era: "modern"}} {
		t.Run(way.String(), func(t *testing.T) {
			fake := ollamatest.NewFake(ollamatest.Script{Registry: []ollamatest.FakePull{{Model: ollamatest.FakeModel{Name: "new", Size: 1 << 20}}}})
			defer fake.Close()
			binary := program.Build(t)
			p := target{hostport: program.Serve(t, binary, fake.URL, "--toolsets", "inference,models,jobs,library")}.aim(way)
			p.Calls = calls
			r := converse(t, packages, p, nil)
			if len(r.Calls) != len(calls) {
				t.Fatalf("%d calls made, want %d", len(r.Calls), len(calls))
			}
			var failed int
			for i, c := range r.Calls {
				if c.Rejected != "" || c.Result == nil {
					t.Errorf("%s(%s): the client rejects it: %s", c.Tool, calls[i].Arguments, c.Rejected)
				} else if c.Result.IsError {
					failed++
					t.Logf("%s(%s): %s", c.Tool, calls[i].Arguments, c.Result.Content[0].Text)
				}
			}
			if failed == 0 || failed > len(calls)/2 {
				t.Errorf("%d of %d calls were errors, want a few", failed, len(calls))
			}
			for _, name := range r.Tools {
				if !slices.ContainsFunc(calls, func(c toCall) bool { return c.Tool == name }) {
					t.Errorf("the tool %s is not called: add it to the calls of this test", name)
				}
			}
		})
	}
}
