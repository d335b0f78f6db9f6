package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"time"
)

const (
	issuer   = "https://issuer.example"
	audience = "https://api.example"
	lifetime = 1_728_000 * time.Second

	// coldTokens is more than a small cache holds. It is also so few that the strings of the tokens stay in the L2 cache.
	coldTokens = 4096
)

var (
	algs = []string{"HS256", "ES256", "EdDSA", "RS256"}
	b64  = base64.RawURLEncoding
)

// claims are the eight claims of every token in these benchmarks.
type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience []string `json:"aud"`
	Expiry   int64    `json:"exp"`
	IssuedAt int64    `json:"iat"`
	ID       string   `json:"jti"`
	Session  string   `json:"sid"`
	Roles    []string `json:"roles"`
}

type header struct {
	Alg string `json:"alg"`
	Kid string `json:"kid"`
	Typ string `json:"typ"`
}

func newClaims(issued time.Time) claims {
	return claims{
		Issuer: issuer, Subject: "1", Audience: []string{audience},
		Expiry: issued.Add(lifetime).Unix(), IssuedAt: issued.Unix(),
		ID: newID(), Session: newID(), Roles: []string{"customer"},
	}
}

// newID returns 128 random bits as 22 characters.
func newID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails, see crypto/rand
	return b64.EncodeToString(id[:])
}

// keyPair is the keys of one algorithm. private is nil for HS256, and secret is nil for the others.
type keyPair struct {
	alg, kid string
	header   string // encoded; the same for every token of the key
	secret   []byte
	private  crypto.Signer
}

func newKeys(alg string) (*keyPair, error) {
	k := &keyPair{alg: alg}
	var thumbprint string // the members that RFC 7638 asks for, in its order
	switch alg {
	case "HS256":
		k.secret = make([]byte, 32)
		rand.Read(k.secret)
		thumbprint = fmt.Sprintf(`{"k":%q,"kty":"oct"}`, b64.EncodeToString(k.secret))
	case "ES256":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		point, err := key.PublicKey.Bytes() // 4, X, Y
		if err != nil {
			return nil, err
		}
		k.private = key
		thumbprint = fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":%q,"y":%q}`,
			b64.EncodeToString(point[1:33]), b64.EncodeToString(point[33:]))
	case "EdDSA":
		public, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		k.private = key
		thumbprint = fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":%q}`, b64.EncodeToString(public))
	case "RS256":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		k.private = key
		thumbprint = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`,
			b64.EncodeToString(big.NewInt(int64(key.E)).Bytes()), b64.EncodeToString(key.N.Bytes()))
	default:
		return nil, fmt.Errorf("no algorithm %q here", alg)
	}
	sum := sha256.Sum256([]byte(thumbprint))
	k.kid = b64.EncodeToString(sum[:])
	h, err := json.Marshal(header{Alg: alg, Kid: k.kid, Typ: "at+jwt"})
	if err != nil {
		return nil, err
	}
	k.header = b64.EncodeToString(h)
	return k, nil
}

// verifyKey returns what the libraries need to verify: the secret, or the public key.
func (k *keyPair) verifyKey() any {
	if k.private == nil {
		return k.secret
	}
	return k.private.Public()
}

// signKey returns what the libraries need to sign: the secret, or the private key.
func (k *keyPair) signKey() any {
	if k.private == nil {
		return k.secret
	}
	return k.private
}

// token signs with the standard library, so that no peer gets tokens that it made itself.
func (k *keyPair) token(c claims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	input := k.header + "." + b64.EncodeToString(payload)
	signature, err := k.sign([]byte(input))
	if err != nil {
		return "", err
	}
	return input + "." + b64.EncodeToString(signature), nil
}

func (k *keyPair) sign(input []byte) ([]byte, error) {
	digest := sha256.Sum256(input)
	switch key := k.private.(type) {
	case nil:
		mac := hmac.New(sha256.New, k.secret)
		mac.Write(input)
		return mac.Sum(nil), nil
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			return nil, err
		}
		signature := make([]byte, 64) // RFC 7518 section 3.4: not ASN.1
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature, nil
	case ed25519.PrivateKey:
		return ed25519.Sign(key, input), nil
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	default:
		return nil, fmt.Errorf("no signature with %T", key)
	}
}

// corpus is what every library gets for one algorithm.
type corpus struct {
	keys   *keyPair
	tokens []string
}

// on returns the tokens of a path: always the same token for repeat, and otherwise all tokens in turn.
func (c *corpus) on(path string) []string {
	if path == "repeat" {
		return c.tokens[:1]
	}
	return c.tokens
}

// corpora are made when they are first used, and only once. 4,096 RSA signatures take seconds, and -bench EdDSA should not
// wait for them.
var corpora = func() map[string]func() (*corpus, error) {
	made := make(map[string]func() (*corpus, error))
	for _, alg := range algs {
		made[alg] = sync.OnceValues(func() (*corpus, error) { return newCorpus(alg, coldTokens) })
	}
	return made
}()

func newCorpus(alg string, n int) (*corpus, error) {
	k, err := newKeys(alg)
	if err != nil {
		return nil, err
	}
	c := &corpus{keys: k, tokens: make([]string, n)}
	now := time.Now()
	for i := range c.tokens {
		if c.tokens[i], err = k.token(newClaims(now)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// requests makes one real request per token. A middleware may clone a request, but none changes one.
func requests(tokens []string) ([]*http.Request, error) {
	made := make([]*http.Request, len(tokens))
	for i, token := range tokens {
		r, err := http.NewRequest(http.MethodGet, "http://api.example/orders", nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		made[i] = r
	}
	return made, nil
}
