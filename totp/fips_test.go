package totp

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFIPS runs itself again in a process that allows only FIPS 140-3 algorithms. SHA-256 works there. SHA-1 is an error of
// New, or of the user's state, and not a panic.
func TestFIPS(t *testing.T) {
	if !fips140.Enforced() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: TestFIPS")
		return
	}
	c := newClock()
	store := users(t)
	f := factor(t, store, key(1), WithClock(c.Now), WithSHA256())
	e, codes := enrol(t, f, c)
	c.add(period * 1e9)
	requireRight(t, f, appCode(t, e, c.Now()), "SHA-256")
	requireRight(t, f, codes[0], "a recovery code")
	_, err := New(store, key(1))
	require.ErrorContains(t, err, "WithSHA256")

	sha1 := record{Version: 1, Algorithm: sha1Name, Digits: 6, Secret: make([]byte, 20), Confirmed: true}
	put(t, f, sha1)
	amr, err := f.Verify(t.Context(), "u1", "123456")
	require.ErrorContains(t, err, "fips140=only")
	require.Nil(t, amr)
}
