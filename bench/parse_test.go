package bench

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"time"

	cristalhq "github.com/cristalhq/jwt/v5"
	golangjwt "github.com/golang-jwt/jwt/v5"
	kataras "github.com/kataras/jwt"
	"github.com/lestrrat-go/jwx/v2/jwa"
	jwx "github.com/lestrrat-go/jwx/v2/jwt"
)

// parsers decode all eight claims into the type that the library's README shows, and check exp.
var parsers = []lib{
	{name: "golang-jwt", require: requireGolangJWT},
	{name: "golang-jwt-struct", require: requireGolangJWTStruct},
	{name: "cristalhq", require: requireCristalhq},
	{name: "kataras", require: requireKataras},
	{name: "jwx", require: requireJWX},
}

var errExpired = errors.New("expired")

// requireGolangJWT uses MapClaims, as the first example of the README and the middlewares on top of this library do.
func requireGolangJWT(k *keyPair, next http.Handler) (http.Handler, error) {
	parser := golangjwt.NewParser(golangjwt.WithValidMethods([]string{k.alg}), golangjwt.WithExpirationRequired())
	key := k.verifyKey()
	keyFunc := func(*golangjwt.Token) (any, error) { return key, nil }
	return guard(next, func(token string) error {
		_, err := parser.Parse(token, keyFunc)
		return err
	}), nil
}

type golangClaims struct {
	golangjwt.RegisteredClaims
	Session string   `json:"sid"`
	Roles   []string `json:"roles"`
}

// requireGolangJWTStruct is the faster way to use the library, so that the best peer is really its best.
func requireGolangJWTStruct(k *keyPair, next http.Handler) (http.Handler, error) {
	parser := golangjwt.NewParser(golangjwt.WithValidMethods([]string{k.alg}), golangjwt.WithExpirationRequired())
	key := k.verifyKey()
	keyFunc := func(*golangjwt.Token) (any, error) { return key, nil }
	return guard(next, func(token string) error {
		_, err := parser.ParseWithClaims(token, &golangClaims{}, keyFunc)
		return err
	}), nil
}

type cristalhqClaims struct {
	cristalhq.RegisteredClaims
	Session string   `json:"sid"`
	Roles   []string `json:"roles"`
}

// requireCristalhq checks the times itself, because the library leaves them to its user.
func requireCristalhq(k *keyPair, next http.Handler) (http.Handler, error) {
	verifier, err := cristalhqVerifier(k)
	if err != nil {
		return nil, err
	}
	return guard(next, func(token string) error {
		var c cristalhqClaims
		if err := cristalhq.ParseClaims([]byte(token), verifier, &c); err != nil {
			return err
		}
		if !c.IsValidAt(time.Now()) {
			return errExpired
		}
		return nil
	}), nil
}

func cristalhqVerifier(k *keyPair) (cristalhq.Verifier, error) {
	alg := cristalhq.Algorithm(k.alg)
	switch key := k.verifyKey().(type) {
	case []byte:
		return cristalhq.NewVerifierHS(alg, key)
	case *ecdsa.PublicKey:
		return cristalhq.NewVerifierES(alg, key)
	case ed25519.PublicKey:
		return cristalhq.NewVerifierEdDSA(key)
	case *rsa.PublicKey:
		return cristalhq.NewVerifierRS(alg, key)
	default:
		return nil, fmt.Errorf("cristalhq: no verifier for %T", key)
	}
}

var katarasAlgs = map[string]kataras.Alg{
	"HS256": kataras.HS256, "ES256": kataras.ES256, "EdDSA": kataras.EdDSA, "RS256": kataras.RS256,
}

type katarasClaims struct {
	kataras.Claims
	Session string   `json:"sid"`
	Roles   []string `json:"roles"`
}

// requireKataras uses the Keys of the library. The plain Verify compares the header with two fixed strings. So it refuses a
// kid, and also typ at+jwt.
func requireKataras(k *keyPair, next http.Handler) (http.Handler, error) {
	registered := make(kataras.Keys)
	registered.Register(katarasAlgs[k.alg], k.kid, k.verifyKey(), nil)
	return guard(next, func(token string) error {
		var c katarasClaims
		return registered.VerifyToken([]byte(token), &c)
	}), nil
}

func requireJWX(k *keyPair, next http.Handler) (http.Handler, error) {
	key := jwx.WithKey(jwa.SignatureAlgorithm(k.alg), k.verifyKey())
	return guard(next, func(token string) error {
		_, err := jwx.ParseString(token, key)
		return err
	}), nil
}
