package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"ollama-mcp/config"
	"ollama-mcp/ollama/fleet"
)

// names is a DNS of addresses alone.
type names struct {
	mu sync.Mutex // guards what follows
	to map[string]string
}

func (n *names) set(name, ips string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to[name] = ips
}

func (n *names) LookupNetIP(_ context.Context, _, host string) (ips []netip.Addr, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for ip := range strings.FieldsSeq(n.to[host]) {
		ips = append(ips, netip.MustParseAddr(ip))
	}
	if len(ips) == 0 {
		return nil, errors.New("no such host")
	}
	return ips, nil
}

func (n *names) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, errors.New("no such service")
}

// parsed is the settings that a file in a folder of its own says.
func parsed(t *testing.T, file string) (c *config.Config, path string) {
	t.Helper()
	for _, name := range []string{"OLLAMA_HOST", "OLLAMA_MCP_OLLAMA", "OLLAMA_MCP_CONFIG"} {
		t.Setenv(name, "")
	}
	path = filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, file)
	c, _, err := config.Parse([]string{"--config", path}, "v", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return c, path
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// said is what tells hosts apart for people.
func said(hosts []fleet.Host) (said []string) {
	for _, h := range hosts {
		h.Client.Close()
		said = append(said, h.Client.Name()+" "+h.Address)
	}
	return said
}

// record is what a test is told: the latest hosts, how often, and the log since it was taken.
type record struct {
	mu      sync.Mutex // guards what follows
	hosts   []string
	updates int
	log     bytes.Buffer
}

func (r *record) update(hosts []fleet.Host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts, r.updates = said(hosts), r.updates+1
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(line)
}

func (r *record) take() (hosts []string, updates int, log string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.log.Reset()
	return r.hosts, r.updates, r.log.String()
}

func TestHostsOfSettings(t *testing.T) {
	c, _ := parsed(t, `
hosts:
- {name: k8s, url: dns:///ollama.svc, weight: 2, priority: 3, parallel: 4, max_loaded: 5, tags: [gpu], models: [llama3.2]}
- {name: none, url: dns:///nowhere.svc:80}
- {name: own, url: 10.0.0.2}
`)
	l := newHostList(c, zerolog.Nop())
	l.book.Resolver = &names{to: map[string]string{"ollama.svc": "10.0.0.3 10.0.0.2 10.0.0.1"}}
	hosts := l.first(t.Context())
	want := []string{
		"own http://10.0.0.2:11434",
		"k8s-10.0.0.1:11434 http://10.0.0.1:11434",
		"k8s-10.0.0.3:11434 http://10.0.0.3:11434",
		"none http://nowhere.svc",
	}
	if diff := cmp.Diff(want, said(hosts)); diff != "" {
		t.Fatalf("hosts (-want +got):\n%s", diff)
	}
	found := hosts[1]
	if found.Weight != 2 || found.Priority != 3 || found.Parallel != 4 || found.MaxLoaded != 5 || found.May("qwen3:latest") || !found.May("llama3.2:latest") {
		t.Errorf("a host that was found is %+v, want what is set for its name", found)
	}
	if diff := cmp.Diff([]string{"gpu", "k8s"}, found.Tags); diff != "" {
		t.Errorf("tags of a host that was found (-want +got):\n%s", diff)
	}
	if found.Origin != "dns:///ollama.svc:11434 in --config" || hosts[0].Origin != "--config" {
		t.Errorf("origins are %q and %q, want the name in --config, and --config", found.Origin, hosts[0].Origin)
	}
	seen := map[string]bool{}
	for _, h := range hosts {
		if seen[h.Settings] || h.Settings == "" {
			t.Errorf("settings of %s are empty, or those of another host", h.Client.Name())
		}
		seen[h.Settings] = true
	}
}

// TestHostsAreFollowed: names are asked for again, and files are looked at.
func TestHostsAreFollowed(t *testing.T) {
	const before = "hosts:\n- {name: a, url: a}\n- {name: k, url: 'dns:///k'}\n"
	c, path := parsed(t, before)
	synctest.Test(t, func(t *testing.T) {
		var seen record
		dns := &names{to: map[string]string{}}
		l := newHostList(c, zerolog.New(&seen))
		l.book.Resolver = dns
		seen.update(l.first(t.Context()))
		hup := make(chan os.Signal)
		ctx, cancel := context.WithCancel(t.Context())
		go l.run(ctx, hup, seen.update)
		steps := []struct {
			name    string
			do      func()
			after   time.Duration
			want    []string
			updates int
			logged  string
		}{
			{"not found", func() {}, 0, []string{"a http://a:11434", "k http://k:11434"}, 1, "no such host"},
			{"found soon", func() { dns.set("k", "10.0.0.1") }, 4 * time.Second, []string{"a http://a:11434", "k-10.0.0.1:11434 http://10.0.0.1:11434"}, 2, "found"},
			{"lost", func() { dns.set("k", "") }, 34 * time.Second, []string{"a http://a:11434", "k-10.0.0.1:11434 http://10.0.0.1:11434"}, 2, "cannot be found"},
			{"not too soon", func() { dns.set("k", "10.0.0.2") }, 15 * time.Second, nil, 2, ""},
			{"another", func() {}, 18 * time.Second, []string{"a http://a:11434", "k-10.0.0.2:11434 http://10.0.0.2:11434"}, 3, "found"},
			{"the file", func() { write(t, path, "hosts: [{name: b, url: b}]") }, 3 * time.Second, []string{"b http://b:11434"}, 4, "read anew"},
			{"half written at first", func() {
				write(t, path, "hosts: [{name: b, url: b, weight: 2}")
				time.Sleep(1100 * time.Millisecond)
				write(t, path, "hosts: [{name: b, url: b, weight: 2}]")
			}, 3 * time.Second, []string{"b http://b:11434"}, 5, "read anew"},
			{"a broken file", func() { write(t, path, "hosts: [{nam: bb}]") }, 3 * time.Second, []string{"b http://b:11434"}, 5, "did you mean name?"},
			{"and no word more", func() {}, time.Minute, []string{"b http://b:11434"}, 5, ""},
			{"no file", func() { os.Remove(path) }, 3 * time.Second, []string{"b http://b:11434"}, 5, "cannot be read anew"},
			{"other settings", func() { write(t, path, "max-wait: 7s\nhosts: [{name: b, url: b, weight: 2}]") }, 3 * time.Second, []string{"b http://b:11434"}, 5, `"settings":["max-wait"]`},
			{"a signal", func() { write(t, path, before); hup <- os.Interrupt }, 0, []string{"a http://a:11434", "k-10.0.0.2:11434 http://10.0.0.2:11434"}, 6, "read anew"},
		}
		for _, step := range steps {
			step.do()
			time.Sleep(step.after)
			synctest.Wait()
			now, updates, got := seen.take()
			if diff := cmp.Diff(step.want, now); step.want != nil && diff != "" || updates != step.updates {
				t.Errorf("%s: %d updates, want %d; hosts (-want +got):\n%s", step.name, updates, step.updates, diff)
			}
			if strings.Contains(got, "did not find") {
				t.Errorf("%s: logged %q, want nothing of a file that was not whole yet", step.name, got)
			}
			if !strings.Contains(got, step.logged) || step.logged == "" && got != "" {
				t.Errorf("%s: logged %q, want %q in it", step.name, got, step.logged)
			}
		}
		cancel()
	})
}

// TestHostWithTLS: the certificates and secrets of the settings open a host's door.
func TestHostWithTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hunter2" || r.Header.Get("X-Team") != "red" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, `{"version":"1.2.3"}`)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := filepath.Join(dir, "cert.pem")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	write(t, filepath.Join(dir, "password"), "me:hunter2\n")
	for _, tt := range []struct {
		settings string
		in       bool
	}{
		{"ca_file: $/cert.pem, cert_file: $/cert.pem, key_file: $/key.pem, basic: {file: $/password}, headers: {x-team: red}", true},
		{"ca_file: $/cert.pem, cert_file: $/cert.pem, key_file: $/key.pem, headers: {x-team: red}", false},
		{"ca_file: $/cert.pem, basic: {file: $/password}, headers: {x-team: red}", false},
		{"cert_file: $/cert.pem, key_file: $/key.pem, basic: {file: $/password}, headers: {x-team: red}", false},
	} {
		c, _ := parsed(t, "hosts: [{name: a, url: '"+s.URL+"', "+strings.ReplaceAll(tt.settings, "$", dir)+"}]")
		client := newHostList(c, zerolog.Nop()).first(t.Context())[0].Client
		if version, err := client.Version(t.Context()); (err == nil) != tt.in {
			t.Errorf("Version with %s = %s, %v; want an answer: %v", tt.settings, version, err, tt.in)
		}
		client.Close()
	}
}
