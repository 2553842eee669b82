package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// leeway is how far the issuer's clock may be ahead of ours. It does not lengthen a token's life.
const leeway = 30 * time.Second

// errUnknownKey means that another fetch of the keys may help.
var errUnknownKey = errors.New("the token is signed with a key that is not known")

// newParser allows algorithms with public keys only: with others, whoever knows a public
// key could sign (RFC 8725, section 2.1).
func newParser(issuer, audience string) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}),
		jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway), jwt.WithStrictDecoding(),
	)
}

// caller is who a JWT is for. A token that is remembered costs one search; one that is
// signed with an unknown key may wait for a fetch.
func (i *issuer) caller(ctx context.Context, token string, digest [sha256.Size]byte, now time.Time) (Caller, error) {
	set := i.keys.Load()
	if set != nil {
		if now.Sub(set.fetched) >= refreshEvery {
			i.fetch(now)
		}
		if c, ok := set.known(digest); ok && now.Before(c.Expires) {
			return c, nil
		}
	}
	c, err := i.verify(set, token, now)
	if errors.Is(err, errUnknownKey) {
		select {
		case <-i.fetch(now):
		case <-ctx.Done():
			return Caller{}, errUnavailable
		}
		set = i.keys.Load()
		c, err = i.verify(set, token, now)
	}
	switch {
	case err == nil:
		set.remember(digest, c)
		return c, nil
	case errors.Is(err, errUnknownKey) && i.failing.Load():
		return Caller{}, errUnavailable
	}
	return Caller{}, i.words(err)
}

// verify checks a JWT by RFC 7519, 8725 and, for typ, 9068.
func (i *issuer) verify(set *keySet, token string, now time.Time) (Caller, error) {
	claims := jwt.MapClaims{} // a struct would take claims whose names differ in case
	if _, err := i.parser.ParseWithClaims(token, claims, set.keyOf); err != nil {
		return Caller{}, err
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || !now.Before(expires.Time) {
		return Caller{}, jwt.ErrTokenExpired // the parser gives it the leeway
	}
	subject, _ := claims.GetSubject()
	if subject == "" || len(subject) > 256 || strings.ContainsFunc(subject, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Caller{}, invalid("the token's claim sub is missing, too long or not printable: it must name its bearer")
	}
	scopes, err1 := list(claims, "scope")
	scp, err2 := list(claims, "scp") // as some issuers call it
	groups, err3 := list(claims, "groups")
	if err := errors.Join(err1, err2, err3); err != nil {
		return Caller{}, err
	}
	return Caller{
		Name: "oidc:" + subject, Groups: groups, Expires: expires.Time,
		Scopes: strings.Fields(strings.Join(slices.Concat(scopes, scp), " ")),
	}, nil
}

// keyOf finds the key of a JWT by its header. What else the header says of keys, or where
// to fetch them, does not count. The nil set knows none.
func (s *keySet) keyOf(t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok {
		return nil, invalid("the token has extensions (crit) that this server does not know: ask for a plain one")
	}
	if typ, ok := t.Header["typ"]; ok {
		name, _ := typ.(string)
		// The part before the slash may be left out: RFC 7515, section 4.1.9.
		if name = strings.TrimPrefix(strings.ToLower(name), "application/"); name != "jwt" && name != "at+jwt" {
			return nil, invalid("the token is no access token (typ): send the access token, not another kind")
		}
	}
	kid, _ := t.Header["kid"].(string)
	if kid == "" {
		return nil, invalid("the token does not name its key (kid): ask for one from an issuer that does")
	}
	if s == nil {
		return nil, errUnknownKey
	}
	k, ok := s.keys[kid]
	if !ok {
		return nil, errUnknownKey
	}
	if !slices.Contains(k.algs, t.Method.Alg()) {
		return nil, invalid("the token is signed with an algorithm that its key is not for: ask the issuer for a new one")
	}
	return k.public, nil
}

// list is a claim of strings, or of one.
func list(claims jwt.MapClaims, name string) ([]string, error) {
	switch v := claims[name].(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		words := make([]string, len(v))
		for i, word := range v {
			s, ok := word.(string)
			if !ok {
				return nil, invalid("the token's claim " + name + " holds something other than strings")
			}
			words[i] = s
		}
		return words, nil
	}
	return nil, invalid("the token's claim " + name + " is neither a string nor a list of strings")
}

// words says why a JWT is refused, and what to do.
func (i *issuer) words(err error) error {
	var own invalid
	if errors.As(err, &own) {
		return own
	}
	for _, w := range []struct {
		is    error
		words string
	}{
		{jwt.ErrTokenMalformed, "the token is not a JWT: check that it is whole"},
		{errUnknownKey, "the token is signed with a key that " + i.url + " does not publish: get a new one there"},
		{jwt.ErrTokenSignatureInvalid, "the token's signature or its algorithm is wrong: get a new one from " + i.url},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks a claim: it must have iss, aud, exp and sub"},
		{jwt.ErrTokenInvalidIssuer, "the token is from another issuer: get one from " + i.url},
		{jwt.ErrTokenInvalidAudience, "the token is for another server: get one for the audience " + i.audience + " from " + i.url},
		{jwt.ErrTokenExpired, "the token has expired: get a new one from " + i.url},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet: wait, or check the clocks"},
		{jwt.ErrTokenUsedBeforeIssued, "the token is from the future: check the clocks"},
	} {
		if errors.Is(err, w.is) {
			return invalid(w.words)
		}
	}
	return invalid("the token cannot be verified: get a new one from " + i.url)
}
