package keys

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // registers the hashes for crypto.Hash.New
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync"
)

// Algorithm is a JWS signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1). Each [Key] has exactly one. A
// token cannot choose an algorithm that its key is not made for.
type Algorithm string

// The supported algorithms.
const (
	HS256 Algorithm = "HS256"
	HS384 Algorithm = "HS384"
	HS512 Algorithm = "HS512"
	RS256 Algorithm = "RS256"
	RS384 Algorithm = "RS384"
	RS512 Algorithm = "RS512"
	PS256 Algorithm = "PS256"
	PS384 Algorithm = "PS384"
	PS512 Algorithm = "PS512"
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
	EdDSA Algorithm = "EdDSA" // Ed25519
)

var hashes = map[Algorithm]crypto.Hash{
	HS256: crypto.SHA256, HS384: crypto.SHA384, HS512: crypto.SHA512,
	RS256: crypto.SHA256, RS384: crypto.SHA384, RS512: crypto.SHA512,
	PS256: crypto.SHA256, PS384: crypto.SHA384, PS512: crypto.SHA512,
	ES256: crypto.SHA256, ES384: crypto.SHA384, ES512: crypto.SHA512,
	EdDSA: 0,
}

// Supported reports whether this package knows the algorithm.
func (a Algorithm) Supported() bool {
	_, known := hashes[a]
	return known
}

// asymmetric reports whether the algorithm has public keys.
func (a Algorithm) asymmetric() bool { return a.Supported() && !strings.HasPrefix(string(a), "HS") }

// mechanism is a key with its algorithm. Only its implementations make and verify signatures. They are safe for
// concurrent use.
type mechanism interface {
	verify(input, signature []byte) bool
	sign(ctx context.Context, input []byte) ([]byte, error)
	canSign() bool
}

// ContextSigner is an optional interface of a [crypto.Signer] whose key is in a KMS or HSM behind a network. If a
// signer implements it, SignContext is called instead of Sign. SignContext must return when ctx ends, and must be safe
// for concurrent use. A login and a refresh make two signatures, one after the other, and have five seconds for all that they do.
type ContextSigner interface {
	SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

var errVerifyOnly = errors.New("the key has no private part")

// digestSigner signs with a crypto.Signer. If the signer is nil, the key can only verify.
type digestSigner struct{ crypto.Signer }

func (s digestSigner) canSign() bool { return s.Signer != nil }

func (s digestSigner) signDigest(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	switch signer := s.Signer.(type) {
	case nil:
		return nil, errVerifyOnly
	case ContextSigner:
		return signer.SignContext(ctx, digest, opts)
	default:
		return signer.Sign(rand.Reader, digest, opts)
	}
}

// hmacKey is HS256, HS384 or HS512. It reuses HMAC states that already hold the secret, because the setup of a state
// takes as long as the HMAC of a token.
type hmacKey struct{ states sync.Pool }

type hmacState struct {
	mac hash.Hash
	sum [64]byte
}

func newHMAC(alg Algorithm, secret []byte) *hmacKey {
	k := &hmacKey{}
	k.states.New = func() any { return &hmacState{mac: hmac.New(hashes[alg].New, secret)} }
	return k
}

func (k *hmacKey) canSign() bool { return true }

func (k *hmacKey) verify(input, signature []byte) bool {
	state := k.states.Get().(*hmacState)
	ok := hmac.Equal(state.compute(input), signature)
	k.states.Put(state)
	return ok
}

func (k *hmacKey) sign(_ context.Context, input []byte) ([]byte, error) {
	state := k.states.Get().(*hmacState)
	defer k.states.Put(state)
	return append([]byte(nil), state.compute(input)...), nil
}

func (s *hmacState) compute(input []byte) []byte {
	s.mac.Reset()
	s.mac.Write(input)
	return s.mac.Sum(s.sum[:0])
}

// rsaKey is RSASSA-PKCS1-v1_5, or RSASSA-PSS with a salt as long as the hash (RFC 7518 sections 3.3 and 3.5).
type rsaKey struct {
	digestSigner
	public *rsa.PublicKey
	hash   crypto.Hash
	pss    *rsa.PSSOptions // nil: PKCS1-v1_5
}

func (k *rsaKey) verify(input, signature []byte) bool {
	digest := digest(k.hash, input)
	if k.pss != nil {
		return rsa.VerifyPSS(k.public, k.hash, digest, signature, k.pss) == nil
	}
	return rsa.VerifyPKCS1v15(k.public, k.hash, digest, signature) == nil
}

func (k *rsaKey) sign(ctx context.Context, input []byte) ([]byte, error) {
	if k.pss != nil {
		return k.signDigest(ctx, digest(k.hash, input), k.pss)
	}
	return k.signDigest(ctx, digest(k.hash, input), k.hash)
}

// ecdsaKey is ECDSA. A signature is R and then S, each as long as the order of the curve (RFC 7518 section 3.4).
type ecdsaKey struct {
	digestSigner
	public *ecdsa.PublicKey
	hash   crypto.Hash
	size   int // bytes of R and of S
}

func (k *ecdsaKey) verify(input, signature []byte) bool {
	if len(signature) != 2*k.size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:k.size]), new(big.Int).SetBytes(signature[k.size:])
	return ecdsa.Verify(k.public, digest(k.hash, input), r, s)
}

