package auth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func BenchmarkAuthenticate(b *testing.B) {
	var file strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&file, "- {name: caller-%d, sha256: %s, scopes: [read]}\n", i, digestOf(fmt.Sprint("omcp_", i)))
	}
	path := filepath.Join(b.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	p := &provider{keys: allKeys()}
	server := httptest.NewServer(p)
	defer server.Close()
	p.url = server.URL
	a, err := New(Options{TokensFile: path, Issuer: p.url, Audience: audience})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	jwt := newJWT(p.url, nil)
	run := func(name string, r *http.Request, taken bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c, f := a.Authenticate(r); (f == nil) != taken {
					b.Fatalf("Authenticate = %+v, %+v", c, f)
				}
			}
		})
	}
	run("token", request("/mcp", "Bearer omcp_500"), true)
	run("unknown", request("/mcp", "Bearer omcp_nobody"), false)
	run("JWT remembered", request("/mcp", "Bearer "+jwt), true)
	r := request("/mcp", "Bearer "+jwt)
	b.Run("JWT verified", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			clear(a.issuer.keys.Load().verified)
			if c, f := a.Authenticate(r); f != nil {
				b.Fatalf("Authenticate = %+v, %+v", c, f)
			}
		}
	})
}
