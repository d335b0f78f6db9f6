package password_test

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"

	"github.com/signet-go/signet/password"
)

// small has low costs. They keep those tests fast that do not test the costs.
var small = password.Argon2id{Memory: 64, Iterations: 1}

func TestArgon2idRoundTrip(t *testing.T) {
	for _, tc := range []struct{ name, right, wrong string }{
		{"ASCII", "correct horse", "correct Horse"},
		{"empty", "", " "},
		{"UTF-8", "pässwörd", "password"},
		{"not normalised", "é", "e\u0301"},
		{"NUL", "a\x00b", "a"},
		{"NUL repeated", "a", "a\x00a"},
		{"not UTF-8", "\xff\xfe", "\ufffd\ufffd"},
		{"space at the end", "a ", "a"},
		{"73 bytes, the last one differs", strings.Repeat("a", 72) + "b", strings.Repeat("a", 72) + "c"},
		{"MaxLength", strings.Repeat("a", password.MaxLength), strings.Repeat("a", password.MaxLength-1)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hash, err := small.Hash(tc.right)
			require.NoError(t, err, "Hash(%q)", tc.right)
			requireVerify(t, small, hash, tc.right, true, false)
			requireVerify(t, small, hash, tc.wrong, false, false)
		})
	}
}

// requireVerify requires this answer, without an error.
func requireVerify(t *testing.T, hasher password.Hasher, hash, pass string, ok, outdated bool) {
	t.Helper()
	gotOK, gotOutdated, err := hasher.Verify(hash, pass)
	require.NoError(t, err, "Verify(%q, %.80q)", hash, pass)
	require.Equal(t, []bool{ok, outdated}, []bool{gotOK, gotOutdated}, "Verify(%q, %.80q): ok and outdated", hash, pass)
}

// requireFault requires this error, and false for ok and outdated.
func requireFault(t *testing.T, hasher password.Hasher, hash, pass string, want error) {
	t.Helper()
	ok, outdated, err := hasher.Verify(hash, pass)
	require.ErrorIs(t, err, want, "Verify(%q, %.80q)", hash, pass)
	require.Equal(t, []bool{false, false}, []bool{ok, outdated}, "Verify(%q, %.80q): ok and outdated", hash, pass)
}

func TestArgon2idForm(t *testing.T) {
	for _, tc := range []struct {
		name   string
		hasher password.Argon2id
		want   string
	}{
		{"zero value", password.Argon2id{}, "m=19456,t=2,p=1"},
		{"memory only", password.Argon2id{Memory: 64}, "m=64,t=2,p=1"},
		{"passes only", password.Argon2id{Iterations: 1}, "m=19456,t=1,p=1"},
		{"lanes only", password.Argon2id{Parallelism: 2}, "m=19456,t=2,p=2"},
		{"all", password.Argon2id{Memory: 128, Iterations: 3, Parallelism: 4}, "m=128,t=3,p=4"},
		{"least memory", password.Argon2id{Memory: 8, Iterations: 1}, "m=8,t=1,p=1"},
		{"least memory for two lanes", password.Argon2id{Memory: 16, Iterations: 1, Parallelism: 2}, "m=16,t=1,p=2"},
		{"most passes", password.Argon2id{Memory: 8, Iterations: 64}, "m=8,t=64,p=1"},
		{"most lanes", password.Argon2id{Memory: 2040, Iterations: 1, Parallelism: 255}, "m=2040,t=1,p=255"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hash, err := tc.hasher.Hash("secret")
			require.NoError(t, err)
			// 16 bytes of salt are 22 characters, and 32 bytes of key are 43.
			require.Regexp(t, regexp.MustCompile(`^\$argon2id\$v=19\$`+tc.want+`\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`), hash)
			requireVerify(t, tc.hasher, hash, "secret", true, false)
		})
	}
}

func TestArgon2idSaltIsFresh(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		hash, err := small.Hash("secret")
		require.NoError(t, err)
		salt := strings.Split(hash, "$")[4]
		require.False(t, seen[salt], "salt %s came twice", salt)
		seen[salt] = true
	}
}

