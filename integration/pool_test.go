package integration

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// TestPoolWarning uses pools of connections with good and with bad settings. The stores on a bad one warn once, whichever they
// are, and the logger of the session store hears it.
func TestPoolWarning(t *testing.T) {
	const idle, connections = "set db.SetMaxIdleConns", "set db.SetMaxOpenConns(1)"
	for _, tc := range []struct {
		name       string
		kind       store
		open, idle int
		uses       string
		want       string
	}{
		{"PostgreSQL", postgres, 3, 3, "sessions users throttle", ""},
		{"PostgreSQL, 1 idle", postgres, 3, 1, "sessions users throttle", idle},
		{"PostgreSQL, 1 idle, only sessions", postgres, 3, 1, "sessions", idle},
		{"PostgreSQL, 1 idle, only users", postgres, 3, 1, "users", idle},
		{"PostgreSQL, 1 idle, only the throttle", postgres, 3, 1, "throttle", idle},
		{"MariaDB", mariadb, 3, 3, "sessions users throttle", ""},
		{"MariaDB, 1 idle", mariadb, 3, 1, "sessions", idle},
		{"SQLite", sqlite, 1, 1, "sessions users throttle", ""},
		{"SQLite, 3 connections", sqlite, 3, 3, "sessions users throttle", connections},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := tc.kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			sqlSessions(t, db, d.dialect) // makes the tables
			db.SetMaxOpenConns(tc.open)
			db.SetMaxIdleConns(tc.idle)
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, nil))
			users := sqlUsers(t, db, d.dialect)
			sessions, err := sqlstore.NewSessions(db, d.dialect, sqlstore.WithLogger(logger))
			require.NoError(t, err)
			records, err := sqlstore.NewThrottle(db, d.dialect)
			require.NoError(t, err)
			id := create(t, sessions, "user")
			calls := map[string]func() error{
				"sessions": func() error {
					return sessions.Update(t.Context(), id, func(row session.Session, _ session.Moment) (session.Session, error) { return row, nil })
				},
				"users": func() error {
					if _, err := users.FindByID(t.Context(), "nobody"); !errors.Is(err, userstore.ErrNotFound) {
						return fmt.Errorf("found: %w", err)
					}
					return nil
				},
				"throttle": func() error {
					return records.Update(t.Context(), throttle.Key{1}, func(before throttle.Record, _ time.Time) (throttle.Record, time.Time, error) {
						return before, time.Time{}, nil
					})
				},
			}
			for range 600 {
				for _, use := range strings.Fields(tc.uses) {
					require.NoError(t, calls[use]())
				}
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
