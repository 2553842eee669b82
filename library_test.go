package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ollama-mcp/ollama/ollamatest"
)

const allTools = "--toolsets=inference,models,jobs,library"

// installed asks list_models whether a model is installed.
func installed(s *session, model string) bool {
	s.t.Helper()
	for _, m := range s.must("list_models", `{}`).Structured.Models {
		if m.Name == model {
			return true
		}
	}
	return false
}

func TestLibrary(t *testing.T) {
	s := serve(t, ollamatest.NewReal(t).URL, allTools)
	s.must("load", `{"model":"tiny"}`)
	s.must("copy", `{"source":"tiny","destination":"two"}`)
	s.must("create", `{"model":"made","from":"two","system":"Be brief.","parameters":{"num_predict":3},"messages":[{"role":"user","content":"Hello"}]}`)
	if got := s.must("show", `{"model":"made"}`).Structured.System; got != "Be brief." {
		t.Errorf("show made = system %q, want the one it was made with", got)
	}
	if got := s.must("generate", `{"model":"made","prompt":"the sea"}`).Structured; got.Usage.OutputTokens != 3 {
		t.Errorf("generate with made = %+v, want the 3 tokens of its num_predict", got.Usage)
	}
	for _, model := range []string{"made", "two"} {
		args := fmt.Sprintf(`{"model":%q}`, model)
		if got := s.must("delete", args).Structured.State; got != "deleted" || installed(s, model+":latest") {
			t.Errorf("delete %s = state %q, still installed %v", model, got, installed(s, model+":latest"))
		}
	}
	if !installed(s, ollamatest.TinyModel) {
		t.Error("tiny is gone with its copies")
	}
}

// TestDeleteIsConfirmed deletes through clients of both ways of asking a user.
func TestDeleteIsConfirmed(t *testing.T) {
	address := ollamatest.NewReal(t).URL
	for way, ask := range map[string]func(s *session, args, action string) (question string, r *result){
		"elicitation/create": elicited, "input_required": inputRequired,
	} {
		for _, tt := range []struct{ action, state string }{{"decline", "declined"}, {"cancel", "canceled"}, {"accept", "deleted"}} {
			t.Run(way+" "+tt.action, func(t *testing.T) {
				s := serve(t, address, allTools)
				s.must("copy", `{"source":"tiny","destination":"doomed"}`)
				question, r := ask(launch(t, address, allTools), `{"model":"doomed"}`, tt.action)
				if !strings.Contains(question, "Delete the model doomed:latest (0.5 MB,") {
					t.Errorf("the user is asked %q, want whether to delete doomed", question)
				}
				if gone := !installed(s, "doomed:latest"); r.IsError || r.Structured.State != tt.state || gone != (tt.action == "accept") {
					t.Errorf("delete = %+v, gone %v; want state %s", r, gone, tt.state)
				}
			})
		}
	}
}

