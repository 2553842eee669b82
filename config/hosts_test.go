package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet/dns"
)

// certificate writes a certificate, signed by itself, and its key into a folder of their own.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gpu"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func parseHost(t *testing.T, address string) ollama.Host {
	t.Helper()
	h, err := ollama.ParseHost(address)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// diffHosts compares what can be compared.
func diffHosts(want, got []Host) string {
	return cmp.Diff(want, got, cmp.Comparer(func(a, b ollama.Host) bool { return a == b }),
		cmpopts.IgnoreFields(Host{}, "May", "TLS", "Settings"), cmpopts.EquateEmpty())
}

func TestHostsSection(t *testing.T) {
	unset(t)
	t.Setenv("OLLAMA_HOST", "elsewhere") // is not asked
	t.Setenv("MAC_TOKEN", " hunter2\n")
	cert, key := certificate(t)
	basic := writeFile(t, "me:hunter3\n")
	file := writeFile(t, fmt.Sprintf(`
hosts:
  - name: pc
    url: gaming-pc:11434
    weight: 0.5
    priority: -1
    parallel: 4
    max_loaded: 1
    models: &small [llama3.2, "hf.co/*"]
    tags: [night, windows-11]
  - {name: mac, url: "http://mac.local", parallel: auto, bearer: {env: MAC_TOKEN}, models: *small}
  - name: server
    url: https://gpu.example.com/ollama
    headers:
      x-team: red
      X-Key: {file: %[1]s}
    basic: {file: %[1]s}
    ca_file: %[2]s
    cert_file: %[2]s
    key_file: %[3]s
  - {name: 4, url: dns:///Ollama.default.svc, weight: 2}
max-wait: 40s
`, basic, cert, key))
	c, _, err := Parse([]string{"--config", file}, "v", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := []Host{
		{Name: "pc", Address: parseHost(t, "gaming-pc:11434"), Weight: 0.5, Priority: -1, Parallel: 4, MaxLoaded: 1, Tags: []string{"night", "windows-11"}},
		{Name: "mac", Address: parseHost(t, "http://mac.local"), Header: map[string]ollama.Secret{"Authorization": "Bearer hunter2"}},
		{
			Name: "server", Address: parseHost(t, "https://gpu.example.com/ollama"),
			Header: map[string]ollama.Secret{"Authorization": "Basic bWU6aHVudGVyMw==", "X-Team": "red", "X-Key": "me:hunter3"},
			Files:  []string{basic, cert, key},
		},
		{Name: "4", Address: parseHost(t, "http://ollama.default.svc:11434"), Service: dns.Service{Name: "ollama.default.svc", Port: 11434}, Weight: 2},
	}
	if diff := diffHosts(want, c.Ollama.Hosts); diff != "" {
		t.Errorf("the hosts of the file (-want +got):\n%s", diff)
	}
	for i, name := range []string{"pc", "mac"} {
		may := c.Ollama.Hosts[i].May
		if may == nil || !may("llama3.2:latest") || may("qwen3:latest") {
			t.Errorf("%s may run other models than its own", name)
		}
	}
	if tls := c.Ollama.Hosts[2].TLS; tls == nil || tls.RootCAs == nil || len(tls.Certificates) != 1 {
		t.Errorf("TLS of server = %v, want its authority and a certificate", tls)
	}
	if c.Ollama.Hosts[2].May != nil || c.Ollama.Hosts[0].TLS != nil {
		t.Error("hosts have models or certificates that the file does not name")
	}
	if c.Ollama.Origin != "--config" || c.Models.MaxWait != 40*time.Second {
		t.Errorf("origin %q, max-wait beside hosts %s; want --config and 40s", c.Ollama.Origin, c.Models.MaxWait)
	}
	if want := "http://gaming-pc:11434, http://mac.local, https://gpu.example.com/ollama, dns:///ollama.default.svc:11434"; c.Ollama.Where() != want {
		t.Errorf("Where() = %q, want %q", c.Ollama.Where(), want)
	}
	for _, v := range []any{c, *c, c.Ollama.Hosts} {
		if printed := fmt.Sprintf("%+v", v); strings.Contains(printed, "hunter") || strings.Contains(printed, "bWU6") {
			t.Errorf("printed settings show a secret: %s", printed)
		}
	}
}

func TestWrongHostsSectionIsNamed(t *testing.T) {
	cert, key := certificate(t)
	empty := writeFile(t, "\n")
	lines := writeFile(t, "hunter2\nhunter2\n")
	one := func(settings string) string { return "hosts:\n- {name: gpu, url: gpu-box, " + settings + "}" }
	tests := []struct {
		name, file string
		words      []string
	}{
		{"nothing", "hosts:", []string{"list of hosts", "url: http://gpu-box:11434"}},
		{"empty list", "hosts: []", []string{"list of hosts"}},
		{"no list", "hosts: {gpu: gpu-box}", []string{"list of hosts"}},
		{"a text", "hosts: [gpu-box]", []string{"host 1", "line 1", "name, url"}},
		{"misspelt section", "host: [{}]", []string{"did you mean hosts?"}},
		{"unknown key", "hosts:\n- name: a\n  url: a\n- name: gpu\n  url: gpu-box\n  wieght: 1", []string{`host 2 ("`, "line 6", `"wieght"`, "did you mean weight?"}},
		{"no name", "hosts:\n- {url: a}", []string{"host 1", "line 2", "no name"}},
		{"no url", "hosts:\n- {name: a}", []string{`host 1 ("a")`, "line 2", "no url"}},
		{"null", one("tags:"), []string{"value is missing"}},
		{"name", "hosts: [{name: GPU 1, url: a}]", []string{`"GPU 1"`, "small letters"}},
		{"name twice", "hosts: [{name: a, url: a}, {name: a, url: b}]", []string{"host 2", "a is there twice"}},
		{"address twice", "hosts: [{name: a, url: 'http://x:11434'}, {name: b, url: x}]", []string{"host 2", "address of a"}},
		{"url", "hosts: [{name: a, url: 'ftp://x'}]", []string{"neither http nor https"}},
		{"password in a url", "hosts: [{name: a, url: 'http://me:hunter2@x'}]", []string{"user name or password"}},
		{"dns", "hosts: [{name: a, url: 'dns://x'}]", []string{"dns:///name:port"}},
		{"weight", one("weight: 0"), []string{"weight must be more than 0"}},
		{"weight that is none", one("weight: .nan"), []string{"weight must be more than 0"}},
		{"weight in words", one("weight: heavy"), []string{"line 2", `weight "heavy" is not a number`}},
		{"priority", one("priority: high"), []string{"line 2", `priority "high" is not a whole number`}},
		{"parallel", one("parallel: 0"), []string{`"0"`, "auto", "OLLAMA_NUM_PARALLEL"}},
		{"parallel in words", one("parallel: many"), []string{`"many"`}},
		{"max_loaded", one("max_loaded: 0"), []string{"max_loaded must be more than 0"}},
		{"headers", one("headers: red"), []string{"line 2", "headers: {X-Team: red}"}},
		{"a header's name", one("headers: {'X Team': red}"), []string{`"X Team"`}},
		{"our header", one("headers: {host: x}"), []string{"host is set for each request"}},
		{"header twice", one("headers: {X-A: x, x-a: y}"), []string{"X-A is there twice"}},
		{"header of lines", one(`headers: {X-A: "hunter2\nb"}`), []string{"X-A", "more than one line"}},
		{"header from nowhere", one("headers: {X-A: {evn: X}}"), []string{"X-A", `"evn"`, "did you mean env?"}},
		{"header with two places", one("headers: {X-A: {env: X, file: x}}"), []string{"X-A", "{env: NAME} or {file: PATH}"}},
		{"secret in the file", one("bearer: hunter2"), []string{"line 2", "does not stand in this file", "bearer: {env: NAME}"}},
		{"no place", one("bearer: {}"), []string{"bearer", "{env: NAME} or {file: PATH}"}},
		{"no variable", one("bearer: {env: NOWHERE}"), []string{"bearer", "the variable NOWHERE is empty, or not there"}},
		{"our variable", one("bearer: {env: OLLAMA_MCP_TOKEN}"), []string{"another name"}},
		{"no file", one("basic: {file: /nowhere}"), []string{"line 2", "basic", "/nowhere"}},
		{"empty file", one("bearer: {file: " + empty + "}"), []string{empty, "empty"}},
		{"file of lines", one("bearer: {file: " + lines + "}"), []string{lines, "more than one line"}},
		{"no password", one("basic: {file: " + key + "}"), []string{"more than one line"}},
		{"no colon", one("basic: {env: HOME}"), []string{"user:password"}},
		{"bearer and basic", one("bearer: {env: HOME}, basic: {env: HOME}"), []string{"bearer, basic", "one and the same"}},
		{"bearer and header", one("bearer: {env: HOME}, headers: {authorization: x}"), []string{"one and the same"}},
		{"TLS without https", one("ca_file: " + cert), []string{"https://"}},
		{"TLS for dns", "hosts: [{name: a, url: 'dns:///x', ca_file: x}]", []string{"https://"}},
		{"certificate without key", "hosts: [{name: a, url: 'https://a', cert_file: x}]", []string{"cert_file and key_file"}},
		{"no authority", "hosts: [{name: a, url: 'https://a', ca_file: /nowhere}]", []string{"/nowhere"}},
		{"authority that is none", "hosts: [{name: a, url: 'https://a', ca_file: " + key + "}]", []string{"ca_file", key, "PEM"}},
		{"certificate that is none", "hosts: [{name: a, url: 'https://a', cert_file: " + key + ", key_file: " + key + "}]", []string{"cert_file", key}},
		{"models", one("models: []"), []string{"models is an empty list"}},
		{"a pattern", one("models: ['a[b]']"), []string{`"a[b]"`, "special"}},
		{"models in words", one("models: llama3.2"), []string{`write models: ["llama3.2"]`}},
		{"a tag", one("tags: [Night]"), []string{`"Night"`, "small letters"}},
		{"and the flag", "ollama: a\nhosts: [{name: a, url: a}]", []string{"hosts", "--ollama", "leave one of them out"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unset(t)
			t.Setenv("HOME", "hunter2") // any variable
			path := writeFile(t, tt.file)
			c, _, err := Parse([]string{"--config", path}, "v", io.Discard)
			if err == nil {
				t.Fatalf("%q is taken as %+v", tt.file, c.Ollama.Hosts)
			}
			for _, w := range append(tt.words, "--config", path) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q: error %q lacks %q", tt.file, err, w)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: error %q shows a secret", tt.file, err)
			}
		})
	}
}

