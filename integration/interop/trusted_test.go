package interop

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	fositejwt "github.com/ory/fosite/token/jwt"
	"github.com/stretchr/testify/require"
	zitadelclient "github.com/zitadel/oidc/v3/pkg/client"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

// discover follows the keys of an issuer that is known by its name.
func discover(t testing.TB, issuer string) *keys.Remote {
	t.Helper()
	remote, err := keys.Discover(issuer, keys.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, remote.Close()) })
	return remote
}

func trust(t testing.TB, list ...signet.TrustedIssuer) *signet.Verifier {
	t.Helper()
	v, err := signet.NewIssuersVerifier(list, quiet)
	require.NoError(t, err)
	return v
}

// withKeysOf fills in the issuer and its key set.
func withKeysOf(t testing.TB, f foreign, issuer signet.TrustedIssuer) signet.TrustedIssuer {
	t.Helper()
	issuer.Issuer, issuer.Keys = f.issuer, openURL(t, f.jwks)
	return issuer
}

func TestTrustedNodeOIDCProvider(t *testing.T) {
	f := startNodeOIDCProvider(t)
	source := discover(t, f.issuer)
	for name, algorithm := range map[string]keys.Algorithm{
		"RS256": keys.RS256, "PS256": keys.PS256, "ES256": keys.ES256, "EdDSA": keys.EdDSA, "Ed25519": keys.EdDSA,
	} {
		t.Run(name, func(t *testing.T) {
			resource := api + "/" + name
			token := f.token(t, url.Values{"resource": {resource}})
			require.Equal(t, name, part(t, token, 0)["alg"])
			issuer := signet.TrustedIssuer{Issuer: f.issuer, Keys: source, Audience: []string{resource}, Types: []string{"at+jwt"},
				Require: map[string]string{"client_id": clientID}}
			claims := requireClaims(t, trust(t, issuer), f, token, resource)
			require.Equal(t, strings.Fields(clientScope), claims.Scopes)
			requireRefusal(t, trust(t, issuer), flipped(t, token), "signature")

			issuer.Algorithms = []keys.Algorithm{keys.ES512}
			requireRefusal(t, trust(t, issuer), token, "")
			issuer.Algorithms = []keys.Algorithm{algorithm}
			requireClaims(t, trust(t, issuer), f, token, resource)
			issuer.Require = map[string]string{"client_id": "another"}
			requireRefusal(t, trust(t, issuer), token, "client_id")
			issuer.Require, issuer.Types = nil, []string{"JWT", ""}
			requireRefusal(t, trust(t, issuer), token, "type")
		})
	}
}

// Whoever presents a token that is bound to a key (RFC 9449) as a bearer token has not shown the key.
func TestTrustedIssuerBindsTokens(t *testing.T) {
	f := startNodeOIDCProvider(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key},
		(&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	require.NoError(t, err)
	proof, err := json.Marshal(map[string]any{"jti": rand.Text(), "htm": http.MethodPost, "htu": f.endpoint,
		"iat": time.Now().Unix()})
	require.NoError(t, err)
	signed, err := signer.Sign(proof)
	require.NoError(t, err)
	text, err := signed.CompactSerialize()
	require.NoError(t, err)
	resource := api + "/ES256"
	token := f.ask(t, url.Values{"resource": {resource}}, http.Header{"Dpop": {text}})
	require.Contains(t, part(t, token, 1), "cnf")
	requireRefusal(t, trust(t, withKeysOf(t, f, signet.TrustedIssuer{Audience: []string{resource}})), token, "cnf")
}

func TestTrustedFosite(t *testing.T) {
	issuer := signet.TrustedIssuer{Audience: []string{api}, Types: []string{"JWT"}, Scopes: [][]string{{"scp"}, {"scope"}}}
	for name, scopes := range map[string]fositejwt.JWTScopeFieldEnum{
		"scopes as a list":   fositejwt.JWTScopeFieldUnset,
		"scopes as a string": fositejwt.JWTScopeFieldString,
	} {
		t.Run(name, func(t *testing.T) {
			f := startFosite(t, fositeConfig{algorithm: keys.PS256, scopes: scopes})
			v := trust(t, withKeysOf(t, f, issuer))
			claims := requireClaims(t, v, f, f.token(t, url.Values{"audience": {api}}), api)
			require.Equal(t, strings.Fields(clientScope), claims.Scopes)
			requireRefusal(t, v, f.token(t, url.Values{"audience": {otherAPI}}), "audience")
		})
	}
	t.Run("roles below several names", func(t *testing.T) {
		f := startFosite(t, fositeConfig{algorithm: keys.ES256, extra: map[string]any{
			"realm_access":              map[string]any{"roles": []string{"admin"}},
			"https://api.example/roles": []string{"clerk"},
		}})
		issuer := withKeysOf(t, f, issuer)
		issuer.Roles = [][]string{{"realm_access", "roles"}, {"https://api.example/roles"}, {"no", "such", "claim"}}
		claims := requireClaims(t, trust(t, issuer), f, f.token(t, url.Values{"audience": {api}}), api)
		require.ElementsMatch(t, []string{"admin", "clerk"}, claims.Roles)
	})
	t.Run("a claim that must have a certain value", func(t *testing.T) {
		f := startFosite(t, fositeConfig{algorithm: keys.ES256, extra: map[string]any{"token_use": "access"}})
		token := f.token(t, url.Values{"audience": {api}})
		issuer := withKeysOf(t, f, issuer)
		issuer.Require = map[string]string{"token_use": "access"}
		requireClaims(t, trust(t, issuer), f, token, api)
		issuer.Require = map[string]string{"token_use": "id"}
		requireRefusal(t, trust(t, issuer), token, "token_use")
	})
}

func TestTrustedZitadel(t *testing.T) {
	for _, algorithm := range []keys.Algorithm{keys.RS256, keys.PS256, keys.ES256, keys.ES384, keys.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			f := startZitadel(t, algorithm, map[string]any{"groups": "staff"})
			issuer := signet.TrustedIssuer{Issuer: f.issuer, Keys: discover(t, f.issuer), Audience: []string{api},
				Types: []string{"JWT"}, Require: map[string]string{"client_id": clientID}, Roles: [][]string{{"groups"}}}
			claims := requireClaims(t, trust(t, issuer), f, f.token(t, nil), api)
			require.Equal(t, []string{"staff"}, claims.Roles)
		})
	}
}

