package integration

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// TestStalledWrites: the database cannot commit, but it can be read. Many clients wait for their writes, and the log is read all
// the same: without it no access token would pass.
func TestStalledWrites(t *testing.T) {
	for _, tc := range []struct {
		store
		root       func(dsn string) string
		stall, end []string
	}{
		// The synchronous standby has gone.
		{postgres, func(dsn string) string { return strings.Replace(dsn, "signet@", "postgres@", 1) },
			[]string{"ALTER SYSTEM SET synchronous_standby_names = 'gone'", "SELECT pg_reload_conf()"},
			[]string{"ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"}},
		{mariadb, func(dsn string) string { return strings.Replace(dsn, "signet:signet@", "root@", 1) },
			[]string{"FLUSH TABLES WITH READ LOCK"}, []string{"UNLOCK TABLES"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := *tc.host(t).fresh(t).database
			db := openSQL(t, d)
			db.SetMaxOpenConns(32)
			s := sqlSessions(t, db, d.dialect)
			root, err := openSQL(t, database{d.driver, tc.root(d.dsn), d.dialect}).Conn(t.Context())
			require.NoError(t, err)
			defer root.Close()
			run := func(statements []string) {
				for _, statement := range statements {
					_, err := root.ExecContext(t.Context(), statement)
					require.NoError(t, err)
				}
			}
			var ids []string
			for range 100 {
				ids = append(ids, create(t, s, "1"))
			}
			require.NoError(t, revoke(t.Context(), s, create(t, s, "2"))) // has no number yet
			db.SetMaxOpenConns(16)
			run(tc.stall)
			ctx, stop := context.WithCancel(t.Context())
			var clients sync.WaitGroup
			for _, id := range ids {
				clients.Go(func() {
					for ctx.Err() == nil {
						limited, cancel := context.WithTimeout(ctx, 5*time.Second)
						_ = s.Update(limited, id, func(row session.Session, at session.Moment) (session.Session, error) {
							row.LastUsedAt++
							return row, nil
						})
						cancel()
					}
				})
			}
			time.Sleep(time.Second)
			began := time.Now()
			for range 20 {
				limited, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				_, err := s.ReadLog(limited, session.Start, 100, func(session.Entry) {})
				cancel()
				require.NoError(t, err)
			}
			require.Less(t, time.Since(began), 12*time.Second, "most looks do not try to number the log")
			stop()
			clients.Wait()
			run(tc.end)
			require.Eventually(t, func() bool { return revoke(t.Context(), s, ids[0]) == nil }, 20*time.Second, 100*time.Millisecond)
		})
	}
}
