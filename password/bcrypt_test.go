package password_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/password"
)

var bcrypt4 = password.Bcrypt{Cost: 4}

const (
	seventyTwo     = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	seventyTwoHash = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"
)

// These are the vectors of crypt_blowfish 1.3 (openwall.com/crypt), wrapper.c, without those of $2x$ and of the sign
// extension fault.
func TestBcryptVectors(t *testing.T) {
	for _, tc := range []struct{ password, hash string }{
		{"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{"U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"},
		{"U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"},
		{"", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"},
		{seventyTwo, seventyTwoHash},
		{"\xa3", "$2a$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"},
		{"\xa3", "$2b$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"},
		{"\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"},
		{"\xff\xff\xa3", "$2b$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"},
		{"\xff\xff\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"},
		{"\xff\xa3345", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.nRht2l/HRhr6zmCp9vYUvvsqynflf9e"},
		{strings.Repeat("\xaa", 72), "$2a$05$/OK.fbVrR/bpIqNJ5ianF.swQOIzjOiJ9GHEPuhEkvqrUyvWhEMx6"},
		{strings.Repeat("\xaa\x55", 36), "$2a$05$/OK.fbVrR/bpIqNJ5ianF.R9xrDjiycxMbQE2bp.vgqlYpW5wx2yy"},
		{strings.Repeat("\x55\xaa\xff", 24), "$2a$05$/OK.fbVrR/bpIqNJ5ianF.9tQZzcJfm3uj2NvJ/n5xkhpqLrMpWCe"},
	} {
		t.Run(tc.hash, func(t *testing.T) {
			requireVerify(t, bcrypt4, tc.hash, tc.password, true, false)
			requireVerify(t, bcrypt4, tc.hash, "U*u", false, false)
		})
	}
}

// bcrypt uses 72 bytes. A longer password never matches, even if its first 72 bytes do.
func TestBcrypt72Bytes(t *testing.T) {
	requireVerify(t, bcrypt4, seventyTwoHash, seventyTwo, true, false)
	for _, tc := range []struct{ name, password string }{
		{"71 bytes", seventyTwo[:71]},
		{"72 bytes, the last one differs", seventyTwo[:71] + "x"},
		{"73 bytes", seventyTwo + "x"},
		{"NUL after", seventyTwo + "\x00"},
		{"the published vector", seventyTwo + "chars after 72 are ignored"},
		{"73 bytes, the first 72 do not match", "x" + seventyTwo},
		{"MaxLength", seventyTwo + strings.Repeat("x", password.MaxLength-72)},
	} {
		t.Run(tc.name, func(t *testing.T) { requireVerify(t, bcrypt4, seventyTwoHash, tc.password, false, false) })
	}
	requireFault(t, bcrypt4, seventyTwoHash, seventyTwo+strings.Repeat("x", password.MaxLength-71), password.ErrTooLong)

	hash, err := bcrypt4.Hash(seventyTwo)
	require.NoError(t, err, "Hash of 72 bytes")
	requireVerify(t, bcrypt4, hash, seventyTwo, true, false)
	requireVerify(t, bcrypt4, hash, seventyTwo+"x", false, false)

	hash, err = bcrypt4.Hash(seventyTwo + "x")
	require.ErrorIs(t, err, password.ErrTooLong, "Hash of 73 bytes")
	require.Empty(t, hash, "Hash of 73 bytes")

	// 36 letters of two bytes each, and one of one byte: the limit counts bytes.
	_, err = bcrypt4.Hash(strings.Repeat("é", 36) + "e")
	require.ErrorIs(t, err, password.ErrTooLong, "Hash of 37 characters in 73 bytes")
}

func TestBcryptHash(t *testing.T) {
	for _, tc := range []struct {
		name   string
		hasher password.Bcrypt
		want   string
	}{
		{"least", bcrypt4, "$2a$04$"},
		{"five", password.Bcrypt{Cost: 5}, "$2a$05$"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hash, err := tc.hasher.Hash("secret")
			require.NoError(t, err)
			require.Len(t, hash, 60)
			require.Equal(t, tc.want, hash[:7])
			requireVerify(t, tc.hasher, hash, "secret", true, false)
		})
	}

	hash, err := password.Bcrypt{}.Hash("secret")
	require.NoError(t, err)
	require.Equal(t, "$2a$12$", hash[:7], "the zero value's cost") // no Verify: this is slow enough

	one, err := bcrypt4.Hash("secret")
	require.NoError(t, err)
	two, err := bcrypt4.Hash("secret")
	require.NoError(t, err)
	require.NotEqual(t, one[7:29], two[7:29], "salts of two hashes")

	for _, cost := range []int{-1, 1, 3, 32, 1 << 20} {
		hash, err := password.Bcrypt{Cost: cost}.Hash("secret")
		require.Error(t, err, "cost %d", cost)
		require.NotContains(t, err.Error(), "secret", "cost %d", cost)
		require.Empty(t, hash, "cost %d", cost)
	}
}

func TestBcryptOutdated(t *testing.T) {
	const hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	for _, tc := range []struct {
		cost int
		want bool
	}{{4, false}, {5, false}, {6, true}, {31, true}, {0, true}} {
		hasher := password.Bcrypt{Cost: tc.cost}
		requireVerify(t, hasher, hash, "U*U", true, tc.want)
		requireVerify(t, hasher, hash, "U*", false, false) // outdated is true only with ok
	}
}

func TestBcryptFormat(t *testing.T) {
	const salt, key = "CCCCCCCCCCCCCCCCCCCCC.", "E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	const good = "$2a$05$" + salt + key
	requireVerify(t, bcrypt4, good, "U*U", true, false) // each case of the table changes one thing in it

	for _, tc := range []struct{ name, hash string }{
		{"empty", ""},
		{"plain text", "U*U"},
		{"60 other bytes", strings.Repeat("x", 60)},
		{"60 separators", strings.Repeat("$", 60)},
		{"argon2id", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{"$2x$", "$2x$05$" + salt + key},
		{"$2x$ of the vectors", "$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"},
		{"$2$", "$2$05$" + salt + key},
		{"$2$, 60 bytes", "$2$05$" + salt + key + "."},
		{"$2c$", "$2c$05$" + salt + key},
		{"$2A$", "$2A$05$" + salt + key},
		{"$1a$", "$1a$05$" + salt + key},
		{"$3a$", "$3a$05$" + salt + key},
		{"first separator", "x2a$05$" + salt + key},
		{"second separator", "$2ax05$" + salt + key},
		{"third separator", "$2a$05x" + salt + key},
		{"cost 00", "$2a$00$" + salt + key},
		{"cost 03", "$2a$03$" + salt + key},
		{"cost 32", "$2a$32$" + salt + key},
		{"cost 99", "$2a$99$" + salt + key},
		{"cost +5", "$2a$+5$" + salt + key},
		{"cost -5", "$2a$-5$" + salt + key},
		{"cost with a space", "$2a$ 5$" + salt + key},
		{"cost xx", "$2a$xx$" + salt + key},
		{"cost of one digit", "$2a$5$" + salt + key},
		{"cost of one digit, 60 bytes", "$2a$5$" + salt + key + "."},
		{"salt with a +", "$2a$05$+" + salt[1:] + key},
		{"salt with a newline", "$2a$05$\n" + salt[1:] + key},
		{"salt with a =", "$2a$05$" + salt[:21] + "=" + key},
		{"salt of newlines", "$2a$05$" + strings.Repeat("\n", 22) + key},
		{"key with a !", "$2a$05$" + salt + "!" + key[1:]},
		{"key with a $", "$2a$05$" + salt + key[:30] + "$"},
		{"key with a newline", "$2a$05$" + salt + key[:30] + "\n"},
		{"key with NUL", "$2a$05$" + salt + key[:30] + "\x00"},
		{"key with a letter beyond ASCII", "$2a$05$" + salt + key[:29] + "é"},
		{"59 bytes", good[:59]},
		{"61 bytes", good + "."},
		{"newline after", good + "\n"},
		{"space before", " " + good},
	} {
		t.Run(tc.name, func(t *testing.T) {
			requireFault(t, bcrypt4, tc.hash, "U*U", password.ErrFormat)
			requireFault(t, bcrypt4, tc.hash, seventyTwo+"x", password.ErrFormat)
		})
	}
}
