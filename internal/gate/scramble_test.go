package gate_test

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/password"
)

const b64 = `[A-Za-z0-9+/]`

// Each kind of hash that user bases bring along: two hashes of it, the kind, and the form that a reader would demand.
func TestScramble(t *testing.T) {
	aspnet := func(header, rest string) string { return base64.StdEncoding.EncodeToString([]byte(header + rest)) }
	const v3 = "\x01\x00\x00\x00\x02\x00\x01\x86\xa0\x00\x00\x00\x10" // HMAC-SHA512, 100,000 iterations, 16 bytes of salt
	for _, tc := range []struct{ name, one, two, kind, form string }{
		{"argon2id", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
			"$argon2id$v=19$m=19456,t=2,p=1$ZGlmZnNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
			"$argon2id$v=19$m=19456,t=2,p=1$<>$<43>", `^\$argon2id\$v=19\$m=19456,t=2,p=1\$` + b64 + `{10}Q\$` + b64 + `{42}[048AEIMQUYcgkosw]$`},
		{"argon2i without a version", "$argon2i$m=64,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR", "$argon2i$m=64,t=1,p=1$ZGlmZnNhbHQ$CTFhFdXPJO1a",
			"$argon2i$m=64,t=1,p=1$<>$<12>", `^\$argon2i\$m=64,t=1,p=1\$` + b64 + `{11}\$` + b64 + `{12}$`},
		{"argon2 of Django", "argon2$argon2id$v=19$m=102400,t=2,p=8$c29tZXNhbHQ$nf65EOgLrQMR", "argon2$argon2id$v=19$m=102400,t=2,p=8$ZGlmZnNhbHQ$CTFhFdXPJO1a",
			"argon2$argon2id$v=19$m=102400,t=2,p=8$<>$<12>", `^argon2\$argon2id\$v=19\$m=102400,t=2,p=8\$` + b64 + `{11}\$` + b64 + `{12}$`},
		{"bcrypt", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2y$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
			"$2y$05$<53>", `^\$2y\$05\$[./A-Za-z0-9]{53}$`},
		{"bcrypt of Django", "bcrypt_sha256$$2b$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "bcrypt_sha256$$2b$12$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
			"bcrypt_sha256$$2b$12$<53>", `^bcrypt_sha256\$\$2b\$12\$[./A-Za-z0-9]{53}$`},
		{"bcrypt in braces", "{bcrypt}$2a$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "{bcrypt}$2a$10$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
			"{bcrypt}$2a$10$<53>", `^\{bcrypt\}\$2a\$10\$[./A-Za-z0-9]{53}$`},
		{"PBKDF2 of Django", "pbkdf2_sha256$600000$dUx0Wz9vQ$wAKbIuz1UzAhjGhd7r9f2pEWQ2jzNNnSyHjDkPRvp5E=",
			"pbkdf2_sha256$600000$12abc5678901$AAKbIuz1UzAhjGhd7r9f2pEWQ2jzNNnSyHjDkPRvp5E=",
			"pbkdf2_sha256$600000$<>$<44>", `^pbkdf2_sha256\$600000\$[A-Za-z0-9]+\$` + b64 + `{43}=$`},
		{"scrypt of Django", "scrypt$16384$dUx0Wz9vQ$8$1$wAKbIuz1UzAh", "scrypt$16384$abcdefghi$8$1$AAKbIuz1UzAh",
			"scrypt$16384$<>$8$1$<12>", `^scrypt\$16384\$[A-Za-z0-9]{9}\$8\$1\$` + b64 + `{12}$`},
		{"PBKDF2 of Werkzeug", "pbkdf2:sha256:600000$MaOxCtUWPTvGmyYp$5c0ffee1", "pbkdf2:sha256:600000$abcdefghijklmnop$0123abcd",
			"pbkdf2:sha256:600000$<>$<8>", `^pbkdf2:sha256:600000\$[A-Za-z0-9]{16}\$[0-9a-f]{8}$`},
		{"scrypt of Werkzeug", "scrypt:32768:8:1$MaOxCtUWPTvGmyYp$5c0ffee1", "scrypt:32768:8:1$abcdefghijklmnop$0123abcd",
			"scrypt:32768:8:1$<>$<8>", `^scrypt:32768:8:1\$[A-Za-z0-9]{16}\$[0-9a-f]{8}$`},
		{"scrypt of passlib", "$scrypt$ln=15,r=8,p=1$uvcegxBizBnD+J+T0nqPUQ$RXW1", "$scrypt$ln=15,r=8,p=1$aabegxBizBnD+J+T0nqPUQ$aXW1",
			"$scrypt$ln=15,r=8,p=1$<>$<4>", `^\$scrypt\$ln=15,r=8,p=1\$` + b64 + `{21}Q\$` + b64 + `{4}$`},
		{"PBKDF2 of passlib", "$pbkdf2-sha256$29000$Z0yptTamdI7R.n.P8f6/Vw$1t8i", "$pbkdf2-sha256$29000$aaaptTamdI7R.n.P8f6/Vw$at8i",
			"$pbkdf2-sha256$29000$<>$<4>", `^\$pbkdf2-sha256\$29000\$[./A-Za-z0-9]{21}w\$[./A-Za-z0-9]{4}$`},
		{"scrypt of Spring", "{scrypt}$e0801$8bWJaSu2IKSn9Z9kM+TPXfOc/9bdYSrN1oD9qfVThWEwdRTnO7re7Ei+fUZRJ68k9lTyuTeUp4of4g24hHnazw==$OAOec05+",
			"{scrypt}$e0801$aaWJaSu2IKSn9Z9kM+TPXfOc/9bdYSrN1oD9qfVThWEwdRTnO7re7Ei+fUZRJ68k9lTyuTeUp4of4g24hHnazw==$aAOec05+",
			"{scrypt}$e0801$<>$<8>", `^\{scrypt\}\$e0801\$` + b64 + `{85}w==\$` + b64 + `{8}$`},
		{"SHA-512 crypt", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO", "$6$otherstring$avn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO",
			"$6$<>$<36>", `^\$6\$[a-z]+\$[./A-Za-z0-9]{36}$`},
		{"with colons", "sha1:64000:18:c2FsdHNhbHQ=:5p+1Ie4aHfTf", "sha1:64000:18:YWFhYWFhYWE=:ap+1Ie4aHfTf",
			"sha1:64000:18:<>:<12>", `^sha1:64000:18:` + b64 + `{11}=:` + b64 + `{12}$`},
		{"ASP.NET version 3", aspnet(v3, strings.Repeat("\xf3s", 24)), aspnet(v3, strings.Repeat("k\x77", 24)),
			"010000000200" + "0186a0" + "00000010<61>", `^AQAAAAIAAYagAAAAE[A-P]` + b64 + `{64}==$`},
		{"ASP.NET version 2", aspnet("\x00", strings.Repeat("\xf3s", 24)), aspnet("\x00", strings.Repeat("k\x77", 24)),
			"00<49>", `^A[A-P]` + b64 + `{64}==$`},
		{"each class of characters", "sha1$saltsalt$0189abyzABYZ./", "sha1$SALT1234$zZ09aA./bB18cC",
			"sha1$<>$<14>", `^sha1\$[A-Za-z0-9]{8}\$[./A-Za-z0-9]{14}$`},
		{"a salt of digits", "sha1$12345678$0189abyz", "sha1$87654321$zZ09aA18", "sha1$<>$<8>", `^sha1\$[0-9]{8}\$[A-Za-z0-9]{8}$`},
		{"a salt of four letters", "pbkdf2_sha256$1000000$abcd$0189abyz", "pbkdf2_sha256$1000000$dcba$zZ09aA18",
			"pbkdf2_sha256$1000000$<>$<8>", `^pbkdf2_sha256\$1000000\$[a-z]{4}\$[A-Za-z0-9]{8}$`},
		{"hexadecimal", "5C0FFEE15C0FFEE1", "0123456789ABCDEF", "<16>", `^[0-9A-F]{16}$`},
		{"in braces only", "{SSHA}c2FsdHNhbHQ=", "{SSHA}YWFhYWFhYWE=", "{SSHA}<12>", `^\{SSHA\}` + b64 + `{11}=$`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, hash := range []string{tc.one, tc.two} {
				kind, decoy := gate.Scramble(hash)
				require.Equal(t, tc.kind, kind, hash)
				require.Regexp(t, regexp.MustCompile(tc.form), hash, "the test's own hash")
				require.Regexp(t, regexp.MustCompile(tc.form), decoy, hash)
				require.NotEqual(t, hash, decoy)
				again, _ := gate.Scramble(decoy)
				require.Equal(t, kind, again, "the decoy is of another kind")
				from := map[string]int{"ASP.NET version 3": 18, "ASP.NET version 2": 2}[tc.name] // what is before belongs to the kind
				requireOther(t, hash, decoy, max(from, strings.LastIndexAny(hash, "$:}")+1))
			}
		})
	}
}

