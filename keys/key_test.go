package keys_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

// The parts of an ECDSA signature are as long as its curve, and the salt of RSA-PSS is as long as the hash (RFC 7518 sections 3.4
// and 3.5).
func TestTheFormOfSignatures(t *testing.T) {
	input := []byte("input")
	for curve, size := range map[elliptic.Curve]int{elliptic.P256(): 64, elliptic.P384(): 96, elliptic.P521(): 132} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		signature, err := keys.Private(private).Sign(t.Context(), input)
		require.NoError(t, err)
		require.Len(t, signature, size)
	}
	for algorithm, hash := range map[keys.Algorithm]crypto.Hash{keys.PS256: crypto.SHA256, keys.PS384: crypto.SHA384, keys.PS512: crypto.SHA512} {
		key := keys.Private(rsaKey(), keys.WithAlgorithm(algorithm))
		signature, err := key.Sign(t.Context(), input)
		require.NoError(t, err)
		h := hash.New()
		h.Write(input)
		digest := h.Sum(nil)
		require.NoError(t, rsa.VerifyPSS(&rsaKey().PublicKey, hash, digest, signature, &rsa.PSSOptions{SaltLength: hash.Size()}))
		short, err := rsa.SignPSS(rand.Reader, rsaKey(), hash, digest, &rsa.PSSOptions{SaltLength: 8})
		require.NoError(t, err)
		require.True(t, key.Verify(input, signature))
		require.False(t, key.Verify(input, short))
	}
}

func TestPEM(t *testing.T) {
	ec := p256(t)
	block := func(kind string, der []byte, err error) []byte {
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8, err8 := x509.MarshalPKCS8PrivateKey(ec)
	sec1, err1 := x509.MarshalECPrivateKey(ec)
	pkix, errX := x509.MarshalPKIXPublicKey(ec.Public())
	want := keys.Public(ec.Public()).ID()
	for name, text := range map[string][]byte{
		"PKCS#8": block("PRIVATE KEY", pkcs8, err8), "SEC1": block("EC PRIVATE KEY", sec1, err1),
		"PKIX":                block("PUBLIC KEY", pkix, errX),
		"SEC1 with its curve": append(block("EC PARAMETERS", []byte{6, 0}, nil), block("EC PRIVATE KEY", sec1, err1)...),
	} {
		k := keys.PEM(text)
		require.NoError(t, k.Err(), name)
		require.Equal(t, want, k.ID(), name)
	}
	k := keys.PEM(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey()), nil))
	require.Equal(t, keys.PEM(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey), nil)).ID(), k.ID())
	for name, text := range map[string]string{"none": "hello", "cut": string(block("PRIVATE KEY", pkcs8[:40], nil)),
		"encrypted": string(block("ENCRYPTED PRIVATE KEY", pkcs8, nil))} {
		require.Error(t, keys.PEM([]byte(text)).Err(), name)
	}
}

// brokenSigner is a KMS that signs with another key, or returns an error.
type brokenSigner struct {
	crypto.Signer
	other crypto.Signer
	err   error
}

func (s brokenSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.other.Sign(rand, digest, opts)
}

func TestSignersAreTried(t *testing.T) {
	require.ErrorContains(t, keys.Private(brokenSigner{Signer: p256(t), other: p256(t)}).Err(), "do not verify")
	require.ErrorContains(t, keys.Private(brokenSigner{Signer: p256(t), err: errors.New("throttled")}).Err(), "throttled")
	require.ErrorContains(t, keys.Private(nil).Err(), "nil")
	require.ErrorContains(t, keys.Private(brokenSigner{Signer: p256(t)}).Err(), "the signer panicked")
}

type kms struct{ crypto.Signer }

type ownCurve struct {
	elliptic.Curve
	_ []int
}

// What a host has made by mistake is an error, and no panic.
func TestOddKeys(t *testing.T) {
	require.ErrorContains(t, keys.Private((*kms)(nil)).Err(), "nil")
	require.Error(t, keys.Private(&ecdsa.PrivateKey{PublicKey: p256(t).PublicKey}).Err())
	require.ErrorContains(t, keys.Private(&rsa.PrivateKey{PublicKey: rsaKey().PublicKey, D: rsaKey().D}).Err(), "no primes")
	public := p256(t).PublicKey
	public.Curve = ownCurve{Curve: public.Curve}
	require.ErrorContains(t, keys.Public(&public).Err(), "curve")
	require.Error(t, keys.Public(&rsa.PublicKey{N: new(big.Int).Neg(rsaKey().N), E: 65537}).Err())
	large := int64(1<<40 + 1)
	require.Error(t, keys.Public(&rsa.PublicKey{N: rsaKey().N, E: int(large)}).Err()) // 1 on 32 bits
	require.Error(t, keys.JWK([]byte(`{"kty":"RSA","n":"`+encode(string(rsaKey().N.Bytes()))+`","e":"AQAAAAAAAQAB"}`)).Err())
	for _, source := range []keys.Source{&keys.Remote{}, &keys.Files{}, &keys.Ring{}, &keys.Key{}} {
		_, err := signet.NewVerifier(source)
		require.Error(t, err, "%T", source)
	}
	_, err := (&keys.Remote{}).Refetch(t.Context(), nil)
	require.Error(t, err)
}

