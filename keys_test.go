package signet_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func signers(t testing.TB) map[keys.Algorithm]crypto.Signer {
	t.Helper()
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[keys.Algorithm]crypto.Signer{keys.RS256: rsaKey(), keys.RS384: rsaKey(), keys.RS512: rsaKey(),
		keys.PS256: rsaKey(), keys.PS384: rsaKey(), keys.PS512: rsaKey(), keys.ES256: ec(elliptic.P256()),
		keys.ES384: ec(elliptic.P384()), keys.ES512: ec(elliptic.P521()), keys.EdDSA: ed}
}

func TestEveryAlgorithmSignsAndVerifies(t *testing.T) {
	long := []byte(string(secret) + strings.ToLower(string(secret)))
	pairs := map[keys.Algorithm]struct{ private, public *keys.Key }{}
	for _, alg := range []keys.Algorithm{keys.HS256, keys.HS384, keys.HS512} {
		k := keys.Secret(long, keys.WithAlgorithm(alg))
		pairs[alg] = struct{ private, public *keys.Key }{k, k}
	}
	for alg, signer := range signers(t) {
		pairs[alg] = struct{ private, public *keys.Key }{keys.Private(signer, keys.WithAlgorithm(alg)),
			keys.Public(signer.Public(), keys.WithAlgorithm(alg))}
	}
	tokens := map[keys.Algorithm]string{}
	for alg, k := range pairs {
		auth, err := signet.New(newUsers(t), k.private, signet.WithPasswordHasher(cheap),
			signet.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err, alg)
		defer auth.Close()
		pair, err := auth.Login(context.Background(), "john@mail.com", "changeme")
		require.NoError(t, err, alg)
		tokens[alg] = pair.AccessToken
		require.Equal(t, string(alg), part(t, pair.AccessToken, 0)["alg"])
	}
	for alg, k := range pairs {
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
	first, second, third := keys.Secret(secret), keys.Private(p256(t)), keys.Private(p256(t), keys.WithID("three"))
	ring, err := keys.NewRing(first)
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
	require.Equal(t, first.ID(), ring.Current().Signing().ID())
	require.ErrorContains(t, ring.Announce(second), "two keys have the id")
	require.NoError(t, ring.Rotate(second))
	require.NoError(t, ring.Rotate(third))
	require.Equal(t, []string{"three", second.ID(), first.ID()}, ring.Current().IDs())
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
	require.Error(t, ring.Rotate(&keys.Key{}))
	require.ErrorContains(t, ring.Rotate(keys.Private(p256(t), keys.WithID("three"))), "another key has the id")
	require.NoError(t, ring.Rotate(third), "again")
	require.Error(t, ring.Rotate(keys.Public(p256(t).Public())))
	_, err = keys.NewRing(third, third)
	require.ErrorContains(t, err, "two keys have the id")
}

func TestNothingPanicsOnNil(t *testing.T) {
	var noRSA *rsa.PrivateKey
	var noEC *ecdsa.PrivateKey
	for name, key := range map[string]*keys.Key{
		"nil RSA signer": keys.Private(noRSA), "nil ECDSA signer": keys.Private(noEC),
		"nil RSA": keys.Public((*rsa.PublicKey)(nil)), "empty RSA": keys.Public(&rsa.PublicKey{}),
		"nil ECDSA": keys.Public((*ecdsa.PublicKey)(nil)), "empty ECDSA": keys.Public(&ecdsa.PublicKey{Curve: elliptic.P256()}),
		"no curve": keys.Public(&ecdsa.PublicKey{}), "short Ed25519": keys.Public(ed25519.PublicKey{1}),
		"nothing": keys.Public(nil),
	} {
		require.Error(t, key.Err(), name)
	}
	require.ErrorContains(t, keys.Secret(secret, nil).Err(), "option is nil")
	_, err := signet.NewVerifier(keys.Secret(secret), nil)
	require.ErrorContains(t, err, "option is nil")
	_, err = signet.NewVerifier(nil)
	require.ErrorContains(t, err, "key is nil")
	ring := &keys.Ring{}
	require.Error(t, ring.Rotate(keys.Secret(secret)))
	require.Empty(t, ring.Current().IDs())
	require.Empty(t, ring.Current().Signing().ID())
}

func TestJWKSHandler(t *testing.T) {
	ring, err := keys.NewRing(keys.Secret(secret))
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
		require.NoError(t, ring.Announce(keys.Private(signer, keys.WithAlgorithm(alg), keys.WithID(string(alg)))))
	}
	full := get("")
	require.Equal(t, 200, full.Code)
	require.Equal(t, "public, max-age=300", full.Header().Get("Cache-Control"))
	for _, private := range []string{`"d"`, `"p"`, `"q"`, `"k"`, `"dp"`, `"oct"`} {
		require.NotContains(t, full.Body.String(), private)
	}
	list, err := keys.ParseSet(full.Body.Bytes())
	require.NoError(t, err)
	require.Len(t, list, 10)
	require.NotEqual(t, empty.Header().Get("ETag"), full.Header().Get("ETag"))
	require.Equal(t, 304, get(full.Header().Get("ETag")).Code)
	require.Equal(t, 200, get(empty.Header().Get("ETag")).Code)
}

// gone is a source that loses its keys, which its contract forbids.
type gone struct {
	keys.Source
	now bool
}

func (g *gone) Current() *keys.Set {
	if g.now {
		return nil
	}
	return g.Source.Current()
}

func TestASourceThatHasNoKeysAnyMore(t *testing.T) {
	source := &gone{Source: keys.Private(p256(t))}
	auth, err := signet.New(newUsers(t), source, signet.WithPasswordHasher(cheap), signet.WithIssuer("https://i.example"), quiet)
	require.NoError(t, err)
	defer auth.Close()
	source.now = true
	for _, h := range []http.Handler{auth.JWKSHandler(), auth.MetadataHandler("https://i.example/jwks")} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		require.Equal(t, 503, w.Code)
	}
}
