package password

import "strings"

// readWerkzeug reads the hashes of Werkzeug, which Flask programs use: "pbkdf2:sha256:600000$salt$key" and
// "scrypt:32768:8:1$salt$key". The salt is text, the key is hexadecimal. A method without costs is refused, because its
// costs changed with the versions.
func readWerkzeug(hash string) stored {
	fields := strings.Split(hash, "$")
	if len(fields) != 3 {
		return nil
	}
	salt, key := fields[1], decodeHex(fields[2])
	method := strings.Split(fields[0], ":")
	switch {
	case method[0] == "pbkdf2" && len(method) == 3:
		return newPBKDF2(method[1], method[2], []byte(salt), key)
	case method[0] == "scrypt" && len(method) == 4:
		return newScrypt(method[1], method[2], method[3], salt, key)
	}
	return nil
}
