package signet_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func signers(t testing.TB) map[signet.Algorithm]crypto.Signer {
	t.Helper()
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[signet.Algorithm]crypto.Signer{signet.RS256: rsaKey(), signet.RS384: rsaKey(), signet.RS512: rsaKey(),
		signet.PS256: rsaKey(), signet.PS384: rsaKey(), signet.PS512: rsaKey(), signet.ES256: ec(elliptic.P256()),
		signet.ES384: ec(elliptic.P384()), signet.ES512: ec(elliptic.P521()), signet.EdDSA: ed}
}

func TestEveryAlgorithmSignsAndVerifies(t *testing.T) {
	long := []byte(string(secret) + strings.ToLower(string(secret)))
	keys := map[signet.Algorithm]struct{ private, public signet.Key }{}
	for _, alg := range []signet.Algorithm{signet.HS256, signet.HS384, signet.HS512} {
		k := signet.Secret(long, signet.WithAlgorithm(alg))
		keys[alg] = struct{ private, public signet.Key }{k, k}
	}
	for alg, signer := range signers(t) {
		keys[alg] = struct{ private, public signet.Key }{signet.Signer(signer, signet.WithAlgorithm(alg)),
			signet.PublicKey(signer.Public(), signet.WithAlgorithm(alg))}
	}
	tokens := map[signet.Algorithm]string{}
	for alg, k := range keys {
		auth, err := signet.New(newUsers(t), k.private, signet.WithPasswordHasher(cheap),
			signet.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err, alg)
		defer auth.Close()
		pair, err := auth.Login(context.Background(), "john@mail.com", "changeme")
		require.NoError(t, err, alg)
		tokens[alg] = pair.AccessToken
		require.Equal(t, string(alg), part(t, pair.AccessToken, 0)["alg"])
	}
	for alg, k := range keys {
		v, err := signet.NewVerifier(k.public)
		require.NoError(t, err, alg)
		for other, token := range tokens {
			claims, err := v.Verify(context.Background(), token)
			if other != alg {
				require.ErrorIs(t, err, signet.ErrInvalidToken, "%s with the key of %s", other, alg)
				continue
			}
			require.NoError(t, err, alg)
			require.Equal(t, "1", claims.Subject)
			flipped := []byte(token)
			flipped[len(flipped)-10] ^= 1
			_, err = v.Verify(context.Background(), string(flipped))
			require.ErrorIs(t, err, signet.ErrInvalidToken, alg)
		}
	}
}

func TestKeyringRotation(t *testing.T) {
	ctx := context.Background()
	first, second, third := signet.Secret(secret), signet.Signer(p256(t)), signet.Signer(p256(t), signet.WithKeyID("three"))
	ring, err := signet.NewKeyring(first)
	require.NoError(t, err)
	auth, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer auth.Close()
	login := func() string {
		tokens, err := auth.Login(ctx, "john@mail.com", "changeme")
		require.NoError(t, err)
		return tokens.AccessToken
	}
	old := login()
	require.NoError(t, ring.Announce(second))
	require.Equal(t, first.ID(), ring.SigningKeyID())
	require.ErrorContains(t, ring.Announce(second), "two keys have the id")
	require.NoError(t, ring.Rotate(second))
	require.NoError(t, ring.Rotate(third))
	require.Equal(t, []string{"three", second.ID(), first.ID()}, ring.KeyIDs())
	fresh := login()
	require.Equal(t, "three", part(t, fresh, 0)["kid"])
	for _, token := range []string{old, fresh} {
		_, err = auth.Verify(ctx, token)
		require.NoError(t, err)
	}
	require.ErrorContains(t, ring.Retire("three"), "rotate first")
	require.ErrorContains(t, ring.Retire("four"), "no key")
	require.NoError(t, ring.Retire(first.ID()))
	_, err = auth.Verify(ctx, old)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	_, err = auth.Verify(ctx, fresh)
	require.NoError(t, err)
	require.Error(t, ring.Rotate(signet.Key{}))
	require.ErrorContains(t, ring.Rotate(signet.Signer(p256(t), signet.WithKeyID("three"))), "another key has the id")
	require.NoError(t, ring.Rotate(third), "again")
	require.Error(t, ring.Rotate(signet.PublicKey(p256(t).Public())))
	_, err = signet.NewKeyring(third, third)
	require.ErrorContains(t, err, "two keys have the id")
}

