package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
	"ollama-mcp/policy"
	"ollama-mcp/tools"
	"ollama-mcp/transport/auth"
)

// A resource is there where its tool is offered and allowed. Where it is not, it is like one
// that never was.
func TestResourcesGoByTheirTools(t *testing.T) {
	source, _, fake := start(t, ollamatest.Script{}, fleet.Options{})
	source.Job = func(context.Context, string) (any, error) { return "a job", nil }
	source.Embedding = func(context.Context, string) (any, error) { return "vectors", nil }
	byTool := map[string][]string{
		listTool:   {"ollama://models", "ollama://running"},
		showTool:   {"ollama://models/tiny:latest", "ollama://models/tiny-embed:latest"},
		statusTool: {"ollama://hosts"},
		jobsTool:   {"ollama://jobs/1"},
		embedTool:  {"ollama://embeddings/1"},
	}
	every := slices.Collect(maps.Keys(byTool))
	tests := []struct {
		name, caller string
		offered      []string
		has          []string // the tools of the resources that are there
	}{
		{"all", "ann", nil, every},
		{"all offered by name", "ann", tools.Names(offered(t)), every},
		{"status alone offered", "ann", []string{"status"}, []string{statusTool}},
		{"generate alone offered", "ann", []string{"generate"}, nil},
		{"nobody", "nobody", nil, nil},
		{"list_models allowed", "dora", nil, []string{listTool}},
		{"list_models allowed, show offered", "dora", []string{"show"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := New(source, Options{Policy: rules(t), Tools: tt.offered})
			ctx := auth.NewContext(t.Context(), auth.Caller{Name: tt.caller})
			asked := fake.Seen().Requests
			_, never := ask(t, c, tt.caller, "resources/read", `{"uri":"ollama://never"}`)
			listed := list(t, c, tt.caller)
			for tool, uris := range byTool {
				has := slices.Contains(tt.has, tool)
				for _, uri := range uris {
					result, failed := ask(t, c, tt.caller, "resources/read", fmt.Sprintf(`{"uri":%q}`, uri))
					if has != (failed == nil) {
						t.Errorf("read %s = %s, %+v, want it there: %v", uri, result, failed, has)
					}
					if !has && (failed.code != never.code || strings.ReplaceAll(failed.message, uri, "ollama://never") != never.message) {
						t.Errorf("read %s = %+v, want as of what never was: %+v", uri, failed, never)
					}
					if err := c.Subscribable(ctx, uri); has != (err == nil) || !has && err.Error() != failed.message {
						t.Errorf("Subscribable(%s) = %v, want nil: %v, else the words of reading it", uri, err, has)
					}
					if in := slices.ContainsFunc(listed, func(l string) bool { return l == uri || l == template(uri) }); in != has {
						t.Errorf("%s is listed: %v, want %v", uri, in, has)
					}
				}
			}
			if tt.has == nil {
				if diff := cmp.Diff(asked, fake.Seen().Requests); diff != "" {
					t.Errorf("Ollama was asked for who may nothing (-before +after):\n%s", diff)
				}
			}
		})
	}
}

