package password

import (
	"crypto/sha1"
	"crypto/sha256"
	"strconv"
	"strings"
)

// readSpring reads the hashes of Spring Security's DelegatingPasswordEncoder, "{id}hash", with the ids that its
// PasswordEncoderFactories have.
func readSpring(hash string) stored {
	id, hash, _ := strings.Cut(hash, "}")
	fields := strings.Split(hash, "$")
	switch id {
	case "{bcrypt":
		return bcryptHash{hash: hash}
	case "{argon2", "{argon2@SpringSecurity_v5_8":
		if fields[0] == "" {
			return readArgon(fields)
		}
	case "{scrypt", "{scrypt@SpringSecurity_v5_8":
		if fields[0] == "" && len(fields) == 4 {
			return readSpringScrypt(fields)
		}
	case "{pbkdf2": // defaultsForSpringSecurity_v5_5
		if raw := decodeHex(hash); len(raw) == 8+32 {
			return pbkdf2Hash{sha1.New, 185_000, raw[:8], raw[8:]}
		}
	case "{pbkdf2@SpringSecurity_v5_8":
		if raw := decodeHex(hash); len(raw) == 16+32 {
			return pbkdf2Hash{sha256.New, 310_000, raw[:16], raw[16:]}
		}
	}
	return nil
}

// readSpringScrypt reads "$e0801$salt$key". The hexadecimal number has log2(N) in its upper bits, then 8 bits for each
// of r and p.
func readSpringScrypt(fields []string) stored {
	costs, err := strconv.ParseUint(fields[1], 16, 24)
	if err != nil {
		return nil
	}
	return scryptHash{
		n: 1 << (costs >> 16), r: int(costs >> 8 & 0xff), p: int(costs & 0xff),
		salt: decode(padded, fields[2]), key: decode(padded, fields[3]),
	}
}
