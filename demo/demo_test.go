package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ollama-mcp/config"
	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/ollamatest"
)

func TestFindOllamaByAddress(t *testing.T) {
	small, smaller, smallest := int64(300), int64(200), int64(100)
	tests := []struct {
		name      string
		models    []ollamatest.FakeModel
		generator ollama.Name
		embedder  ollama.Name
	}{
		{"smallest", []ollamatest.FakeModel{{Name: "a", Size: small}, {Name: "b", Size: smallest}, {Name: "c", Size: smaller}},
			"b:latest", ""},
		{"not remote", []ollamatest.FakeModel{{Name: "a", Size: small}, {Name: "b:cloud", Size: smallest, RemoteModel: "b", RemoteHost: "https://ollama.com:443"}},
			"a:latest", ""},
		{"each its own", []ollamatest.FakeModel{{Name: "a", Size: small}, {Name: "e", Size: smallest, Capabilities: []string{"embedding"}}},
			"a:latest", "e:latest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := ollamatest.NewFake(ollamatest.Script{Models: tt.models})
			defer fake.Close()
			var out bytes.Buffer
			o, err := findOllama(t.Context(), settings(t, fake.URL, "OLLAMA_HOST"), &page{out: &out})
			if err != nil {
				t.Fatalf("findOllama = %v", err)
			}
			defer o.close()
			if o.generator.Canonical != tt.generator || nameOf(o.embedder) != tt.embedder {
				t.Errorf("findOllama chose %s and %q, want %s and %q", o.generator.Canonical, nameOf(o.embedder), tt.generator, tt.embedder)
			}
			if want := "Ollama 0.34.4 at " + fake.URL + ", from OLLAMA_HOST"; o.found != want {
				t.Errorf("findOllama found %q, want %q", o.found, want)
			}
			if o.stop != nil || out.Len() > 0 {
				t.Errorf("findOllama: stops = %v, output = %q, want an Ollama that was there, and no words", o.stop != nil, &out)
			}
		})
	}
}

// A person who names an address to this program means that one.
func TestFindOllamaByFlagOnly(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{})
	fake.Close()
	c := settings(t, fake.URL, "--ollama")
	c.Ollama = fake.URL
	o, err := findOllama(t.Context(), c, &page{out: t.Output()})
	if err == nil {
		o.close()
		t.Fatal("findOllama found another Ollama than the one that --ollama names")
	}
	if !strings.Contains(err.Error(), "(from --ollama)") {
		t.Errorf("findOllama = %q, want advice on --ollama", err)
	}
}

func TestInspectRefusesOllamaWithoutModel(t *testing.T) {
	fake := ollamatest.NewFake(ollamatest.Script{Models: []ollamatest.FakeModel{{Name: "e", Capabilities: []string{"embedding"}}}})
	defer fake.Close()
	stopped := 0
	_, err := inspect(t.Context(), settings(t, fake.URL, "").Hosts[0].Address, func() error { stopped++; return nil })
	if !errors.Is(err, errNoModel) || stopped != 1 {
		t.Errorf("inspect = %v, stopped %d times; want %v, once", err, stopped, errNoModel)
	}
}

func TestStartBuilt(t *testing.T) {
	o, err := startBuilt(t.Context(), &page{out: t.Output()})
	if err != nil {
		t.Fatalf("startBuilt = %v", err)
	}
	if o.generator.Canonical != ollamatest.TinyModel || nameOf(o.embedder) != ollamatest.TinyEmbedModel {
		t.Errorf("startBuilt has %s and %s, want the tiny models", o.generator.Canonical, nameOf(o.embedder))
	}
	checkStops(t, o)
}

