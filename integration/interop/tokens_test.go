package interop

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

// TestLibrariesReadAccessTokens hands good and bad tokens of every algorithm to every library.
func TestLibrariesReadAccessTokens(t *testing.T) {
	for _, algorithm := range algorithms {
		t.Run(string(algorithm), func(t *testing.T) {
			s := newService(t, newRing(t, algorithm))
			good := s.login(t).AccessToken
			require.EqualValues(t, algorithm, part(t, good, 0)["alg"])
			two := login(t, s.issuing(t, signet.WithAudience(otherAPI, api))).AccessToken
			bad := map[string]string{
				expired:   login(t, s.issuing(t, minutes, signet.WithClock(longAgo))).AccessToken,
				audience:  login(t, s.issuing(t, signet.WithAudience(otherAPI))).AccessToken,
				issuer:    login(t, s.issuing(t, signet.WithIssuer(s.url+"/"))).AccessToken,
				signature: flipped(t, good),
			}
			for _, lib := range libraries {
				t.Run(lib.name, func(t *testing.T) {
					lib.needs(t, algorithm)
					lib.reads(t, s.source(algorithm), good, two, bad)
					if lib.types {
						from := s.source(algorithm)
						from.typ = "at+jwt"
						lib.reads(t, from, good, two, bad)
					}
				})
			}
		})
	}
}

// reads wants one verifier to accept two tokens, and to refuse others for what is wrong with them.
func (lib library) reads(t *testing.T, from source, good, two string, bad map[string]string) {
	t.Helper()
	v := lib.open(t, from)
	claims, err := v.verify(good)
	require.NoError(t, err)
	// Libraries differ in how they show numbers and a single audience.
	want := part(t, good, 1)
	for _, name := range []string{"sub", "iss", "jti", "sid", "roles"} {
		require.Equal(t, want[name], claims[name], name)
	}
	require.Equal(t, userID, claims["sub"])
	_, err = v.verify(two)
	require.NoError(t, err, "a token for two audiences")
	for wrong, token := range bad {
		lib.refused(t, v, token, wrong)
	}
	_, err = v.verify(good)
	require.NoError(t, err, "the first token again")
}

// TestRefreshTokensAreNoAccessTokens hands refresh tokens to verifiers of access tokens. Most libraries do not look at
// "typ", so the audience has to tell the two apart.
func TestRefreshTokensAreNoAccessTokens(t *testing.T) {
	for _, algorithm := range algorithms {
		t.Run(string(algorithm), func(t *testing.T) {
			s := newService(t, newRing(t, algorithm))
			tokens := s.login(t)
			for _, lib := range libraries {
				t.Run(lib.name, func(t *testing.T) {
					lib.needs(t, algorithm)
					v := lib.open(t, s.source(algorithm))
					_, err := v.verify(tokens.AccessToken)
					require.NoError(t, err)
					lib.refused(t, v, tokens.RefreshToken, audience)
				})
			}
		})
	}
}

// TestTypedVerifiersRefuseRefreshTokens asks the libraries that look at "typ" for access tokens. They refuse a refresh token
// whatever its audience is.
func TestTypedVerifiersRefuseRefreshTokens(t *testing.T) {
	for _, algorithm := range algorithms {
		t.Run(string(algorithm), func(t *testing.T) {
			s := newService(t, newRing(t, algorithm))
			tokens := s.login(t)
			for _, lib := range libraries {
				if !lib.types {
					continue
				}
				t.Run(lib.name, func(t *testing.T) {
					from := s.source(algorithm)
					from.typ = "at+jwt"
					v := lib.open(t, from)
					_, err := v.verify(tokens.AccessToken)
					require.NoError(t, err)
					lib.refused(t, v, tokens.RefreshToken, typed)
				})
			}
		})
	}
}
