package integration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

// TestMigrateBesideAHeldLog migrates while a process has stopped that numbers rows of the log. Migrate leaves the rows to the
// readers.
func TestMigrateBesideAHeldLog(t *testing.T) {
	for _, kind := range []store{postgres, mariadb} { // SQLite has one writer at a time
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
			fillRevoked(t, db, d.dialect, 100)
			stopped, err := db.Begin()
			require.NoError(t, err)
			defer stopped.Rollback()
			_, err = stopped.Exec("UPDATE signet_log SET head = head + 1")
			require.NoError(t, err)
			require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
			require.Equal(t, 100, inInbox(t, db))
			require.NoError(t, stopped.Rollback())
			require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
			require.Zero(t, inInbox(t, db))
		})
	}
}

// TestFaultsOpenTransaction keeps the transactions of a revocation and of a cut-off open for 1.5 seconds, while others are
// committed and read. No service misses them, whatever it has read in the meantime.
func TestFaultsOpenTransaction(t *testing.T) {
	const held = 1500 * time.Millisecond              // a reader looks once a second
	for _, kind := range []store{postgres, mariadb} { // SQLite has one writer at a time
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			at := kind.host(t).fresh(t)
			people := newCrowd()
			db, slow := openSlowly(t, *at.database, held)
			a := startMember(t, people.users, sqlSessions(t, db, at.database.dialect))
			b, c := startMember(t, people.users, at.sessions(t)), startMember(t, people.users, at.sessions(t))
			good := people.add(t, a.auth, 10, 1)
			one, all := people.add(t, a.auth, 1, 1), people.add(t, a.auth, 1, 2)
			// The writes of users in the same group wait for the transaction of a cut-off.
			quick := slices.DeleteFunc(people.add(t, a.auth, 200, 1), func(p person) bool {
				return session.GroupOfUser(p.id) == session.GroupOfUser(all[0].id)
			})
			stop := watch(t, good, a.url, b.url, c.url)

			slow.Store(true)
			done := make(chan error, 2)
			began := time.Now()
			go func() { done <- a.auth.RevokeSession(t.Context(), sessionOf(t, a.auth, one[0])) }()
			go func() { done <- a.auth.RevokeUser(t.Context(), all[0].id) }()
			var ended []person
			for ; len(done) == 0 && len(quick) > 0; quick = quick[1:] {
				require.NoError(t, b.auth.RevokeSession(t.Context(), sessionOf(t, b.auth, quick[0])))
				ended = append(ended, quick[0])
				time.Sleep(30 * time.Millisecond)
			}
			require.Greater(t, time.Since(began), held*9/10)
			require.NotEmpty(t, ended, "revocations meanwhile")
			require.NoError(t, <-done)
			require.NoError(t, <-done)
			committed := time.Now()
			for _, m := range []*member{a, b, c} {
				requireEnded(t, m.url, append(one, all...), committed, followBound)
			}
			took := time.Since(committed)
			for _, m := range []*member{a, b, c} {
				requireEnded(t, m.url, ended, committed, followBound)
			}
			stop()
			requireGood(t, c.url, good)
			results.note(t, "%-12s revoked in transactions that were open for %v, beside %d others: known everywhere %v after the commit",
				kind.name, held, len(ended), took.Round(10*time.Millisecond))
		})
	}
}

// sessionOf returns the id of a person's first session.
func sessionOf(t testing.TB, auth *signet.Auth, p person) string {
	t.Helper()
	claims, err := auth.Verify(t.Context(), p.pairs[0].Access)
	require.NoError(t, err)
	return claims.SessionID
}

// openSlowly opens a database. When the returned value is true, each write of a row of the store gets a transaction that stays
// open for some time before it is committed.
func openSlowly(t testing.TB, d database, held time.Duration) (*sql.DB, *atomic.Bool) {
	t.Helper()
	plain := openSQL(t, d)
	connector, err := plain.Driver().(driver.DriverContext).OpenConnector(d.dsn)
	require.NoError(t, err)
	slow := &slowConnector{Connector: connector, held: held}
	db := sql.OpenDB(slow)
	t.Cleanup(func() { db.Close() })
	return db, &slow.on
}

type slowConnector struct {
	driver.Connector
	held time.Duration
	on   atomic.Bool
}

func (s *slowConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := s.Connector.Connect(ctx)
	return &slowConn{conn, s}, err
}

type slowConn struct {
	driver.Conn
	connector *slowConnector
}

func (c *slowConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

func (c *slowConn) CheckNamedValue(v *driver.NamedValue) error {
	return c.Conn.(driver.NamedValueChecker).CheckNamedValue(v)
}

func (c *slowConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *slowConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	exec := c.Conn.(driver.ExecerContext).ExecContext
	numbers := strings.Contains(query, "SET pos = ") || strings.Contains(query, "signet_log")
	if !c.connector.on.Load() || numbers {
		return exec(ctx, query, args)
	}
	tx, err := c.BeginTx(ctx, driver.TxOptions{})
	if err != nil {
		return nil, err
	}
	result, err := exec(ctx, query, args)
	if err != nil {
		tx.Rollback()
		return nil, err
	}
	time.Sleep(c.connector.held)
	return result, tx.Commit()
}