// TestStartInstalled has an Ollama with a model where a person's would be, and the file
// of a broken-off download beside it.
func TestStartInstalled(t *testing.T) {
	bin, err := ollamatest.Build(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	home, path := t.TempDir(), t.TempDir()
	models := filepath.Join(home, ".ollama", "models")
	install(t, bin, models)
	download := filepath.Join(models, "blobs", "sha256-"+strings.Repeat("0", 64)+"-partial")
	if err := errors.Join(os.WriteFile(download, []byte("half"), 0o600), os.Symlink(bin, filepath.Join(path, "ollama"))); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("PATH", path)
	t.Setenv("OLLAMA_MODELS", "")
	t.Setenv("OLLAMA_HOST", "203.0.113.1:1") // nobody's: https://www.rfc-editor.org/rfc/rfc5737
	before := tree(t, home)

	o, err := startInstalled(t.Context())
	if err != nil {
		t.Fatalf("startInstalled = %v", err)
	}
	if o.generator.Canonical != "mine:latest" {
		t.Errorf("startInstalled has %s, want mine:latest", o.generator.Canonical)
	}
	checkStops(t, o)
	if diff := cmp.Diff(before, tree(t, home)); diff != "" {
		t.Errorf("startInstalled changed the user's files (-before +after):\n%s", diff)
	}
}

func TestStartInstalledCreatesNothing(t *testing.T) {
	path, home := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "ollama"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	t.Setenv("HOME", home)
	t.Setenv("OLLAMA_MODELS", "")
	if _, err := startInstalled(t.Context()); !errors.Is(err, errNoModel) {
		t.Errorf("startInstalled = %v, want %v", err, errNoModel)
	}
}

// A model that was loaded for ever must not come out of a demo with five minutes left.
func TestArgumentsKeepLoadedModelsLoaded(t *testing.T) {
	d := &demo{ollama: &demoOllama{}}
	forever := &fleet.Model{Canonical: "a:latest", Loaded: &ollama.Running{ExpiresAt: time.Now().Add(1 << 62)}}
	args := d.arguments(forever)
	keep, err := time.ParseDuration(args["keep_alive"].(string))
	if err != nil || keep < 100*365*24*time.Hour || len(d.loaded) != 0 {
		t.Errorf("arguments of a loaded model = %v (%v), to unload: %v; want it kept for ever, and nothing", args, err, d.loaded)
	}
	cold := &fleet.Model{Canonical: "b:latest"}
	d.arguments(cold)
	args = d.arguments(cold)
	if diff := cmp.Diff(map[string]any{"model": ollama.Name("b:latest")}, args); diff != "" {
		t.Errorf("arguments of a cold model (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]ollama.Name{"b:latest"}, d.loaded); diff != "" {
		t.Errorf("to unload (-want +got):\n%s", diff)
	}
}

func TestStream(t *testing.T) {
	long := strings.Repeat("word ", 20)
	tests := []struct {
		name     string
		terminal bool
		want     string
	}{
		{"pipe", false, "                        " + strings.TrimSpace(long[:75]) + "\n                        " + strings.TrimSpace(long[75:]) + " end\n"},
		{"terminal", true, "\r\x1b[K                        word  [1 token]" +
			"\r\x1b[K                        " + strings.TrimSpace(long[:75]) + "\n" +
			"\r\x1b[K                        word word word word word  [20 tokens]" +
			"\r\x1b[K\r\x1b[K                        word word word word word end\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			s := stream{page: &page{out: &out, terminal: tt.terminal}}
			s.add(long[:5], "1 token")
			s.add(long[5:], "20 tokens")
			s.finish(long + "end")
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("stream printed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", []string{""}},
		{"one two\n", []string{"one two"}},
		{"one\n\ntwo\n\n", []string{"one", "", "two"}},
		{"a\x1b[2Jb\ttab\r", []string{"a[2Jb tab"}},
		{strings.Repeat("x", pageWidth) + " y", []string{strings.Repeat("x", pageWidth), "y"}},
		{"y " + strings.Repeat("ü", pageWidth+1), []string{"y", strings.Repeat("ü", pageWidth+1)}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, wrap(tt.text)); diff != "" {
			t.Errorf("wrap(%q) (-want +got):\n%s", tt.text, diff)
		}
	}
}

// Lines that a stream has printed cannot be taken back.
func TestWrapOfMoreTextKeepsLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-zé]{1,30}[ \n]{1,2}`), 0, 40).Draw(t, "words")
		text := strings.Join(words, "")
		n := rapid.IntRange(0, len(text)).Draw(t, "n")
		for n > 0 && n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		before, after := wrap(text[:n]), wrap(text)
		kept := before[:len(before)-1]
		if len(after) < len(kept) || !cmp.Equal(kept, after[:len(kept)]) {
			t.Fatalf("wrap(%q) = %q, after wrap(%q) = %q", text, after, text[:n], before)
		}
	})
}

func TestDuration(t *testing.T) {
	tests := map[time.Duration]string{
		0:                       "0.0 ms",
		1234 * time.Microsecond: "1.2 ms",
		312 * time.Millisecond:  "312 ms",
		1250 * time.Millisecond: "1.2 s",
		184 * time.Second:       "3m4s",
	}
	for d, want := range tests {
		if got := duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func settings(t *testing.T, address, origin string) *config.OllamaConfig {
	t.Helper()
	h, err := ollama.ParseHost(address)
	if err != nil {
		t.Fatal(err)
	}
	return &config.OllamaConfig{Hosts: []config.Host{{Address: h}}, Origin: origin}
}

func nameOf(m *fleet.Model) ollama.Name {
	if m == nil {
		return ""
	}
	return m.Canonical
}

// install creates the model mine in the folder models.
func install(t *testing.T, bin, models string) {
	t.Helper()
	r, err := ollamatest.Start(t.Context(), bin, ollamatest.RealOptions{Env: []string{"OLLAMA_MODELS=" + models}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Create(t.Context(), "mine", ollamatest.Model{}), r.Close()); err != nil {
		t.Fatal(err)
	}
}

// checkStops closes o and checks that nothing answers any more.
func checkStops(t *testing.T, o *demoOllama) {
	t.Helper()
	if err := o.close(); err != nil {
		t.Errorf("close = %v", err)
	}
	var host *ollama.Error
	if _, err := inspect(t.Context(), o.host, nil); !errors.As(err, &host) || host.Kind != ollama.Unreachable {
		t.Errorf("after close, inspect(%s) = %v, want %s", o.host, err, ollama.Unreachable)
	}
}

// tree lists the files below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		files = append(files, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
