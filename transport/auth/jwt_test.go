package auth

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"
)

// onLoopback is an Authenticator for the JWTs of a provider that is reached by HTTP.
func onLoopback(t *testing.T) (*Authenticator, *provider) {
	t.Helper()
	p := &provider{keys: allKeys()}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	return newAuthenticator(t, Options{Issuer: p.url, Audience: audience, Log: testLog(t)}), p
}

// status is that of the refusal, 200 for none.
func status(f *Refusal) int {
	if f == nil {
		return http.StatusOK
	}
	return f.Status
}

func TestAlgorithms(t *testing.T) {
	a, p := onLoopback(t)
	tests := []struct {
		kid     string
		key     any
		methods []jwt.SigningMethod
	}{
		{"rsa", rsaKey(), []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512,
			jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512}},
		{"rs256", rsaKey(), []jwt.SigningMethod{jwt.SigningMethodRS256}},
		{"p256", p256(), []jwt.SigningMethod{jwt.SigningMethodES256}},
		{"p384", p384(), []jwt.SigningMethod{jwt.SigningMethodES384}},
		{"p521", p521(), []jwt.SigningMethod{jwt.SigningMethodES512}},
		{"ed", edKey(), []jwt.SigningMethod{jwt.SigningMethodEdDSA}},
	}
	for _, tt := range tests {
		for _, method := range tt.methods {
			t.Run(tt.kid+" "+method.Alg(), func(t *testing.T) {
				token := newJWT(p.url, func(j *token) { j.method, j.key, j.header["kid"] = method, tt.key, tt.kid })
				c, f := a.Authenticate(request("/mcp", "Bearer "+token))
				if f != nil || c.Name != "oidc:alice" {
					t.Errorf("Authenticate: %+v, %+v; want oidc:alice", c, f)
				}
			})
		}
	}
}