// requireOther requires that a decoy has other letters and digits than the hash from there on, each of the same class. Only the last
// one stays.
func requireOther(t *testing.T, hash, decoy string, from int) {
	t.Helper()
	class := func(c byte) string {
		for _, class := range []string{"0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"} {
			if strings.IndexByte(class, c) >= 0 {
				return class
			}
		}
		return ""
	}
	require.Len(t, decoy, len(hash))
	for i := from; i < len(strings.TrimRight(hash, "="))-1; i++ {
		require.Equal(t, class(hash[i]), class(decoy[i]), "%s and %s differ in kind at %d", hash, decoy, i)
		require.Equal(t, class(hash[i]) == "", hash[i] == decoy[i], "%s and %s at %d", hash, decoy, i)
	}
}

// The hashers of package password can read the decoys of their own hashes, and no password that was hashed matches.
func TestScrambleReadable(t *testing.T) {
	for _, hasher := range []password.Hasher{password.Argon2id{Memory: 64, Iterations: 1}, password.Bcrypt{Cost: 4}} {
		for range 20 {
			hash, err := hasher.Hash("secret")
			require.NoError(t, err)
			_, decoy := gate.Scramble(hash)
			ok, _, err := hasher.Verify(decoy, "secret")
			require.NoError(t, err, "%s of %s", decoy, hash)
			require.False(t, ok)
		}
	}
}

func FuzzScramble(f *testing.F) {
	for _, hash := range []string{"", "$", ":", "{", "}", "{}", "a$", "$a", "{a}", "=", "AQAA", "$2a$05$x", "a:b:c", "===="} {
		f.Add(hash)
	}
	f.Fuzz(func(t *testing.T, hash string) {
		_, decoy := gate.Scramble(hash)
		require.Len(t, decoy, len(hash))
	})
}
