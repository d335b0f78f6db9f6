package integration

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
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

// TestRedisWithFIPS runs the kits again in a process that allows only FIPS 140-3 algorithms. The name of a script is a SHA-1.
func TestRedisWithFIPS(t *testing.T) {
	servers.Redis(t) // or the test is skipped
	cmd := exec.Command(os.Args[0], "-test.run=^(TestSessionStores|TestThrottleStores)$/^(Redis|RedisCluster|one_server|Cluster)$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, test := range []string{"TestSessionStores/Redis ", "TestSessionStores/RedisCluster ", "TestThrottleStores/Cluster "} {
		require.Contains(t, string(out), "--- PASS: "+test)
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
