package dns

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"ollama-mcp/ollama"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Service{
		"dns:///ollama.default.svc:11434": {"ollama.default.svc", 11434},
		"dns:///Ollama:80":                {"ollama", 80},
		"dns:///gpus.example.com":         {"gpus.example.com", 11434},
		"dns:///_ollama._tcp.example.com": {"_ollama._tcp.example.com", 0},
		"dns:///_ollama.example.com":      {"_ollama.example.com", 11434},
	} {
		got, err := Parse(in)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", in, got, err, want)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("Parse(%q), printed and parsed, = %+v, %v; want the same", in, again, err)
		}
	}
	for in, says := range map[string]string{
		"dns://server/name:1":      "three slashes",
		"dns:name":                 "three slashes",
		"dns:///":                  "not a name",
		"dns:///:1":                "not a name",
		"dns:///a/b":               "not a name",
		"dns:///[::1]:1":           "not a name",
		"dns:///a:b":               "port",
		"dns:///a:0":               "port",
		"dns:///a:70000":           "port",
		"dns:///_a._tcp.b:1":       "leave it out",
		"dns:///user:hunter2@name": "password",
	} {
		s, err := Parse(in)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "write dns:///name:port") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Parse(%q) = %+v, %v; want an error that says %q, what to write, and no password", in, s, err, says)
		}
	}
}

// fakeDNS answers from tables. A name that is in none does not exist; nil waits for ctx.
type fakeDNS struct {
	ips map[string][]string
	srv map[string][]*net.SRV
	err error // beside the SRV records
}

func (f *fakeDNS) LookupNetIP(ctx context.Context, _, host string) (ips []netip.Addr, err error) {
	texts, ok := f.ips[host]
	switch {
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	case texts == nil:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, text := range texts {
		ips = append(ips, netip.MustParseAddr(text))
	}
	return ips, nil
}

func (f *fakeDNS) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if records, ok := f.srv[name]; ok && service == "" && proto == "" {
		return name, records, f.err
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func urls(hosts []ollama.Host) (urls []string) {
	for _, h := range hosts {
		urls = append(urls, h.String())
	}
	return urls
}

func TestLookup(t *testing.T) {
	dns := &fakeDNS{
		ips: map[string][]string{
			"four":     {"10.0.0.2", "10.0.0.1", "10.0.0.2"},
			"mapped":   {"::ffff:10.0.0.1"},
			"both":     {"2001:db8::1", "10.0.0.1"},
			"six":      {"2001:db8::2", "2001:db8::1"},
			"filtered": {"0.0.0.0"},
			"empty":    {},
		},
		srv: map[string][]*net.SRV{
			"_o._tcp.svc": {{Target: "o-1.svc.", Port: 11434}, {Target: "o-0.svc.", Port: 8080}},
			"_no._tcp.x":  {{Target: ".", Port: 0}},
			"_bad._tcp.x": {{Target: "a b.", Port: 1}, {Target: "good.", Port: 1}},
		},
		err: errors.New("some records are malformed"),
	}
	for address, want := range map[string][]string{
		"dns:///four:11434":   {"http://10.0.0.1:11434", "http://10.0.0.2:11434"},
		"dns:///mapped:80":    {"http://10.0.0.1"},
		"dns:///both:1":       {"http://10.0.0.1:1"},
		"dns:///six:1":        {"http://[2001:db8::1]:1", "http://[2001:db8::2]:1"},
		"dns:///_o._tcp.svc":  {"http://o-0.svc:8080", "http://o-1.svc:11434"},
		"dns:///_bad._tcp.x":  {"http://good:1"},
		"dns:///filtered":     nil,
		"dns:///empty":        nil,
		"dns:///_no._tcp.x":   nil,
		"dns:///nowhere":      nil,
		"dns:///_no._tcp.svc": nil,
	} {
		s, err := Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		hosts, err := s.lookup(t.Context(), dns)
		if diff := cmp.Diff(want, urls(hosts)); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("lookup of %s: %v, (-want +got):\n%s", address, err, diff)
		}
	}
}

// TestBook: what cannot be found now stays what it was, and is logged once.
func TestBook(t *testing.T) {
	a, b := Service{"a", 1}, Service{"b", 1}
	steps := []struct {
		name    string
		ips     map[string][]string
		changed bool
		a, b    []string
		logged  string
	}{
		{"nothing at first", nil, false, nil, nil, "known\":0"},
		{"and still nothing", nil, false, nil, nil, ""},
		{"one of them", map[string][]string{"a": {"10.0.0.1"}}, true, []string{"http://10.0.0.1:1"}, nil, "are found"},
		{"the other, and the first gone", map[string][]string{"b": {"10.0.0.2"}}, true, []string{"http://10.0.0.1:1"}, []string{"http://10.0.0.2:1"}, "known\":1"},
		{"as it was", map[string][]string{"a": {"10.0.0.1"}, "b": {"10.0.0.2"}}, false, []string{"http://10.0.0.1:1"}, []string{"http://10.0.0.2:1"}, ""},
		{"one empty", map[string][]string{"a": {}, "b": {"10.0.0.2"}}, false, []string{"http://10.0.0.1:1"}, []string{"http://10.0.0.2:1"}, "no addresses"},
		{"one more", map[string][]string{"a": {"10.0.0.3", "10.0.0.1"}, "b": {"10.0.0.2"}}, true, []string{"http://10.0.0.1:1", "http://10.0.0.3:1"}, []string{"http://10.0.0.2:1"}, "are found"},
	}
	dns, out := &fakeDNS{}, &bytes.Buffer{}
	book := Book{Resolver: dns, Log: zerolog.New(zerolog.SyncWriter(out))}
	for _, step := range steps {
		out.Reset()
		dns.ips = step.ips
		changed := book.Look(t.Context(), []Service{a, b, a})
		if diff := cmp.Diff([][]string{step.a, step.b}, [][]string{urls(book.Hosts(a)), urls(book.Hosts(b))}); diff != "" || changed != step.changed {
			t.Errorf("%s: Look = %v, want %v; hosts (-want +got):\n%s", step.name, changed, step.changed, diff)
		}
		if got := out.String(); (got == "") != (step.logged == "") || !strings.Contains(got, step.logged) {
			t.Errorf("%s: logged %q, want %q in it", step.name, got, step.logged)
		}
	}
	if book.Look(t.Context(), []Service{b}); book.Hosts(a) != nil {
		t.Errorf("Hosts of a service that is not looked for any more: %v, want none", book.Hosts(a))
	}
}

func TestLookIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		a, b := Service{"a", 1}, Service{"b", 1}
		book := Book{Resolver: &fakeDNS{ips: map[string][]string{"a": nil, "b": nil}}, Limit: time.Second}
		if book.Look(t.Context(), []Service{a, b}); time.Since(begun) != time.Second {
			t.Errorf("Look at two names that nobody answers for took %v, want 1s", time.Since(begun))
		}
	})
}
