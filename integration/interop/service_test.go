// Package interop tests that software written elsewhere reads signet's tokens and key sets, and that signet reads the tokens
// of issuers written elsewhere. The software runs here: npm packages, PyJWT, and Go modules. All traffic is on loopback.
// Tests skip where node, its packages or PyJWT are not installed.
package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

const (
	api      = "https://api.example"
	otherAPI = "https://other.example"
	email    = "user@mail.example"
	phrase   = "correct horse battery staple"
)

// The user has an id and roles that JSON must escape, or that a careless reader would change.
var (
	userID = `u-7 "ü" <&> 漢 😀` + "\u2028"
	roles  = []string{"admin", `rôle "b"`}
)

var quiet = signet.WithLogger(slog.New(slog.DiscardHandler))

// cheap keeps tests fast; what a hash costs is the business of package password.
var cheap = password.Argon2id{Memory: 64, Iterations: 1}

// signers are the private keys of the tests: for each algorithm one that signs, and the next one. RSA keys take long to
// make.
var signers = sync.OnceValue(func() map[keys.Algorithm][2]crypto.Signer {
	made := map[keys.Algorithm][2]crypto.Signer{}
	for algorithm, generate := range map[keys.Algorithm]func() (crypto.Signer, error){
		keys.RS256: func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		keys.PS256: func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		keys.ES256: func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		keys.ES384: func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
		keys.EdDSA: func() (crypto.Signer, error) {
			_, private, err := ed25519.GenerateKey(rand.Reader)
			return private, err
		},
	} {
		var pair [2]crypto.Signer
		for i := range pair {
			var err error
			if pair[i], err = generate(); err != nil {
				panic(err)
			}
		}
		made[algorithm] = pair
	}
	return made
})

var secret = sync.OnceValue(func() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
})

// signingKey is the first (0) or the next (1) key of an algorithm.
func signingKey(algorithm keys.Algorithm, i int) *keys.Key {
	if algorithm == keys.HS256 {
		return keys.Secret(secret())
	}
	return keys.Private(signers()[algorithm][i], keys.WithAlgorithm(algorithm))
}

// service is a signet service that serves its key set on loopback. Its URL is its issuer.
type service struct {
	ring *keys.Ring
	url  string
	jwks string
	auth *signet.Auth
}

// newService starts a service on a ring.
func newService(t testing.TB, ring *keys.Ring) *service {
	t.Helper()
	s := &service{ring: ring}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url, s.jwks = server.URL, server.URL+"/.well-known/jwks.json"
	s.auth = s.issuing(t)
	mux.Handle("/.well-known/jwks.json", s.auth.JWKSHandler())
	return s
}

// issuing makes an Auth on the keys of the service. Later options win.
func (s *service) issuing(t testing.TB, opts ...signet.Option) *signet.Auth {
	t.Helper()
	users := userstore.NewMemory()
	hash, err := cheap.Hash(phrase)
	require.NoError(t, err)
	require.NoError(t, users.Add(t.Context(), userstore.User{ID: userID, Email: email, Roles: roles, PasswordHash: hash}))
	all := []signet.Option{quiet, signet.WithPasswordHasher(cheap), signet.WithIssuer(s.url), signet.WithAudience(api)}
	auth, err := signet.New(users, s.ring, append(all, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, auth.Close()) })
	return auth
}

// login returns a pair of tokens.
func login(t testing.TB, auth *signet.Auth) signet.Tokens {
	t.Helper()
	tokens, err := auth.Login(t.Context(), email, phrase)
	require.NoError(t, err)
	return tokens
}

func (s *service) login(t testing.TB) signet.Tokens {
	t.Helper()
	return login(t, s.auth)
}

// source is what a verifier of the service's tokens needs to know.
func (s *service) source(accepted ...keys.Algorithm) source {
	from := source{issuer: s.url, audience: api}
	for _, algorithm := range accepted {
		from.algorithms = append(from.algorithms, string(algorithm))
		if algorithm == keys.HS256 {
			from.secret = secret()
		} else {
			from.jwks = s.jwks
		}
	}
	return from
}

// newRing makes a ring that signs with an algorithm. The keys of all other algorithms are accepted too, so that the key set
// is one that holds keys which some libraries do not know.
func newRing(t testing.TB, algorithm keys.Algorithm) *keys.Ring {
	t.Helper()
	var others []*keys.Key
	for _, other := range algorithms {
		if other != algorithm && other != keys.HS256 {
			others = append(others, signingKey(other, 0))
		}
	}
	ring, err := keys.NewRing(signingKey(algorithm, 0), others...)
	require.NoError(t, err)
	return ring
}

// longAgo is a clock by which every token of ten minutes is expired.
func longAgo() time.Time { return time.Now().Add(-time.Hour) }

var minutes = signet.WithLifetimes(signet.Lifetimes{Access: 10 * time.Minute, Refresh: 20 * time.Minute, Session: time.Hour})

// flipped changes one bit of a token's signature. The token stays well-formed.
func flipped(t testing.TB, token string) string {
	t.Helper()
	cut := strings.LastIndexByte(token, '.') + 1
	raw, err := base64.RawURLEncoding.DecodeString(token[cut:])
	require.NoError(t, err)
	raw[len(raw)/2] ^= 0x10
	return token[:cut] + base64.RawURLEncoding.EncodeToString(raw)
}

// part decodes the header (0) or the payload (1) of a token.
func part(t testing.TB, token string, i int) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	text, err := base64.RawURLEncoding.DecodeString(parts[i])
	require.NoError(t, err)
	members := map[string]any{}
	require.NoError(t, json.Unmarshal(text, &members))
	return members
}
