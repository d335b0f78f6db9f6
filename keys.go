package signet

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Key is one key with its algorithm and id. Make it with Secret, Signer, PublicKey, PEM or JWK; a mistake in its making is
// reported by whatever takes the Key: New, NewVerifier, NewKeyring, Keyring.Rotate. It prints as its id and algorithm.
type Key struct {
	key *key
	err error
}

// key is a checked key; it never changes.
type key struct {
	mechanism
	id     string
	alg    Algorithm
	public crypto.PublicKey // nil for a secret, which is never published
	print  string           // the thumbprint: the same for the same key, whatever its id

	accessHeader, refreshHeader string // the encoded protected headers of tokens signed with it
}

// SigningKeys is what New signs and verifies with: a Key that can sign, or a *Keyring.
type SigningKeys interface {
	VerificationKeys
	signingRing() (*Keyring, error)
}

// VerificationKeys is what NewVerifier trusts: a Key, a *Keyring, JWKS, or Issuers.
type VerificationKeys interface {
	// sources returns, by issuer, where the keys are; "" stands for whatever issuer the rules say.
	sources(*verifierConfig) ([]*issuer, error)
}

// KeyOption is an option of Secret, Signer, PublicKey and PEM.
type KeyOption interface{ applyKey(*keySpec) }

type keyOption func(*keySpec)

func (o keyOption) applyKey(s *keySpec) { o(s) }

type keySpec struct {
	id  string
	alg Algorithm
}

// WithKeyID sets the key's id ("kid"). Default: its RFC 7638 thumbprint, which needs no agreement between servers.
func WithKeyID(id string) KeyOption { return keyOption(func(s *keySpec) { s.id = id }) }

// WithAlgorithm pins the algorithm. Default: HS256 for secrets, RS256 for RSA, what the curve says for the others.
func WithAlgorithm(alg Algorithm) KeyOption { return keyOption(func(s *keySpec) { s.alg = alg }) }

func specOf(opts []KeyOption) (spec keySpec) {
	for _, opt := range opts {
		if opt != nil {
			opt.applyKey(&spec)
		}
	}
	return spec
}

// Secret makes an HMAC key of random bytes: at least 32 for HS256, 48 for HS384, 64 for HS512 (RFC 7518 section 3.2).
// Whoever has it can both verify and mint tokens, so it must not leave the services that log users in; give others a
// JWKS. The bytes are copied.
func Secret(secret []byte, opts ...KeyOption) Key {
	spec := specOf(opts)
	if spec.alg == "" {
		spec.alg = HS256
	}
	return makeKey("Secret", func() (*key, error) { return newSecret(slices.Clone(secret), spec) })
}

func newSecret(secret []byte, spec keySpec) (*key, error) {
	if !strings.HasPrefix(string(spec.alg), "HS") || hashes[spec.alg] == 0 {
		return nil, fmt.Errorf("a secret cannot be used with %q", spec.alg)
	}
	if err := checkSecret(secret, hashes[spec.alg].Size()); err != nil {
		return nil, err
	}
	return finishKey(&key{mechanism: newHMAC(spec.alg, secret), id: spec.id, alg: spec.alg}, secret)
}

// placeholders stand in documentation and templates, and so in every attacker's word list.
var placeholders = []string{"changeme", "change-me", "change_me", "your-256-bit-secret", "your-384-bit-secret",
	"your-512-bit-secret", "a-string-secret-at-least-256-bits-long",
	"super-secret-jwt-token-with-at-least-32-characters-long"}

func checkSecret(secret []byte, floor int) error {
	const remedy = "; use random bytes, such as those of: openssl rand -base64 48"
	lower := string(bytes.ToLower(secret))
	switch {
	case len(secret) == 0:
		return errors.New("the secret is empty" + remedy)
	case lower == "secret", lower == "password",
		slices.ContainsFunc(placeholders, func(p string) bool { return strings.Contains(lower, p) }):
		return errors.New("the secret is a well-known placeholder" + remedy)
	case len(secret) < floor:
		return fmt.Errorf("the secret has %d bytes, at least %d are needed%s", len(secret), floor, remedy)
	case isRepetition(secret):
		return errors.New("the secret repeats a few bytes" + remedy)
	}
	return nil
}

// isRepetition reports whether secret is a unit of under 16 bytes, over and over.
func isRepetition(secret []byte) bool {
	for unit := 1; unit < 16 && unit < len(secret); unit++ {
		if bytes.Equal(secret[unit:], secret[:len(secret)-unit]) {
			return true
		}
	}
	return false
}

// Signer makes a signing key of an RSA, ECDSA or Ed25519 private key, in memory or behind a KMS or HSM (see
// ContextSigner). It signs a few bytes at once, to see that the signer and its public key belong together.
func Signer(signer crypto.Signer, opts ...KeyOption) Key {
	return makeKey("Signer", func() (*key, error) { return newSigner(signer, specOf(opts)) })
}

// PublicKey makes a key that verifies only, of an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
func PublicKey(public crypto.PublicKey, opts ...KeyOption) Key {
	return makeKey("PublicKey", func() (*key, error) { return newAsymmetric(public, nil, specOf(opts)) })
}

