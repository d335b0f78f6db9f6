package password

import (
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/crypto/bcrypt"
)

// Bcrypt reads the hashes of older user bases ($2a$, $2b$, $2y$) and can make them where another program must read them.
// Use Argon2id otherwise. bcrypt sees only the first 72 bytes of a password: longer ones are refused, never cut, even
// when the program that made the hash did cut them.
type Bcrypt struct {
	Cost int // 4 to 18; 0 means 12. The work doubles with each step.
}

// bcryptForm is what Verify reads. The library looks at neither the separators nor the alphabet of the key, and takes
// "+5" for a cost.
var bcryptForm = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// bcryptMax is what bcrypt takes of a password, in bytes.
const bcryptMax = 72

// maxBcryptCost keeps a stored hash from holding a core for hours: 18 takes about a minute at most.
const maxBcryptCost = 18

func (b Bcrypt) cost() int {
	if b.Cost == 0 {
		return 12
	}
	return b.Cost
}

// Hash implements Hasher. It returns ErrTooLong for a password of more than 72 bytes.
func (b Bcrypt) Hash(password string) (string, error) {
	if len(password) > bcryptMax {
		return "", ErrTooLong
	}
	if b.cost() < bcrypt.MinCost || b.cost() > maxBcryptCost { // the library would take its own default in silence
		return "", fmt.Errorf("password: bcrypt cost %d is not from %d to %d", b.cost(), bcrypt.MinCost, maxBcryptCost)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), b.cost())
	return string(hash), err
}

// Verify implements Hasher. A password of more than 72 bytes never matches; finding that out takes as long as any other
// answer, so that the time does not tell which users still have such a hash.
func (b Bcrypt) Verify(hash, password string) (ok, outdated bool, err error) {
	if !bcryptForm.MatchString(hash) {
		return false, false, ErrFormat
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || cost > maxBcryptCost {
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
	case tooLong:
		return false, false, nil
	}
	return true, cost < b.cost(), nil
}