// TestClaims is about what a good token says of its bearer.
func TestClaims(t *testing.T) {
	a, p := onLoopback(t)
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	tests := []struct {
		name   string
		change func(*token)
		want   Caller
	}{
		{"scope", nil, Caller{Name: "oidc:alice", Scopes: []string{"read", "write"}, Groups: []string{"staff"}}},
		{"scp, a list, and one group", func(j *token) {
			delete(j.claims, "scope")
			j.claims["scp"], j.claims["groups"] = []string{"read", "admin"}, "the staff"
		}, Caller{Name: "oidc:alice", Scopes: []string{"read", "admin"}, Groups: []string{"the staff"}}},
		{"none, and one audience", func(j *token) {
			delete(j.claims, "scope")
			delete(j.claims, "groups")
			j.claims["aud"] = audience
		}, Caller{Name: "oidc:alice"}},
		{"names in another case count for nothing", func(j *token) {
			j.claims["Scope"], j.claims["GROUPS"], j.claims["Sub"] = "admin", []string{"admin"}, "root"
		}, Caller{Name: "oidc:alice", Scopes: []string{"read", "write"}, Groups: []string{"staff"}}},
		{"typ JWT", func(j *token) { j.header["typ"] = "JWT" }, Caller{Name: "oidc:alice", Scopes: []string{"read", "write"}, Groups: []string{"staff"}}},
		{"typ in full", func(j *token) { j.header["typ"] = "application/AT+JWT" }, Caller{Name: "oidc:alice", Scopes: []string{"read", "write"}, Groups: []string{"staff"}}},
		{"typ absent", func(j *token) { j.header["typ"] = nil }, Caller{Name: "oidc:alice", Scopes: []string{"read", "write"}, Groups: []string{"staff"}}},
		{"clock 20 s ahead of ours", func(j *token) { j.claims["iat"], j.claims["nbf"] = time.Now().Unix()+20, time.Now().Unix()+20 },
			Caller{Name: "oidc:alice", Scopes: []string{"read", "write"}, Groups: []string{"staff"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Expires = exp
			token := newJWT(p.url, func(j *token) {
				if tt.change != nil {
					tt.change(j)
				}
				j.claims["exp"] = exp.Unix()
			})
			for range 2 { // the second time it is remembered
				c, f := a.Authenticate(request("/mcp", "Bearer "+token))
				if diff := cmp.Diff(tt.want, c, cmpopts.EquateEmpty()); diff != "" || f != nil {
					t.Errorf("Authenticate: refusal %+v; caller (-want +got):\n%s", f, diff)
				}
			}
		})
	}
}

// TestBadJWTs spoils a good token in one way at a time.
func TestBadJWTs(t *testing.T) {
	a, p := onLoopback(t)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&rsaKey().PublicKey))})
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	tests := []struct {
		name   string
		change func(*token)
		word   string
	}{
		{"alg none", func(j *token) { j.method, j.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType }, "signature"},
		{"alg HS256, signed with the public key", func(j *token) { j.method, j.key = jwt.SigningMethodHS256, public }, "signature"},
		{"alg HS256, signed with the secret of the set", func(j *token) { j.method, j.key, j.header["kid"] = jwt.SigningMethodHS256, []byte("secret"), "secret" }, "signature"},
		{"alg that does not exist", func(j *token) { j.header["alg"] = "RS1024" }, "verified"},
		{"alg of another kind of key", func(j *token) { j.method, j.key = jwt.SigningMethodES256, p256() }, "algorithm"},
		{"alg of another curve", func(j *token) { j.method, j.key, j.header["kid"] = jwt.SigningMethodES256, p256(), "p384" }, "algorithm"},
		{"alg other than the key's own", func(j *token) { j.method, j.header["kid"] = jwt.SigningMethodPS256, "rs256" }, "algorithm"},
		{"key of another", func(j *token) { j.key = otherKey() }, "signature"},
		{"key for encryption", func(j *token) { j.header["kid"] = "enc" }, "does not publish"},
		{"kid unknown", func(j *token) { j.header["kid"] = "nobody" }, "does not publish"},
		{"kid missing", func(j *token) { j.header["kid"] = nil }, "kid"},
		{"kid no string", func(j *token) { j.header["kid"] = 7 }, "kid"},
		{"key in the header", func(j *token) {
			j.key, j.header["kid"], j.header["jwk"] = otherKey(), "mine", publicKey("mine", &otherKey().PublicKey)
		}, "does not publish"},
		{"crit", func(j *token) { j.header["crit"], j.header["b64"] = []string{"b64"}, false }, "crit"},
		{"typ of an ID token", func(j *token) { j.header["typ"] = "id+jwt" }, "typ"},
		{"typ of a logout token", func(j *token) { j.header["typ"] = "logout+jwt" }, "typ"},
		{"typ no string", func(j *token) { j.header["typ"] = 1 }, "typ"},
		{"iss of another", func(j *token) { j.claims["iss"] = "https://evil.example.com" }, "another issuer"},
		{"iss with a slash more", func(j *token) { j.claims["iss"] = p.url + "/" }, "another issuer"},
		{"iss missing", func(j *token) { delete(j.claims, "iss") }, "lacks a claim"},
		{"aud of another", func(j *token) { j.claims["aud"] = "https://other.example.com" }, "another server"},
		{"aud that begins alike", func(j *token) { j.claims["aud"] = audience + ".evil.example.com" }, "another server"},
		{"aud missing", func(j *token) { delete(j.claims, "aud") }, "lacks a claim"},
		{"aud empty", func(j *token) { j.claims["aud"] = []string{} }, "lacks a claim"},
		{"exp past", func(j *token) { j.claims["exp"] = in(-time.Hour) }, "expired"},
		{"exp past by less than the leeway", func(j *token) { j.claims["exp"] = in(-5 * time.Second) }, "expired"},
		{"exp missing", func(j *token) { delete(j.claims, "exp") }, "lacks a claim"},
		{"exp no number", func(j *token) { j.claims["exp"] = "tomorrow" }, "verified"},
		{"nbf to come", func(j *token) { j.claims["nbf"] = in(time.Minute) }, "not valid yet"},
		{"iat to come", func(j *token) { j.claims["iat"] = in(time.Minute) }, "from the future"},
		{"sub missing", func(j *token) { delete(j.claims, "sub") }, "sub"},
		{"sub no string", func(j *token) { j.claims["sub"] = 7 }, "sub"},
		{"sub with a line break", func(j *token) { j.claims["sub"] = "alice\nbob" }, "sub"},
		{"scope no string", func(j *token) { j.claims["scope"] = map[string]string{} }, "scope"},
		{"groups no strings", func(j *token) { j.claims["groups"] = []any{"staff", 7} }, "groups"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := newJWT(p.url, tt.change)
			for range 2 {
				c, f := a.Authenticate(request("/mcp", "Bearer "+token))
				if status(f) != 401 || c.Name != "" || !strings.Contains(f.Challenge, `error="invalid_token"`) || !strings.Contains(f.Message, tt.word) {
					t.Errorf("Authenticate: %+v, %+v; want 401 with words on %q", c, f, tt.word)
				}
			}
		})
	}
	good := newJWT(p.url, nil)
	for name, token := range map[string]string{
		"first part gone":  good[strings.Index(good, ".")+1:],
		"signature gone":   good[:strings.LastIndex(good, ".")+1],
		"a fourth part":    good + ".x",
		"claims altered":   alter(good, 1),
		"header altered":   alter(good, 0),
		"signature padded": good + "=",
		"stray bits":       good[:len(good)-1] + string(good[len(good)-1]+1), // of 256 bytes, the last character has four
	} {
		if c, f := a.Authenticate(request("/mcp", "Bearer "+token)); status(f) != 401 {
			t.Errorf("%s: Authenticate: %+v, %+v; want 401", name, c, f)
		}
	}
	if n := p.fetched(); n > 2 {
		t.Errorf("bad tokens made the keys be fetched %d times, want at most twice", n)
	}
}