func TestHostsAndTheFlagContradict(t *testing.T) {
	path := writeFile(t, "hosts: [{name: a, url: a}]")
	for source, args := range map[string][]string{"--ollama": {"--ollama", "b"}, "OLLAMA_MCP_OLLAMA": nil} {
		unset(t)
		if args == nil {
			t.Setenv("OLLAMA_MCP_OLLAMA", "b")
		}
		_, _, err := Parse(append(args, "--config", path), "v", io.Discard)
		if err == nil || !strings.Contains(err.Error(), "hosts") || !strings.Contains(err.Error(), "set by "+source) {
			t.Errorf("hosts in the file and %s: %v, want an error that names both", source, err)
		}
	}
}

// TestSecretsAreReadWhereTheyAreNeeded: a command that asks no Ollama does without.
func TestSecretsAreReadWhereTheyAreNeeded(t *testing.T) {
	unset(t)
	path := writeFile(t, "hosts: [{name: a, url: a, bearer: {file: /nowhere}}]\npolicy: [{}]")
	if _, _, err := Parse([]string{"--config", path, "explain", "local", "chat"}, "v", io.Discard); err != nil {
		t.Errorf("explain with a secret that is not there: %v, want none", err)
	}
	if _, _, err := Parse([]string{"--config", path, "call", "status"}, "v", io.Discard); err == nil {
		t.Error("call with a secret that is not there: no error")
	}
}

