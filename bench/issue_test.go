package bench

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"slices"
	"testing"
	"time"

	cristalhq "github.com/cristalhq/jwt/v5"
	golangjwt "github.com/golang-jwt/jwt/v5"
	kataras "github.com/kataras/jwt"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	jwx "github.com/lestrrat-go/jwx/v2/jwt"
)

// signer is one library that signs. issue makes a new token with the eight claims.
type signer struct {
	name string
	make func(k *keyPair) (issue func() (string, error), err error)
}

var signers = slices.Concat(ourSigners, []signer{
	{name: "golang-jwt", make: issueGolangJWT},
	{name: "cristalhq", make: issueCristalhq},
	{name: "kataras", make: issueKataras},
	{name: "jwx", make: issueJWX},
})

// session is made only once. The id of a session stays the same, so making it is no cost of issuing. Making the jti is one.
var session = newID()

func issueGolangJWT(k *keyPair) (func() (string, error), error) {
	method, key := golangjwt.GetSigningMethod(k.alg), k.signKey()
	return func() (string, error) {
		now := time.Now()
		t := golangjwt.NewWithClaims(method, &golangClaims{
			RegisteredClaims: golangjwt.RegisteredClaims{
				Issuer: issuer, Subject: "1", Audience: golangjwt.ClaimStrings{audience},
				ExpiresAt: golangjwt.NewNumericDate(now.Add(lifetime)), IssuedAt: golangjwt.NewNumericDate(now), ID: newID(),
			},
			Session: session, Roles: []string{"customer"},
		})
		t.Header["kid"], t.Header["typ"] = k.kid, "at+jwt"
		return t.SignedString(key)
	}, nil
}

// issueCristalhq signs with typ JWT, because its builder can set no other type. That saves it a few bytes.
func issueCristalhq(k *keyPair) (func() (string, error), error) {
	s, err := cristalhqSigner(k)
	if err != nil {
		return nil, err
	}
	builder := cristalhq.NewBuilder(s, cristalhq.WithKeyID(k.kid))
	return func() (string, error) {
		now := time.Now()
		t, err := builder.Build(&cristalhqClaims{
			RegisteredClaims: cristalhq.RegisteredClaims{
				Issuer: issuer, Subject: "1", Audience: cristalhq.Audience{audience},
				ExpiresAt: cristalhq.NewNumericDate(now.Add(lifetime)), IssuedAt: cristalhq.NewNumericDate(now), ID: newID(),
			},
			Session: session, Roles: []string{"customer"},
		})
		if err != nil {
			return "", err
		}
		return t.String(), nil
	}, nil
}

func cristalhqSigner(k *keyPair) (cristalhq.Signer, error) {
	alg := cristalhq.Algorithm(k.alg)
	switch key := k.signKey().(type) {
	case []byte:
		return cristalhq.NewSignerHS(alg, key)
	case *ecdsa.PrivateKey:
		return cristalhq.NewSignerES(alg, key)
	case ed25519.PrivateKey:
		return cristalhq.NewSignerEdDSA(key)
	case *rsa.PrivateKey:
		return cristalhq.NewSignerRS(alg, key)
	default:
		return nil, fmt.Errorf("cristalhq: no signer for %T", key)
	}
}

func issueKataras(k *keyPair) (func() (string, error), error) {
	alg, key, head := katarasAlgs[k.alg], k.signKey(), header{Alg: k.alg, Kid: k.kid, Typ: "at+jwt"}
	return func() (string, error) {
		now := time.Now()
		t, err := kataras.SignWithHeader(alg, key, katarasClaims{
			Claims: kataras.Claims{
				Issuer: issuer, Subject: "1", Audience: kataras.Audience{audience},
				Expiry: now.Add(lifetime).Unix(), IssuedAt: now.Unix(), ID: newID(),
			},
			Session: session, Roles: []string{"customer"},
		}, head)
		return string(t), err
	}, nil
}

func issueJWX(k *keyPair) (func() (string, error), error) {
	head := jws.NewHeaders()
	for name, value := range map[string]string{jws.KeyIDKey: k.kid, jws.TypeKey: "at+jwt"} {
		if err := head.Set(name, value); err != nil {
			return nil, err
		}
	}
	key := jwx.WithKey(jwa.SignatureAlgorithm(k.alg), k.signKey(), jws.WithProtectedHeaders(head))
	return func() (string, error) {
		now := time.Now()
		t, err := jwx.NewBuilder().Issuer(issuer).Subject("1").Audience([]string{audience}).
			Expiration(now.Add(lifetime)).IssuedAt(now).JwtID(newID()).
			Claim("sid", session).Claim("roles", []string{"customer"}).Build()
		if err != nil {
			return "", err
		}
		signed, err := jwx.Sign(t, key)
		return string(signed), err
	}, nil
}

func BenchmarkIssue(b *testing.B) {
	for _, alg := range algs {
		b.Run(alg, func(b *testing.B) {
			k, err := newKeys(alg)
			if err != nil {
				b.Fatal(err)
			}
			for _, s := range signers {
				b.Run(s.name, func(b *testing.B) {
					issue, err := s.make(k)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportAllocs()
					for b.Loop() {
						if _, err := issue(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}
