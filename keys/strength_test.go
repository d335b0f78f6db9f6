package keys_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crypto/x509"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

// smallOrder are the encodings of the Ed25519 points of small order, with both values of the sign bit.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func TestEd25519KeysOfSmallOrderAreRefused(t *testing.T) {
	for _, encoded := range smallOrder {
		public, err := hex.DecodeString(encoded)
		require.NoError(t, err)
		require.ErrorContains(t, keys.Public(ed25519.PublicKey(public)).Err(), "small order", encoded)
		jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + encode(string(public)) + `"}`
		require.Error(t, keys.JWK([]byte(jwk)).Err(), encoded)
	}
	// This shows that the list is right: for each of its points, a signature that nobody made is valid for some message.
	for _, encoded := range smallOrder {
		public, _ := hex.DecodeString(encoded)
		forged := make([]byte, ed25519.SignatureSize)
		forged[0] = 1 // R is the identity, S is 0
		found := false
		for i := range 200 {
			found = found || ed25519.Verify(public, []byte{byte(i)}, forged)
		}
		require.True(t, found || strings.HasPrefix(encoded, "01") && strings.HasSuffix(encoded, "80"), encoded)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	require.NoError(t, keys.Public(public).Err())
}

func TestWeakRSAKeysAreRefused(t *testing.T) {
	good := rsaKey().PublicKey
	with := func(change func(*rsa.PublicKey)) *rsa.PublicKey {
		k := rsa.PublicKey{N: new(big.Int).Set(good.N), E: good.E}
		change(&k)
		return &k
	}
	bits := func(n uint) *big.Int { return new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), n-1), big.NewInt(1)) }
	for name, tc := range map[string]struct {
		key  *rsa.PublicKey
		want string
	}{
		"2047 bits":    {with(func(k *rsa.PublicKey) { k.N = bits(2047) }), "2047 bits"},
		"8193 bits":    {with(func(k *rsa.PublicKey) { k.N = bits(8193) }), "8193 bits"},
		"even":         {with(func(k *rsa.PublicKey) { k.N.SetBit(k.N, 0, 0) }), "even"},
		"exponent 1":   {with(func(k *rsa.PublicKey) { k.E = 1 }), "exponent 1"},
		"exponent 2":   {with(func(k *rsa.PublicKey) { k.E = 2 }), "exponent 2"},
		"exponent 0":   {with(func(k *rsa.PublicKey) { k.E = 0 }), "exponent 0"},
		"even exp":     {with(func(k *rsa.PublicKey) { k.E = 65536 }), "exponent 65536"},
		"ROCA":         {with(func(k *rsa.PublicKey) { k.N = rocaModulus() }), "ROCA"},
		"no modulus":   {&rsa.PublicKey{E: 65537}, "empty"},
		"zero modulus": {&rsa.PublicKey{N: new(big.Int), E: 65537}, "0 bits"},
	} {
		require.ErrorContains(t, keys.Public(tc.key).Err(), tc.want, name)
	}
	require.NoError(t, keys.Public(with(func(k *rsa.PublicKey) { k.E = 3 })).Err())
	require.NoError(t, keys.Public(with(func(k *rsa.PublicKey) { k.N = bits(8192) })).Err())
}

// rocaModulus returns a number as the weak library made it: a power of 65537 modulo the product of many small primes.
func rocaModulus() *big.Int {
	product := big.NewInt(1)
	for p := int64(2); p <= 167; p++ {
		if big.NewInt(p).ProbablyPrime(20) {
			product.Mul(product, big.NewInt(p))
		}
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(12345), product)
	factor := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 2047), product)
	n.Add(n, factor.Mul(factor.Add(factor, big.NewInt(2)), product))
	return n
}

// versionedKMS is a KMS that signs with its newest key version. That version changes at some moment.
type versionedKMS struct {
	crypto.Signer
	newest crypto.Signer
}

func (k *versionedKMS) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.newest.Sign(r, digest, opts)
}

func TestSignaturesOfAForeignSignerAreVerified(t *testing.T) {
	for name, pair := range map[string][2]crypto.Signer{
		"ES256": {p256(t), p256(t)},
		"RS256": {rsaKey(), must(rsa.GenerateKey(rand.Reader, 2048))},
		"EdDSA": {ed(t), ed(t)},
	} {
		kms := &versionedKMS{Signer: pair[0], newest: pair[0]}
		k := keys.Private(kms)
		require.NoError(t, k.Err(), name)
		_, err := k.Sign(t.Context(), []byte("x"))
		require.NoError(t, err, name)
		kms.newest = pair[1]
		_, err = k.Sign(t.Context(), []byte("x"))
		require.ErrorContains(t, err, "another key version", name)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func ed(t testing.TB) ed25519.PrivateKey {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return private
}

// silentSigner never answers.
type silentSigner struct{ crypto.Signer }

func (s silentSigner) SignContext(ctx context.Context, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

type deafSigner struct {
	crypto.Signer
	end chan struct{}
}

func (s deafSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	<-s.end
	return nil, io.EOF
}

func TestAKMSThatDoesNotAnswerDoesNotHoldUpTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.Error(t, keys.Private(silentSigner{p256(t)}).Err())
		deaf := deafSigner{p256(t), make(chan struct{})}
		require.ErrorContains(t, keys.Private(deaf).Err(), "did not sign within")
		require.LessOrEqual(t, time.Since(start), 20*time.Second)
		close(deaf.end)
	})
}

