package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

// algorithms are the ones that the tests sign with.
var algorithms = []keys.Algorithm{keys.HS256, keys.RS256, keys.PS256, keys.ES256, keys.ES384, keys.EdDSA}

// source is where a verifier finds keys, and what it asks of a token.
type source struct {
	jwks       string // the URL of the key set; "" with a secret
	secret     []byte
	issuer     string
	audience   string
	algorithms []string
	typ        string        // the token type to ask for; "" asks for none
	cooldown   time.Duration // between two fetches of the key set, where the library lets it be set; 0: the library's own
	discover   bool          // get-jwks finds the key set by the issuer's metadata
}

var verifiers atomic.Int64

// unique returns a name for a new verifier.
func (source) unique() string { return fmt.Sprint(verifiers.Add(1)) }

// verifier is one verifier of a library, with all that it remembers of the key set.
type verifier struct {
	// verify returns the claims of a token that it accepts. The error holds the library's own words.
	verify func(token string) (map[string]any, error)
	// refresh fetches the key set again. It is nil for a library that does so by itself.
	refresh func() error
}

// What is wrong with a token that a library must refuse.
const (
	expired   = "it is expired"
	audience  = "it is for another audience"
	issuer    = "it is from another issuer"
	signature = "its signature is damaged"
	retired   = "its key is retired"
	typed     = "it has another type"
)

// library is software that reads tokens and key sets, and that was written elsewhere.
type library struct {
	name  string
	lacks map[keys.Algorithm]string // the algorithms that it does not have, each with the reason
	types bool                      // it checks "typ" when it is told to
	open  func(testing.TB, source) verifier
	says  map[string]string // a regular expression for what it says of a bad token
}

var libraries = []library{
	{
		name:  "jose",
		types: true,
		open:  inProgram(node, "jose"),
		says: map[string]string{
			expired:   "ERR_JWT_EXPIRED",
			audience:  "ERR_JWT_CLAIM_VALIDATION_FAILED: aud",
			issuer:    "ERR_JWT_CLAIM_VALIDATION_FAILED: iss",
			signature: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
			retired:   "ERR_JWKS_NO_MATCHING_KEY",
			typed:     "ERR_JWT_CLAIM_VALIDATION_FAILED: typ",
		},
	},
	{
		name:  "jsonwebtoken + jwks-rsa",
		lacks: map[keys.Algorithm]string{keys.EdDSA: "jsonwebtoken has no EdDSA"},
		open:  inProgram(node, "jsonwebtoken + jwks-rsa"),
		says: map[string]string{
			expired:   "TokenExpiredError",
			audience:  "jwt audience invalid",
			issuer:    "jwt issuer invalid",
			signature: "invalid signature",
			retired:   "Unable to find a signing key that matches",
		},
	},
	{
		name:  "fast-jwt + get-jwks",
		types: true,
		open:  inProgram(node, "fast-jwt + get-jwks"),
		says: map[string]string{
			expired:   "FAST_JWT_EXPIRED",
			audience:  "aud claim value",
			issuer:    "iss claim value",
			signature: "FAST_JWT_INVALID_SIGNATURE",
			retired:   "No matching JWK found in the set",
			typed:     "Invalid typ",
		},
	},
	{
		name: "PyJWT",
		open: inProgram(python, "PyJWT"),
		says: map[string]string{
			expired:   "ExpiredSignatureError",
			audience:  "InvalidAudienceError",
			issuer:    "InvalidIssuerError",
			signature: "InvalidSignatureError",
			retired:   "Unable to find a signing key that matches",
		},
	},
	{
		name: "golang-jwt + keyfunc",
		open: openGolangJWT,
		says: map[string]string{
			expired:   jwt.ErrTokenExpired.Error(),
			audience:  jwt.ErrTokenInvalidAudience.Error(),
			issuer:    jwt.ErrTokenInvalidIssuer.Error(),
			signature: jwt.ErrTokenSignatureInvalid.Error(),
			retired:   "key not found|refresh rate limiter", // one unknown key in five minutes makes it fetch the set
		},
	},
	{
		name:  "go-oidc",
		lacks: map[keys.Algorithm]string{keys.HS256: "go-oidc has public keys only"},
		open:  openGoOIDC,
		says: map[string]string{
			expired:   "token is expired",
			audience:  "expected audience",
			issuer:    "issued by a different provider",
			signature: "failed to verify signature",
			retired:   "failed to verify signature", // it tells no more of a key that is not in the set
		},
	},
	{
		name: "jwx",
		open: openJWX,
		says: map[string]string{
			expired:   `"exp" not satisfied`,
			audience:  `"aud" not satisfied`,
			issuer:    `"iss" not satisfied`,
			signature: "could not verify message|signature verification failed",
			retired:   "failed to find key with key ID",
		},
	},
}

