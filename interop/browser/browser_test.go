// Package browser has a headless Chromium try to reach the real program from foreign
// pages: none may get through. What Chromium sends for each attempt is written down in
// testdata/browser.json of the main module, which replays it.
package browser

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ollama-mcp/interop/chromium"
	"ollama-mcp/interop/program"
	"ollama-mcp/ollama/ollamatest"
)

//go:embed page.html page.js
var page embed.FS

// limit bounds one visit of Chromium. A healthy one takes some ten seconds.
const limit = 90 * time.Second

// rebound is a name that the attacker's DNS has come to resolve to the victim's own
// machine: https://en.wikipedia.org/wiki/DNS_rebinding
const rebound = "rebound.example"

var update = flag.Bool("update", false, "write testdata/browser.json")

// table is where the main module finds the requests.
var table = filepath.Join("..", "..", "testdata", "browser.json")

// results are what pages, and frames and workers of them, could read by each attempt.
type results map[string]map[string]*string

// inPage, inFrame and inWorker are how many attempts page.js has for each.
const inPage, inFrame, inWorker = 44, 43, 19

// visits are the pages that Chromium opens: of another site, of the same site on
// another port, and of the server's own address under a foreign name.
var visits = []struct {
	name, host string
	own        bool // the page comes from where the server seems to be
	attempts   int
}{
	{"another site", "localhost", false, inPage + 2*inFrame + 2*inWorker},
	{"another port", "127.0.0.1", false, inPage + 2*inFrame + 2*inWorker},
	{"rebound name", rebound, true, inPage},
}

// TestForeignPages wants no attempt to be answered by anything but a refusal.
func TestForeignPages(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{})
	t.Cleanup(fake.Close)
	victim := program.Serve(t, program.Build(t), fake.URL)
	var seen []attempt
	for _, visit := range visits {
		t.Run(visit.name, func(t *testing.T) {
			tap := newTap(t, forward(victim))
			got := tap.visit(t, visit.host, visit.own)
			checkAttempts(t, got, visit.attempts, visit.own)
			for _, a := range tap.seen() {
				checkRefused(t, a, visit.own)
				a.Visit = visit.name
				seen = append(seen, a)
			}
		})
	}
	for path, n := range fake.Seen().Requests {
		if slices.Contains([]string{"/api/generate", "/api/chat", "/api/embed"}, path) {
			t.Errorf("a tool ran: Ollama got %d requests for %s", n, path)
		}
	}
	if !t.Failed() {
		checkTable(t, tabulate(seen))
	}
}

// checkAttempts wants all attempts to have been made, and nothing to have been read. A
// page of the server's own address can read that it is refused.
func checkAttempts(t *testing.T, got results, attempts int, own bool) {
	t.Helper()
	n := 0
	for kind, attempted := range got {
		n += len(attempted)
		for name, read := range attempted {
			if read != nil && !own {
				t.Errorf("%s: %s could read %q", kind, name, *read)
			}
		}
	}
	if n != attempts {
		t.Errorf("%d attempts were made, want %d", n, attempts)
	}
}

// checkRefused wants a request to be refused. What the server tells everybody who asks
// for it by its own name may be answered to a page that cannot read it.
func checkRefused(t *testing.T, a attempt, own bool) {
	t.Helper()
	public := a.Method == http.MethodGet && (a.Path == "/" || a.Path == "/readyz")
	if a.status < 400 && (own || !public) {
		t.Errorf("%s: %s %s = %d, want a refusal", a.Name, a.Method, a.Path, a.status)
	}
	for name := range a.answer {
		if strings.HasPrefix(name, "Access-Control-") || name == "Mcp-Session-Id" {
			t.Errorf("%s: %s %s is answered with %s", a.Name, a.Method, a.Path, name)
		}
	}
}

// TestPagesAreHarmful has a server that refuses nobody visited in the same way, to see
// that what TestForeignPages rules out is what pages do.
func TestPagesAreHarmful(t *testing.T) {
	tap := newTap(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Origin", "Headers", "Methods"} {
			w.Header().Set("Access-Control-Allow-"+name, "*")
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: secret\n\n")
	}))
	got := tap.visit(t, "localhost", false)
	reached := map[string]bool{}
	for _, a := range tap.seen() {
		reached[a.Name] = true
	}
	for kind, attempted := range got {
		for name, read := range attempted {
			if !reached[kind+": "+name] {
				t.Errorf("%s: %s sends nothing", kind, name)
			}
			if read == nil && slices.Contains([]string{"fetch json", "fetch text", "EventSource sse", "XMLHttpRequest"}, name) {
				t.Errorf("%s: %s reads nothing of a server that allows it", kind, name)
			}
		}
	}
}

// checkTable compares the requests with testdata/browser.json, or writes it.
func checkTable(t *testing.T, requests []request) {
	t.Helper()
	if *update {
		var lines [][]byte
		for _, r := range requests {
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		list := fmt.Appendf(nil, "[\n%s\n]\n", bytes.Join(lines, []byte(",\n")))
		if err := os.WriteFile(table, list, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	raw, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	var want []request
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	accept := cmpopts.IgnoreMapEntries(func(name, _ string) bool { return name == "Accept" })
	if diff := cmp.Diff(want, requests, accept, cmpopts.IgnoreFields(request{}, "Visit", "Name")); diff != "" {
		t.Errorf("Chromium sends other requests than %s has; run go test ./browser -update (-table +sent):\n%s", table, diff)
	}
}

// visit has Chromium open the page at host, and returns what it could read. own makes
// it attack the address that it comes from.
func (p *tap) visit(t *testing.T, host string, own bool) results {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	url := "http://" + host + ":" + p.pagePort + "/page.html?server=http://127.0.0.1:" + p.serverPort
	if own {
		url = "http://" + host + ":" + p.serverPort + "/page.html"
	}
	cmd, err := chromium.Open(ctx, t.Output(), t.TempDir(), url, rebound)
	if err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	cmd.Stderr = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var raw []byte
	select {
	case raw = <-p.reports:
		cancel()
		<-ended
	case err := <-ended: // by itself, or at the limit
		t.Logf("Chromium ended: %v", err)
	}
	var got results
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Errorf("the page reports %q, its attempts came to %q: %v\n%s", raw, p.current(), err, &output)
	}
	for _, kind := range slices.Sorted(maps.Keys(got)) {
		t.Logf("%s: %d attempts", kind, len(got[kind]))
	}
	return got
}
