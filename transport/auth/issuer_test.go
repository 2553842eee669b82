package auth

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// TestIssuerDown starts while the issuer is down, and loses it again later.
func TestIssuerDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := inBubble(t)
		var log lines
		a.issuer.log = zerolog.New(&log)
		p.setDown(true)
		r := request("/mcp", "Bearer "+newJWT(p.url, nil))
		for range 3 {
			if c, f := a.Authenticate(r); status(f) != 503 || !strings.Contains(f.Message, "try again") {
				t.Errorf("while the issuer is down: %+v, %+v; want 503", c, f)
			}
			time.Sleep(fetchPause)
		}
		if n := log.count("cannot be fetched"); n != 1 {
			t.Errorf("the failure was logged %d times, want once", n)
		}
		if _, f := a.Authenticate(request("/mcp", "Bearer a.b.c")); status(f) != 401 {
			t.Errorf("what is no JWT, while the issuer is down: %+v, want 401", f)
		}
		p.setDown(false)
		if _, f := a.Authenticate(r); f != nil {
			t.Errorf("when the issuer is back: %+v", f)
		}
		p.setDown(true)
		time.Sleep(2 * refreshEvery)
		for _, token := range []string{newJWT(p.url, nil), newJWT(p.url, nil)} {
			if _, f := a.Authenticate(request("/mcp", "Bearer "+token)); f != nil {
				t.Errorf("with the keys from before: %+v", f)
			}
			synctest.Wait()
		}
		unknown := newJWT(p.url, func(j *token) { j.header["kid"] = "new" })
		if _, f := a.Authenticate(request("/mcp", "Bearer "+unknown)); status(f) != 503 {
			t.Errorf("an unknown key while the issuer is down: %+v, want 503", f)
		}
	})
}

// TestDiscovery is about what an issuer may answer. Every host answers alike, so that only
// what must not be asked is not asked.
func TestDiscovery(t *testing.T) {
	const base = "https://login.example.com"
	const openID, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	document := func(issuer, keys string) string { return fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q}`, issuer, keys) }
	good := document(base, base+"/keys")
	tests := []struct {
		name    string
		issuer  string
		answers map[string]string // by path; a path is a redirect to it
		want    int
	}{
		{"OpenID", base, map[string]string{openID: good}, 200},
		{"OpenID, tenant and slash", base + "/tenant/", map[string]string{"/tenant" + openID: document(base+"/tenant/", base+"/keys")}, 200},
		{"RFC 8414", base, map[string]string{oauth: good}, 200},
		{"RFC 8414, tenant", base + "/tenant", map[string]string{oauth + "/tenant": document(base+"/tenant", base+"/keys")}, 200},
		{"keys of another host", base, map[string]string{openID: document(base, "https://keys.example.com/keys")}, 200},
		{"keys over plain HTTP", base, map[string]string{openID: document(base, "http://keys.example.com/keys")}, 503},
		{"no keys", base, map[string]string{openID: document(base, "")}, 503},
		{"another's metadata", base, map[string]string{openID: document("https://evil.example.com", base+"/keys")}, 503},
		{"metadata with a slash more", base, map[string]string{openID: document(base+"/", base+"/keys")}, 503},
		{"redirect", base, map[string]string{openID: "/elsewhere", "/elsewhere": good}, 503},
		{"no JSON", base, map[string]string{openID: "<html>"}, 503},
		{"too large", base, map[string]string{openID: good + strings.Repeat(" ", maxDocument)}, 503},
		{"nothing", base, nil, 503},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, p := inBubble(t)
			i, err := newIssuer(tt.issuer, audience, testLog(t))
			if err != nil {
				t.Fatal(err)
			}
			defer i.close()
			i.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				switch answer := tt.answers[r.URL.Path]; {
				case r.URL.Path == "/keys":
					p.ServeHTTP(w, r)
				case strings.HasPrefix(answer, "/"):
					http.Redirect(w, r, answer, http.StatusFound)
				case answer == "":
					http.NotFound(w, r)
				default:
					fmt.Fprint(w, answer)
				}
				return w.Result(), nil
			})
			a.issuer = i
			if _, f := a.Authenticate(request("/mcp", "Bearer "+newJWT(tt.issuer, nil))); status(f) != tt.want {
				t.Errorf("Authenticate: %+v, want status %d", f, tt.want)
			}
		})
	}
}

// TestSilentIssuer holds that a request waits no longer than its context or a fetch.
func TestSilentIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := inBubble(t)
		const late = time.Millisecond // how long a fetch takes to notice its end
		var running atomic.Int64
		a.issuer.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			running.Add(1)
			defer running.Add(-1)
			<-r.Context().Done()
			time.Sleep(late)
			return nil, r.Context().Err()
		})
		start := time.Now()
		_, f := a.Authenticate(request("/mcp", "Bearer "+newJWT(p.url, nil)))
		if took := time.Since(start); status(f) != 503 || took < fetchTimeout || took > fetchTimeout+2*late {
			t.Errorf("Authenticate: %+v after %s, want 503 after %s", f, took, fetchTimeout)
		}
		time.Sleep(fetchPause)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		_, f = a.Authenticate(request("/mcp", "Bearer "+newJWT(p.url, nil)).WithContext(ctx))
		if took := time.Since(start); status(f) != 503 || took != time.Second {
			t.Errorf("Authenticate for a second: %+v after %s, want 503 after 1s", f, took)
		}
		if running.Load() == 0 {
			t.Error("no fetch is under way")
		}
		start = time.Now()
		if a.Close(); time.Since(start) > 2*late || running.Load() != 0 {
			t.Errorf("Close took %s and left %d fetches; want it to end the one under way, at once", time.Since(start), running.Load())
		}
	})
}
