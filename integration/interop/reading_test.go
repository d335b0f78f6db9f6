package interop

import (
	"net/url"
	"strings"
	"testing"
	"time"

	fositejwt "github.com/ory/fosite/token/jwt"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

// openURL follows the key set of an issuer until the test ends.
func openURL(t testing.TB, address string) *keys.Remote {
	t.Helper()
	remote, err := keys.OpenURL(address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, remote.Close()) })
	return remote
}

// trusting makes a verifier of access tokens for an audience of one issuer.
func trusting(t testing.TB, f foreign, audience string, opts ...signet.VerifierOption) *signet.Verifier {
	t.Helper()
	issuer := signet.TrustedIssuer{Issuer: f.issuer, Keys: openURL(t, f.jwks), Audience: []string{audience}}
	v, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{issuer}, append([]signet.VerifierOption{quiet}, opts...)...)
	require.NoError(t, err)
	return v
}

// requireClaims wants the verifier to accept a token, and to read what every issuer puts into it.
func requireClaims(t testing.TB, v *signet.Verifier, f foreign, token, audience string) *signet.Claims {
	t.Helper()
	claims, err := v.Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, clientID, claims.Subject)
	require.Equal(t, f.issuer, claims.Issuer)
	require.Contains(t, claims.Audience, audience)
	require.NotEmpty(t, claims.ID)
	require.WithinDuration(t, time.Now().Add(5*time.Minute), claims.ExpiresAt, time.Minute)
	return claims
}

// requireRefusal wants the verifier to refuse a token, and to say why.
func requireRefusal(t testing.TB, v *signet.Verifier, token, why string) {
	t.Helper()
	_, err := v.Verify(t.Context(), token)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	require.ErrorContains(t, err, why)
}

func TestSignetReadsTokensOfNodeOIDCProvider(t *testing.T) {
	f := startNodeOIDCProvider(t)
	for _, algorithm := range []keys.Algorithm{keys.RS256, keys.PS256, keys.ES256, keys.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			resource := api + "/" + string(algorithm)
			token := f.token(t, url.Values{"resource": {resource}})
			require.EqualValues(t, algorithm, part(t, token, 0)["alg"])
			v := trusting(t, f, resource)
			claims := requireClaims(t, v, f, token, resource)
			require.Equal(t, strings.Fields(clientScope), claims.Scopes)
			requireRefusal(t, v, flipped(t, token), "signature")
			requireRefusal(t, trusting(t, f, api), token, "audience")
			requireRefusal(t, trusting(t, foreign{issuer: f.issuer + "/", jwks: f.jwks}, resource), token, "another issuer")
		})
	}
}

func TestSignetReadsTokensOfFosite(t *testing.T) {
	for _, algorithm := range []keys.Algorithm{keys.RS256, keys.PS256, keys.ES256, keys.ES384, keys.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			f := startFosite(t, fositeConfig{algorithm: algorithm, scopes: fositejwt.JWTScopeFieldString})
			token := f.token(t, url.Values{"audience": {api}})
			require.EqualValues(t, algorithm, part(t, token, 0)["alg"])
			v := trusting(t, f, api, signet.WithTokenTypes("JWT"))
			claims := requireClaims(t, v, f, token, api)
			require.Equal(t, strings.Fields(clientScope), claims.Scopes)
			requireRefusal(t, v, flipped(t, token), "signature")
			requireRefusal(t, v, f.token(t, url.Values{"audience": {otherAPI}}), "audience")
			requireRefusal(t, trusting(t, f, api), token, "type")
		})
	}
	t.Run("with the type at+jwt", func(t *testing.T) {
		f := startFosite(t, fositeConfig{algorithm: keys.ES256, scopes: fositejwt.JWTScopeFieldBoth, typ: "at+jwt"})
		claims := requireClaims(t, trusting(t, f, api), f, f.token(t, url.Values{"audience": {api, otherAPI}}), api)
		require.Equal(t, strings.Fields(clientScope), claims.Scopes)
	})
	t.Run("with scopes as a list", func(t *testing.T) {
		f := startFosite(t, fositeConfig{algorithm: keys.ES256})
		v := trusting(t, f, api, signet.WithTokenTypes("JWT"))
		claims := requireClaims(t, v, f, f.token(t, url.Values{"audience": {api}}), api)
		require.Empty(t, claims.Scopes, `the list is in "scp"`)
		custom, err := signet.CustomClaims[struct {
			Scp []string `json:"scp"`
		}](claims)
		require.NoError(t, err)
		require.Equal(t, strings.Fields(clientScope), custom.Scp)
	})
}

func TestSignetReadsTokensOfZitadel(t *testing.T) {
	for _, algorithm := range []keys.Algorithm{keys.RS256, keys.PS256, keys.ES256, keys.ES384, keys.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			f := startZitadel(t, algorithm, map[string]any{"roles": []string{"admin"}})
			token := f.token(t, nil)
			require.EqualValues(t, algorithm, part(t, token, 0)["alg"])
			v := trusting(t, f, api, signet.WithTokenTypes("JWT"))
			claims := requireClaims(t, v, f, token, api)
			require.Equal(t, []string{"admin"}, claims.Roles)
			requireRefusal(t, v, flipped(t, token), "signature")
			requireRefusal(t, trusting(t, f, otherAPI, signet.WithTokenTypes("JWT")), token, "audience")
			requireRefusal(t, trusting(t, f, api), token, "type")
		})
	}
}

func TestSignetRefusesTokensWithoutAType(t *testing.T) {
	f, token := startGoJose(t, map[string]any{"sub": clientID})
	require.NotContains(t, part(t, token, 0), "typ")
	v := trusting(t, f, api, signet.WithTokenTypes("at+jwt", "JWT"))
	requireRefusal(t, v, token, "type") // which is looked at after the signature
	requireRefusal(t, v, flipped(t, token), "signature")
}

// No issuer can speak for another one.
func TestSignetKeepsIssuersApart(t *testing.T) {
	one := startFosite(t, fositeConfig{algorithm: keys.ES256, typ: "at+jwt"})
	two := startFosite(t, fositeConfig{algorithm: keys.EdDSA, typ: "at+jwt"})
	v, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{
		{Issuer: one.issuer, Keys: openURL(t, one.jwks), Audience: []string{api}},
		{Issuer: two.issuer, Keys: openURL(t, two.jwks), Audience: []string{otherAPI}},
	}, quiet)
	require.NoError(t, err)
	requireClaims(t, v, one, one.token(t, url.Values{"audience": {api}}), api)
	requireClaims(t, v, two, two.token(t, url.Values{"audience": {otherAPI}}), otherAPI)
	requireRefusal(t, v, one.token(t, url.Values{"audience": {otherAPI}}), "audience")
	requireRefusal(t, v, two.token(t, url.Values{"audience": {api}}), "audience")
	third := startFosite(t, fositeConfig{algorithm: keys.ES256, typ: "at+jwt"})
	requireRefusal(t, v, third.token(t, url.Values{"audience": {api}}), "another issuer")
}