// alter changes one character within a part of a JWT.
func alter(token string, part int) string {
	parts := strings.Split(token, ".")
	p := []byte(parts[part])
	p[len(p)/2] ^= 1
	parts[part] = string(p)
	return strings.Join(parts, ".")
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := inBubble(t)
		old, fresh := newJWT(p.url, nil), newJWT(p.url, func(j *token) { j.key, j.header["kid"] = otherKey(), "new" })
		check := func(when string, token string, want int) {
			t.Helper()
			if c, f := a.Authenticate(request("/mcp", "Bearer "+token)); status(f) != want {
				t.Errorf("%s: Authenticate: %+v, %+v; want status %d", when, c, f, want)
			}
		}
		check("at first", old, 200)
		check("before the key is there", fresh, 401)
		p.publish(publicKey("new", &otherKey().PublicKey))
		check("a key just come, within the pause", fresh, 401)
		check("a key just gone, within the pause", old, 200)
		if n := p.fetched(); n != 1 {
			t.Errorf("within the pause the keys were fetched %d times, want once", n)
		}
		time.Sleep(fetchPause)
		check("a new key", fresh, 200)
		check("a key withdrawn, and its token remembered before", old, 401)
		if n := p.fetched(); n != 2 {
			t.Errorf("the keys were fetched %d times, want twice", n)
		}
	})
}

// TestWithdrawnKey is the case that no unknown key id gives away.
func TestWithdrawnKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := inBubble(t)
		r := request("/mcp", "Bearer "+newJWT(p.url, nil))
		if _, f := a.Authenticate(r); f != nil {
			t.Fatalf("at first: %+v", f)
		}
		p.publish(publicKey("new", &otherKey().PublicKey))
		time.Sleep(refreshEvery)
		a.Authenticate(r) // begins the fetch in the background
		synctest.Wait()
		if c, f := a.Authenticate(r); status(f) != 401 {
			t.Errorf("after the refresh: %+v, %+v; want 401", c, f)
		}
	})
}

func TestRememberedNoLongerThanExp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := inBubble(t)
		r := request("/mcp", "Bearer "+newJWT(p.url, func(j *token) { j.claims["exp"] = time.Now().Add(time.Minute).Unix() }))
		if _, f := a.Authenticate(r); f != nil {
			t.Fatalf("at first: %+v", f)
		}
		if n := len(a.issuer.keys.Load().verified); n != 1 {
			t.Fatalf("%d tokens are remembered, want 1", n)
		}
		time.Sleep(time.Minute - time.Millisecond)
		if _, f := a.Authenticate(r); f != nil {
			t.Errorf("1 ms before exp: %+v", f)
		}
		time.Sleep(time.Millisecond)
		if _, f := a.Authenticate(r); status(f) != 401 || !strings.Contains(f.Message, "expired") {
			t.Errorf("at exp: %+v, want 401, expired", f)
		}
	})
}

func TestRememberedTokensAreBounded(t *testing.T) {
	s := must(newKeySet(rawKeys(allKeys()...), time.Now()))
	for i := range maxVerified + 10 {
		s.remember([32]byte{byte(i), byte(i >> 8)}, Caller{Name: "x"})
	}
	if n := len(s.verified); n != maxVerified {
		t.Errorf("%d tokens are remembered, want %d", n, maxVerified)
	}
}

// TestCallersAreNotMixed lets callers with tokens and JWTs come at once, while the file and
// the keys are read anew.
func TestCallersAreNotMixed(t *testing.T) {
	a, p := inBubble(t)
	files, err := openTokens(writeFile(t, "- {name: bob, sha256: "+digestOf("bob")+"}\n"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	a.tokens = files
	credentials := map[string]string{"bob": "bob"}
	for _, sub := range []string{"alice", "carol", "dave"} {
		credentials["oidc:"+sub] = newJWT(p.url, func(j *token) { j.claims["sub"] = sub })
	}
	var callers sync.WaitGroup
	for name, credential := range credentials {
		for range 2 {
			callers.Go(func() {
				r := request("/mcp", "Bearer "+credential)
				for i := range 200 {
					if c, f := a.Authenticate(r); f != nil || c.Name != name {
						t.Errorf("Authenticate as %s: %+v, %+v", name, c, f)
					}
					if i%50 == 0 {
						files.nextLook.Store(0)
						a.issuer.fetchNow()
					}
				}
			})
		}
	}
	callers.Wait()
}
