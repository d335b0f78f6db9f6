package password

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// readDjango reads the hashes of Django, "algorithm$...". The salts of PBKDF2 and scrypt are text, not base64.
func readDjango(hash string) stored {
	algorithm, rest, _ := strings.Cut(hash, "$")
	fields := strings.Split(hash, "$")
	switch algorithm {
	case "bcrypt": // bcrypt$$2b$12$...
		return bcryptHash{hash: rest}
	case "bcrypt_sha256":
		return bcryptHash{hash: rest, before: hexSHA256}
	case "argon2": // argon2$argon2id$v=19$m=102400,t=2,p=8$salt$key
		return readArgon(fields)
	case "pbkdf2_sha256", "pbkdf2_sha1": // pbkdf2_sha256$260000$salt$key
		if len(fields) == 4 {
			return newPBKDF2(algorithm[len("pbkdf2_"):], fields[1], []byte(fields[2]), decode(padded, fields[3]))
		}
	case "scrypt": // scrypt$16384$salt$8$1$key
		if len(fields) == 6 {
			return newScrypt(fields[1], fields[3], fields[4], fields[2], decode(padded, fields[5]))
		}
	}
	return nil
}

// hexSHA256 is what Django does with a password before bcrypt, which takes only 72 bytes.
func hexSHA256(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}
