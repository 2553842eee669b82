package auth

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// TLSOptions name the PEM files of a TLS server.
type TLSOptions struct {
	CertFile, KeyFile string
	// ClientCA holds the certificates of those who sign client certificates; "": clients
	// show none.
	ClientCA string
	// Log takes what goes wrong when the files change. The zero Logger is silent.
	Log zerolog.Logger
}

// ServerTLS returns the configuration of a TLS server, which reads its files anew when they
// change. A client may connect without a certificate (the Authenticator refuses it where one
// is needed), but not with one that ClientCA has not signed. It offers HTTP/2 and HTTP/1.1.
// Its errors name the flag.
func ServerTLS(o TLSOptions) (*tls.Config, error) { return serverTLS(o, time.Now) }

func serverTLS(o TLSOptions, now func() time.Time) (*tls.Config, error) {
	files, err := newReloaded(o.load, o.Log, o.CertFile, o.KeyFile, o.ClientCA)
	if err != nil {
		return nil, err
	}
	c := files.get(now()).Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return files.get(now()), nil }
	return c, nil
}

func (o *TLSOptions) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", o.CertFile, o.KeyFile, err)
	}
	c := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		// An http.Server adds these to its own configuration only, not to that of GetConfigForClient.
		NextProtos: []string{"h2", "http/1.1"},
	}
	if o.ClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(o.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("--client-ca: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--client-ca: %s has no certificate in PEM form", o.ClientCA)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	return c, nil
}
