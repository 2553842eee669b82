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
	calls := []struct {
		tool, arguments string
		fails           bool
	}{
		{"generate", `{"model":"tiny","prompt":"hi"}`, false},
		{"generate", `{"model":"tiny","prompt":"hi","schema":{"type":"object"}}`, false},
		{"generate", `{"models":["tiny","tiny-embed"],"prompt":"hi"}`, false},
		{"generate", `{"model":"tinny","prompt":"hi"}`, true},
		{"generate", `{"model":"tiny"}`, true},
		{"generate", `{"model":"tiny","prompt":"hi","wait":0}`, false},
		{"jobs", `{"id":"JOB","wait":20}`, false},
		{"cancel_job", `{"id":"JOB"}`, false},
		{"jobs", `{}`, false},
		{"jobs", `{"id":"nobody"}`, true},
		{"chat", `{"model":"tiny","messages":[{"role":"user","content":"hi"}]}`, false},
		{"chat", `{"model":"tiny","messages":[],"wait":0}`, true},
		{"embed", `{"model":"tiny-embed","input":["a","b"]}`, false},
		{"embed", `{"model":"tiny-embed","input":["a"],"encoding":"base64"}`, false},
		{"embed", `{"model":"tiny-embed","input":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}`, false},
		{"embed", `{"model":"tiny-embed","input":["a"],"wait":0}`, false},
		{"rank", `{"model":"tiny-embed","query":"a","documents":["a","b"]}`, false},
		{"rank", `{"model":"tiny","query":"","documents":[]}`, true},
		{"list_models", `{}`, false},
		{"show", `{"model":"tiny","verbose":true}`, false},
		{"show", `{"model":"tinny"}`, true},
		{"load", `{"model":"tiny"}`, false},
		{"load", `{"model":"tinny"}`, true},
		{"status", `{}`, false},
		{"unload", `{"model":"tiny"}`, false},
		{"pull", `{"model":"new"}`, false},
		{"pull", `{"model":"evil.example/a/b"}`, true},
		{"pull", `{"model":"new","wait":0}`, false},
		{"copy", `{"source":"tiny","destination":"copied"}`, false},
		{"copy", `{"source":"tiny","destination":"copied"}`, false},
		{"create", `{"model":"made","from":"tiny","system":"be brief"}`, false},
		{"push", `{"model":"someone/copied"}`, true},
		{"delete", `{"model":"copied"}`, false},
		{"delete", `{"model":"copied"}`, true},
	}
	for _, way := range []plan{{SDK: 1, Transport: "http", Era: "legacy"}, {SDK: 2, Transport: "http", Era: "modern"}} {
		t.Run(way.String(), func(t *testing.T) {
			fake := ollamatest.NewFake(ollamatest.Script{Registry: []ollamatest.FakePull{{Model: ollamatest.FakeModel{Name: "new", Size: 1 << 20}}}})
			defer fake.Close()
			binary := program.Build(t)
			p := target{hostport: program.Serve(t, binary, fake.URL, "--toolsets", "inference,models,jobs,library")}.aim(way)
			for _, c := range calls {
				p.Calls = append(p.Calls, toCall{c.tool, json.RawMessage(c.arguments)})
			}
			r := converse(t, packages, p, nil)
			if len(r.Calls) != len(calls) {
				t.Fatalf("%d calls made, want %d", len(r.Calls), len(calls))
			}
			for i, c := range r.Calls {
				switch want := calls[i]; {
				case c.Rejected != "" || c.Result == nil:
					t.Errorf("%s(%s): the client rejects it: %s", c.Tool, want.arguments, c.Rejected)
				case c.Result.IsError != want.fails:
					t.Errorf("%s(%s) = %+v, want an error: %v", c.Tool, want.arguments, c.Result, want.fails)
				}
			}
			for _, name := range r.Tools {
				if !slices.ContainsFunc(p.Calls, func(c toCall) bool { return c.Tool == name }) {
					t.Errorf("the tool %s is not called: add it to the calls of this test", name)
				}
			}
		})
	}
}
