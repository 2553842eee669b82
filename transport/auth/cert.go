package auth

import (
	"crypto/x509"
	"strings"
	"time"
)

// certified is the caller of a verified certificate: its first URI, as a SPIFFE id is, else
// its first DNS name. The common name does not count: it has no
// type (RFC 9525, section 2).
func certified(cert *x509.Certificate, now time.Time) (Caller, error) {
	c := Caller{Expires: cert.NotAfter}
	if !now.Before(cert.NotAfter) { // a connection may live longer than its certificate
		return c, invalid("the client certificate has expired: connect with a new one")
	}
	switch {
	case len(cert.URIs) > 0:
		c.Name = cert.URIs[0].String()
		if scheme := cert.URIs[0].Scheme; scheme == "" || scheme == "oidc" || scheme == "dns" {
			return c, invalid("the client certificate's URI has no scheme, or one that marks other callers: take another, as in spiffe://example.com/name")
		}
	case len(cert.DNSNames) > 0:
		c.Name = "dns:" + strings.ToLower(cert.DNSNames[0])
	default:
		return c, invalid("the client certificate names neither a URI nor a DNS name: connect with one that does")
	}
	return c, nil
}