func elicited(s *session, args, action string) (question string, r *result) {
	s.hello(`{"elicitation":{}}`)
	s.request("tools/call", map[string]any{"name": "delete", "arguments": json.RawMessage(args)})
	m := s.next()
	if m.Method != "elicitation/create" {
		s.t.Fatalf("the server sent %+v, want elicitation/create", m)
	}
	s.send(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": map[string]any{"action": action}})
	r, _ = s.answer()
	return m.Params.Message, r
}

func inputRequired(s *session, args, action string) (question string, r *result) {
	params := map[string]any{"name": "delete", "arguments": json.RawMessage(args), "_meta": map[string]any{
		"io.modelcontextprotocol/protocolVersion":    "2026-07-28",
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "test", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{"elicitation": map[string]any{}},
	}}
	s.request("tools/call", params)
	asked, _ := s.answer()
	if asked.ResultType != "input_required" || asked.InputRequests["confirm"].Method != "elicitation/create" {
		s.t.Fatalf("delete = %+v, want input_required", asked)
	}
	params["requestState"] = asked.RequestState
	params["inputResponses"] = map[string]any{"confirm": map[string]any{"action": action}}
	s.request("tools/call", params)
	r, _ = s.answer()
	s.request("tools/call", params) // again
	if again, _ := s.answer(); again.Structured.Error.Kind != "unconfirmed" && again.Structured.Error.Kind != "missing_model" {
		s.t.Errorf("the same answer again = %+v, want it refused", again)
	}
	return asked.InputRequests["confirm"].Params.Message, r
}

// runningJobs waits until so many jobs run, and returns their ids.
func (s *session) runningJobs(n int) (ids []string) {
	s.t.Helper()
	for len(ids) != n {
		ids = nil
		for _, j := range s.must("jobs", `{"state":"running"}`).Structured.Jobs {
			ids = append(ids, j.ID)
		}
	}
	return ids
}

// TestPullResumes pulls from a registry that hangs in the middle of a layer. Who gives up the
// call does not stop the pull; the end of the last job that waits for it does.
func TestPullResumes(t *testing.T) {
	registry := ollamatest.NewRegistry()
	defer registry.Close()
	model, err := registry.Add("remote", ollamatest.Model{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	address, aborted := watched(t, ollamatest.NewReal(t).URL)
	s := serve(t, address, allTools, "--allow-registries", "http://"+registry.Host)
	args := fmt.Sprintf(`{"model":%q}`, model)

	const held = 300_000
	registry.HoldAfter(held)
	call := s.begin("pull", args)
	for s.next().Params.Progress < held {
	}
	s.notify("notifications/cancelled", map[string]any{"requestId": call})
	s.must("pull", fmt.Sprintf(`{"model":%q,"wait":0}`, model)) // shares the transfer
	for _, job := range s.runningJobs(2) {
		if len(aborted) > 0 {
			t.Errorf("%s was aborted while a job waited for it", <-aborted)
		}
		s.must("cancel_job", fmt.Sprintf(`{"id":%q}`, job))
	}
	select {
	case path := <-aborted:
		if path != "/api/pull" {
			t.Errorf("the end of the last job aborted %s, want /api/pull", path)
		}
	case <-s.ctx.Done():
		t.Fatal("the end of the last job did not reach Ollama")
	}
	registry.HoldAfter(0)
	r, progress := s.call("pull", args)
	if o := r.Structured; r.IsError || o.State != "pulled" || o.SizeBytes < 400_000 || !installed(s, model) {
		t.Fatalf("pull again = %+v, want it installed", r)
	}
	last := progress[len(progress)-1].Params
	if last.Total < 400_000 || last.Progress < last.Total || last.Meta.Phase != "done" {
		t.Errorf("the last progress = %+v, want all bytes", last)
	}
	ranges := registry.Ranges()
	if len(ranges) < 2 || !strings.HasPrefix(ranges[1], fmt.Sprintf("bytes=%d-", held)) {
		t.Errorf("the registry saw %q, want the second range to begin at %d", ranges, held)
	}
	s.must("generate", fmt.Sprintf(`{"model":%q,"prompt":"the sea","options":{"num_predict":2}}`, model))
	if r, _ := s.call("pull", fmt.Sprintf(`{"model":"%s/tests/nowhere"}`, registry.Host)); r.Structured.Error.Kind != "missing_model" {
		t.Errorf("pull of an unknown model = %+v, want missing_model", r)
	}
	if r, _ := s.call("pull", `{"model":"hf.co/user/repo"}`); r.Structured.Error.Kind != "forbidden" || !strings.Contains(r.Structured.Error.Hint, "--allow-registries") {
		t.Errorf("pull from a registry that is not on the list = %+v, want forbidden", r)
	}
	if r := s.must("push", args).Structured; r.State != "pushed" {
		t.Errorf("push = %+v, want pushed", r)
	}
}
