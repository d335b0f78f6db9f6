package password_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/password"
)

// A password with a NUL matches nothing that could not tell it from another one.
func TestPasswordsWithNUL(t *testing.T) {
	hasher := password.Chain(password.Argon2id{Memory: 64, Iterations: 1}, password.Bcrypt{Cost: 4}, password.PBKDF2{Iterations: 1000}, password.Imported{})
	own, err := password.PBKDF2{Iterations: 1000}.Hash("changeme")
	require.NoError(t, err)
	for _, tc := range []struct{ hash, right, wrong string }{
		{"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", "U*U\x00U*U"},
		{"pbkdf2_sha256$260000$seasalt$YlZ2Vggtqdc61YjArZuoApoBh9JNGYoDRBUGu6tcJQo=", "lètmein", "lètmein\x00"},
		{"scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==", "lètmein", "lètmein\x00\x00"},
		{own, "changeme", "changeme\x00"},
	} {
		ok, _, err := hasher.Verify(tc.hash, tc.right)
		require.NoError(t, err)
		require.True(t, ok, tc.hash)
		ok, _, err = hasher.Verify(tc.hash, tc.wrong)
		require.NoError(t, err)
		require.False(t, ok, tc.hash)
	}
	for _, h := range []password.Hasher{password.Bcrypt{Cost: 4}, password.PBKDF2{Iterations: 1000}} {
		_, err := h.Hash("a\x00b")
		require.ErrorIs(t, err, password.ErrInvalid, "a hash that nothing matches")
	}
}
