package integration

import (
	"bytes"
	"database/sql"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

// TestPoolWarning uses pools of connections with good and with bad settings. A store warns once about a bad one.
func TestPoolWarning(t *testing.T) {
	for _, tc := range []struct {
		name       string
		kind       store
		open, idle int
		want       string
	}{
		{"PostgreSQL", postgres, 3, 3, ""},
		{"PostgreSQL, 1 idle", postgres, 3, 1, "set db.SetMaxIdleConns"},
		{"MariaDB", mariadb, 3, 3, ""},
		{"MariaDB, 1 idle", mariadb, 3, 1, "set db.SetMaxIdleConns"},
		{"SQLite", sqlite, 1, 1, ""},
		{"SQLite, 3 connections", sqlite, 3, 3, "set db.SetMaxOpenConns(1)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := tc.kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			sqlSessions(t, db, d.dialect) // makes the tables
			db.SetMaxOpenConns(tc.open)
			db.SetMaxIdleConns(tc.idle)
			var log bytes.Buffer
			s, err := sqlstore.NewSessions(db, d.dialect, sqlstore.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			require.NoError(t, err)
			id := create(t, s, "user")
			for range 600 {
				require.NoError(t, s.Update(t.Context(), id, func(row session.Session, _ session.Moment) (session.Session, error) {
					return row, nil
				}))
				var all []*sql.Conn // as if so many requests were there at the same time
				for range tc.open {
					conn, err := db.Conn(t.Context())
					require.NoError(t, err)
					all = append(all, conn)
				}
				for _, conn := range all {
					require.NoError(t, conn.Close())
				}
			}
			if tc.want == "" {
				require.Empty(t, log.String())
				return
			}
			require.Contains(t, log.String(), tc.want)
			require.Equal(t, 1, strings.Count(log.String(), "WARN"))
		})
	}
}