// These are the vectors of the reference implementation: github.com/P-H-C/phc-winner-argon2, src/test.c, version 0x13.
func TestArgon2idVectors(t *testing.T) {
	for _, tc := range []struct{ password, hash string }{
		{"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{"password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{"password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
		{"password", "$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$9qWtwbpyPd3vm1rB1GThgPzZ3/ydHL92zKL+15XZypg"},
		{"differentpassword", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94"},
		{"password", "$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw"},
	} {
		t.Run(tc.hash, func(t *testing.T) {
			requireVerify(t, small, tc.hash, tc.password, true, true) // outdated: the salt has only 8 bytes
		})
	}
}

func TestArgon2idFormat(t *testing.T) {
	const salt, key = "c29tZXNhbHQ", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	const good = "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + key
	requireVerify(t, small, good, "password", true, true) // each case of the table changes one thing in it

	params := func(params string) string { return "$argon2id$v=19$" + params + "$" + salt + "$" + key }
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	base64 := base64.RawStdEncoding.EncodeToString
	for _, tc := range []struct{ name, hash string }{
		{"empty", ""},
		{"plain text", "password"},
		{"only separators", "$$$$$"},
		{"bcrypt", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{"argon2i", replace("argon2id", "argon2i")},
		{"argon2d", replace("argon2id", "argon2d")},
		{"scrypt", replace("argon2id", "scrypt")},
		{"variant in capitals", replace("argon2id", "Argon2id")},
		{"variant missing", replace("$argon2id", "")},

		{"v=16", replace("v=19", "v=16")},
		{"v=20", replace("v=19", "v=20")},
		{"v=019", replace("v=19", "v=019")},
		{"v empty", replace("v=19", "v=")},
		{"v without a name", replace("v=19", "19")},
		{"v missing", replace("$v=19", "")},
		{"v after the parameters", "$argon2id$m=256,t=2,p=1$v=19$" + salt + "$" + key},

		{"parameters t,m,p", params("t=2,m=256,p=1")},
		{"parameters m,p,t", params("m=256,p=1,t=2")},
		{"parameter p missing", params("m=256,t=2")},
		{"parameter m missing", params("t=2,p=1")},
		{"parameters missing", params("")},
		{"parameter twice", params("m=256,t=2,t=2,p=1")},
		{"further parameter", params("m=256,t=2,p=1,keyid=1")},
		{"comma at the end", params("m=256,t=2,p=1,")},
		{"space between", params("m=256, t=2, p=1")},
		{"name in capitals", params("M=256,t=2,p=1")},
		{"colon", params("m:256,t:2,p:1")},

		{"m empty", params("m=,t=2,p=1")},
		{"m=0", params("m=0,t=2,p=1")},
		{"m=7", params("m=7,t=2,p=1")},
		{"m under 8 a lane", params("m=15,t=2,p=2")},
		{"m=0256", params("m=0256,t=2,p=1")},
		{"m=+256", params("m=+256,t=2,p=1")},
		{"m=-256", params("m=-256,t=2,p=1")},
		{"m=0x100", params("m=0x100,t=2,p=1")},
		{"m=2_56", params("m=2_56,t=2,p=1")},
		{"m=256.0", params("m=256.0,t=2,p=1")},
		{"m over 1 GiB", params("m=1048577,t=2,p=1")},
		{"m=2^32-1", params("m=4294967295,t=2,p=1")},
		{"m=2^32+256", params("m=4294967552,t=2,p=1")},
		{"m=2^64+256", params("m=18446744073709551872,t=2,p=1")},
		{"t empty", params("m=256,t=,p=1")},
		{"t=0", params("m=256,t=0,p=1")},
		{"t=65", params("m=256,t=65,p=1")},
		{"t=02", params("m=256,t=02,p=1")},
		{"t=2^32-1", params("m=256,t=4294967295,p=1")},
		{"t=2^32+2", params("m=256,t=4294967298,p=1")},
		{"p empty", params("m=256,t=2,p=")},
		{"p=0", params("m=256,t=2,p=0")},
		{"p=01", params("m=256,t=2,p=01")},
		{"p=256", params("m=65536,t=2,p=256")},
		{"p=257", params("m=65536,t=2,p=257")},
		{"p=-1", params("m=256,t=2,p=-1")},

		{"salt missing", replace("$"+salt, "")},
		{"salt empty", replace(salt, "")},
		{"salt of 7 bytes", replace(salt, base64([]byte("somesal")))},
		{"salt padded", replace(salt, salt+"=")},
		{"salt with unused bits set", replace(salt, "c29tZXNhbHR")},
		{"salt with a newline", replace(salt, "c29t\nZXNhbHQ")},
		{"salt with a carriage return", replace(salt, "c29t\rZXNhbHQ")},
		{"salt in the alphabet of URLs", replace(salt, "c29tZXNhbH-_c29t")},
		{"salt with a bad length", replace(salt, salt+"AA")},
		{"key missing", replace("$"+key, "")},
		{"key empty", replace(key, "")},
		{"key of 15 bytes", replace(key, base64(make([]byte, 15)))},
		{"key padded", good + "="},
		{"key with unused bits set", strings.TrimSuffix(good, "4") + "5"},
		{"key with a newline", good + "\n"},
		{"key with a space", good + " "},
		{"key with NUL", good + "\x00"},
		{"seventh field", good + "$"},
		{"text before", "x" + good},
		{"space before", " " + good},
		{"first separator missing", strings.TrimPrefix(good, "$")},
		{"over 512 bytes", replace(key, base64(make([]byte, 400)))},
		{"a million separators", strings.Repeat("$", 1_000_000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ok, outdated, err := small.Verify(tc.hash, "password")
			require.ErrorIs(t, err, password.ErrFormat, "Verify(%.200q)", tc.hash)
			require.Equal(t, []bool{false, false}, []bool{ok, outdated}, "Verify(%.200q): ok and outdated", tc.hash)
		})
	}
}

// phc makes a hash with a salt and a key of these sizes. Hash makes only one size of each.
func phc(pass string, saltSize, keySize int) string {
	salt := []byte(strings.Repeat("s", saltSize))
	key := argon2.IDKey([]byte(pass), salt, 1, 64, 1, uint32(keySize))
	return fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=1$%s$%s", base64.RawStdEncoding.EncodeToString(salt),
		base64.RawStdEncoding.EncodeToString(key))
}

func TestArgon2idOutdated(t *testing.T) {
	hashed := func(a password.Argon2id) string {
		hash, err := a.Hash("secret")
		require.NoError(t, err)
		return hash
	}
	now := password.Argon2id{Memory: 64, Iterations: 2, Parallelism: 2}
	for _, tc := range []struct {
		name   string
		hasher password.Argon2id
		hash   string
		want   bool
	}{
		{"same costs", now, hashed(now), false},
		{"less memory", now, hashed(password.Argon2id{Memory: 63, Iterations: 2, Parallelism: 2}), true},
		{"more memory", now, hashed(password.Argon2id{Memory: 65, Iterations: 2, Parallelism: 2}), false},
		{"fewer passes", now, hashed(password.Argon2id{Memory: 64, Iterations: 1, Parallelism: 2}), true},
		{"more passes", now, hashed(password.Argon2id{Memory: 64, Iterations: 3, Parallelism: 2}), false},
		{"fewer lanes", now, hashed(password.Argon2id{Memory: 64, Iterations: 2, Parallelism: 1}), true},
		{"more lanes", now, hashed(password.Argon2id{Memory: 64, Iterations: 2, Parallelism: 3}), true},
		{"more memory, fewer passes", now, hashed(password.Argon2id{Memory: 128, Iterations: 1, Parallelism: 2}), true},
		{"under the default costs", password.Argon2id{}, hashed(small), true},
		{"salt and key of Hash", small, phc("secret", 16, 32), false},
		{"longer salt and key", small, phc("secret", 32, 64), false},
		{"shorter salt", small, phc("secret", 15, 32), true},
		{"shortest salt", small, phc("secret", 8, 32), true},
		{"shorter key", small, phc("secret", 16, 31), true},
		{"shortest key", small, phc("secret", 16, 16), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			requireVerify(t, tc.hasher, tc.hash, "secret", true, tc.want)
			requireVerify(t, tc.hasher, tc.hash, "Secret", false, false) // outdated is true only with ok
		})
	}
}

func TestArgon2idCostsOutOfRange(t *testing.T) {
	for _, tc := range []struct {
		hasher password.Argon2id
		want   string
	}{
		{password.Argon2id{Memory: 7}, "m=7,t=2,p=1"},
		{password.Argon2id{Memory: 15, Parallelism: 2}, "m=15,t=2,p=2"},
		{password.Argon2id{Memory: 2039, Parallelism: 255}, "m=2039,t=2,p=255"},
		{password.Argon2id{Memory: 1<<20 + 1}, "m=1048577,t=2,p=1"},
		{password.Argon2id{Memory: 1<<32 - 1}, "m=4294967295,t=2,p=1"},
		{password.Argon2id{Iterations: 65}, "m=19456,t=65,p=1"},
		{password.Argon2id{Iterations: 1<<32 - 1}, "m=19456,t=4294967295,p=1"},
	} {
		hash, err := tc.hasher.Hash("secret")
		require.EqualError(t, err, "password: argon2id costs out of range: "+tc.want, "%+v", tc.hasher)
		require.Empty(t, hash, "%+v", tc.hasher)
	}
}

func TestArgon2idTooLong(t *testing.T) {
	hash, err := small.Hash(strings.Repeat("a", password.MaxLength+1))
	require.ErrorIs(t, err, password.ErrTooLong)
	require.Empty(t, hash)

	hash, err = small.Hash(strings.Repeat("a", password.MaxLength))
	require.NoError(t, err)
	requireFault(t, small, hash, strings.Repeat("a", password.MaxLength+1), password.ErrTooLong)
}
