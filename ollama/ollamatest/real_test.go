//go:build linux

package ollamatest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ollama-mcp/ollama/ollamatest"
)

// answer is what these tests read of any of Ollama's answers.
type answer struct {
	Version      string
	Error        string
	Models       []struct{ Name string }
	Capabilities []string
	Response     string
	Message      struct{ Content string }
	Done         bool
	DoneReason   string `json:"done_reason"`
	EvalCount    int    `json:"eval_count"`
	Embeddings   [][]float64
}

func TestReal(t *testing.T) {
	r := ollamatest.NewReal(t)

	t.Run("version", func(t *testing.T) {
		if got := ask(t, r, "/api/version", "").Version; got != ollamatest.RealVersion {
			t.Errorf("version %q, want %q", got, ollamatest.RealVersion)
		}
	})
	t.Run("tags", func(t *testing.T) {
		got := modelNames(ask(t, r, "/api/tags", ""))
		if want := []string{ollamatest.TinyEmbedModel, ollamatest.TinyModel}; !slices.Equal(got, want) {
			t.Errorf("models %q, want %q", got, want)
		}
	})
	t.Run("capabilities", func(t *testing.T) {
		for name, want := range map[string][]string{
			ollamatest.TinyModel:      {"completion", "tools"},
			ollamatest.TinyEmbedModel: {"embedding"},
		} {
			got := ask(t, r, "/api/show", fmt.Sprintf(`{"model":%q}`, name)).Capabilities
			if !slices.Equal(got, want) {
				t.Errorf("%s can do %q, want %q", name, got, want)
			}
		}
	})
	t.Run("generate", func(t *testing.T) { testGenerate(t, r) })
	t.Run("chat", func(t *testing.T) {
		got := ask(t, r, "/api/chat", `{"model":"tiny","stream":false,"options":{"num_predict":8,"seed":1},
			"messages":[{"role":"user","content":"Tell me about the sea."}]}`)
		if !words.MatchString(got.Message.Content) || got.EvalCount != 8 {
			t.Errorf("got %+v, want eight words", got)
		}
	})
	t.Run("format", func(t *testing.T) { testFormat(t, r) })
	t.Run("embed", func(t *testing.T) { testEmbed(t, r) })
	t.Run("unload", func(t *testing.T) {
		ask(t, r, "/api/generate", `{"model":"tiny","keep_alive":0}`)
		ask(t, r, "/api/embed", `{"model":"tiny-embed","keep_alive":0}`)
		eventually(t, "no model is loaded", func() bool { return len(ask(t, r, "/api/ps", "").Models) == 0 })
	})
}

// words is free text of a tiny model: words, and full stops at the ends of lines.
var words = regexp.MustCompile(`^( [a-z]+(\.\n)?)+\.?$`)

func testGenerate(t *testing.T, r *ollamatest.Real) {
	body := `{"model":"tiny","prompt":"Once upon a time","options":{"num_predict":40,"seed":1}}`
	res := send(t, r, "/api/generate", body)
	defer res.Body.Close()
	var text strings.Builder
	var last answer
	chunks := 0
	for lines := json.NewDecoder(res.Body); lines.More(); chunks++ {
		last = answer{}
		if err := lines.Decode(&last); err != nil {
			t.Fatal(err)
		}
		text.WriteString(last.Response)
	}
	if !words.MatchString(text.String()) || chunks < 20 {
		t.Errorf("%d chunks of %q, want one per token, of words", chunks, text.String())
	}
	if !last.Done || last.DoneReason != "length" || last.EvalCount != 40 {
		t.Errorf("the last chunk is %+v, want done after 40 tokens", last)
	}
}

func testFormat(t *testing.T, r *ollamatest.Real) {
	for seed := range 5 {
		got := ask(t, r, "/api/chat", fmt.Sprintf(`{"model":"tiny","stream":false,"options":{"seed":%d},
			"messages":[{"role":"user","content":"Describe a boat."}],
			"format":{"type":"object","required":["name","length","afloat"],"properties":{
				"name":{"type":"string"},"length":{"type":"integer"},"afloat":{"type":"boolean"}}}}`, seed))
		var boat struct {
			Name   *string
			Length *int
			Afloat *bool
		}
		err := json.Unmarshal([]byte(got.Message.Content), &boat)
		if err != nil || boat.Name == nil || boat.Length == nil || boat.Afloat == nil || got.DoneReason != "stop" {
			t.Errorf("got %+v (%v), want a boat as the schema has it", got, err)
		}
	}
}

