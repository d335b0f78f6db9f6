package userstore_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/userstore"
)

var _ userstore.FactorStore = (*userstore.Memory)(nil)

func TestValidateFactor(t *testing.T) {
	long := make([]byte, 4097)
	for _, name := range []string{"a", "totp", "a-1", "0", "-", strings.Repeat("z", 64)} {
		require.NoError(t, userstore.ValidateFactor(name, long[:4096]), "%q", name)
		require.NoError(t, userstore.ValidateFactor(name, nil), "%q", name)
		require.ErrorIs(t, userstore.ValidateFactor(name, long), userstore.ErrInvalidFactor, "%q", name)
	}
	for _, name := range []string{"", "A", "a b", "a_b", "\u00e9", "a\x00", "\xff", "`", "{", "/", ":",
		strings.Repeat("z", 65)} {
		require.ErrorIs(t, userstore.ValidateFactor(name, nil), userstore.ErrInvalidFactor, "%q", name)
	}
}

// Neither errors nor the printed store show a value.
func TestFactorIsNotPrinted(t *testing.T) {
	m := filled(t)
	require.NoError(t, m.ReplaceFactor(t.Context(), "u1", "a", nil, []byte("hidden")))
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", m, m, struct{ Store any }{m}), "hidden")
	err := m.ReplaceFactor(t.Context(), "u1", "a", []byte("hidden too"), []byte("hidden three"))
	require.ErrorIs(t, err, userstore.ErrConflict)
	require.NotContains(t, err.Error(), "hidden")
}
