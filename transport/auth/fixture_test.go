package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const audience = "https://mcp.example.com/mcp"

// rsaKey and its like are made once: making them takes long.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// provider is an authorization server: an http.Handler, and an http.RoundTripper for tests
// in a bubble of synctest, where sockets would hold up the time.
type provider struct {
	url string

	mu      sync.Mutex // guards the rest
	keys    []map[string]string
	fetches int    // of the keys
	down    bool   // whether every answer is 500
	only    string // the one metadata document there is; "": the first of them
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch path := r.URL.Path; {
	case p.down:
		http.Error(w, "down", http.StatusInternalServerError)
	case path == "/keys":
		p.fetches++
		json.NewEncoder(w).Encode(map[string]any{"keys": p.keys})
	case p.only == "" && path == "/.well-known/openid-configuration", path == p.only:
		json.NewEncoder(w).Encode(map[string]string{"issuer": p.url, "jwks_uri": strings.TrimSuffix(p.url, "/tenant/") + "/keys"})
	default:
		http.NotFound(w, r)
	}
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

// publish replaces the keys.
func (p *provider) publish(keys ...map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

func (p *provider) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *provider) fetched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// allKeys has a key of each kind, by the id of its kind.
func allKeys() []map[string]string {
	return []map[string]string{
		{"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}, // has no place here, and does no harm
		publicKey("rsa", &rsaKey().PublicKey),
		publicKey("rs256", &rsaKey().PublicKey, "alg", "RS256", "use", "sig"),
		publicKey("enc", &rsaKey().PublicKey, "use", "enc"),
		publicKey("p256", &p256().PublicKey),
		publicKey("p384", &p384().PublicKey),
		publicKey("p521", &p521().PublicKey),
		publicKey("ed", edKey().Public()),
	}
}

// publicKey is a JSON Web Key, with more fields.
func publicKey(kid string, public crypto.PublicKey, more ...string) map[string]string {
	encode := base64.RawURLEncoding.EncodeToString
	j := map[string]string{"kid": kid}
	switch k := public.(type) {
	case *rsa.PublicKey:
		maps.Copy(j, map[string]string{"kty": "RSA", "n": encode(k.N.Bytes()), "e": "AQAB"})
	case *ecdsa.PublicKey:
		point := must(k.Bytes())[1:]
		maps.Copy(j, map[string]string{"kty": "EC", "crv": k.Params().Name, "x": encode(point[:len(point)/2]), "y": encode(point[len(point)/2:])})
	case ed25519.PublicKey:
		maps.Copy(j, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": encode(k)})
	}
	for i := 0; i < len(more); i += 2 {
		j[more[i]] = more[i+1]
	}
	return j
}

// token is a JWT to be: change spoils it.
type token struct {
	method jwt.SigningMethod
	key    any
	header map[string]any
	claims jwt.MapClaims
}

// newJWT signs a good token for an hour, unless change makes it a bad one.
func newJWT(issuer string, change func(*token)) string {
	now := time.Now()
	j := &token{method: jwt.SigningMethodRS256, key: rsaKey(), header: map[string]any{"typ": "at+jwt", "kid": "rsa"}, claims: jwt.MapClaims{
		"iss": issuer, "aud": []string{"other", audience}, "sub": "alice", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"scope": "read write", "groups": []string{"staff"},
	}}
	if change != nil {
		change(j)
	}
	t := jwt.NewWithClaims(j.method, j.claims)
	maps.Copy(t.Header, j.header)
	maps.DeleteFunc(t.Header, func(_ string, v any) bool { return v == nil })
	return must(t.SignedString(j.key))
}

// inBubble is an Authenticator for the JWTs of a provider, without sockets.
func inBubble(t *testing.T) (*Authenticator, *provider) {
	t.Helper()
	p := &provider{url: "https://login.example.com", keys: allKeys()}
	i, err := newIssuer(p.url, audience, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	i.client.Transport = p
	a := &Authenticator{issuer: i}
	t.Cleanup(a.Close)
	return a, p
}

// request is a request for path with the values of Authorization.
func request(path string, authorization ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://mcp.example.com"+path, nil)
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	return r
}

func digestOf(token string) string {
	d := sha256.Sum256([]byte(token))
	return hex.EncodeToString(d[:])
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func rawKeys(keys ...map[string]string) []json.RawMessage {
	var raw []json.RawMessage
	for _, k := range keys {
		raw = append(raw, must(json.Marshal(k)))
	}
	return raw
}