func testEmbed(t *testing.T, r *ollamatest.Real) {
	got := ask(t, r, "/api/embed",
		`{"model":"tiny-embed","input":["a quiet river","the golden moon","a quiet river"]}`).Embeddings
	if len(got) != 3 || len(got[0]) != ollamatest.EmbeddingLength {
		t.Fatalf("got %v, want 3 vectors of %d numbers", got, ollamatest.EmbeddingLength)
	}
	dot := func(a, b []float64) (sum float64) {
		for i := range a {
			sum += a[i] * b[i]
		}
		return sum
	}
	if same, other := dot(got[0], got[2]), dot(got[0], got[1]); same < 0.999 || other > 0.95 {
		t.Errorf("a text is %.3f like itself and %.3f like another, want 1 and clearly less", same, other)
	}
}

func TestModelThatStops(t *testing.T) {
	r := ollamatest.NewReal(t)
	if err := r.Create(t.Context(), "tiny-stops", ollamatest.Model{Stops: true}); err != nil {
		t.Fatal(err)
	}
	got := ask(t, r, "/api/generate", `{"model":"tiny-stops","prompt":"Once","stream":false,"options":{"seed":1}}`)
	if got.DoneReason != "stop" || !strings.HasSuffix(got.Response, ".") {
		t.Errorf("got %+v, want an answer that ends by itself in a full stop", got)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	r := ollamatest.NewReal(t)
	ask(t, r, "/api/embed", `{"model":"tiny-embed"}`)
	if got := groupMembers(t, r.Pid()); len(got) != 2 {
		t.Errorf("with one model loaded its processes are %v, want a server and a runner", got)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if got := groupMembers(t, r.Pid()); len(got) > 0 {
		t.Errorf("processes %v outlived Close", got)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRealDiesWithItsProcess(t *testing.T) {
	const child = "OLLAMATEST_CHILD"
	if os.Getenv(child) != "" {
		r := ollamatest.NewReal(t)
		ask(t, r, "/api/embed", `{"model":"tiny-embed"}`)
		fmt.Printf("pid %d\n", r.Pid())
		select {} // until killed
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "pid %d", &pid)
	}
	if pid == 0 || len(groupMembers(t, pid)) != 2 {
		t.Errorf("the child did not start an Ollama with a loaded model (pid %d)", pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // killed
	if pid != 0 {
		eventually(t, "server and runner are gone", func() bool { return len(groupMembers(t, pid)) == 0 })
	}
}

func TestStartFailures(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	script := filepath.Join(t.TempDir(), "ollama")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no luck today\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ bin, want string }{
		{script, "no luck today"},
		{filepath.Join(t.TempDir(), "nothing"), "no such file"},
	} {
		r, err := ollamatest.Start(t.Context(), c.bin, ollamatest.RealOptions{})
		if r != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Start(%s) = %v, %v; want an error with %q", c.bin, r, err, c.want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRealOptions(t *testing.T) {
	t.Setenv("OLLAMA_KEEP_ALIVE", "7m") // the user's, none of ours
	bin, err := ollamatest.Build(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r, err := ollamatest.Start(t.Context(), bin, ollamatest.RealOptions{Env: []string{"OLLAMA_NUM_PARALLEL=3"}, Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"OLLAMA_NUM_PARALLEL:3", "OLLAMA_KEEP_ALIVE:5m0s"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

// send sends a request, a POST when there is a body.
func send(t *testing.T, r *ollamatest.Real, path, body string) *http.Response {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // no connection outlives its test
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// ask sends a request and wants a success.
func ask(t *testing.T, r *ollamatest.Real, path, body string) answer {
	t.Helper()
	res := send(t, r, path, body)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil || res.StatusCode != http.StatusOK || a.Error != "" {
		t.Fatalf("%s %s: %s: %s", path, body, res.Status, text)
	}
	return a
}

func modelNames(a answer) []string {
	var names []string
	for _, m := range a.Models {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

// eventually polls what other processes bring about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s still not: %s", what)
		}
	}
}

// groupMembers lists the processes of a group that run, zombies not among them.
func groupMembers(t *testing.T, group int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var members []int
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state parent group …; the name may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil &&
			fields[0] != "Z" && fields[2] == strconv.Itoa(group) {
			members = append(members, pid)
		}
	}
	return members
}
