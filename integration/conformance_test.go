package integration

import (
	"testing"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/session/sessiontest"
	"github.com/signet-go/signet/userstore"
	"github.com/signet-go/signet/userstore/storetest"
)

// TestSessionStores runs the conformance kit on every store.
func TestSessionStores(t *testing.T) {
	t.Run("Memory", func(t *testing.T) {
		sessiontest.Run(t, func(*testing.T) session.Store { return &session.Memory{} })
	})
	for _, kind := range []store{postgres, mariadb, sqlite, redisOne, redisCluster} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			host := kind.host(t)
			sessiontest.Run(t, func(t *testing.T) session.Store { return host.fresh(t).sessions(t) })
		})
	}
}

// TestUserStores runs the conformance kit on every database.
func TestUserStores(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			host := kind.host(t)
			storetest.Run(t, func(t *testing.T) userstore.Writer {
				d := host.fresh(t).database
				return sqlUsers(t, openSQL(t, *d), d.dialect)
			})
		})
	}
}
