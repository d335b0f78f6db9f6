package password

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Argon2id is the Argon2id password hash (RFC 9106). The zero value has the costs that OWASP recommends: 19 MiB of memory,
// two passes, one lane. Hashes are PHC strings, "$argon2id$v=19$m=19456,t=2,p=1$salt$key". They name their own costs, so
// Verify can read all of them. It reports a hash as outdated if it has less memory or fewer passes than configured, another
// number of lanes, or a shorter salt or key than Hash makes. It is safe for concurrent use.
type Argon2id struct {
	Memory      uint32 // KiB; 0 means 19,456 (19 MiB)
	Iterations  uint32 // passes over the memory; 0 means 2
	Parallelism uint8  // lanes; 0 means 1
}

const (
	saltSize = 16 // bytes
	keySize  = 32 // bytes

	// Somebody else may be able to write to the store. A hash from it must not take all memory, or a core for minutes.
	maxMemory     = 1 << 20 // KiB: 1 GiB
	maxIterations = 64
)

func (a Argon2id) costs() argonCosts {
	return argonCosts{cmp.Or(a.Memory, 19*1024), cmp.Or(a.Iterations, 2), cmp.Or(a.Parallelism, 1)}
}

type argonCosts struct {
	memory, iterations uint32
	lanes              uint8
}

func (c argonCosts) key(password string, salt []byte, size int) []byte {
	return argon2.IDKey([]byte(password), salt, c.iterations, c.memory, c.lanes, uint32(size))
}

func (c argonCosts) valid() bool {
	return c.lanes >= 1 && c.iterations >= 1 && c.iterations <= maxIterations &&
		c.memory >= 8*uint32(c.lanes) && c.memory <= maxMemory
}

// Hash implements [Hasher]. It returns [ErrTooLong] for a password of more than [MaxLength] bytes. It returns another error
// when the configured costs are out of range: memory from 8 KiB per lane to 1 GiB, at most 64 passes.
func (a Argon2id) Hash(password string) (string, error) {
	if len(password) > MaxLength {
		return "", ErrTooLong
	}
	costs := a.costs()
	if !costs.valid() {
		return "", fmt.Errorf("password: argon2id costs out of range: m=%d,t=%d,p=%d", costs.memory, costs.iterations,
			costs.lanes)
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails: it ends the program when the system has no randomness
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, costs.memory, costs.iterations, costs.lanes,
		phc.EncodeToString(salt), phc.EncodeToString(costs.key(password, salt, keySize))), nil
}

// Verify implements [Hasher].
func (a Argon2id) Verify(hash, password string) (ok, outdated bool, err error) {
	costs, salt, key, err := parsePHC(hash)
	if err != nil {
		return false, false, err
	}
	if len(password) > MaxLength {
		return false, false, ErrTooLong
	}
	if subtle.ConstantTimeCompare(costs.key(password, salt, len(key)), key) != 1 {
		return false, false, nil
	}
	want := a.costs()
	outdated = costs.memory < want.memory || costs.iterations < want.iterations || costs.lanes != want.lanes ||
		len(key) < keySize || len(salt) < saltSize
	return true, outdated, nil
}

// phc is the base64 encoding of PHC strings: without padding, and with only one form for each value. It skips line ends, so
// parsePHC refuses those.
var phc = base64.RawStdEncoding.Strict()

func parsePHC(hash string) (costs argonCosts, salt, key []byte, err error) {
	fields := strings.Split(hash, "$")
	if len(hash) > 512 || len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" ||
		fields[2] != "v="+strconv.Itoa(argon2.Version) || strings.ContainsAny(hash, "\r\n") {
		return costs, nil, nil, ErrFormat
	}
	params := strings.Split(fields[3], ",")
	if len(params) != 3 {
		return costs, nil, nil, ErrFormat
	}
	memory, okM := cost(params[0], "m=", 32)
	passes, okT := cost(params[1], "t=", 32)
	lanes, okP := cost(params[2], "p=", 8)
	costs = argonCosts{uint32(memory), uint32(passes), uint8(lanes)}
	salt, errSalt := phc.DecodeString(fields[4])
	key, errKey := phc.DecodeString(fields[5])
	if !okM || !okT || !okP || !costs.valid() || errSalt != nil || errKey != nil || len(salt) < 8 || len(key) < 16 {
		return costs, nil, nil, ErrFormat
	}
	return costs, salt, key, nil
}

// cost reads a decimal number without leading zeros. It refuses 0.
func cost(field, prefix string, bits int) (uint64, bool) {
	digits, ok := strings.CutPrefix(field, prefix)
	n, err := strconv.ParseUint(digits, 10, bits)
	return n, ok && err == nil && digits[0] != '0'
}
