package password

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Imported verifies the hashes that users bring along from older programs. It makes none: its Hash returns an error.
// Put it behind another [Hasher] with [Chain], as [Default] does. Verify reports each hash as outdated, so that the
// user gets a new one at the next login. The zero value is ready to use. It reads these forms:
//
//   - Argon2i and Argon2id of version 0x13 ($argon2i$v=19$, $argon2id$v=19$), with the parameters in any order and with
//     or without padding; bcrypt ($2a$, $2b$, $2y$).
//   - Spring Security: {bcrypt}, {argon2}, {scrypt} and {pbkdf2}, also with "@SpringSecurity_v5_8". A {pbkdf2} hash
//     does not name its costs. It must have those that Spring has for this name, and no secret.
//   - Django: bcrypt$, bcrypt_sha256$, argon2$, pbkdf2_sha256$, pbkdf2_sha1$, scrypt$.
//   - passlib: $pbkdf2$, $pbkdf2-sha256$, $pbkdf2-sha512$, $scrypt$, $bcrypt-sha256$.
//   - PHC strings of PBKDF2, which [PBKDF2] and other programs make ($pbkdf2-sha256$i=600000$).
//   - Werkzeug (Flask): pbkdf2:sha1:, pbkdf2:sha256:, pbkdf2:sha512: and scrypt:, with their costs.
//   - ASP.NET Identity, versions 2 and 3.
//
// It never reads plain text ({noop}), MD5, or a hash of one SHA round. Their users need a new password. It is safe for concurrent
// use.
type Imported struct{}

var errVerifyOnly = errors.New("password: Imported verifies hashes and makes none")

// Hash implements [Hasher]. It always returns an error, because Imported only verifies.
func (Imported) Hash(string) (string, error) { return "", errVerifyOnly }

// Verify implements [Hasher]. outdated is the same as ok. Verify returns [ErrFormat] for a hash that could take more
// than 1 GiB of memory or about a minute of one core, and for one whose derivation FIPS 140 forbids where it is enforced
// (GODEBUG=fips140=only). Such a user needs a new password.
func (Imported) Verify(hash, password string) (ok, outdated bool, err error) {
	stored := readStored(hash)
	if stored == nil || !stored.valid() {
		return false, false, ErrFormat
	}
	if len(password) > MaxLength {
		return false, false, ErrTooLong
	}
	if ok, err = stored.matches(password); err != nil {
		return false, false, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return ok, ok, nil
}

// maxHash is the length of the longest hash that is read, in bytes.
const maxHash = 512

// readStored reads a hash in any form. It returns nil for an unknown form. The readers look only at the form: a number
// or a base64 text that they cannot read becomes 0 or nil, and stored.valid refuses those. The base64 decoders of Go
// skip line ends, so these are refused here for all forms.
func readStored(hash string) stored {
	if len(hash) > maxHash || strings.ContainsAny(hash, "\r\n") {
		return nil
	}
	name, _, found := strings.Cut(hash, "$")
	switch {
	case strings.HasPrefix(hash, "{"):
		return readSpring(hash)
	case strings.HasPrefix(hash, "$"):
		return readModular(hash)
	case strings.Contains(name, ":"):
		return readWerkzeug(hash)
	case found:
		return readDjango(hash)
	}
	return readASPNET(hash)
}

// readModular reads a hash that begins with $: a PHC string or the older "modular crypt" form.
func readModular(hash string) stored {
	fields := strings.Split(hash, "$")
	switch fields[1] {
	case "2a", "2b", "2y":
		return bcryptHash{hash: hash}
	case "argon2i", "argon2id":
		return readArgon(fields)
	case "scrypt":
		return readScrypt(fields)
	case "bcrypt-sha256":
		return readBcryptSHA256(fields)
	case "pbkdf2", "pbkdf2-sha1", "pbkdf2-sha256", "pbkdf2-sha512":
		if len(fields) == 5 && strings.Contains(fields[2], "=") {
			return readPBKDF2(fields)
		}
		return readPasslibPBKDF2(fields)
	}
	return nil
}

// number reads a decimal number of at most 31 bits, without a sign or leading zeros. It returns 0 for other text.
func number(text string) int {
	n, ok := cost(text, "", 31)
	if !ok {
		return 0
	}
	return int(n)
}

// decode returns nil for text that is not of this encoding.
func decode(encoding *base64.Encoding, text string) []byte {
	value, err := encoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return value
}

// decodeHex returns nil for text that is not hexadecimal.
func decodeHex(text string) []byte {
	value, err := hex.DecodeString(text)
	if err != nil {
		return nil
	}
	return value
}

// padded is the base64 encoding of RFC 4648, with padding.
var padded = base64.StdEncoding.Strict()
