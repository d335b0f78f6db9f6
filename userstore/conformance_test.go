package userstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/userstore"
	"github.com/signet-go/signet/userstore/storetest"
)

func TestMemoryConforms(t *testing.T) {
	storetest.Run(t, func(*testing.T) userstore.Writer { return userstore.NewMemory() })
	t.Run("read only", func(t *testing.T) {
		m := userstore.NewMemory()
		require.NoError(t, m.Add(t.Context(), ann()))
		storetest.RunReadOnly(t, m, ann())
	})
}
