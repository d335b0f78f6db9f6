package password

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/crypto/bcrypt"
)

// Bcrypt verifies the hashes of older programs ($2a$, $2b$, $2y$). It can also make such hashes, if another program must
// read them. Use [Argon2id] otherwise. bcrypt uses only the first 72 bytes of a password. So Hash refuses longer passwords,
// and Verify never accepts them. Neither cuts a password, even if the program that made the hash did. It is safe for concurrent use.
type Bcrypt struct {
	Cost int // 4 to 18; 0 means 12. The work doubles with each step.
}

// bcryptForm is the form of the hashes that Verify reads. The bcrypt library does not check the separators and the alphabet
// of the key, and it accepts "+5" as a cost.
var bcryptForm = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// bcryptMax is the number of bytes of a password that bcrypt uses.
const bcryptMax = 72

// maxBcryptCost limits how long one stored hash can keep a core busy. A cost of 18 takes about a minute at most. Higher
// costs could take hours.
const maxBcryptCost = 18

func (b Bcrypt) cost() int { return cmp.Or(b.Cost, 12) }

// Hash implements [Hasher]. It returns [ErrTooLong] for a password of more than 72 bytes, and [ErrInvalid] for one with a NUL.
func (b Bcrypt) Hash(password string) (string, error) {
	if len(password) > bcryptMax {
		return "", ErrTooLong
	}
	if ambiguous(password) {
		return "", ErrInvalid
	}
	if b.cost() < bcrypt.MinCost || b.cost() > maxBcryptCost { // the library would silently use its own default
		return "", fmt.Errorf("password: bcrypt cost %d is not from %d to %d", b.cost(), bcrypt.MinCost, maxBcryptCost)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), b.cost())
	return string(hash), err
}

// Verify implements [Hasher]. A password of more than 72 bytes never matches. This answer takes as long as any other, so
// that the time does not tell which users have a bcrypt hash.
func (b Bcrypt) Verify(hash, password string) (ok, outdated bool, err error) {
	cost, known := bcryptCost(hash)
	if !known {
		return false, false, ErrFormat
	}
	if len(password) > MaxLength {
		return false, false, ErrTooLong
	}
	tooLong := len(password) > bcryptMax
	if tooLong {
		password = password[:bcryptMax]
	}
	err = bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	switch {
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, false, nil
	case err != nil:
		return false, false, ErrFormat
	case tooLong, ambiguous(password):
		return false, false, nil
	}
	return true, cost < b.cost(), nil
}

// bcryptCost returns false for a hash that Verify does not read.
func bcryptCost(hash string) (int, bool) {
	if !bcryptForm.MatchString(hash) {
		return 0, false
	}
	cost, err := bcrypt.Cost([]byte(hash))
	return cost, err == nil && cost <= maxBcryptCost
}
