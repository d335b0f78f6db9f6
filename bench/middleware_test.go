package bench

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"

	ginjwt "github.com/appleboy/gin-jwt/v2"
	auth0v2 "github.com/auth0/go-jwt-middleware/v2"
	validatorv2 "github.com/auth0/go-jwt-middleware/v2/validator"
	auth0v3 "github.com/auth0/go-jwt-middleware/v3"
	validatorv3 "github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/jwtauth/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
)

// middlewares are set up as their READMEs say, for one key and one algorithm, with their own error answers.
var middlewares = []lib{
	{name: "jwtauth", require: requireJWTAuth},
	{name: "auth0-v2", require: requireAuth0v2},
	{name: "auth0-v3", require: requireAuth0v3},
	{name: "echo-jwt", require: requireEcho},
	// gin-jwt documents only HS* and RS*. Its KeyFunc would allow others, but its documentation does not say so.
	{name: "gin-jwt", algs: []string{"HS256", "RS256"}, require: requireGin},
}

func requireJWTAuth(k *keyPair, next http.Handler) (http.Handler, error) {
	auth := jwtauth.New(k.alg, k.signKey(), k.verifyKey())
	// Verifier alone lets every request pass. Only both together are a guard.
	return jwtauth.Verifier(auth)(jwtauth.Authenticator(auth)(next)), nil
}

// auth0 v2 and v3 require an issuer and an audience, so they check two claims that the other peers do not check.
func requireAuth0v2(k *keyPair, next http.Handler) (http.Handler, error) {
	key := k.verifyKey()
	v, err := validatorv2.New(
		func(context.Context) (any, error) { return key, nil },
		validatorv2.SignatureAlgorithm(k.alg), issuer, []string{audience},
	)
	if err != nil {
		return nil, err
	}
	return auth0v2.New(v.ValidateToken).CheckJWT(next), nil
}

func requireAuth0v3(k *keyPair, next http.Handler) (http.Handler, error) {
	key := k.verifyKey()
	v, err := validatorv3.New(
		validatorv3.WithKeyFunc(func(context.Context) (any, error) { return key, nil }),
		validatorv3.WithAlgorithm(validatorv3.SignatureAlgorithm(k.alg)),
		validatorv3.WithIssuer(issuer),
		validatorv3.WithAudience(audience),
	)
	if err != nil {
		return nil, err
	}
	m, err := auth0v3.New(auth0v3.WithValidator(v))
	if err != nil {
		return nil, err
	}
	return m.CheckJWT(next), nil
}

// requireEcho also measures echo's engine and one route, because nobody uses the middleware without them.
func requireEcho(k *keyPair, next http.Handler) (http.Handler, error) {
	m, err := echojwt.Config{SigningKey: k.verifyKey(), SigningMethod: k.alg}.ToMiddleware()
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.GET("/orders", echo.WrapHandler(next), m)
	return e, nil
}

// requireGin also measures gin's engine and one route, because nobody uses the middleware without them.
func requireGin(k *keyPair, next http.Handler) (http.Handler, error) {
	config := &ginjwt.GinJWTMiddleware{Realm: "bench", SigningAlgorithm: k.alg, Key: k.secret}
	if key, ok := k.private.(*rsa.PrivateKey); ok {
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, err
		}
		config.PrivKeyBytes = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
		config.PubKeyBytes = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	}
	m, err := ginjwt.New(config)
	if err != nil {
		return nil, fmt.Errorf("gin-jwt: %w", err)
	}
	gin.SetMode(gin.ReleaseMode) // debug mode would print the routes into the benchmark's output
	e := gin.New()
	e.GET("/orders", m.MiddlewareFunc(), gin.WrapH(next))
	return e, nil
}