func offered(t *testing.T) []tools.Tool {
	t.Helper()
	set, err := tools.All(nil, tools.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// template is the URI of the template that a URI of the test is of.
func template(uri string) string {
	if kind, is := strings.CutSuffix(uri, "/1"); is {
		return kind + "/{id}"
	}
	return uri
}

// list is what resources/list and resources/templates/list have.
func list(t *testing.T, c *Catalog, caller string) (all []string) {
	t.Helper()
	var resources struct{ Resources []mcp.Resource }
	var templates struct {
		ResourceTemplates []struct{ URITemplate string }
	}
	for method, into := range map[string]any{"resources/list": &resources, "resources/templates/list": &templates} {
		result, failed := ask(t, c, caller, method, `{}`)
		if failed != nil || json.Unmarshal(result, into) != nil || strings.Contains(string(result), "null") {
			t.Fatalf("%s of %s = %s, %+v, want a list", method, caller, result, failed)
		}
	}
	for _, r := range resources.Resources {
		all = append(all, r.URI)
	}
	for _, r := range templates.ResourceTemplates {
		all = append(all, r.URITemplate)
	}
	return all
}

// What a model's maker wrote is bounded, as in show.
func TestModelIsBounded(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	got := describe("m", &ollama.Shown{Template: long, System: long, Parameters: long, Messages: make([]ollama.Message, 1000)}, nil)
	for field, text := range map[string]string{"template": got.Template, "system": got.System, "parameters": got.Parameters} {
		if len(text) > 4100 || !strings.HasSuffix(text, "é… (2097152 bytes in all)") {
			t.Errorf("%s of 2 MiB = %d bytes ending in %q, want 4,000 and how many there are", field, len(text), text[max(0, len(text)-40):])
		}
	}
	if got.Messages != 1000 {
		t.Errorf("messages = %d, want their number, 1000", got.Messages)
	}
}

// A read is a call of the tool in the eyes of the limits, also of those for some models.
func TestReadsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _, _ := start(t, ollamatest.Script{}, fleet.Options{})
		p, err := policy.New([]policy.Rule{
			{Name: "all", Tools: []string{"status", "generate", "show"}},
			{Name: "lists", Tools: []string{"list_models"}, Limits: policy.Limits{CallsPerMinute: new(2)}},
			{Name: "tiny", Tools: []string{"show"}, Models: []string{"tiny"}, Limits: policy.Limits{CallsPerMinute: new(1)}},
		}, policy.Options{Tools: tools.ForPolicy()})
		if err != nil {
			t.Fatal(err)
		}
		var limited *policy.LimitError
		c := New(source, Options{Policy: p, Explain: func(err error, _ string) (string, any) {
			errors.As(err, &limited)
			return "limited", nil
		}})
		for _, step := range []struct{ uri, limit string }{
			{"ollama://models", ""},
			{"ollama://running", ""},
			{"ollama://models", "lists"},
			{"ollama://running", "lists"},
			{"ollama://hosts", ""},
			{"ollama://models/tiny-embed", ""},
			{"ollama://models/tiny", ""},
			{"ollama://models/tiny", "tiny"},
			{"ollama://models/tiny-embed", ""},
		} {
			limited = nil
			result, failed := ask(t, c, "ann", "resources/read", fmt.Sprintf(`{"uri":%q}`, step.uri))
			got := ""
			if limited != nil {
				got = limited.Rule
			}
			if got != step.limit || (failed != nil) != (step.limit != "") {
				t.Errorf("read %s = %.60s, %+v, under the limit of %q, want that of %q", step.uri, result, failed, got, step.limit)
			}
		}
		time.Sleep(time.Minute)
		if _, failed := ask(t, c, "ann", "resources/read", `{"uri":"ollama://models"}`); failed != nil {
			t.Errorf("read a minute later = %+v, want the list", failed)
		}
	})
}

// A read that runs holds its place among the calls at once, and gives it back.
func TestReadsAtOnce(t *testing.T) {
	source, _, _ := start(t, ollamatest.Script{}, fleet.Options{})
	p, err := policy.New([]policy.Rule{{Name: "one", Limits: policy.Limits{ParallelCalls: new(1)}}}, policy.Options{Tools: tools.ForPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	var c *Catalog
	hosts := source.Hosts
	source.Hosts = func(ctx context.Context) []fleet.HostStatus {
		if reads++; reads == 1 {
			if _, failed := ask(t, c, "ann", "resources/read", `{"uri":"ollama://models"}`); failed == nil {
				t.Error("a second read at once is let in, want it refused")
			}
		}
		return hosts(ctx)
	}
	c = New(source, Options{Policy: p})
	for range 2 {
		if _, failed := ask(t, c, "ann", "resources/read", `{"uri":"ollama://hosts"}`); failed != nil {
			t.Errorf("one read at a time = %+v, want it let in", failed)
		}
	}
}
