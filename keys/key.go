// Package keys holds the keys that sign and verify tokens: single keys ([Secret], [Private], [Public], [PEM], [JWK]),
// keys that change while a service runs ([Ring], [OpenFiles]), and the keys of another issuer ([OpenURL], [Discover]).
// Each of them is a [Source], and signet.New and signet.NewVerifier take a Source. A host can write its own Source, for
// example for a secret manager.
package keys

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/signet-go/signet/internal/isnil"
)

// Key is one key with its algorithm and its id. Make it with [Secret], [Private], [Public], [PEM] or [JWK]. If a key
// cannot be made, these functions return a Key that holds the error ([Key.Err]). The function that takes the key then
// returns that error: signet.New, signet.NewVerifier, [NewSet], [NewRing], [Ring.Announce] or [Ring.Rotate].
//
// A Key never changes and is safe for concurrent use. It prints as its id and its algorithm. It is also a [Source] of
// this one key.
type Key struct {
	mechanism  mechanism
	id         string
	algorithm  Algorithm
	public     crypto.PublicKey // nil for a secret, which is never published
	thumbprint string           // the same for the same key, whatever its id and its algorithm are
	issuer     string           // the member "issuer" of its JWK
	distrusted bool             // the signer is not from the standard library, so each signature is verified
	calls      chan struct{}    // the calls of the signer that are under way
	failed     *atomic.Bool     // the last signature of such a signer has failed
	variants   []*Key           // the same key with other algorithms, if its JWK names none
	err        error
	alone      *Set
}

// Option is an option of [Secret], [Private], [Public] and [PEM].
type Option interface{ applyKey(*spec) }

type option func(*spec)

func (o option) applyKey(s *spec) { o(s) }

// spec is what the options say about a key. An empty field means the default.
type spec struct {
	id        string
	algorithm Algorithm
}

// WithID sets the key's id ("kid"), at most 256 bytes of UTF-8. The default is the key's RFC 7638 thumbprint, so all
// servers use the same id for the same key. If the algorithm is not the usual one of the key's type, the default is the
// thumbprint, "-" and the algorithm. So the same key with another algorithm has another id.
//
// A key whose id changes is another key for the tokens that name the old id. To keep these, make a [Ring] of the key with the
// new id, which signs, and of the same key with the old one. If several processes run, first deploy a Ring in which the old id
// signs: a process that does not know the new id refuses its tokens. Never give the id of one key to another key: services that
// have fetched the old one would refuse the tokens of the new one until they fetch again.
func WithID(id string) Option { return option(func(s *spec) { s.id = id }) }

// WithAlgorithm sets the algorithm. The default is HS256 for secrets, RS256 for RSA keys, and the algorithm of the
// curve for all other keys.
func WithAlgorithm(algorithm Algorithm) Option {
	return option(func(s *spec) { s.algorithm = algorithm })
}

// Secret makes an HMAC key of random bytes: at least 32 for HS256, 48 for HS384, 64 for HS512 (RFC 7518 section 3.2).
// Everybody who has the secret can verify tokens and can also make them. So only the services that log users in may
// have it. Give other services a public key.
//
// Secret copies the bytes. It refuses well-known placeholders and repeated bytes. It also refuses a secret that is text
// with white space or quotes around it, because another program could cut them off.
func Secret(secret []byte, opts ...Option) *Key {
	return made("Secret", opts, func(s spec) (*Key, error) { return newSecret(slices.Clone(secret), s) })
}

func newSecret(secret []byte, s spec) (*Key, error) {
	s.algorithm = cmp.Or(s.algorithm, HS256)
	if !s.algorithm.Supported() || s.algorithm.asymmetric() {
		return nil, fmt.Errorf("a secret cannot be used with %q", s.algorithm)
	}
	if err := checkSecret(secret, hashes[s.algorithm].Size()); err != nil {
		return nil, err
	}
	return finish(&Key{mechanism: newHMAC(s.algorithm, secret), algorithm: s.algorithm}, s.id, secret, HS256)
}

