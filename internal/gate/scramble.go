package gate

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// scramble returns a decoy for a user's hash, and names its kind. The kind is the hash without its salt and key: everything
// that decides what a hash costs. The decoy is the hash with other letters and digits in its salt and key.
//
// It knows the forms that user bases bring along: fields between "$" or ":" with the key last ("$argon2id$v=19$...$salt$key",
// "pbkdf2:sha256:600000$salt$key"), with a name in braces before them ("{bcrypt}$2b$12$..."), and the base64 blobs of ASP.NET
// Identity. Of another text it takes the length as the kind.
func scramble(hash string) decoy {
	name, rest := "", hash
	if end := strings.IndexByte(hash, '}'); end > 0 && hash[0] == '{' {
		name, rest = hash[:end+1], hash[end+1:]
	}
	separator := "$"
	if !strings.Contains(rest, separator) {
		separator = ":"
	}
	fields := strings.Split(rest, separator)
	if len(fields) == 1 {
		kind, keep := blob(rest)
		return decoy{name + kind, name + rest[:keep] + otherText(rest[keep:])}
	}
	last := len(fields) - 1
	key, salt := fields[last], saltOf(fields)
	kind := append([]string(nil), fields...)
	kind[last], fields[last] = fmt.Sprintf("<%d>", len(key)), otherText(key)
	if salt > 0 {
		kind[salt], fields[salt] = "<>", otherText(fields[salt])
	}
	return decoy{name + strings.Join(kind, separator), name + strings.Join(fields, separator)}
}

// saltOf returns which field is the salt: the last one before the key that is no parameter. It returns 0 if the salt is not
// in a field of its own, as in bcrypt hashes. The first field with a text is the name of the kind.
func saltOf(fields []string) int {
	for i := len(fields) - 2; i > 0; i-- {
		if !parameter(fields[i]) && strings.Join(fields[:i], "") != "" {
			return i
		}
	}
	return 0
}

// parameter reports whether a field is a number such as "600000", a list such as "m=19456,t=2,p=1", or a short name such as
// "2b". Salts are longer than these.
func parameter(field string) bool {
	digits := strings.Trim(field, "0123456789") == ""
	return len(field) < 4 || digits && len(field) < 8 || strings.Contains(strings.TrimRight(field, "="), "=")
}

// blob returns the kind of a text without fields, and how many bytes at its start belong to the kind. ASP.NET Identity has
// two versions. In version 2, a byte 0 stands before salt and key. In version 3, the first 13 bytes are a 1, the algorithm,
// the iterations and the size of the salt (src/Identity/Extensions.Core/src/PasswordHasher.cs).
func blob(text string) (kind string, keep int) {
	const header, inBase64 = 13, 18 // bytes, and the characters that hold them
	data, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
	case len(data) > header && data[0] == 1:
		return fmt.Sprintf("%s<%d>", hex.EncodeToString(data[:header]), len(data)), inBase64
	case len(data) > header && data[0] == 0:
		return fmt.Sprintf("00<%d>", len(data)), 2
	}
	return fmt.Sprintf("<%d>", len(text)), 0
}

// otherText changes the letters and digits of a salt or key, each to one of the same class. It keeps the last one, because
// base64 allows only some characters there.
func otherText(text string) string {
	b := []byte(text)
	end := len(strings.TrimRight(text, "=")) - 1
	for i := range max(0, end) {
		switch c := b[i]; {
		case c >= '0' && c <= '9':
			b[i] = other(c, '0')
		case c >= 'a' && c <= 'z':
			b[i] = other(c, 'a')
		case c >= 'A' && c <= 'Z':
			b[i] = other(c, 'A')
		}
	}
	return string(b)
}

// other returns first, or the character after it if c is first already. Both are hexadecimal digits if c is one.
func other(c, first byte) byte {
	if c == first {
		return first + 1
	}
	return first
}