func (k *ecdsaKey) sign(ctx context.Context, input []byte) ([]byte, error) {
	der, err := k.signDigest(ctx, digest(k.hash, input), k.hash)
	if err != nil {
		return nil, err
	}
	var parts struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &parts); err != nil || len(rest) > 0 || parts.R.Sign() <= 0 || parts.S.Sign() <= 0 ||
		parts.R.BitLen() > 8*k.size || parts.S.BitLen() > 8*k.size {
		return nil, errors.New("the signer returned no ECDSA signature")
	}
	signature := make([]byte, 2*k.size)
	parts.R.FillBytes(signature[:k.size])
	parts.S.FillBytes(signature[k.size:])
	return signature, nil
}

// ed25519Key is EdDSA with Ed25519 (RFC 8037).
type ed25519Key struct {
	digestSigner
	public ed25519.PublicKey
}

func (k *ed25519Key) verify(input, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && ed25519.Verify(k.public, input, signature)
}

func (k *ed25519Key) sign(ctx context.Context, input []byte) ([]byte, error) {
	return k.signDigest(ctx, input, crypto.Hash(0))
}

func digest(h crypto.Hash, input []byte) []byte {
	state := h.New()
	state.Write(input)
	return state.Sum(nil)
}

// curves maps each ECDSA curve to its algorithm. Each of these algorithms is used with this curve only (RFC 7518
// section 3.4).
var curves = map[elliptic.Curve]Algorithm{elliptic.P256(): ES256, elliptic.P384(): ES384, elliptic.P521(): ES512}

// algorithmOn returns the algorithm of a curve, or "". A curve of the host's own may have a type that no map can have as a key.
func algorithmOn(curve elliptic.Curve) Algorithm {
	for known, algorithm := range curves {
		if known == curve {
			return algorithm
		}
	}
	return ""
}

// newMechanism pairs a public key with an algorithm. If alg is empty, it takes the usual algorithm of the key's type.
// It refuses keys that are weak or unusual, and keys that do not fit the algorithm. signer may be nil.
func newMechanism(public crypto.PublicKey, signer crypto.Signer, alg Algorithm) (mechanism, Algorithm, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return newRSA(public, digestSigner{signer}, cmp.Or(alg, RS256))
	case *ecdsa.PublicKey:
		return newECDSA(public, digestSigner{signer}, alg)
	case ed25519.PublicKey:
		return newEd25519(public, digestSigner{signer}, cmp.Or(alg, EdDSA))
	}
	return nil, "", fmt.Errorf("keys of type %T are not supported; use RSA, ECDSA or Ed25519", public)
}