// needs skips the test when the library lacks an algorithm.
func (lib library) needs(t testing.TB, algorithms ...keys.Algorithm) {
	t.Helper()
	for _, algorithm := range algorithms {
		if why, lacks := lib.lacks[algorithm]; lacks {
			t.Skip(why)
		}
	}
}

// refused wants the library to refuse a token, and to say what is wrong with it.
func (lib library) refused(t testing.TB, v verifier, token, wrong string) {
	t.Helper()
	_, err := v.verify(token)
	require.Error(t, err, "accepted, although %s", wrong)
	require.NotEmpty(t, lib.says[wrong], wrong)
	require.Regexp(t, lib.says[wrong], err.Error(), "refused, but not because %s", wrong)
}

func openGolangJWT(t testing.TB, from source) verifier {
	find := func(*jwt.Token) (any, error) { return from.secret, nil }
	if from.jwks != "" {
		ctx, stop := context.WithCancel(context.Background())
		t.Cleanup(stop) // ends the goroutine that fetches the set
		set, err := keyfunc.NewDefaultCtx(ctx, []string{from.jwks})
		require.NoError(t, err)
		find = set.Keyfunc
	}
	parser := jwt.NewParser(jwt.WithValidMethods(from.algorithms), jwt.WithIssuer(from.issuer), jwt.WithAudience(from.audience),
		jwt.WithExpirationRequired())
	return verifier{verify: func(token string) (map[string]any, error) {
		claims := jwt.MapClaims{}
		_, err := parser.ParseWithClaims(token, claims, find)
		return claims, err
	}}
}

func openGoOIDC(t testing.TB, from source) verifier {
	require.NotEmpty(t, from.jwks)
	v := oidc.NewVerifier(from.issuer, oidc.NewRemoteKeySet(context.Background(), from.jwks),
		&oidc.Config{ClientID: from.audience, SupportedSigningAlgs: from.algorithms})
	return verifier{verify: func(token string) (map[string]any, error) {
		verified, err := v.Verify(context.Background(), token)
		if err != nil {
			return nil, err
		}
		claims := map[string]any{}
		return claims, verified.Claims(&claims)
	}}
}

func openJWX(t testing.TB, from source) verifier {
	var v verifier
	var option jwxjwt.ParseOption
	if from.jwks == "" {
		option = jwxjwt.WithKey(jwa.HS256(), from.secret)
	} else {
		cache, err := jwk.NewCache(context.Background(), httprc.NewClient())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, cache.Shutdown(context.Background())) })
		require.NoError(t, cache.Register(context.Background(), from.jwks))
		set, err := cache.CachedSet(from.jwks)
		require.NoError(t, err)
		option = jwxjwt.WithKeySet(set, jws.WithRequireKid(true))
		v.refresh = func() error { // the cache itself fetches again after 15 minutes at the earliest
			_, err := cache.Refresh(context.Background(), from.jwks)
			return err
		}
	}
	v.verify = func(token string) (map[string]any, error) {
		verified, err := jwxjwt.Parse([]byte(token), option, jwxjwt.WithIssuer(from.issuer), jwxjwt.WithAudience(from.audience),
			jwxjwt.WithRequiredClaim("exp"))
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(verified)
		if err != nil {
			return nil, err
		}
		claims := map[string]any{}
		return claims, json.Unmarshal(text, &claims)
	}
	return v
}
