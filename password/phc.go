package password

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The readers of this file take the fields of a PHC string, "$name$parameters$salt$key", split at each $.

// readArgon reads "$argon2i$v=19$m=65536,t=4,p=1$salt$key". A hash without a version is of version 0x10, which the
// library does not have. The first field is not read.
func readArgon(fields []string) stored {
	if len(fields) != 6 || fields[1] != "argon2i" && fields[1] != "argon2id" ||
		fields[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil
	}
	costs := params(fields[3], "m", "t", "p")
	if costs == nil || costs[2] > 255 {
		return nil
	}
	return argonHash{
		costs: argonCosts{memory: uint32(costs[0]), iterations: uint32(costs[1]), lanes: uint8(costs[2])},
		id:    fields[1] == "argon2id",
		salt:  decodePHC(fields[4]),
		key:   decodePHC(fields[5]),
	}
}

// readScrypt reads "$scrypt$ln=16,r=8,p=1$salt$key", which passlib and others make.
func readScrypt(fields []string) stored {
	if len(fields) != 5 {
		return nil
	}
	costs := params(fields[2], "ln", "r", "p")
	if costs == nil {
		return nil
	}
	return scryptHash{1 << costs[0], costs[1], costs[2], decodePHC(fields[3]), decodePHC(fields[4])}
}

// readPBKDF2 reads "$pbkdf2-sha256$i=600000$salt$key". Some programs also write the length of the key: "i=600000,l=32".
func readPBKDF2(fields []string) stored {
	if len(fields) != 5 {
		return nil
	}
	salt, key := decode(phc, fields[3]), decode(phc, fields[4])
	costs := params(fields[2], "i")
	if costs == nil {
		costs = params(fields[2], "i", "l")
	}
	if costs == nil || len(costs) == 2 && costs[1] != len(key) {
		return nil
	}
	return pbkdf2Hash{digestOf(strings.TrimPrefix(fields[1], "pbkdf2-")), costs[0], salt, key}
}

// params reads "m=65536,t=3,p=4" in any order, and returns the values in the order of the names. Each name must be
// there once, and no value may be 0. Otherwise params returns nil.
func params(field string, names ...string) []int {
	list := strings.Split(field, ",")
	if len(list) != len(names) {
		return nil
	}
	values := make([]int, len(names))
	for _, param := range list {
		name, digits, _ := strings.Cut(param, "=")
		i, n := slices.Index(names, name), number(digits)
		if i < 0 || n == 0 || values[i] != 0 {
			return nil
		}
		values[i] = n
	}
	return values
}

// decodePHC decodes base64 that may have padding.
func decodePHC(text string) []byte {
	if strings.HasSuffix(text, "=") {
		return decode(padded, text)
	}
	return decode(phc, text)
}
