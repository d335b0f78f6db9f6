// Package password hashes and verifies passwords: [Argon2id] for new hashes, [Bcrypt] to bring an old user base over, and [Chain] to
// have both at once.
package password

import (
	"errors"
)

// MaxLength is the longest password in bytes that this package hashes or verifies. It is enough for any passphrase, and so short
// that hashing one cannot be used to load the server.
const MaxLength = 1024

// Errors of this package; test with errors.Is.
var (
	// ErrTooLong says that a password is longer than the hasher takes: MaxLength, or 72 bytes for Bcrypt.
	ErrTooLong = errors.New("password: too long")
	// ErrFormat says that a stored hash is not one that the hasher can read.
	ErrFormat = errors.New("password: hash is in no known format")
)

// Hasher hashes passwords. Implementations must be safe for concurrent use, must draw a fresh salt for every hash, and
// must never put a password or a hash into an error.
type Hasher interface {
	// Hash returns a hash of the password that Verify reads, or ErrTooLong.
	Hash(password string) (string, error)
	// Verify compares in constant time. A wrong password is (false, false, nil). outdated is true only with ok, and says
	// that Hash would make a better hash than this one. The error is ErrFormat (errors.Is) for a hash that the hasher
	// cannot read.
	Verify(hash, password string) (ok, outdated bool, err error)
}

// Default returns what signet uses unless told otherwise: Argon2id with its default costs for every new hash, and bcrypt
// accepted, so that an old user base logs in unchanged and is re-hashed user by user.
func Default() Hasher { return Chain(Argon2id{}, Bcrypt{}) }

// Hash hashes a password with the [Default] hasher: for programs that fill a user store. A server should use the HashPassword
// method of its signet.Auth, which bounds how many passwords are hashed at one time. It returns ErrTooLong for more than
// MaxLength bytes.
func Hash(password string) (string, error) { return Default().Hash(password) }

// Chain returns a Hasher that makes hashes with current and verifies those of any of the others too, which it reports as
// outdated.
func Chain(current Hasher, others ...Hasher) Hasher { return chain{current: current, others: others} }

type chain struct {
	current Hasher
	others  []Hasher
}

func (c chain) Hash(password string) (string, error) { return c.current.Hash(password) }

func (c chain) Verify(hash, password string) (ok, outdated bool, err error) {
	ok, outdated, err = c.current.Verify(hash, password)
	for _, other := range c.others {
		if !errors.Is(err, ErrFormat) {
			break
		}
		ok, _, err = other.Verify(hash, password)
		outdated = ok
	}
	return ok, outdated, err
}
