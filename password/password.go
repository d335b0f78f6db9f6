// Package password hashes and verifies passwords, and says which new ones are good enough. [Argon2id] is for new
// hashes, [PBKDF2] for new hashes where FIPS 140 rules. [Bcrypt] and [Imported] are for users who come from an older
// program. [Chain] uses several kinds of hashes at once. [Policy] checks a new password. [Normalize] makes one text of
// the ways in which devices send the same password.
package password

import (
	"errors"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
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
	// ErrInvalid says that a new password is not valid UTF-8 or contains a NUL byte. The same text could not be typed
	// again on every device.
	ErrInvalid = errors.New("password: not valid UTF-8, or with a NUL byte")
	// ErrTooShort says that a new password is shorter than [Policy.MinLength].
	ErrTooShort = errors.New("password: too short")
	// ErrBlocked says that [Policy.Blocked] knows a new password as one that attackers try.
	ErrBlocked = errors.New("password: known to attackers")
	// ErrNotChecked says that the answer of [Policy.Blocked] is not known. The same password may be fine later.
	ErrNotChecked = errors.New("password: could not be checked against the block list")
)

// Normalize returns the password in Unicode's normal form C (NFC), as NIST SP 800-63B recommends. A device may send "é"
// as one character or as "e" and an accent, and the two have different hashes. Normalize a password before it is hashed
// and before it is verified. A hasher does not do it: an older program may have hashed a password as it came. So verify
// the normal form first, and then the password as it came, if it is different. Text that is not valid UTF-8 is returned
// as it is. Normalize needs time in proportion to the length, so check [MaxLength] first.
func Normalize(password string) string {
	if !utf8.ValidString(password) {
		return password
	}
	return norm.NFC.String(password)
}

// Hasher hashes passwords. An implementation must be safe for concurrent use, must use a new salt for every hash, and must
// never put a password or a hash into an error.
type Hasher interface {
	// Hash returns a hash of the password that Verify can read. It returns [ErrTooLong] for a password that is too long.
	Hash(password string) (string, error)
	// Verify compares in constant time. For a wrong password it returns (false, false, nil). outdated says that Hash would
	// make a better hash than this one. It is true only if ok is true. For a hash that the hasher cannot read, the error is
	// [ErrFormat] (test with [errors.Is]). A password that is too long for it does not match; the error may be [ErrTooLong].
	Verify(hash, password string) (ok, outdated bool, err error)
}

// Default returns the [Hasher] that signet uses if the host sets no other. It makes Argon2id hashes with the default
// costs, and accepts those of [Bcrypt] and [Imported] too. So the users of an older program can log in, and each gets a
// new hash at a login.
func Default() Hasher { return Chain(Argon2id{}, Bcrypt{}, Imported{}) }

// Hash returns a hash of a password, made by the [Default] hasher. It is for programs that fill a user store. A server
// should use the HashPassword method of its signet.Auth, which limits how many passwords are hashed at one time. Hash brings the
// password into its normal form ([Normalize]). It returns [ErrTooLong] for more than [MaxLength] bytes.
func Hash(password string) (string, error) {
	if len(password) > MaxLength {
		return "", ErrTooLong
	}
	return Default().Hash(Normalize(password))
}

// Chain returns a [Hasher] that makes hashes with current. It also verifies the hashes of all the others, and reports them
// as outdated.
//
// To change the hasher while several processes run, first let every process read the new hashes: Chain(old, new). Then let them
// make them: Chain(new, old). A login replaces an outdated hash, and a process that cannot read the new one would refuse the right
// password. So keep new in the chain also in a rollback.
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