// Private makes a signing key of an RSA, ECDSA or Ed25519 private key. The key may be in memory, or in a KMS or HSM (see
// [ContextSigner]). Private signs a few bytes at once, to check that the signer and its public key belong together. Public
// must answer at once. Private waits at most 10 seconds for this signature. If it does not come, the Key has an error, and the
// goroutine that waits for the signer ends when the signer returns. The key belongs to signet from then on: it must not be
// changed or wiped.
//
// If the type of the signer is not from the standard library, every signature is verified before it is used. Otherwise
// a KMS that changes to another key version would make tokens that no verifier accepts.
func Private(signer crypto.Signer, opts ...Option) *Key {
	return made("Private", opts, func(s spec) (*Key, error) { return newPrivate(signer, s) })
}

// Public makes a key that can only verify, of an *[rsa.PublicKey], *[ecdsa.PublicKey] or [ed25519.PublicKey].
func Public(public crypto.PublicKey, opts ...Option) *Key {
	return made("Public", opts, func(s spec) (*Key, error) { return newAsymmetric(public, nil, s) })
}

// PEM makes a key of PEM text. A private key (PKCS#8, PKCS#1, SEC1) signs. A public key (PKIX, PKCS#1) or a certificate
// can only verify. PEM does not check the dates and names of a certificate. A private key is preferred to public
// keys and certificates, and of several certificates the first one is used. Two different private keys, or two different public
// keys, are an error, and so is an encrypted key.
//
// Before it reads the text, PEM undoes what files, shells and editors do to key text: a byte order mark, quotes,
// indentation, and "\n" in place of line ends.
func PEM(text []byte, opts ...Option) *Key {
	return made("PEM", opts, func(s spec) (*Key, error) { return newPEM(text, s) })
}

// JWK makes a key of a JSON Web Key (RFC 7517), private or public, of type RSA, EC, OKP or oct, with its "kid" and
// "alg". It refuses a key if its "use" or "key_ops" forbid signatures.
func JWK(text []byte) *Key {
	return made("JWK", nil, func(spec) (*Key, error) {
		if bytes.Contains(text, []byte("-----BEGIN")) {
			return nil, errors.New("the text is PEM, not a JSON Web Key: use keys.PEM")
		}
		return parseJWK(cleanText(text))
	})
}

// ParseSet makes keys of a JWK Set document (RFC 7517 section 5), in the order of the document. It leaves out keys for
// encryption. It returns an error if a key is weak, if two keys have the same id, or if the set holds both secrets and
// other keys.
func ParseSet(text []byte) ([]*Key, error) {
	list, err := parseSet(cleanText(text))
	if err != nil {
		return nil, fmt.Errorf("keys.ParseSet: %w", err)
	}
	return list, nil
}

// made returns the key that build makes with the options. If build fails, it returns a Key that holds the error.
func made(name string, opts []Option, build func(spec) (*Key, error)) *Key {
	var s spec
	for _, opt := range opts {
		if opt == nil {
			return &Key{err: fmt.Errorf("keys.%s: an option is nil", name)}
		}
		opt.applyKey(&s)
	}
	k, err := build(s)
	if err != nil {
		return &Key{err: fmt.Errorf("keys.%s: %w", name, err)}
	}
	return k
}

// ID returns the key's id, or "" if the key could not be made.
func (k *Key) ID() string {
	if k == nil {
		return ""
	}
	return k.id
}

// Issuer returns the member "issuer" of the key's JWK, or "" if it has none. Entra's keys have it: it names the tenant whose
// tokens the key may sign, with "{tenantid}" for each of them.
func (k *Key) Issuer() string {
	if k == nil {
		return ""
	}
	return k.issuer
}

// Algorithm returns the one algorithm that the key is used with.
func (k *Key) Algorithm() Algorithm {
	if k == nil {
		return ""
	}
	return k.algorithm
}

// Err returns the error that was found when the key was made, or nil if the key is good. A nil Key and the zero value
// are not good.
func (k *Key) Err() error {
	switch {
	case k == nil:
		return errors.New("keys: the Key is nil; make it with Secret, Private, Public, PEM or JWK")
	case k.err == nil && k.mechanism == nil:
		return errors.New("keys: the Key is the zero value; make it with Secret, Private, Public, PEM or JWK")
	}
	return k.err
}