func TestEmptyKeysAreMistakes(t *testing.T) {
	var noRSA *rsa.PrivateKey
	var noEC *ecdsa.PrivateKey
	for name, k := range map[string]*keys.Key{
		"nil":           keys.Private(nil),
		"nil RSA":       keys.Private(noRSA),
		"nil ECDSA":     keys.Private(noEC),
		"empty Ed25519": keys.Private(ed25519.PrivateKey{}),
		"short Ed25519": keys.Private(ed25519.PrivateKey{1, 2, 3}),
		"nil option":    keys.Secret(secret, nil),
		"zero":          {},
	} {
		require.Error(t, k.Err(), name)
		require.False(t, k.CanSign() || k.Verify(nil, nil), name)
		require.Nil(t, k.Current(), name)
		_, err := k.Sign(t.Context(), nil)
		require.Error(t, err, name)
	}
	var none *keys.Key
	require.Error(t, none.Err())
	require.Empty(t, none.ID())
	require.Nil(t, none.Current())
	require.Nil(t, (*keys.Ring)(nil).Current())
	require.Error(t, (*keys.Ring)(nil).Rotate(keys.Secret(secret)))
	require.Error(t, (&keys.Ring{}).Err())
	require.NoError(t, (&keys.Files{}).Close())
	require.NoError(t, (&keys.Remote{}).Close())
	_, err := keys.NewRing(nil)
	require.Error(t, err)
	_, err = keys.NewSet(nil, nil)
	require.Error(t, err)
}

// The same key with another algorithm is another key. It has its own id, so the tokens of the old algorithm stay valid.
func TestRotateToAnotherAlgorithm(t *testing.T) {
	long := append(append([]byte(nil), secret...), other...)
	for name, pair := range map[string][2]*keys.Key{
		"RS256 to PS256": {keys.Private(rsaKey()), keys.Private(rsaKey(), keys.WithAlgorithm(keys.PS256))},
		"HS256 to HS512": {keys.Secret(long), keys.Secret(long, keys.WithAlgorithm(keys.HS512))},
	} {
		require.NotEqual(t, pair[0].ID(), pair[1].ID(), name)
		ring, err := keys.NewRing(pair[0])
		require.NoError(t, err)
		require.NoError(t, ring.Rotate(pair[1]), name)
		require.Equal(t, []string{pair[1].ID(), pair[0].ID()}, ring.Current().IDs(), name)
	}
	ring, err := keys.NewRing(keys.Private(rsaKey(), keys.WithID("one")))
	require.NoError(t, err)
	same := keys.Private(rsaKey(), keys.WithID("one"), keys.WithAlgorithm(keys.PS256))
	require.ErrorContains(t, ring.Rotate(same), "another key has the id")
	require.Equal(t, keys.RS256, ring.Current().Signing().Algorithm(), "nothing has changed")
}