func TestPEM(t *testing.T) {
	ec := p256(t)
	block := func(kind string, der []byte, err error) []byte {
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8, err8 := x509.MarshalPKCS8PrivateKey(ec)
	sec1, err1 := x509.MarshalECPrivateKey(ec)
	pkix, errX := x509.MarshalPKIXPublicKey(ec.Public())
	want := signet.PublicKey(ec.Public()).ID()
	for name, text := range map[string][]byte{
		"PKCS#8": block("PRIVATE KEY", pkcs8, err8), "SEC1": block("EC PRIVATE KEY", sec1, err1),
		"PKIX":                block("PUBLIC KEY", pkix, errX),
		"SEC1 with its curve": append(block("EC PARAMETERS", []byte{6, 0}, nil), block("EC PRIVATE KEY", sec1, err1)...),
	} {
		k := signet.PEM(text)
		require.NoError(t, k.Err(), name)
		require.Equal(t, want, k.ID(), name)
	}
	k := signet.PEM(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey()), nil))
	require.Equal(t, signet.PEM(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey), nil)).ID(), k.ID())
	for name, text := range map[string]string{"none": "hello", "cut": string(block("PRIVATE KEY", pkcs8[:40], nil)),
		"encrypted": string(block("ENCRYPTED PRIVATE KEY", pkcs8, nil))} {
		require.Error(t, signet.PEM([]byte(text)).Err(), name)
	}
}

// brokenSigner is a KMS that answers for another key, or not at all.
type brokenSigner struct {
	crypto.Signer
	other crypto.Signer
	err   error
}

func (s brokenSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.other.Sign(rand, digest, opts)
}

func TestSignersAreTried(t *testing.T) {
	require.ErrorContains(t, signet.Signer(brokenSigner{Signer: p256(t), other: p256(t)}).Err(), "do not verify")
	require.ErrorContains(t, signet.Signer(brokenSigner{Signer: p256(t), err: errors.New("throttled")}).Err(), "throttled")
	require.ErrorContains(t, signet.Signer(nil).Err(), "nil")
}

func TestNothingPanicsOnNil(t *testing.T) {
	var noRSA *rsa.PrivateKey
	var noEC *ecdsa.PrivateKey
	for name, key := range map[string]signet.Key{
		"nil RSA signer": signet.Signer(noRSA), "nil ECDSA signer": signet.Signer(noEC),
		"nil RSA": signet.PublicKey((*rsa.PublicKey)(nil)), "empty RSA": signet.PublicKey(&rsa.PublicKey{}),
		"nil ECDSA": signet.PublicKey((*ecdsa.PublicKey)(nil)), "empty ECDSA": signet.PublicKey(&ecdsa.PublicKey{Curve: elliptic.P256()}),
		"no curve": signet.PublicKey(&ecdsa.PublicKey{}), "short Ed25519": signet.PublicKey(ed25519.PublicKey{1}),
		"nothing": signet.PublicKey(nil),
	} {
		require.Error(t, key.Err(), name)
	}
	require.NoError(t, signet.Secret(secret, nil).Err())
	_, err := signet.NewVerifier(signet.Secret(secret), nil)
	require.ErrorContains(t, err, "option is nil")
	_, err = signet.NewVerifier(nil)
	require.ErrorContains(t, err, "key is nil")
	ring := &signet.Keyring{}
	require.Error(t, ring.Rotate(signet.Secret(secret)))
	require.Empty(t, ring.KeyIDs())
	require.Empty(t, ring.SigningKeyID())
}

