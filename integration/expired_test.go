package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

// TestDeleteExpired checks that expired rows are removed in batches of the given size, and that no other rows are removed.
func TestDeleteExpired(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			sessions := sqlSessions(t, db, d.dialect)
			tx, err := db.Begin() // one sync to disk for all rows
			require.NoError(t, err)
			query := "INSERT INTO signet_sessions (id, user_id, version, keep_until, revoked_at, data) VALUES (?, 'u', 1, ?, 0, '{}')"
			if d.dialect == sqlstore.PostgreSQL {
				query = strings.Replace(strings.Replace(query, "?", "$1", 1), "?", "$2", 1)
			}
			insert, err := tx.Prepare(query)
			require.NoError(t, err)
			for i := range 2600 {
				keep := session.Millis(i)
				if i >= 2500 {
					keep = 1 << 50
				}
				_, err := insert.Exec(fmt.Sprint("id", i), int64(keep))
				require.NoError(t, err)
			}
			require.NoError(t, tx.Commit())
			for i, userID := range []string{"past", "future", ""} { // the cut-off of everybody stays
				keep := []session.Millis{1, 1 << 50, 1}[i]
				require.NoError(t, sessions.Cut(t.Context(), userID, func(c session.Cutoff, _, now session.Millis) (session.Cutoff, error) {
					return c.End("", keep, now), nil
				}))
			}
			n, err := sessions.DeleteExpired(t.Context(), 1, 1000) // the clock of the caller says that nothing is due but one row
			require.NoError(t, err)
			require.Equal(t, 1, n)
			for _, want := range []int{1000, 1000, 500, 0} { // 2499 sessions and a cut-off
				n, err := sessions.DeleteExpired(t.Context(), 1<<50, 1000)
				require.NoError(t, err)
				require.Equal(t, want, n)
			}
			var left int
			require.NoError(t, db.QueryRow("SELECT count(*) FROM signet_sessions").Scan(&left))
			require.Equal(t, 100, left)
			require.NoError(t, db.QueryRow("SELECT count(*) FROM signet_cutoffs WHERE user_id <> 'past'").Scan(&left))
			require.Equal(t, 2, left)
		})
	}
}
