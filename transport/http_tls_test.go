package transport

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTLS speaks HTTP/1.1 and HTTP/2 over TLS.
func TestTLS(t *testing.T) {
	lender := httptest.NewUnstartedServer(nil) // of its certificate
	lender.StartTLS()
	defer lender.Close()
	roots := x509.NewCertPool()
	roots.AddCert(lender.Certificate())
	for _, major := range []int{1, 2} {
		t.Run(fmt.Sprintf("HTTP/%d", major), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			protocols := new(http.Protocols)
			protocols.SetHTTP1(major == 1)
			protocols.SetHTTP2(major == 2)
			transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: roots}}
			srv := fixtures()
			s := hostOn(t, l, transport, srv, HTTPOptions{TLS: &tls.Config{Certificates: lender.TLS.Certificates}, AllowHosts: []string{"127.0.0.1"}})
			s.scheme = "https"
			in := s.session("2025-11-25", `{}`)
			r := s.do("POST", "/mcp", call("1", `"t"`, "count", `{"n":2,"every_ms":1}`), in...)
			all := r.replies(t)
			if r.ProtoMajor != major || all[len(all)-1].text() != "0€ 1€ " || len(all) < 2 {
				t.Errorf("count over HTTP/%d = %v, want progress and the answer over HTTP/%d", r.ProtoMajor, r, major)
			}
			e, path := s.pipe("Origin", "https://"+s.addr)
			s.tell(path, []string{call("1", "", "echo", `{"text":"x"}`)})
			if m := e.must(); m.text() != "x" {
				t.Errorf("echo over SSE = %s, want its answer", m.raw)
			}
			if r := s.do("POST", "/mcp", `{}`, "Origin", "http://"+s.addr); r.StatusCode != http.StatusForbidden {
				t.Errorf("own origin without TLS = %v, want 403", r)
			}
			for name, status := range map[string]int{strings.Repeat("x", 20<<10): 200, strings.Repeat("x", 40<<10): 431} {
				resp, err := s.client.Do(s.request("GET", "/healthz", "", "X-Long", name))
				if err != nil { // HTTP/2 tells the limit in advance, and clients keep to it
					if status == 200 || major == 1 {
						t.Errorf("header of %d bytes = %v, want %d", len(name), err, status)
					}
					continue
				}
				resp.Body.Close()
				if resp.StatusCode != status {
					t.Errorf("header of %d bytes = %d, want %d", len(name), resp.StatusCode, status)
				}
			}
		})
	}
}
