package auth

import (
	"testing"
	"time"
)

// TestBadKeys is about single keys that must not count.
func TestBadKeys(t *testing.T) {
	small := publicKey("k", &rsaKey().PublicKey)
	small["n"] = small["n"][:171] // 1,024 bits
	off := publicKey("k", &p256().PublicKey)
	off["x"], off["y"] = off["y"], off["x"]
	exponent := publicKey("k", &rsaKey().PublicKey)
	exponent["e"] = "AQAAAAAAAAE"
	for name, j := range map[string]map[string]string{
		"too few bits":             small,
		"too large an exponent":    exponent,
		"not on its curve":         off,
		"half a point":             publicKey("k", &p256().PublicKey, "y", ""),
		"a short Ed25519 key":      publicKey("k", edKey().Public(), "x", "AAAA"),
		"an RSA key for ES256":     publicKey("k", &rsaKey().PublicKey, "alg", "ES256"),
		"an RSA key for HS256":     publicKey("k", &rsaKey().PublicKey, "alg", "HS256"),
		"a key for RSA-OAEP":       publicKey("k", &rsaKey().PublicKey, "alg", "RSA-OAEP"),
		"no id":                    publicKey("", &rsaKey().PublicKey),
		"not base64url":            publicKey("k", &rsaKey().PublicKey, "n", "+/+/"),
		"an unknown curve":         publicKey("k", &p256().PublicKey, "crv", "secp256k1"),
		"for encryption":           publicKey("k", &p256().PublicKey, "use", "enc"),
		"X25519, for no signature": {"kty": "OKP", "kid": "k", "crv": "X25519", "x": "AAAA"},
	} {
		if s, err := newKeySet(rawKeys(j), time.Now()); err == nil {
			t.Errorf("newKeySet with a key that is %s: %v, want an error", name, s.keys)
		}
	}
}
