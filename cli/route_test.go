package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

// Hosts that have a model come in the order of preference, the others with what is the matter.
func TestRoute(t *testing.T) {
	model := func(name string, loaded bool) ollamatest.Script {
		return ollamatest.Script{Models: []ollamatest.FakeModel{{Name: name, Loaded: loaded}}}
	}
	var hosts []fleet.Host
	for i, s := range []ollamatest.Script{model("m", false), model("m", true), model("other", true), model("m", true)} {
		fake := ollamatest.NewFake(s)
		t.Cleanup(fake.Close)
		host, err := ollama.ParseHost(fake.URL)
		if err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			fake.Close() // is gone
		}
		client := ollama.NewClient(ollama.ClientOptions{Host: host, Name: fmt.Sprintf("gpu%d", i)})
		hosts = append(hosts, fleet.Host{Client: client, Address: fake.URL})
	}
	tests := []struct {
		model   string
		want    []string // in this order
		nowhere bool
	}{
		{"M", []string{"A call on m:latest is tried on:", "1. gpu1: ", "loaded", "2. gpu0: ", "to be loaded", "do not take it", "gpu2 does not have it", "gpu3 "}, false},
		{"none", []string{"do not take it", "gpu0 does not have it", "gpu1", "gpu2", "gpu3"}, true},
	}
	for _, tt := range tests {
		f := fleet.New(hosts, fleet.Options{Poll: -1})
		var out bytes.Buffer
		err := Route(t.Context(), f.Route, tt.model, &out)
		rest := out.String()
		for _, w := range tt.want {
			_, after, ok := strings.Cut(rest, w)
			if !ok {
				t.Errorf("route %s lacks %q where it should be:\n%s", tt.model, w, &out)
			}
			rest = after
		}
		if (err != nil) != tt.nowhere || strings.Contains(out.String(), "is tried") == tt.nowhere {
			t.Errorf("route %s = %v, want an error: %v; printed\n%s", tt.model, err, tt.nowhere, &out)
		}
		f.Close()
	}
	f := fleet.New(nil, fleet.Options{})
	defer f.Close()
	if err := Route(t.Context(), f.Route, "m", &bytes.Buffer{}); err == nil {
		t.Error("route without hosts: no error")
	}
	if err := Route(t.Context(), f.Route, "http://x/y", &bytes.Buffer{}); err == nil {
		t.Error("route of what is no name: no error")
	}
}
