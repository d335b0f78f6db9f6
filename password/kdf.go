package password

import (
	"crypto/fips140"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/scrypt"
)

// stored is a hash that was read: the kind of derivation, its costs, the salt and the key.
type stored interface {
	// valid says whether all values are within bounds, so that matches cannot panic and takes a minute at most.
	valid() bool
	// matches derives a key from the password and compares it in constant time. Call it only if valid is true.
	matches(password string) (bool, error)
}

const (
	minKey = 16 // bytes; a shorter key could be hit by chance
	maxKey = 64 // bytes; a longer PBKDF2 key would multiply the work

	// 10 million rounds take 10 to 20 seconds with a key of maxKey bytes. OWASP recommends 600,000.
	maxRounds = 10_000_000

	// N*r*p of scrypt: 8 lanes of 1 GiB. A lane takes 3 to 8 seconds, and they run one after the other.
	maxScryptWork  = 8 * maxMemory * 1024 / 128
	maxScryptLanes = 16
	maxScryptBlock = 64
)

// ambiguous reports whether a password has a NUL. HMAC, on which PBKDF2 and scrypt are built, pads its key with NULs, and
// bcrypt repeats the key with a NUL behind it. So these three cannot tell a password with a NUL from one without. A password
// with a NUL therefore matches no such hash.
func ambiguous(password string) bool { return strings.Contains(password, "\x00") }

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

type argonHash struct {
	costs     argonCosts
	id        bool // Argon2id; Argon2i otherwise
	salt, key []byte
}

func (h argonHash) valid() bool { return h.costs.valid() && len(h.salt) >= 8 && len(h.key) >= minKey }

func (h argonHash) matches(password string) (bool, error) {
	if h.id {
		return equal(h.costs.key(password, h.salt, len(h.key)), h.key), nil
	}
	key := argon2.Key([]byte(password), h.salt, h.costs.iterations, h.costs.memory, h.costs.lanes, uint32(len(h.key)))
	return equal(key, h.key), nil
}

type bcryptHash struct {
	hash   string
	before func(password string) string // what the program did with the password first; may be nil
}

func (h bcryptHash) valid() bool {
	_, ok := bcryptCost(h.hash)
	return ok
}

func (h bcryptHash) matches(password string) (bool, error) {
	if h.before != nil {
		password = h.before(password)
	}
	ok, _, err := Bcrypt{}.Verify(h.hash, password)
	return ok, err
}

type scryptHash struct {
	n, r, p   int
	salt, key []byte
}

func (h scryptHash) valid() bool {
	return h.r >= 1 && h.r <= maxScryptBlock && h.p >= 1 && h.p <= maxScryptLanes &&
		h.n >= 2 && h.n&(h.n-1) == 0 && // not 0 or negative either, as 1<<ln is for a large ln
		h.n <= maxMemory*1024/(128*h.r) && // it takes 128*N*r bytes
		h.n*h.r*h.p <= maxScryptWork &&
		len(h.salt) >= 1 && len(h.key) >= minKey && len(h.key) <= maxKey
}

var errNotFIPS = errors.New("password: scrypt is not allowed where FIPS 140 is enforced")

func (h scryptHash) matches(password string) (bool, error) {
	if fips140.Enforced() { // the library would panic for some salts
		return false, errNotFIPS
	}
	key, err := scrypt.Key([]byte(password), h.salt, h.n, h.r, h.p, len(h.key))
	return err == nil && equal(key, h.key) && !ambiguous(password), err
}

// newScrypt is for the programs that write N itself and the salt as it is, and whose key has 64 bytes. A key of another length
// is not whole.
func newScrypt(n, r, p, salt string, key []byte) stored {
	if len(key) != 64 {
		return nil
	}
	return scryptHash{number(n), number(r), number(p), []byte(salt), key}
}

type pbkdf2Hash struct {
	digest     func() hash.Hash
	iterations int
	salt, key  []byte
}

// newPBKDF2 is for the programs whose key is as long as the digest. A key of another length is not whole.
func newPBKDF2(digest, iterations string, salt, key []byte) stored {
	h := pbkdf2Hash{digestOf(digest), number(iterations), salt, key}
	if h.digest == nil || len(key) != h.digest().Size() {
		return nil
	}
	return h
}

func (h pbkdf2Hash) valid() bool {
	return h.digest != nil && h.iterations >= 1 && h.iterations <= maxRounds &&
		len(h.salt) >= 1 && len(h.key) >= minKey && len(h.key) <= maxKey
}

func (h pbkdf2Hash) matches(password string) (bool, error) {
	key, err := h.derive(password)
	return err == nil && equal(key, h.key) && !ambiguous(password), err
}

// derive returns an error where FIPS 140 is enforced and forbids the digest or the salt.
func (h pbkdf2Hash) derive(password string) ([]byte, error) {
	key, err := pbkdf2.Key(h.digest, password, h.salt, h.iterations, len(h.key))
	if err != nil {
		return nil, fmt.Errorf("password: PBKDF2: %w", err)
	}
	return key, nil
}

// digestOf returns nil for an unknown name.
func digestOf(name string) func() hash.Hash {
	switch name {
	case "sha1":
		return sha1.New
	case "sha256":
		return sha256.New
	case "sha512":
		return sha512.New
	}
	return nil
}
