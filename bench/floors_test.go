package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// floors check a signature. The second one of each pair also decodes. They check no claim, so no product can be like them.
var floors = []lib{
	{name: "floor-hmac", algs: []string{"HS256"}, alone: aloneSignature},
	{name: "floor-hmac-base64-json", algs: []string{"HS256"}, require: requireDecoded},
	{name: "floor-ecdsa", algs: []string{"ES256"}, alone: aloneSignature},
	{name: "floor-ecdsa-base64-json", algs: []string{"ES256"}, require: requireDecoded},
	{name: "floor-ed25519", algs: []string{"EdDSA"}, alone: aloneSignature},
	{name: "floor-ed25519-base64-json", algs: []string{"EdDSA"}, require: requireDecoded},
	{name: "floor-rsa", algs: []string{"RS256"}, alone: aloneSignature},
	{name: "floor-rsa-base64-json", algs: []string{"RS256"}, require: requireDecoded},
}

var (
	errForm      = errors.New("not three parts")
	errSignature = errors.New("signature does not match")
)

// signatureCheck returns a function that verifies one signature. The function is for one goroutine, because it uses the same
// hash again. raw is the signature as in the token. For ES256, der is the same signature in ASN.1, or nil if the caller does
// not have it.
func signatureCheck(k *keyPair) func(input, raw, der []byte) bool {
	switch key := k.verifyKey().(type) {
	case []byte:
		mac := hmac.New(sha256.New, key)
		var sum [sha256.Size]byte
		return func(input, raw, _ []byte) bool {
			mac.Reset()
			mac.Write(input)
			return hmac.Equal(mac.Sum(sum[:0]), raw)
		}
	case *ecdsa.PublicKey:
		return func(input, raw, der []byte) bool {
			digest := sha256.Sum256(input)
			if der != nil {
				return ecdsa.VerifyASN1(key, digest[:], der)
			}
			if len(raw) != 64 {
				return false
			}
			return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:]))
		}
	case ed25519.PublicKey:
		return func(input, raw, _ []byte) bool { return ed25519.Verify(key, input, raw) }
	case *rsa.PublicKey:
		return func(input, raw, _ []byte) bool {
			digest := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], raw) == nil
		}
	default:
		return func([]byte, []byte, []byte) bool { return false }
	}
}

// aloneSignature takes the tokens apart before the measurement begins.
func aloneSignature(k *keyPair, tokens []string) (func(i int) bool, error) {
	type signed struct{ input, raw, der []byte }
	prepared := make([]signed, len(tokens))
	for i, token := range tokens {
		dot := strings.LastIndexByte(token, '.')
		raw, err := b64.DecodeString(token[dot+1:])
		if err != nil {
			return nil, err
		}
		prepared[i] = signed{input: []byte(token[:dot]), raw: raw}
		if k.alg == "ES256" {
			if prepared[i].der, err = derSignature(raw); err != nil {
				return nil, err
			}
		}
	}
	check := signatureCheck(k)
	return func(i int) bool {
		s := &prepared[i]
		return check(s.input, s.raw, s.der)
	}, nil
}

func derSignature(raw []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:32]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[32:]))
	})
	return b.Bytes()
}

// requireDecoded is what somebody writes by hand in a minute: it checks the signature, and then decodes base64 and JSON into
// structs.
func requireDecoded(k *keyPair, next http.Handler) (http.Handler, error) {
	check := signatureCheck(k)
	var input []byte
	return guard(next, func(token string) error {
		head, rest, ok := strings.Cut(token, ".")
		payload, signature, ok2 := strings.Cut(rest, ".")
		if !ok || !ok2 {
			return errForm
		}
		var h header
		if err := decode(head, &h); err != nil {
			return err
		}
		raw, err := b64.DecodeString(signature)
		if err != nil {
			return err
		}
		input = append(input[:0], token[:len(head)+1+len(payload)]...)
		if h.Alg != k.alg || !check(input, raw, nil) {
			return errSignature
		}
		var c claims
		return decode(payload, &c)
	}), nil
}

func decode(part string, into any) error {
	raw, err := b64.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