func TestTrustedIssuerWithoutTypes(t *testing.T) {
	f, token := startGoJose(t, map[string]any{"sub": clientID, "scope": clientScope})
	issuer := withKeysOf(t, f, signet.TrustedIssuer{Audience: []string{api}, Types: []string{""}})
	claims := requireClaims(t, trust(t, issuer), f, token, api)
	require.Equal(t, strings.Fields(clientScope), claims.Scopes)
	requireRefusal(t, trust(t, issuer), flipped(t, token), "signature")
	issuer.Types = []string{"at+jwt", "JWT"}
	requireRefusal(t, trust(t, issuer), token, "type")
}

// Issuers differ in what they put into "sub", and clients without a user may have none.
func TestTrustedSubjects(t *testing.T) {
	for name, c := range map[string]struct {
		subject any // nil: none
		issuer  signet.TrustedIssuer
		want    string // "": refused
	}{
		"a number":                      {42, signet.TrustedIssuer{}, ""},
		"a number, which is allowed":    {42, signet.TrustedIssuer{NumericSubject: true}, "42"},
		"a text, where numbers are too": {"abc", signet.TrustedIssuer{NumericSubject: true}, "abc"},
		"none":                          {nil, signet.TrustedIssuer{}, ""},
		"none, but another claim":       {nil, signet.TrustedIssuer{SubjectClaim: "client_id"}, clientID},
		"a text besides another claim":  {"abc", signet.TrustedIssuer{SubjectClaim: "client_id"}, "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			private := map[string]any{"client_id": clientID}
			if c.subject != nil {
				private["sub"] = c.subject
			}
			f, token := startGoJose(t, private)
			c.issuer.Audience, c.issuer.Types = []string{api}, []string{""}
			claims, err := trust(t, withKeysOf(t, f, c.issuer)).Verify(t.Context(), token)
			if c.want == "" {
				require.ErrorIs(t, err, signet.ErrInvalidToken)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, claims.Subject)
		})
	}
}

// TestLibrariesDiscoverSignet lets software that knows the issuer's name alone find the keys.
func TestLibrariesDiscoverSignet(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s := &service{ring: newRing(t, keys.ES256), url: server.URL, jwks: server.URL + "/keys"}
	s.auth = s.issuing(t)
	mux.Handle("/.well-known/openid-configuration", s.auth.MetadataHandler(s.jwks))
	mux.Handle("/keys", s.auth.JWKSHandler())
	token := s.login(t).AccessToken

	t.Run("go-oidc", func(t *testing.T) {
		provider, err := oidc.NewProvider(t.Context(), s.url)
		require.NoError(t, err)
		verified, err := provider.Verifier(&oidc.Config{ClientID: api}).Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, userID, verified.Subject)
	})
	t.Run("fast-jwt + get-jwks", func(t *testing.T) {
		from := s.source(keys.ES256)
		from.discover = true
		accepts(t, inProgram(node, "fast-jwt + get-jwks")(t, from), token)
	})
	t.Run("zitadel/oidc", func(t *testing.T) {
		document, err := zitadelclient.Discover(context.Background(), s.url, http.DefaultClient)
		require.NoError(t, err)
		require.Equal(t, s.jwks, document.JwksURI)
	})
	t.Run("signet", func(t *testing.T) {
		v, err := signet.NewVerifier(discover(t, s.url), quiet, signet.WithIssuer(s.url), signet.WithAudience(api))
		require.NoError(t, err)
		claims, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, userID, claims.Subject)
	})
}
