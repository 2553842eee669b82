package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(name string) *authority {
	a := &authority{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, _ = sign(template, template, a.key, a.key)
	return a
}

// issue makes a certificate for one of the uses, valid for an hour.
func (a *authority) issue(change func(*x509.Certificate)) tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "someone"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	change(template)
	cert, der := sign(template, a.cert, key, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}
}

func sign(template, parent *x509.Certificate, key, by crypto.Signer) (*x509.Certificate, []byte) {
	template.SerialNumber = must(rand.Int(rand.Reader, big.NewInt(1<<62)))
	template.NotBefore = time.Now().Add(-2 * time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by))
	return must(x509.ParseCertificate(der)), der
}

// pemFiles are the PEM files of a server in a folder of their own.
type pemFiles struct{ cert, key, ca string }

func newFiles(t *testing.T) pemFiles {
	dir := t.TempDir()
	return pemFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")}
}

func (f pemFiles) writeServer(c tls.Certificate) {
	writePEM(f.cert, "CERTIFICATE", c.Certificate[0])
	writePEM(f.key, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(c.PrivateKey)))
}

func (f pemFiles) writeCA(a *authority) { writePEM(f.ca, "CERTIFICATE", a.cert.Raw) }

// writePEM replaces the file by another, so that a change within the clock's grain shows too.
func writePEM(path, kind string, der []byte) {
	os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	os.Rename(path+".new", path)
}

// serve answers each request with who made it; it returns the server's address.
func serve(t *testing.T, c *tls.Config, a *Authenticator) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{TLSConfig: c.Clone(), ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, refusal := a.Authenticate(r)
		if refusal != nil {
			http.Error(w, refusal.Message, refusal.Status)
			return
		}
		fmt.Fprint(w, caller.Name)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.ServeTLS(listener, "", "")
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return "https://" + listener.Addr().String()
}