func TestSeveralHostsInTheFlag(t *testing.T) {
	service := func(s string) dns.Service {
		made, err := dns.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	tests := map[string][]Host{
		"gpu=http://gpu-box, mac=mac.local:1": {{Name: "gpu", Address: parseHost(t, "http://gpu-box")}, {Name: "mac", Address: parseHost(t, "mac.local:1")}},
		"gpu-box,mac":                         {{Address: parseHost(t, "gpu-box")}, {Address: parseHost(t, "mac")}},
		"gpu=gpu-box":                         {{Name: "gpu", Address: parseHost(t, "gpu-box")}},
		"http://gpu-box/a=b":                  {{Address: parseHost(t, "http://gpu-box/a=b")}},
		"dns:///svc:80":                       {{Service: service("dns:///svc:80"), Address: parseHost(t, "http://svc")}},
		"k8s=DNS:///svc,a=b":                  {{Name: "k8s", Service: service("dns:///svc"), Address: parseHost(t, "svc")}, {Name: "a", Address: parseHost(t, "b")}},
	}
	for value, want := range tests {
		unset(t)
		c, _, err := Parse([]string{"--ollama", value}, "v", io.Discard)
		if err != nil {
			t.Errorf("--ollama %s: %v", value, err)
		} else if diff := diffHosts(want, c.Ollama.Hosts); diff != "" {
			t.Errorf("--ollama %s (-want +got):\n%s", value, diff)
		}
	}
	for value, says := range map[string]string{
		"a=x,a=y":         "a is there twice",
		"a=x,b=x":         "address of a",
		"x,x":             "there twice",
		"a=":              "write a=http://gpu-box:11434",
		"A=x":             "small letters",
		"=x":              "small letters",
		"a=x,":            "missing beside a comma",
		",":               "missing beside a comma",
		"a=x,ftp://y":     "neither http nor https",
		"a=dns:///x/y":    "not a name",
		"me:hunter2@x,y":  "password",
		"a=me:hunter2@x":  "password",
		"a=x,b=y z":       "holds ' '",
		"dns:///x,dns://": "three slashes",
	} {
		unset(t)
		c, _, err := Parse([]string{"--ollama", value}, "v", io.Discard)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--ollama") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("--ollama %s: %+v, %v; want an error that says %q", value, c, err, says)
		}
	}
}

