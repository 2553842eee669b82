package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"
)

// maxVerified bounds how many verified JWTs are remembered.
const maxVerified = 10_000

// keySet is what one fetch brought, with the JWTs that its keys have verified: they are
// forgotten with the keys, so that a key that is withdrawn counts no longer than that.
type keySet struct {
	keys    map[string]key // by key id
	fetched time.Time

	mu       sync.RWMutex // guards verified
	verified map[[sha256.Size]byte]Caller
}

// key is a public key and the JWS algorithms that may be used with it.
type key struct {
	public any
	algs   []string
}

// newKeySet takes the keys that can verify a JWT. Others are passed over: RFC 7517, section 5.
func newKeySet(documents []json.RawMessage, now time.Time) (*keySet, error) {
	s := &keySet{keys: map[string]key{}, fetched: now, verified: map[[sha256.Size]byte]Caller{}}
	var errs []error
	for _, document := range documents {
		var j jwk
		if err := json.Unmarshal(document, &j); err != nil {
			errs = append(errs, err)
			continue
		}
		k, err := j.key()
		if err != nil {
			errs = append(errs, fmt.Errorf("key %q: %w", j.Kid, err))
			continue
		}
		if _, ok := s.keys[j.Kid]; !ok {
			s.keys[j.Kid] = k
		}
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("the issuer publishes no key for signatures: %w", errors.Join(errs...))
	}
	return s, nil
}

// remember keeps a verified JWT by its digest.
func (s *keySet) remember(digest [sha256.Size]byte, c Caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.verified) >= maxVerified {
		for old := range s.verified { // any one: it costs its bearer one verification
			delete(s.verified, old)
			break
		}
	}
	s.verified[digest] = c
}

func (s *keySet) known(digest [sha256.Size]byte) (Caller, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok := s.verified[digest]
	return c, ok
}

// jwk is a JSON Web Key, RFC 7517, in the fields that matter to a public key for signatures.
type jwk struct {
	Kty, Kid, Use, Alg, Crv, N, E, X, Y string
}

// key reads the public key: RFC 7518, section 6, and RFC 8037 for Ed25519.
func (j *jwk) key() (key, error) {
	if j.Kid == "" || j.Use != "" && j.Use != "sig" {
		return key{}, errors.New("without an id, or not for signatures")
	}
	k, err := j.byType()
	if err != nil {
		return key{}, err
	}
	if j.Alg != "" { // then for this algorithm only: RFC 7517, section 4.4
		if !slices.Contains(k.algs, j.Alg) {
			return key{}, fmt.Errorf("a key of type %s %s cannot be for %q", j.Kty, j.Crv, j.Alg)
		}
		k.algs = []string{j.Alg}
	}
	return k, nil
}

func (j *jwk) byType() (key, error) {
	switch j.Kty + " " + j.Crv {
	case "RSA ":
		public, err := j.rsa()
		return key{public, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}}, err
	case "EC P-256":
		public, err := j.ec(elliptic.P256(), 32)
		return key{public, []string{"ES256"}}, err
	case "EC P-384":
		public, err := j.ec(elliptic.P384(), 48)
		return key{public, []string{"ES384"}}, err
	case "EC P-521":
		public, err := j.ec(elliptic.P521(), 66)
		return key{public, []string{"ES512"}}, err
	case "OKP Ed25519":
		x, err := decode(j.X, ed25519.PublicKeySize)
		return key{ed25519.PublicKey(x), []string{"EdDSA"}}, err
	}
	return key{}, fmt.Errorf("type %q %q is not supported", j.Kty, j.Crv)
}

// rsa takes sizes from 2,048 bits, which RFC 7518 asks for, to 8,192, above which a
// signature costs too much to check.
func (j *jwk) rsa() (*rsa.PublicKey, error) {
	n, err := decode(j.N, 0)
	if err != nil {
		return nil, err
	}
	e, err := decode(j.E, 0)
	if err != nil {
		return nil, err
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	exponent := new(big.Int).SetBytes(e)
	if bits := public.N.BitLen(); bits < 2048 || bits > 8192 || exponent.BitLen() > 31 {
		return nil, fmt.Errorf("a modulus of %d bits or its exponent is out of bounds", bits)
	}
	public.E = int(exponent.Int64())
	return public, nil
}

func (j *jwk) ec(curve elliptic.Curve, size int) (*ecdsa.PublicKey, error) {
	x, err := decode(j.X, size)
	if err != nil {
		return nil, err
	}
	y, err := decode(j.Y, size)
	if err != nil {
		return nil, err
	}
	return ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
}

// decode reads base64url of size bytes; 0: of any size.
func decode(s string, size int) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil && size > 0 && len(b) != size {
		err = fmt.Errorf("%d bytes of a key, want %d", len(b), size)
	}
	return b, err
}
