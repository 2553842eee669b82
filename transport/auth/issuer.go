package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"
)

const (
	// refreshEvery is how long keys count before they are fetched anew. They go on to count
	// while the issuer cannot be reached.
	refreshEvery = 10 * time.Minute
	// fetchPause is the least time between two fetches: what callers send, such as unknown
	// key ids, makes no more of them. It is longer than a fetch, so that only one runs.
	fetchPause = 10 * time.Second
	// fetchTimeout bounds a fetch with all its requests.
	fetchTimeout = 5 * time.Second
	// maxDocument bounds what the issuer may send, in bytes.
	maxDocument = 1 << 20
)

// issuer is the authorization server whose JWTs count.
type issuer struct {
	url      string
	audience string
	client   *http.Client
	parser   *jwt.Parser
	log      zerolog.Logger

	keys    atomic.Pointer[keySet] // nil until the first fetch succeeds
	failing atomic.Bool            // whether the last fetch failed

	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	fetches sync.WaitGroup

	mu    sync.Mutex    // guards began and done
	began time.Time     // of the last fetch
	done  chan struct{} // closed when that has ended
}

// newIssuer returns an issuer whose keys have yet to be fetched. Its errors name the flag.
func newIssuer(address, audience string, log zerolog.Logger) (*issuer, error) {
	u, err := trusted(address)
	if err == nil && (u.RawQuery != "" || u.Fragment != "") {
		err = fmt.Errorf("%q must have no query and no fragment", address)
	}
	if err != nil {
		return nil, fmt.Errorf("--oidc-issuer: %w", err)
	}
	if audience == "" {
		return nil, errors.New("--oidc-issuer needs --audience, the name of this server in the issuer's tokens")
	}
	i := &issuer{url: address, audience: audience, log: log, parser: newParser(address, audience), client: &http.Client{
		// Fetches are too rare to keep connections for, and must not be led to other addresses.
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	return i, nil
}

func (i *issuer) close() {
	i.mu.Lock()
	i.cancel()
	i.mu.Unlock()
	i.fetches.Wait()
}

// fetch begins to fetch the keys, unless that was begun a short while ago or the issuer is
// closed. What it returns is closed when the last fetch has ended.
func (i *issuer) fetch(now time.Time) <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now.Sub(i.began) < fetchPause || i.ctx.Err() != nil {
		return i.done
	}
	done := make(chan struct{})
	i.began, i.done = now, done
	i.fetches.Go(func() {
		defer close(done)
		i.fetchNow()
	})
	return done
}

func (i *issuer) fetchNow() {
	ctx, cancel := context.WithTimeout(i.ctx, fetchTimeout)
	defer cancel()
	set, err := i.load(ctx)
	failed := i.failing.Swap(err != nil)
	switch {
	case i.ctx.Err() != nil: // closed meanwhile
	case err != nil && !failed:
		i.log.Error().Err(err).Str("issuer", i.url).Bool("old-keys", i.keys.Load() != nil).Msg("the issuer's keys cannot be fetched; trying again as requests come")
	case err == nil:
		i.keys.Store(set)
		i.log.Debug().Str("issuer", i.url).Int("keys", len(set.keys)).Msg("fetched the issuer's keys")
	}
}

// load finds the keys by the issuer's metadata, OpenID Connect Discovery 1.0 or RFC 8414.
func (i *issuer) load(ctx context.Context) (*keySet, error) {
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	u, err := url.Parse(i.url)
	if err != nil {
		return nil, err
	}
	openID, oauth := *u, *u
	path := strings.TrimRight(u.Path, "/")
	openID.Path, oauth.Path = path+"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"+path
	if err := i.get(ctx, openID.String(), &metadata); err != nil {
		if err2 := i.get(ctx, oauth.String(), &metadata); err2 != nil {
			return nil, errors.Join(err, err2)
		}
	}
	if metadata.Issuer != i.url {
		return nil, fmt.Errorf("its metadata is that of %q: set --oidc-issuer to exactly this, or correct the issuer", metadata.Issuer)
	}
	if _, err := trusted(metadata.JWKSURI); err != nil {
		return nil, fmt.Errorf("jwks_uri in its metadata: %w", err)
	}
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := i.get(ctx, metadata.JWKSURI, &document); err != nil {
		return nil, err
	}
	return newKeySet(document.Keys, time.Now())
}

// get reads one JSON document.
func (i *issuer) get(ctx context.Context, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	response, err := i.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %d", address, response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: %w", address, err)
	case len(body) > maxDocument:
		return fmt.Errorf("GET %s: more than %d bytes", address, maxDocument)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("GET %s: %w", address, err)
	}
	return nil
}

// trusted parses an address whose answers can be believed: nobody between may change them.
func trusted(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%q is not the URL of a server: write it as https://login.example.com", address)
	}
	ip := net.ParseIP(u.Hostname())
	if loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback(); u.Scheme != "https" && !(u.Scheme == "http" && loopback) {
		return nil, fmt.Errorf("%q must begin with https://, save on this machine", address)
	}
	return u, nil
}