// TestOllamaHostIsOneHost: it means what it means to Ollama.
func TestOllamaHostIsOneHost(t *testing.T) {
	for _, value := range []string{"a=x", "x,y", "dns:///x"} {
		unset(t)
		t.Setenv("OLLAMA_HOST", value)
		if c, _, err := Parse(nil, "v", io.Discard); err == nil || !strings.Contains(err.Error(), "OLLAMA_HOST") {
			t.Errorf("OLLAMA_HOST=%s: %+v, %v; want an error", value, c, err)
		}
	}
}

// TestSettingsOfAHost: they differ exactly when something that was set does.
func TestSettingsOfAHost(t *testing.T) {
	cert, key := certificate(t)
	otherCert, otherKey := certificate(t)
	secret := writeFile(t, "one")
	settings := func(entry string) string {
		t.Helper()
		unset(t)
		t.Setenv("TOKEN", "one")
		c, _, err := Parse([]string{"--config", writeFile(t, "max-calls: 5\nhosts:\n- "+entry)}, "v", io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return c.Ollama.Hosts[0].Settings
	}
	seen := map[string]string{}
	for _, entry := range []string{
		"{name: a, url: 'https://a'}",
		"{name: b, url: 'https://a'}",
		"{name: a, url: 'https://b'}",
		"{name: a, url: 'dns:///a'}",
		"{name: a, url: a}",
		"{name: a, url: 'https://a', weight: 2}",
		"{name: a, url: 'https://a', priority: 2}",
		"{name: a, url: 'https://a', parallel: 2}",
		"{name: a, url: 'https://a', max_loaded: 2}",
		"{name: a, url: 'https://a', models: [x]}",
		"{name: a, url: 'https://a', models: [x, y]}",
		"{name: a, url: 'https://a', tags: [x]}",
		"{name: a, url: 'https://a', headers: {X-A: x}}",
		"{name: a, url: 'https://a', headers: {X-A: y}}",
		"{name: a, url: 'https://a', bearer: {env: TOKEN}}",
		"{name: a, url: 'https://a', ca_file: " + cert + "}",
		"{name: a, url: 'https://a', ca_file: " + otherCert + "}",
		"{name: a, url: 'https://a', cert_file: " + cert + ", key_file: " + key + "}",
		"{name: a, url: 'https://a', cert_file: " + otherCert + ", key_file: " + otherKey + "}",
	} {
		s := settings(entry)
		if s == "" || s != settings(entry) {
			t.Errorf("settings of %s: %q, and another time %q", entry, s, settings(entry))
		}
		if other, ok := seen[s]; ok {
			t.Errorf("settings of %s are those of %s", entry, other)
		}
		seen[s] = entry
	}
	entry := "{name: a, url: 'https://a', bearer: {file: " + secret + "}}"
	before := settings(entry)
	if err := os.WriteFile(secret, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if before == settings(entry) {
		t.Error("settings with another secret in the same file are the same")
	}
}

func TestReload(t *testing.T) {
	unset(t)
	path := writeFile(t, "max-wait: 3s\nhosts: [{name: a, url: a}]\nmodels: {m: {preload: 1}}")
	c, _, err := Parse([]string{"--config=" + path, "--max-calls", "7"}, "v", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		file, where string
		differ      []string
	}{
		{"max-wait: 3s\nhosts: [{name: a, url: b}, {name: c, url: c}]\nmodels: {m: {preload: 1}}", "http://b:11434, http://c:11434", nil},
		{"ollama: d", "http://d:11434", []string{"max-wait", "models"}},
		{"ollama: d\nmax-wait: 3s\nmodels: {m: {preload: 2}}\npolicy: [{}]\nmax-calls: 9", "http://d:11434", []string{"policy", "models"}},
	} {
		if err := os.WriteFile(path, []byte(step.file), 0o600); err != nil {
			t.Fatal(err)
		}
		now, err := c.Reload()
		if err != nil {
			t.Fatal(err)
		}
		if got := now.Ollama.Where(); got != step.where {
			t.Errorf("Reload of %q: Ollama is at %s, want %s", step.file, got, step.where)
		}
		if diff := cmp.Diff(step.differ, c.Differing(now)); diff != "" {
			t.Errorf("Differing after %q (-want +got):\n%s", step.file, diff)
		}
		if now.Limits.MaxCalls != 7 {
			t.Errorf("Reload of %q: max-calls %d, want 7 of the flag", step.file, now.Limits.MaxCalls)
		}
	}
	if diff := cmp.Diff([]string{path}, c.HostFiles()); diff != "" {
		t.Errorf("HostFiles (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(path, []byte("hosts: [{nam: a}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if now, err := c.Reload(); err == nil || !strings.Contains(err.Error(), "did you mean name?") {
		t.Errorf("Reload of a broken file = %v, %v; want what is wrong", now, err)
	}
}

func TestHowHostsBehaveAsOne(t *testing.T) {
	tests := map[string]FleetConfig{
		"":                                       {Queue: "fair", EmbedCache: 64 << 20},
		"--queue=fifo --embed-cache=0":           {Queue: "fifo"},
		"--share-embeddings --answer-cache 1MiB": {Queue: "fair", EmbedCache: 64 << 20, ShareEmbeddings: true, AnswerCache: 1 << 20},
		"--embed-cache 1GiB --answer-cache 0":    {Queue: "fair", EmbedCache: 1 << 30},
		"--embed-cache 512 --share-embeddings=false": {Queue: "fair", EmbedCache: 512},
	}
	for args, want := range tests {
		unset(t)
		c, _, err := Parse(strings.Fields(args), "v", io.Discard)
		if err != nil || c.Fleet != want {
			t.Errorf("Parse(%s) = %+v, %v; want %+v", args, c, err, want)
		}
	}
	for args, says := range map[string]string{
		"--queue lifo":        `--queue "lifo" is not one of fair, fifo`,
		"--embed-cache=-1":    "--embed-cache must be 0, for none, or more",
		"--answer-cache -1":   "--answer-cache must be 0, for none, or more, and -1 is not",
		"--embed-cache huge":  "--embed-cache: \"huge\" is not a size",
		"--max-message 0":     "--max-message must be more than 0",
		"--embed-cache=1GiBs": "is not a size",
	} {
		unset(t)
		if c, _, err := Parse(strings.Fields(args), "v", io.Discard); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Parse(%s) = %+v, %v; want an error that says %q", args, c, err, says)
		}
	}
}

// FuzzHosts: no file makes the program panic, and hosts that are taken can be told apart.
func FuzzHosts(f *testing.F) {
	f.Add("- {name: a, url: a, headers: {X-A: {env: B}}, bearer: {file: c}, models: [x]}\n- {name: b, url: 'dns:///b'}")
	f.Add("- &a {name: a, url: 'https://a', headers: *a}")
	f.Add("- &a {name: a, url: a, headers: {X: *a}}\n- <<: *a\n  name: b")
	f.Add("- {name: 1, url: 2, weight: .inf, parallel: 0x10, tags: [~]}")
	path := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, section string) {
		if err := os.WriteFile(path, []byte("hosts:\n"+section), 0o600); err != nil {
			t.Fatal(err)
		}
		c := defaults()
		if _, err := c.readFile([]string{"--config", path}); err != nil || c.Ollama.section == nil {
			return
		}
		hosts, err := c.Ollama.section.hosts(false)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, h := range hosts {
			if h.Name == "" || seen[h.Name] || strings.ContainsAny(h.Address.String(), "@?# \n") || h.Weight < 0 || h.Parallel < 0 || h.MaxLoaded < 0 {
				t.Errorf("%q gives %+v", section, h)
			}
			seen[h.Name] = true
		}
	})
}