// PEM makes a key of the first key in PEM text: a private key (PKCS#8, PKCS#1, SEC1), or a public key (PKIX, PKCS#1) or
// certificate, which verifies only. Encrypted keys are not read. A certificate's dates and names are not looked at.
func PEM(text []byte, opts ...KeyOption) Key {
	return makeKey("PEM", func() (*key, error) { return newPEM(text, specOf(opts)) })
}

// JWK makes a key of a JSON Web Key (RFC 7517), private or public, RSA, EC, OKP or oct, with its "kid" and "alg". It
// refuses keys whose "use" or "key_ops" forbid signatures.
func JWK(text []byte) Key {
	return makeKey("JWK", func() (*key, error) { return parseJWK(text) })
}

// JWKSet makes keys of a JWK Set document (RFC 7517 section 5), in its order. Keys for encryption are left out.
func JWKSet(text []byte) ([]Key, error) {
	parsed, err := parseJWKS(text, true)
	if err != nil {
		return nil, fmt.Errorf("signet.JWKSet: %w", err)
	}
	keys := make([]Key, len(parsed))
	for i, k := range parsed {
		keys[i] = Key{key: k}
	}
	return keys, nil
}

// ID is the key's id, empty if it could not be made.
func (k Key) ID() string {
	if k.key == nil {
		return ""
	}
	return k.key.id
}

// Err is the mistake in the key's making, nil if it is good.
func (k Key) Err() error {
	if k.key == nil && k.err == nil {
		return errors.New("signet: the Key is the zero value; make it with Secret, Signer, PublicKey, PEM or JWK")
	}
	return k.err
}

// Format implements fmt.Formatter: a Key prints as its id and algorithm, whatever the verb.
func (k Key) Format(state fmt.State, _ rune) {
	if k.key == nil {
		fmt.Fprint(state, "Key{invalid}")
		return
	}
	fmt.Fprintf(state, "Key{%s %s}", k.key.id, k.key.alg)
}

func (k Key) signingRing() (*Keyring, error) { return NewKeyring(k) }

func (k Key) sources(cfg *verifierConfig) ([]*issuer, error) {
	if err := k.Err(); err != nil {
		return nil, err
	}
	set, err := newKeySet(nil, k.key)
	if err != nil {
		return nil, err
	}
	ring := &Keyring{}
	ring.state.Store(set)
	return ring.sources(cfg)
}

func makeKey(name string, build func() (*key, error)) Key {
	k, err := build()
	if err != nil {
		return Key{err: fmt.Errorf("signet.%s: %w", name, err)}
	}
	return Key{key: k}
}

func newSigner(signer crypto.Signer, spec keySpec) (*key, error) {
	if isNil(signer) {
		return nil, errors.New("the signer is nil")
	}
	k, err := newAsymmetric(signer.Public(), signer, spec)
	if err != nil {
		return nil, err
	}
	probe := make([]byte, 32)
	rand.Read(probe)
	signature, err := k.sign(context.Background(), probe)
	if err != nil {
		return nil, fmt.Errorf("the signer does not sign: %w", err)
	}
	if !k.verify(probe, signature) {
		return nil, errors.New("the signer's signatures do not verify with its public key")
	}
	return k, nil
}

// isNil also finds the nil pointers of the standard library's keys, whose methods panic.
func isNil(signer crypto.Signer) bool {
	switch signer := signer.(type) {
	case nil:
		return true
	case *rsa.PrivateKey:
		return signer == nil
	case *ecdsa.PrivateKey:
		return signer == nil
	}
	return false
}

// newMaterial makes a key of what a parser returned: a private key, which signs, or a public one.
func newMaterial(material any, spec keySpec) (*key, error) {
	if signer, ok := material.(crypto.Signer); ok {
		return newSigner(signer, spec)
	}
	return newAsymmetric(material, nil, spec)
}

func newAsymmetric(public crypto.PublicKey, signer crypto.Signer, spec keySpec) (*key, error) {
	m, alg, err := newMechanism(public, signer, spec.alg)
	if err != nil {
		return nil, err
	}
	return finishKey(&key{mechanism: m, id: spec.id, alg: alg, public: public}, public)
}

// finishKey gives a key its default id and its headers; material is what the thumbprint is of.
func finishKey(k *key, material any) (*key, error) {
	print, err := thumbprint(material)
	if err != nil {
		return nil, err
	}
	k.print = print
	if k.id == "" {
		k.id = print
	}
	if len(k.id) > 256 || !utf8.ValidString(k.id) {
		return nil, errors.New("the key id is not UTF-8 text of at most 256 bytes")
	}
	k.accessHeader, k.refreshHeader = encodeHeader(k, accessType), encodeHeader(k, refreshType)
	return k, nil
}

func newPEM(text []byte, spec keySpec) (*key, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "EC PARAMETERS" { // openssl writes the curve's name before the key
			continue
		}
		parsed, err := parsePEMBlock(block)
		if err != nil {
			return nil, err
		}
		return newMaterial(parsed, spec)
	}
	return nil, errors.New("there is no key in the text")
}

func parsePEMBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	return nil, fmt.Errorf("PEM blocks of type %q are not read", block.Type)
}