func newRSA(public *rsa.PublicKey, signer digestSigner, alg Algorithm) (mechanism, Algorithm, error) {
	if public == nil || public.N == nil {
		return nil, "", errors.New("the RSA key is empty")
	}
	k := &rsaKey{digestSigner: signer, public: public, hash: hashes[alg]}
	switch alg {
	case RS256, RS384, RS512:
	case PS256, PS384, PS512:
		k.pss = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: k.hash}
	default:
		return nil, "", fmt.Errorf("an RSA key cannot be used with %q", alg)
	}
	return k, alg, checkRSA(public)
}

func newECDSA(public *ecdsa.PublicKey, signer digestSigner, alg Algorithm) (mechanism, Algorithm, error) {
	//lint:ignore SA1019 all other ways to read a key panic if it has no coordinates
	if public == nil || public.X == nil || public.Y == nil {
		return nil, "", errors.New("the ECDSA key is empty")
	}
	want := algorithmOn(public.Curve)
	if want == "" {
		return nil, "", errors.New("the curve is none of P-256, P-384, P-521")
	}
	if alg != "" && alg != want {
		return nil, "", fmt.Errorf("a %s key cannot be used with %q", public.Curve.Params().Name, alg)
	}
	if _, err := public.ECDH(); err != nil {
		return nil, "", errors.New("the public key is not a point of its curve")
	}
	size := (public.Curve.Params().BitSize + 7) / 8
	return &ecdsaKey{digestSigner: signer, public: public, hash: hashes[want], size: size}, want, nil
}

func newEd25519(public ed25519.PublicKey, signer digestSigner, alg Algorithm) (mechanism, Algorithm, error) {
	switch {
	case alg != EdDSA:
		return nil, "", fmt.Errorf("an Ed25519 key cannot be used with %q", alg)
	case len(public) != ed25519.PublicKeySize:
		return nil, "", errors.New("the Ed25519 public key has the wrong length")
	case isSmallOrder(public):
		return nil, "", errors.New("the Ed25519 public key is a point of small order: anybody can forge its signatures")
	}
	return &ed25519Key{digestSigner: signer, public: public}, EdDSA, nil
}

// checkRSA refuses moduli that can be factored, moduli that are so long that every check takes too much time, and
// unsafe exponents.
func checkRSA(public *rsa.PublicKey) error {
	switch bits := public.N.BitLen(); {
	case bits < 2048 || public.N.Sign() < 0:
		return fmt.Errorf("the RSA key has %d bits; use at least 2048", bits)
	case bits > 8192:
		return fmt.Errorf("the RSA key has %d bits; more than 8192 make every check a denial of service", bits)
	case public.E < 3 || public.E%2 == 0 || public.E > math.MaxInt32: // crypto/rsa refuses a larger one
		return fmt.Errorf("the RSA public exponent %d is unsafe; use 65537", public.E)
	case public.N.Bit(0) == 0:
		return errors.New("the RSA modulus is even")
	case isROCA(public.N):
		return errors.New("the RSA key has the ROCA weakness (CVE-2017-15361); make a new one")
	}
	return nil
}

// isROCA reports whether n looks like a modulus of Infineon's library (CVE-2017-15361). Such a modulus is a power of
// 65537 modulo each of these primes. An ordinary modulus has this property with a chance of about 2^-28.
func isROCA(n *big.Int) bool {
	for _, prime := range [...]int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157} {
		rest := new(big.Int).Mod(n, big.NewInt(prime)).Int64()
		power, isPower := int64(1), false
		for range prime {
			isPower = isPower || power == rest
			power = power * 65537 % prime
		}
		if !isPower {
			return false
		}
	}
	return true
}

// smallOrder are the encodings, with the sign bit cleared, of the Ed25519 points whose order divides 8. If such a point
// is the public key, signatures that were made without any secret are valid. The last two are second encodings of
// points above.
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func isSmallOrder(public ed25519.PublicKey) bool {
	point := slices.Clone(public)
	point[len(point)-1] &= 0x7f
	return slices.Contains(smallOrder[:], hex.EncodeToString(point))
}
