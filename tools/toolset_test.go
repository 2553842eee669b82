package tools

import (
	"slices"
	"strings"
	"testing"
)

func TestSelection(t *testing.T) {
	set := []Tool{
		{Name: "generate", Effect: Reads, Toolset: Inference}, {Name: "load", Effect: Writes, Toolset: Models},
		{Name: "status", Effect: Reads, Toolset: Models}, {Name: "delete", Effect: Destroys, Toolset: Library},
	}
	tests := []struct {
		name string
		s    Selection
		want []string
		says []string // of an error
	}{
		{"nothing asked for", Selection{}, []string{"generate", "load", "status"}, nil},
		{"toolsets", Selection{Toolsets: []string{"library", "inference"}}, []string{"generate", "delete"}, nil},
		{"tools", Selection{Tools: []string{"delete", "status"}}, []string{"status", "delete"}, nil},
		{"tools and toolsets", Selection{Toolsets: []string{"models"}, Tools: []string{"delete"}}, []string{"delete"}, nil},
		{"read-only", Selection{ReadOnly: true}, []string{"generate", "status"}, nil},
		{"a toolset, read-only", Selection{Toolsets: []string{"models"}, ReadOnly: true}, []string{"status"}, nil},
		{"an unknown toolset", Selection{Toolsets: []string{"modles"}}, nil, []string{"--toolsets", `"modles"`, "did you mean models?", "inference, models, jobs, library"}},
		{"an unknown tool", Selection{Tools: []string{"teleport"}}, nil, []string{"--tools", `"teleport"`, "generate, load, status, delete"}},
		{"a tool that is not read-only", Selection{Tools: []string{"load"}, ReadOnly: true}, nil, []string{"load", "--read-only"}},
		{"no tool", Selection{Toolsets: []string{"jobs"}}, nil, []string{"no tool"}},
	}
	for _, tt := range tests {
		chosen, err := tt.s.Select(set)
		var got []string
		for _, t := range chosen {
			got = append(got, t.Name)
		}
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.says == nil) {
			t.Errorf("%s: %+v chooses %v, %v; want %v", tt.name, tt.s, got, err, tt.want)
			continue
		}
		for _, s := range tt.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: error %q, want %q in it", tt.name, err, s)
			}
		}
	}
}

// TestReadOnly holds each tool to what the read-only mode promises.
func TestReadOnly(t *testing.T) {
	f := idle()
	defer f.Close()
	chosen, err := Selection{ReadOnly: true}.Select(toolSet(t, f))
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range chosen {
		if slices.Contains([]string{"load", "unload", "pull", "copy", "create", "delete", "push", "cancel_job"}, tool.Name) {
			t.Errorf("--read-only leaves %s in", tool.Name)
		}
	}
	for _, name := range []string{"generate", "chat", "embed", "list_models", "status"} {
		if !slices.ContainsFunc(chosen, func(t Tool) bool { return t.Name == name }) {
			t.Errorf("--read-only takes %s out", name)
		}
	}
}
