package password

import (
	"crypto/sha1"
	"encoding/binary"
)

// readASPNET reads the hashes of ASP.NET Identity: base64 of one byte for the version and what follows it.
//
//   - 0: a salt of 16 bytes and a key of 32, made by 1,000 iterations with SHA-1.
//   - 1: the digest, the iterations and the length of the salt, each in 4 bytes; then the salt and the key.
func readASPNET(hash string) stored {
	const head, least = 13, 16 // bytes before the salt; of the salt and of the key
	raw := decode(padded, hash)
	if len(raw) == 1+16+32 && raw[0] == 0 {
		return pbkdf2Hash{sha1.New, 1000, raw[1:17], raw[17:]}
	}
	if len(raw) < head+2*least || raw[0] != 1 {
		return nil
	}
	digests := map[uint32]string{0: "sha1", 1: "sha256", 2: "sha512"}
	digest := digestOf(digests[binary.BigEndian.Uint32(raw[1:])])
	iterations := binary.BigEndian.Uint32(raw[5:]) // may not fit in an int of 32 bits
	size := binary.BigEndian.Uint32(raw[9:])
	if iterations > maxRounds || size < least || size > uint32(len(raw)-head-least) {
		return nil
	}
	return pbkdf2Hash{digest, int(iterations), raw[head : head+size], raw[head+size:]}
}