// Everybody may know a public key, so its text must never be a secret.
func TestTheTextOfAKeyIsNoSecret(t *testing.T) {
	spki, err := x509.MarshalPKIXPublicKey(p256(t).Public())
	require.NoError(t, err)
	block := strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})))
	for name, text := range map[string]string{
		"PEM": block, "DER in base64": base64.StdEncoding.EncodeToString(spki), "DER in base64url": base64.RawURLEncoding.EncodeToString(spki),
		"PKCS #1":  base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)),
		"JWK":      `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
		"SSH":      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1mSd0JmXqNw0W9e8w8vG0 me@host",
		"its blob": "AAAAC3NzaC1lZDI1NTE5AAAAIJ1mSd0JmXqNw0W9e8w8vG0a",
	} {
		require.ErrorContains(t, keys.Secret([]byte(text)).Err(), "the text of a key", name)
	}
}

// The members of a private RSA key are those of a key with two primes (RFC 7518 section 6.3.2).
func TestPrivateRSAKeysInJWK(t *testing.T) {
	key := rsaKey()
	number := func(n *big.Int) string { return encode(string(n.Bytes())) }
	public := `{"kty":"RSA","n":"` + number(key.N) + `","e":"AQAB","d":"` + number(key.D) + `"`
	primes := `,"p":"` + number(key.Primes[0]) + `","q":"` + number(key.Primes[1]) + `"`
	for text, want := range map[string]string{
		public + primes + `}`:                                        "",
		public + primes + `,"oth":[]}`:                               "",
		public + `}`:                                                 "no primes",
		public + `,"p":"` + number(key.Primes[0]) + `"}`:             "no primes",
		public + primes + `,"oth":[{"r":"AQ","d":"AQ","t":"AQ"}]}`:   "more than two primes",
		public + primes + `,"oth":"x"}`:                              "more than two primes",
		`{"kty":"oct","k":"` + encode(string(secret)) + `","oth":1}`: "", // of another kind of key it means nothing
	} {
		err := keys.JWK([]byte(text)).Err()
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

func TestJWK(t *testing.T) {
	// The key of RFC 7515 appendix A.3, and its public half.
	const private = `{"kty":"EC","crv":"P-256","kid":"a3","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
		"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`
	require.NoError(t, keys.JWK([]byte(private)).Err())
	require.Equal(t, "a3", keys.JWK([]byte(private)).ID())
	change := func(old, new string) string {
		require.Contains(t, private, old)
		return strings.Replace(private, old, new, 1)
	}
	for name, text := range map[string]string{
		"duplicate member":   change(`"kid":"a3"`, `"kid":"a3","kid":"a4"`),
		"use enc":            change(`"kid":"a3"`, `"use":"enc"`),
		"key_ops":            change(`"kid":"a3"`, `"key_ops":["deriveKey"]`),
		"alg of another key": change(`"kid":"a3"`, `"alg":"RS256"`),
		"unknown alg":        change(`"kid":"a3"`, `"alg":"ES256K"`),
		"off the curve":      change(`x_FEzRu9`, `x_FEzRu8`),
		"no key type":        change(`"kty":"EC",`, ``),
		"not JSON":           "x",
	} {
		require.Error(t, keys.JWK([]byte(text)).Err(), name)
		require.NotContains(t, keys.JWK([]byte(text)).Err().Error(), "jpsQnn", name)
	}
	oct := `{"kty":"oct","alg":"HS256","k":"` + encode(string(secret)) + `"}`
	list, err := keys.ParseSet([]byte(`{"keys":[` + oct + `]}`))
	require.NoError(t, err)
	require.Equal(t, keys.Secret(secret).ID(), list[0].ID())
	list, err = keys.ParseSet([]byte(`{"keys":[` + private + `,{"kty":"OKP","crv":"X25519","x":"AAAA"},` +
		change(`"kid":"a3"`, `"use":"enc"`) + `]}`))
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "a3", list[0].ID())
	for name, text := range map[string]string{
		"no key":     `{"keys":[]}`,
		"not a set":  private,
		"twice":      `{"keys":[` + private + `,` + private + `]}`,
		"mixed":      `{"keys":[` + private + `,` + oct + `]}`,
		"a weak one": `{"keys":[` + private + `,{"kty":"oct","k":"AAAA"}]}`,
	} {
		_, err := keys.ParseSet([]byte(text))
		require.Error(t, err, name)
	}
}

