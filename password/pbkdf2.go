package password

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
)

// PBKDF2 is the password hash PBKDF2 with HMAC-SHA-256 (RFC 8018). Use it only where FIPS 140 rules, because an
// attacker with graphics cards computes it much faster than [Argon2id]. The standard library does all the work; it also
// does so where FIPS 140 is enforced (GODEBUG=fips140=only). Hashes are PHC strings,
// "$pbkdf2-sha256$i=600000$salt$key". Verify reads no hash of passlib, which has the number without "i="; [Imported]
// does. Verify reports a hash as outdated if it has fewer iterations than configured, or a shorter salt or key than
// Hash makes. It is safe for concurrent use.
type PBKDF2 struct {
	Iterations int // 1,000 to 10,000,000; 0 means 600,000, as OWASP recommends
}

func (p PBKDF2) iterations() int { return cmp.Or(p.Iterations, 600_000) }

// Hash implements [Hasher]. It returns [ErrTooLong] for a password of more than [MaxLength] bytes, [ErrInvalid] for one with a
// NUL, and another error if the number of iterations is out of range.
func (p PBKDF2) Hash(password string) (string, error) {
	if len(password) > MaxLength {
		return "", ErrTooLong
	}
	if ambiguous(password) {
		return "", ErrInvalid
	}
	if p.iterations() < 1000 || p.iterations() > maxRounds { // SP 800-132 asks for 1,000 at least
		return "", fmt.Errorf("password: %d PBKDF2 iterations are not from 1000 to %d", p.iterations(), maxRounds)
	}
	made := pbkdf2Hash{sha256.New, p.iterations(), make([]byte, saltSize), make([]byte, keySize)}
	rand.Read(made.salt) // never fails: it ends the program when the system has no randomness
	key, err := made.derive(password)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("$pbkdf2-sha256$i=%d$%s$%s", made.iterations, phc.EncodeToString(made.salt),
		phc.EncodeToString(key)), nil
}

// Verify implements [Hasher].
func (p PBKDF2) Verify(hash, password string) (ok, outdated bool, err error) {
	read, known := parsePBKDF2(hash)
	if !known {
		return false, false, ErrFormat
	}
	if len(password) > MaxLength {
		return false, false, ErrTooLong
	}
	if ok, err = read.matches(password); err != nil {
		return false, false, fmt.Errorf("%w: %w", ErrFormat, err)
	} else if !ok {
		return false, false, nil
	}
	return true, read.iterations < p.iterations() || len(read.salt) < saltSize || len(read.key) < keySize, nil
}

func parsePBKDF2(hash string) (pbkdf2Hash, bool) {
	if len(hash) > maxHash || !strings.HasPrefix(hash, "$pbkdf2-sha256$") || strings.ContainsAny(hash, "\r\n") {
		return pbkdf2Hash{}, false
	}
	read, ok := readPBKDF2(strings.Split(hash, "$")).(pbkdf2Hash)
	return read, ok && read.valid()
}