// Equal reports whether two keys have the same id, key material, algorithm and issuer. A private key is equal to its public half.
// Of two public RSA keys, both or neither must be of a JWK that names no algorithm. A key with an error equals only itself.
func (k *Key) Equal(other *Key) bool {
	if k.Err() != nil || other.Err() != nil { // or nil
		return k == other
	}
	return k.thumbprint == other.thumbprint && k.algorithm == other.algorithm && k.id == other.id && k.issuer == other.issuer &&
		(len(k.variants) == len(other.variants) || k.CanSign() != other.CanSign()) // a public key may have more algorithms
}

// Published reports whether a JWK Set shows the key. It never shows secrets.
func (k *Key) Published() bool { return k != nil && k.public != nil }

// CanSign reports whether the key has a private part.
func (k *Key) CanSign() bool { return k.Err() == nil && k.mechanism.canSign() }

// Verify reports whether signature is a signature of this key over input.
func (k *Key) Verify(input, signature []byte) bool {
	return k.Err() == nil && k.mechanism.verify(input, signature)
}

// Sign signs input. If the type of the signer is not from the standard library, Sign gives up when ctx ends, and a panic of the
// signer is an error. It returns the error of the key ([Key.Err]) or of the signer, that of ctx, or one that says that the key has
// no private part.
func (k *Key) Sign(ctx context.Context, input []byte) ([]byte, error) {
	if err := k.Err(); err != nil {
		return nil, err
	}
	if !k.distrusted {
		return k.mechanism.sign(ctx, input)
	}
	signature, err := k.call(ctx, input)
	if err == nil && !k.mechanism.verify(input, signature) {
		err = errors.New("the signer's signature does not verify with its public key; does it use another key version?")
	}
	if !errors.Is(err, context.Canceled) { // that is no fault of the signer
		k.failed.Store(err != nil)
	}
	if err != nil {
		return nil, err
	}
	return signature, nil
}

// Ready reports whether the key can sign now. If the last signature of a KMS or HSM has failed, Ready makes another one, of a few
// bytes, and returns its error. A key in memory is always ready. Other errors are those of [Key.Sign].
func (k *Key) Ready(ctx context.Context) error {
	switch {
	case k.Err() != nil:
		return k.Err()
	case !k.mechanism.canSign():
		return errVerifyOnly
	case !k.distrusted || !k.failed.Load():
		return nil
	}
	_, err := k.Sign(ctx, []byte("signet: is the key there?"))
	return err
}

// maxCalls is how many calls of one signer may be under way. If a signer does not return, further calls wait for that with their
// own contexts, and not each in a goroutine.
const maxCalls = 256

// call calls a signer that may never return: it gives up when ctx ends. Its goroutine ends when the signer returns.
func (k *Key) call(ctx context.Context, input []byte) ([]byte, error) {
	select {
	case k.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("the signer has not answered %d calls: %w", maxCalls, ctx.Err())
	}
	type answer struct {
		signature []byte
		err       error
	}
	answers := make(chan answer, 1)
	input = bytes.Clone(input) // it belongs to the caller, who may not wait
	go func() {
		a := answer{err: errors.New("the signer has ended its goroutine")}
		defer func() {
			if reason := recover(); reason != nil { // here nobody else recovers
				a.err = fmt.Errorf("the signer panicked: %v", reason)
			}
			<-k.calls
			answers <- a
		}()
		a.signature, a.err = k.mechanism.sign(ctx, input)
	}()
	select {
	case a := <-answers:
		return a.signature, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the signer does not answer: %w", ctx.Err())
	}
}

// with returns the key for an algorithm, or nil if the key cannot be used with it. A key whose JWK names no algorithm
// has a variant for each algorithm of its type.
func (k *Key) with(algorithm Algorithm) *Key {
	if k.algorithm == algorithm {
		return k
	}
	for _, variant := range k.variants {
		if variant.algorithm == algorithm {
			return variant
		}
	}
	return nil
}

