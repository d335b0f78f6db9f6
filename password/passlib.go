package password

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// ab64 is passlib's base64: without padding, and with a dot in place of the plus sign.
var ab64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").
	WithPadding(base64.NoPadding).Strict()

// readPasslibPBKDF2 reads "$pbkdf2-sha256$29000$salt$key". The name "pbkdf2" means SHA-1.
func readPasslibPBKDF2(fields []string) stored {
	if len(fields) != 5 || fields[1] == "pbkdf2-sha1" {
		return nil
	}
	digest, ok := strings.CutPrefix(fields[1], "pbkdf2-")
	if !ok {
		digest = "sha1"
	}
	return newPBKDF2(digest, fields[2], decode(ab64, fields[3]), decode(ab64, fields[4]))
}

// readBcryptSHA256 reads "$bcrypt-sha256$v=2,t=2b,r=12$salt$key" and the first version,
// "$bcrypt-sha256$2b,12$salt$key". Both hash the password before bcrypt, which takes only 72 bytes. In the second
// version this is an HMAC with the salt, as it is written, for its key.
func readBcryptSHA256(fields []string) stored {
	if len(fields) != 5 || len(fields[3]) != 22 {
		return nil
	}
	kind, salt := "2b", fields[3]
	before := func(password string) string {
		mac := hmac.New(sha256.New, []byte(salt))
		mac.Write([]byte(password))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	cost, second := strings.CutPrefix(fields[2], "v=2,t=2b,r=")
	if !second {
		kind, cost, _ = strings.Cut(fields[2], ",")
		before = func(password string) string {
			sum := sha256.Sum256([]byte(password))
			return base64.StdEncoding.EncodeToString(sum[:])
		}
	}
	if kind != "2a" && kind != "2b" || number(cost) == 0 {
		return nil
	}
	if len(cost) == 1 {
		cost = "0" + cost
	}
	return bcryptHash{"$" + kind + "$" + cost + "$" + salt + fields[4], before}
}
