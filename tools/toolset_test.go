package tools

import (
	"slices"
	"strings"
	"testing"

	"ollama-mcp/ollama/fleet"
	"ollama-mcp/policy"
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
		if slices.Contains([]string{"load", "unload", "pull", "copy", "create", "delete", "push"}, tool.Name) {
			t.Errorf("--read-only leaves %s in", tool.Name)
		}
	}
	for _, name := range []string{"generate", "chat", "embed", "list_models", "status", "jobs", "cancel_job"} {
		if !slices.ContainsFunc(chosen, func(t Tool) bool { return t.Name == name }) {
			t.Errorf("--read-only takes %s out", name)
		}
	}
}

// The note of a job names the tools that its caller can use, and no other.
func TestNoteOfAJobNamesWhatThereIs(t *testing.T) {
	tests := []struct {
		name       string
		selection  Selection
		rules      []policy.Rule
		says, lack []string
	}{
		{"all", Selection{}, []policy.Rule{{}}, []string{"Call jobs with id", "cancel_job stops it"}, nil},
		{"read-only", Selection{ReadOnly: true}, []policy.Rule{{}}, []string{"Call jobs with id", "cancel_job stops it"}, nil},
		{"not offered", Selection{Tools: []string{"generate", "jobs"}}, []policy.Rule{{}}, []string{"Call jobs with id"}, []string{"cancel_job"}},
		{"not allowed", Selection{}, []policy.Rule{{Tools: []string{"generate", "jobs"}}}, []string{"Call jobs with id"}, []string{"cancel_job"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			underPolicy(t, sixSeconds, fleet.Options{}, tt.rules, func(b *bench) {
				var err error
				if b.set, err = tt.selection.Select(b.set); err != nil {
					t.Fatal(err)
				}
				_, r := b.becomes(as("ci"), "generate", `{"prompt":"x","wait":0}`)
				for _, w := range tt.says {
					if !strings.Contains(r.content[0], w) {
						t.Errorf("the note is %q, want %q in it", r.content[0], w)
					}
				}
				for _, w := range tt.lack {
					if strings.Contains(r.content[0], w) {
						t.Errorf("the note is %q, want no %q in it", r.content[0], w)
					}
				}
			})
		})
	}
}