// Current implements [Source]: it returns a set of this one key.
func (k *Key) Current() *Set {
	if k.Err() != nil {
		return nil
	}
	return k.alone
}

// Refetch implements [Source]. It returns the same set as Current, because a single key never changes.
func (k *Key) Refetch(context.Context, *Set) (*Set, error) { return k.Current(), k.Err() }

// Format implements [fmt.Formatter]. Every verb prints only the id and the algorithm.
func (k Key) Format(state fmt.State, _ rune) {
	if k.Err() != nil {
		fmt.Fprint(state, "Key{invalid}")
		return
	}
	fmt.Fprintf(state, "Key{%s %s}", k.id, k.algorithm)
}

// probeTimeout is how long Private waits for the first signature.
const probeTimeout = 10 * time.Second

func newPrivate(signer crypto.Signer, s spec) (*Key, error) {
	distrusted, err := checkSigner(signer)
	if err != nil {
		return nil, err
	}
	k, err := newAsymmetric(signer.Public(), signer, s)
	if err != nil {
		return nil, err
	}
	k.distrusted, k.calls, k.failed = distrusted, make(chan struct{}, maxCalls), new(atomic.Bool)
	return k, probe(k)
}

// checkSigner refuses nil pointers and empty keys of the standard library, because their methods panic. distrusted
// reports that the type of the signer is not from the standard library.
func checkSigner(signer crypto.Signer) (distrusted bool, err error) {
	empty := isnil.Value(signer)
	switch signer := signer.(type) {
	case *rsa.PrivateKey:
		if !empty && len(signer.Primes) < 2 {
			return false, errNoPrimes
		}
	case *ecdsa.PrivateKey:
	case ed25519.PrivateKey:
		empty = len(signer) != ed25519.PrivateKeySize
	default:
		distrusted = true
	}
	if empty {
		return false, errors.New("the signer is nil or empty")
	}
	return distrusted, nil
}

// probe makes the key sign once, and verifies the signature. A signer that never answers must not block the start of the program
// for ever.
func probe(k *Key) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	input := make([]byte, 32)
	rand.Read(input)
	signature, err := k.call(ctx, input)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the signer did not sign within %v", probeTimeout)
	case err != nil:
		return fmt.Errorf("the signer does not sign: %w", err)
	case !k.mechanism.verify(input, signature):
		return errors.New("the signer's signatures do not verify with its public key")
	}
	return nil
}

// newMaterial makes a key of what a parser returned. A private key signs, and a public key can only verify.
func newMaterial(material any, s spec) (*Key, error) {
	if signer, ok := material.(crypto.Signer); ok {
		return newPrivate(signer, s)
	}
	return newAsymmetric(material, nil, s)
}

func newAsymmetric(public crypto.PublicKey, signer crypto.Signer, s spec) (*Key, error) {
	m, algorithm, err := newMechanism(public, signer, s.algorithm)
	if err != nil {
		return nil, err
	}
	usual := algorithm
	if _, isRSA := public.(*rsa.PublicKey); isRSA {
		usual = RS256
	}
	return finish(&Key{mechanism: m, algorithm: algorithm, public: public}, s.id, public, usual)
}

// finish sets the thumbprint, the id and the set of a key. It computes the thumbprint of material, which is the public
// key or the bytes of the secret. usual is the algorithm that a key of this type has by default.
func finish(k *Key, id string, material any, usual Algorithm) (*Key, error) {
	var err error
	if k.thumbprint, err = thumbprintOf(material); err != nil {
		return nil, err
	}
	k.id = id
	if k.id == "" {
		k.id = k.thumbprint
		if k.algorithm != usual {
			k.id += "-" + string(k.algorithm)
		}
	}
	if len(k.id) > 256 || !utf8.ValidString(k.id) {
		return nil, errors.New("the key id is not UTF-8 text of at most 256 bytes")
	}
	if k.mechanism.canSign() {
		k.alone, err = NewSet(k)
	} else {
		k.alone, err = NewSet(nil, k)
	}
	return k, err
}