// client connects with the certificates, and believes the authority.
func client(t *testing.T, a *authority, certs ...tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		RootCAs: pool, Certificates: certs, ClientSessionCache: tls.NewLRUClientSessionCache(10),
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask returns the status and what the server says, or "", and the error of the handshake.
func ask(c *http.Client, address string, authorization ...string) (status int, proto, body string, err error) {
	r := must(http.NewRequest(http.MethodPost, address+"/mcp", nil))
	r.Header["Authorization"] = authorization
	response, err := c.Do(r)
	if err != nil {
		return 0, "", "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Proto, string(b), err
}

func server(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }

func named(uri string, dns ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.DNSNames = dns
		if uri != "" {
			c.URIs = []*url.URL{must(url.Parse(uri))}
		}
	}
}

func TestCertificates(t *testing.T) {
	ca, other, f := newAuthority("ours"), newAuthority("another"), newFiles(t)
	f.writeServer(ca.issue(server))
	f.writeCA(ca)
	config, err := ServerTLS(TLSOptions{CertFile: f.cert, KeyFile: f.key, ClientCA: f.ca, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	tokens := writeFile(t, "- {name: alice, sha256: "+digestOf("good")+"}\n")
	both := serve(t, config, newAuthenticator(t, Options{ClientCerts: true, TokensFile: tokens, Log: testLog(t)}))
	alone := serve(t, config, newAuthenticator(t, Options{ClientCerts: true, Log: testLog(t)}))
	tokensOnly := serve(t, config, newAuthenticator(t, Options{TokensFile: tokens, Log: testLog(t)}))
	spiffe := []tls.Certificate{ca.issue(named("spiffe://example.com/agent", "agent.example.com"))}
	tests := []struct {
		name          string
		server        string
		certs         []tls.Certificate
		authorization []string
		status        int // 0: no handshake
		word          string
	}{
		{"URI before DNS name", both, spiffe, nil, 200, "spiffe://example.com/agent"},
		{"DNS name", both, []tls.Certificate{ca.issue(named("", "Agent.example.com", "b.example.com"))}, nil, 200, "dns:agent.example.com"},
		{"common name only", both, []tls.Certificate{ca.issue(named(""))}, nil, 403, "neither a URI nor a DNS name"},
		{"URI that is no such caller", both, []tls.Certificate{ca.issue(named("oidc:alice"))}, nil, 403, "scheme"},
		{"URI that is a token's name", both, []tls.Certificate{ca.issue(named("alice"))}, nil, 403, "scheme"},
		{"none", both, nil, nil, 401, "client certificate"},
		{"none, where only certificates count", alone, nil, nil, 403, "client certificate"},
		{"another authority's", both, []tls.Certificate{other.issue(named("spiffe://example.com/agent"))}, nil, 0, ""},
		{"expired", both, []tls.Certificate{ca.issue(func(c *x509.Certificate) {
			named("spiffe://example.com/agent")(c)
			c.NotAfter = time.Now().Add(-time.Minute)
		})}, nil, 0, ""},
		{"for servers", both, []tls.Certificate{ca.issue(func(c *x509.Certificate) {
			named("spiffe://example.com/agent")(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})}, nil, 0, ""},
		{"token", both, nil, []string{"Bearer good"}, 200, "alice"},
		{"certificate and token", both, spiffe, []string{"Bearer good"}, 200, "alice"},
		{"certificate and bad token", both, spiffe, []string{"Bearer bad"}, 401, "not known"},
		{"certificate and empty token", both, spiffe, []string{""}, 401, "Bearer TOKEN"},
		{"certificate and token, where only certificates count", alone, spiffe, []string{"Bearer good"}, 401, "leave the Authorization header out"},
		{"certificate where none counts", tokensOnly, spiffe, nil, 401, "Bearer TOKEN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, ca, tt.certs...)
			if len(tt.certs) > 0 { // also where the server does not name its issuer
				c.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					return &tt.certs[0], nil
				}
			}
			status, proto, body, err := ask(c, tt.server, tt.authorization...)
			if status != tt.status || !strings.Contains(body, tt.word) || tt.status == 0 && err == nil {
				t.Errorf("POST: %d %q, %v; want %d with %q", status, body, err, tt.status, tt.word)
			}
			if err == nil && proto != "HTTP/2.0" {
				t.Errorf("POST went by %s, want HTTP/2.0", proto)
			}
		})
	}
}

// TestExpiredOnTheConnection is about a connection that outlives its certificate.
func TestExpiredOnTheConnection(t *testing.T) {
	cert := newAuthority("ours").issue(named("spiffe://example.com/agent")).Leaf
	if _, err := certified(cert, cert.NotAfter); err == nil {
		t.Error("certified at the end of the certificate: no error")
	}
	if c, err := certified(cert, cert.NotAfter.Add(-time.Second)); err != nil || !c.Expires.Equal(cert.NotAfter) {
		t.Errorf("certified a second before = %+v, %v; want it to expire at %s", c, err, cert.NotAfter)
	}
}

func TestTLSFilesAreReadAnew(t *testing.T) {
	ca, second, f := newAuthority("first"), newAuthority("second"), newFiles(t)
	f.writeServer(ca.issue(server))
	f.writeCA(ca)
	var logged lines
	start, handshakes := time.Now(), atomic.Int64{}
	config, err := serverTLS(TLSOptions{CertFile: f.cert, KeyFile: f.key, ClientCA: f.ca, Log: zerolog.New(&logged)}, func() time.Time {
		return start.Add(time.Duration(handshakes.Add(2)) * lookEvery)
	})
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, config, newAuthenticator(t, Options{ClientCerts: true}))
	agent := ca.issue(named("spiffe://example.com/agent"))
	resuming := client(t, ca, agent)
	if status, _, body, err := ask(resuming, address); status != 200 {
		t.Fatalf("at first: %d %q, %v", status, body, err)
	}

	f.writeServer(second.issue(server))
	if status, _, body, err := ask(client(t, second, agent), address); status != 200 {
		t.Errorf("with a new certificate: %d %q, %v; want 200", status, body, err)
	}
	os.WriteFile(f.key, []byte("broken"), 0o600)
	for range 3 {
		if status, _, body, err := ask(client(t, second, agent), address); status != 200 {
			t.Errorf("with a broken key: %d %q, %v; want the old one to hold", status, body, err)
		}
	}
	if n := logged.count("cannot be used"); n != 1 {
		t.Errorf("the broken key was logged %d times, want once", n)
	}
	f.writeServer(ca.issue(server))
	f.writeCA(second)
	if status, _, body, err := ask(client(t, ca, second.issue(named("spiffe://example.com/new"))), address); status != 200 || body != "spiffe://example.com/new" {
		t.Errorf("with a new authority: %d %q, %v; want 200", status, body, err)
	}
	resuming.CloseIdleConnections()
	if status, _, body, err := ask(resuming, address); err == nil && status == 200 {
		t.Errorf("a client of the old authority resumed its session: %d %q", status, body)
	}
}

func TestWrongTLSFilesNameTheFlag(t *testing.T) {
	ca, f := newAuthority("ours"), newFiles(t)
	f.writeServer(ca.issue(server))
	os.WriteFile(f.ca, []byte("nothing"), 0o600)
	for flag, o := range map[string]TLSOptions{
		"--tls-cert":  {CertFile: "/nowhere.pem", KeyFile: f.key},
		"--tls-key":   {CertFile: f.cert, KeyFile: f.cert},
		"--client-ca": {CertFile: f.cert, KeyFile: f.key, ClientCA: f.ca},
	} {
		if _, err := ServerTLS(o); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("ServerTLS(%+v): %v, want an error that names %s", o, err, flag)
		}
	}
	c, err := ServerTLS(TLSOptions{CertFile: f.cert, KeyFile: f.key})
	if err != nil || c.ClientAuth != tls.NoClientCert || c.MinVersion != tls.VersionTLS12 {
		t.Errorf("ServerTLS without --client-ca: %+v, %v; want no client certificates, TLS 1.2", c, err)
	}
}