func TestANilSetIsEmpty(t *testing.T) {
	var set *keys.Set
	require.True(t, set.Empty())
	require.Empty(t, set.IDs())
	found, known := set.Find("a", keys.RS256, nil)
	require.Empty(t, found)
	require.False(t, known)
}

// oddSigner is a signer of a host, which does what sign does.
type oddSigner struct {
	ed25519.PrivateKey
	sign func(func() ([]byte, error)) ([]byte, error)
}

func (s *oddSigner) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(func() ([]byte, error) { return s.PrivateKey.Sign(random, message, opts) })
}

// A signer that does not return holds nobody up for longer than the context of the call, and gathers no goroutines without end.
func TestASignerThatDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		var hangs atomic.Bool
		var running atomic.Int64
		wellAgain := make(chan struct{})
		key := keys.Private(&oddSigner{private, func(sign func() ([]byte, error)) ([]byte, error) {
			running.Add(1)
			defer running.Add(-1)
			if hangs.Load() {
				<-wellAgain
			}
			return sign()
		}})
		require.NoError(t, key.Err())
		input := []byte("header.payload")
		sign := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			signature, err := key.Sign(ctx, input)
			if err == nil {
				require.True(t, key.Verify(input, signature))
			}
			return err
		}
		require.NoError(t, sign())
		hangs.Store(true)
		var all sync.WaitGroup
		for range 300 {
			all.Go(func() { require.ErrorIs(t, sign(), context.DeadlineExceeded) })
		}
		all.Wait()
		require.EqualValues(t, 256, running.Load())
		input[0] = 'x' // it belongs to the caller
		hangs.Store(false)
		require.ErrorContains(t, sign(), "the signer has not answered 256 calls")
		close(wellAgain)
		synctest.Wait()
		require.Zero(t, running.Load())
		require.NoError(t, sign())
	})
}

// A key whose last signature has failed is not ready until another one succeeds. A client that goes away is no failure.
func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		away, calls := false, 0
		key := keys.Private(&oddSigner{private, func(sign func() ([]byte, error)) ([]byte, error) {
			if calls++; away {
				return nil, errors.New("throttled")
			}
			return sign()
		}})
		require.NoError(t, key.Ready(t.Context()))
		require.Equal(t, 1, calls, "the one of Private")
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = key.Sign(gone, []byte("x")) // it may still have been in time
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		synctest.Wait()
		away = true
		require.NoError(t, key.Ready(t.Context()), "nobody knows yet")
		_, err = key.Sign(t.Context(), []byte("x"))
		require.ErrorContains(t, err, "throttled")
		require.ErrorContains(t, key.Ready(t.Context()), "throttled")
		away = false
		before := calls
		require.NoError(t, key.Ready(t.Context()))
		require.NoError(t, key.Ready(t.Context()))
		require.Equal(t, before+1, calls)
		require.NoError(t, keys.Secret(secret).Ready(t.Context()))
		require.ErrorContains(t, keys.Public(private.Public()).Ready(t.Context()), "no private part")
		require.Error(t, (*keys.Key)(nil).Ready(t.Context()))
	})
}

// What goes wrong in a signer is an error of the call.
func TestASignerThatPanics(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	how := func(sign func() ([]byte, error)) ([]byte, error) { return sign() }
	key := keys.Private(&oddSigner{private, func(sign func() ([]byte, error)) ([]byte, error) { return how(sign) }})
	require.NoError(t, key.Err())
	for want, odd := range map[string]func(func() ([]byte, error)) ([]byte, error){
		"the signer panicked: no session":    func(func() ([]byte, error)) ([]byte, error) { panic("no session") },
		"the signer has ended its goroutine": func(func() ([]byte, error)) ([]byte, error) { runtime.Goexit(); return nil, nil },
		"does not verify":                    func(func() ([]byte, error)) ([]byte, error) { return make([]byte, 64), nil },
	} {
		how = odd
		_, err := key.Sign(t.Context(), []byte("x"))
		require.ErrorContains(t, err, want)
	}
}