func TestJWK(t *testing.T) {
	// The key of RFC 7515 appendix A.3, and its public half.
	const private = `{"kty":"EC","crv":"P-256","kid":"a3","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
		"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`
	require.NoError(t, signet.JWK([]byte(private)).Err())
	require.Equal(t, "a3", signet.JWK([]byte(private)).ID())
	change := func(old, new string) string {
		require.Contains(t, private, old)
		return strings.Replace(private, old, new, 1)
	}
	for name, text := range map[string]string{
		"duplicate member":   change(`"kid":"a3"`, `"kid":"a3","kid":"a4"`),
		"use enc":            change(`"kid":"a3"`, `"use":"enc"`),
		"key_ops":            change(`"kid":"a3"`, `"key_ops":["deriveKey"]`),
		"alg of another key": change(`"kid":"a3"`, `"alg":"RS256"`),
		"unknown alg":        change(`"kid":"a3"`, `"alg":"ES256K"`),
		"off the curve":      change(`x_FEzRu9`, `x_FEzRu8`),
		"no key type":        change(`"kty":"EC",`, ``),
		"not JSON":           "x",
	} {
		require.Error(t, signet.JWK([]byte(text)).Err(), name)
		require.NotContains(t, signet.JWK([]byte(text)).Err().Error(), "jpsQnn", name)
	}
	oct := `{"kty":"oct","alg":"HS256","k":"` + encode(string(secret)) + `"}`
	keys, err := signet.JWKSet([]byte(`{"keys":[` + oct + `]}`))
	require.NoError(t, err)
	require.Equal(t, signet.Secret(secret).ID(), keys[0].ID())
	keys, err = signet.JWKSet([]byte(`{"keys":[` + private + `,{"kty":"OKP","crv":"X25519","x":"AAAA"},` +
		change(`"kid":"a3"`, `"use":"enc"`) + `]}`))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.Equal(t, "a3", keys[0].ID())
	for name, text := range map[string]string{"no key": `{"keys":[]}`, "not a set": private, "twice": `{"keys":[` + private + `,` + private + `]}`,
		"mixed": `{"keys":[` + private + `,` + oct + `]}`, "a weak one": `{"keys":[` + private + `,{"kty":"oct","k":"AAAA"}]}`} {
		_, err := signet.JWKSet([]byte(text))
		require.Error(t, err, name)
	}
}

func TestJWKSHandler(t *testing.T) {
	ring, err := signet.NewKeyring(signet.Secret(secret))
	require.NoError(t, err)
	auth, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap))
	require.NoError(t, err)
	defer auth.Close()
	get := func(etag string) *httptest.ResponseRecorder {
		req := httptest.NewRequest("GET", "/.well-known/jwks.json", nil)
		if etag != "" {
			req.Header.Set("If-None-Match", etag)
		}
		rec := httptest.NewRecorder()
		auth.JWKSHandler().ServeHTTP(rec, req)
		return rec
	}
	empty := get("")
	require.JSONEq(t, `{"keys":[]}`, empty.Body.String(), "a secret must never be published")
	for alg, signer := range signers(t) {
		require.NoError(t, ring.Announce(signet.Signer(signer, signet.WithAlgorithm(alg), signet.WithKeyID(string(alg)))))
	}
	full := get("")
	require.Equal(t, 200, full.Code)
	require.Equal(t, "public, max-age=300", full.Header().Get("Cache-Control"))
	for _, private := range []string{`"d"`, `"p"`, `"q"`, `"k"`, `"dp"`, "oct"} {
		require.NotContains(t, full.Body.String(), private)
	}
	keys, err := signet.JWKSet(full.Body.Bytes())
	require.NoError(t, err)
	require.Len(t, keys, 10)
	require.NotEqual(t, empty.Header().Get("ETag"), full.Header().Get("ETag"))
	require.Equal(t, 304, get(full.Header().Get("ETag")).Code)
	require.Equal(t, 200, get(empty.Header().Get("ETag")).Code)
}