func TestKeyTextAsItTravels(t *testing.T) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	require.NoError(t, err)
	plain := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	want := keys.Private(rsaKey()).ID()
	for name, text := range map[string]string{
		"plain":            plain,
		"byte order mark":  "\ufeff" + plain,
		"CRLF":             strings.ReplaceAll(plain, "\n", "\r\n"),
		"CR":               strings.ReplaceAll(plain, "\n", "\r"),
		"literal \\n":      strings.ReplaceAll(plain, "\n", `\n`),
		"literal \\r\\n":   strings.ReplaceAll(plain, "\n", `\r\n`),
		"quoted":           `"` + strings.ReplaceAll(plain, "\n", `\n`) + `"`,
		"single quotes":    "'" + plain + "'",
		"indented":         "  " + strings.ReplaceAll(plain, "\n", "\n    "),
		"tabs":             "\t" + strings.ReplaceAll(plain, "\n", "\n\t"),
		"spaces for lines": strings.ReplaceAll(plain, "\n", " "),
		"one line":         strings.ReplaceAll(strings.ReplaceAll(plain, "\n", ""), "-----END", "-----END"),
		"text around it":   "# the key\n" + plain + "\n# end",
		"its public half": plain + string(pem.EncodeToMemory(
			&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(rsaKey().Public()))})),
		"twice":              plain + plain,
		"trailing line ends": plain + "\n\n\n",
	} {
		k := keys.PEM([]byte(text))
		require.NoError(t, k.Err(), name)
		require.Equal(t, want, k.ID(), name)
		require.True(t, k.CanSign(), name)
	}
	jwk := `{"kty":"oct","k":"` + encode(string(secret)) + `"}`
	for name, text := range map[string]string{"byte order mark": "\ufeff" + jwk, "quoted": "'" + jwk + "'",
		"lines": "\r\n " + jwk + "\r\n"} {
		require.NoError(t, keys.JWK([]byte(text)).Err(), name)
	}
	pss := []byte{0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for name, tc := range map[string]struct{ text, want string }{
		"encrypted PKCS#8": {block("ENCRYPTED PRIVATE KEY", pkcs8), "encrypted"},
		"encrypted PKCS#1": {strings.Replace(block("RSA PRIVATE KEY", pkcs8), "\n",
			"\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1), "encrypted"},
		"RSA-PSS":           {block("PRIVATE KEY", pss), "RSA-PSS"},
		"RSA-PSS public":    {block("PUBLIC KEY", pss), "RSA-PSS"},
		"JWK":               {jwk, "keys.JWK"},
		"OpenSSH":           {block("OPENSSH PRIVATE KEY", pkcs8), "ssh-keygen"},
		"OpenSSH, Ed25519":  {block("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00\x00\x00\x00\x0bssh-ed25519\x00\x00")), "openssl genpkey"},
		"a certificate ask": {block("CERTIFICATE REQUEST", pkcs8), "not read"},
		"damaged":           {strings.Replace(plain, "M", "%", 3), "damaged"},
		"cut":               {plain[:len(plain)/2], "no key in the text"},
		"nothing":           {"", "no key in the text"},
		"another private": {plain + block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(p256(t)))),
			"2 different keys"},
		"two public": {block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(p256(t).Public()))) +
			block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(p256(t).Public()))), "2 different keys"},
		"begin without end":   {"-----BEGIN PRIVATE KEY-----\n", "no key in the text"},
		"begin and other end": {strings.Replace(plain, "END PRIVATE", "END PUBLIC", 1), "damaged"},
	} {
		err := keys.PEM([]byte(tc.text)).Err()
		require.ErrorContains(t, err, tc.want, name)
	}
	require.ErrorContains(t, keys.JWK([]byte(plain)).Err(), "PEM")
}

// Two programs that cut white space in different ways would have two different secrets.
func TestSecretsWithSomethingAroundThem(t *testing.T) {
	for name, text := range map[string]string{
		"line end":        string(secret) + "\n",
		"CRLF":            string(secret) + "\r\n",
		"space":           " " + string(secret),
		"quotes":          `"` + string(secret) + `"`,
		"single quotes":   "'" + string(secret) + "'",
		"byte order mark": "\ufeff" + string(secret),
		"tab":             string(secret) + "\t",
	} {
		require.ErrorContains(t, keys.Secret([]byte(text)).Err(), "around it", name)
	}
	random := make([]byte, 32) // random bytes may begin or end with anything
	rand.Read(random)
	random[0], random[1], random[31] = ' ', 0, '\n'
	require.NoError(t, keys.Secret(random).Err())
}

func TestKeyOperations(t *testing.T) {
	public := `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
		`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","key_ops":`
	private := `{"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",` + public[1:]
	for text, good := range map[string]bool{
		public + `["verify"]}`:        true,
		public + `["sign"]}`:          false,
		public + `["sign","verify"]}`: true,
		public + `[]}`:                true,
		private + `["sign"]}`:         true,
		private + `["verify"]}`:       true,
		private + `["deriveKey"]}`:    false,
	} {
		require.Equal(t, good, keys.JWK([]byte(text)).Err() == nil, text)
	}
}

func TestSetsAndRings(t *testing.T) {
	one, two := keys.Secret(secret), keys.Secret(other)
	set, err := keys.NewSet(nil, one, two)
	require.NoError(t, err)
	require.Nil(t, set.Signing())
	found, known := set.Find("", keys.HS256, nil)
	require.Empty(t, found, "which of the two?")
	require.False(t, known)
	found, known = set.Find(two.ID(), keys.HS256, nil)
	require.Equal(t, []*keys.Key{two}, found)
	require.True(t, known)
	found, known = set.Find(two.ID(), keys.HS384, nil)
	require.Empty(t, found, "a key has one algorithm")
	require.True(t, known)
	found, _ = one.Current().Find("", keys.HS256, nil)
	require.Equal(t, []*keys.Key{one}, found, "the only one")
	found, _ = one.Current().Find("", keys.HS256, []keys.Algorithm{keys.RS256})
	require.Empty(t, found)
	require.True(t, verifies(t, one, one))
	require.False(t, verifies(t, one, two))
	_, err = keys.NewSet(one, one)
	require.ErrorContains(t, err, "two keys have the id")
	_, err = keys.NewSet(keys.Public(p256(t).Public()))
	require.ErrorContains(t, err, "cannot sign")
	list := set.Keys()
	list[0] = nil
	require.NotNil(t, set.Keys()[0], "the list belongs to the caller")
}
