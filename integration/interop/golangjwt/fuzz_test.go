// Package golangjwt compares signet with golang-jwt. It is a package of its own, so that the fuzzer builds little.
package golangjwt

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

// FuzzGolangJWT gives the same tokens to signet and to golang-jwt: any text, or any header and payload with a good signature.
// What golang-jwt refuses with the same key and at the same time, signet refuses.
func FuzzGolangJWT(f *testing.F) {
	secret := []byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")
	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	verifier, err := signet.NewVerifier(keys.Secret(secret), signet.WithClock(now))
	require.NoError(f, err)
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithTimeFunc(now), jwt.WithLeeway(30*time.Second), jwt.WithIssuedAt(),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding())
	sign := func(header, payload string) string {
		b64 := base64.RawURLEncoding
		input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return input + "." + b64.EncodeToString(mac.Sum(nil))
	}

	const header, payload = `{"alg":"HS256","typ":"at+jwt"}`, `{"sub":"1","iat":1800000000,"exp":1800000060,"nbf":1800000030,"aud":"a"}`
	good := sign(header, payload)
	_, err = verifier.Verify(context.Background(), good)
	require.NoError(f, err)
	for _, token := range []string{"", good, good + "\n", good + "=", good[:len(good)-1], "..", "a.b.c", "Bearer " + good} {
		f.Add(token, header, payload)
	}
	for _, h := range []string{`{"alg":"none","typ":"at+jwt"}`, `{"typ":"at+jwt","alg":"HS256"} `, `{"alg":"HS512"}`, `{"alg":"HS256","typ":"at+jwt","x":1e999}`} {
		f.Add("", h, payload)
	}
	for _, p := range []string{`{}`, `null`, `[]`, `{"sub":"1","iat":1800000031,"exp":1800000060}`, `{"sub":"1","iat":1800000030,"exp":1800000001}`,
		`{"sub":"1","iat":1,"exp":1.8e9}`, `{"sub":"1","iat":1,"exp":1800000001,"nbf":1800000031}`, `{"sub":"1","iat":1,"exp":1800000000}`,
		`{"sub":"1","iat":1,"exp":1800000001,"x":1e999}`, `{"sub":"1","iat":1,"exp":9007199254740993}`} {
		f.Add("", header, p)
	}
	f.Fuzz(func(t *testing.T, token, header, payload string) {
		if token == "" {
			token = sign(header, payload)
		}
		claims, err := verifier.Verify(context.Background(), token)
		if err != nil {
			return
		}
		peer, err := parser.Parse(token, func(*jwt.Token) (any, error) { return secret, nil })
		require.NoError(t, err, "signet accepts %q", token)
		subject, err := peer.Claims.GetSubject()
		require.NoError(t, err)
		require.Equal(t, claims.Subject, subject)
	})
}
