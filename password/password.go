// Package password hashes and verifies passwords. [Argon2id] is for new hashes. [Bcrypt] is for users who come from an older
// program. [Chain] uses several kinds of hashes at once.
package password

import (
	"errors"
)

// MaxLength is the length of the longest password that this package hashes or verifies, in bytes. It is enough for any
// passphrase. It is also a limit: hashing very long passwords could be used to load the server.
const MaxLength = 1024

// Errors of this package. Test for them with [errors.Is].
var (
	// ErrTooLong says that a password is too long for the hasher: longer than [MaxLength], or than 72 bytes for
	// [Bcrypt.Hash].
	ErrTooLong = errors.New("password: too long")
	// ErrFormat says that the hasher cannot read a stored hash.
	ErrFormat = errors.New("password: hash is in no known format")
)

// Hasher hashes passwords. An implementation must be safe for concurrent use, must use a new salt for every hash, and must
// never put a password or a hash into an error.
type Hasher interface {
	// Hash returns a hash of the password that Verify can read. It returns [ErrTooLong] for a password that is too long.
	Hash(password string) (string, error)
	// Verify compares in constant time. For a wrong password it returns (false, false, nil). outdated says that Hash would
	// make a better hash than this one. It is true only if ok is true. For a hash that the hasher cannot read, the error is
	// [ErrFormat] (test with [errors.Is]).
	Verify(hash, password string) (ok, outdated bool, err error)
}

// Default returns the [Hasher] that signet uses if the host sets no other. It makes Argon2id hashes with the default costs,
// and accepts bcrypt hashes too. So the users of an older program can log in, and each gets a new hash at a login.
func Default() Hasher { return Chain(Argon2id{}, Bcrypt{}) }

// Hash returns a hash of a password, made by the [Default] hasher. It is for programs that fill a user store. A server
// should use the HashPassword method of its signet.Auth, which limits how many passwords are hashed at one time. Hash
// returns [ErrTooLong] for more than [MaxLength] bytes.
func Hash(password string) (string, error) { return Default().Hash(password) }

// Chain returns a [Hasher] that makes hashes with current. It also verifies the hashes of all the others, and reports them
// as outdated.
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
