package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

// migrateOld makes the tables as the version before the log had them.
func migrateOld(t testing.TB, db *sql.DB, d sqlstore.Dialect) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "sqlstore", "migrations", string(d), "001.sql"))
	require.NoError(t, err)
	statements := append(strings.Split(string(text), ";\n"),
		"CREATE TABLE signet_schema (component VARCHAR(64) PRIMARY KEY, version BIGINT NOT NULL)",
		"INSERT INTO signet_schema (component, version) VALUES ('signet', 1)")
	for _, statement := range statements {
		if strings.TrimSpace(statement) != "" {
			_, err := db.Exec(statement)
			require.NoError(t, err)
		}
	}
}

// revokeOld revokes a session with the statements of the version before the log.
func revokeOld(db *sql.DB, d sqlstore.Dialect, id string) error {
	now := map[sqlstore.Dialect]string{
		sqlstore.PostgreSQL: "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
		sqlstore.SQLite:     "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
		sqlstore.MariaDB:    "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000)",
	}[d]
	var version, at int64
	var data []byte
	err := db.QueryRow(fmt.Sprintf(`SELECT version, data, %s FROM signet_sessions WHERE id = '%s'`, now, id)).
		Scan(&version, &data, &at)
	if err != nil {
		return err
	}
	var s session.Session
	if err := s.UnmarshalJSON(data); err != nil {
		return err
	}
	s = s.Revoke(session.ReasonLogout, session.Millis(at))
	if data, err = s.MarshalJSON(); err != nil {
		return err
	}
	result, err := db.Exec(fmt.Sprintf(`UPDATE signet_sessions SET version = version + 1, keep_until = %d,
		revoked_at = CASE WHEN %d = 0 THEN 0 WHEN revoked_at > 0 THEN revoked_at ELSE %s END, data = '%s'
		WHERE id = '%s' AND version = %d`, s.KeepUntil, 1, now, data, id, version))
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("%d rows were changed: %w", n, err)
	}
	return nil
}

// TestMigrateBeside migrates tables that have many revoked sessions while a process of the version before revokes sessions.
// That process goes on afterwards. A reader of the new version misses nothing.
func TestMigrateBeside(t *testing.T) {
	const old, during, later = 25_000, 1000, 100
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			migrateOld(t, db, d.dialect)
			fillRevoked(t, db, d.dialect, old)
			ids := insertLive(t, db, d.dialect, "user", during+later)
			var process sync.WaitGroup
			errs := make(chan error, 1)
			stop := make(chan struct{})
			revoked := 0
			process.Go(func() {
				for _, id := range ids[:during] {
					select {
					case <-stop:
						return
					default:
					}
					err := revokeOld(db, d.dialect, id)
					for err != nil && strings.Contains(err.Error(), "SQLITE_BUSY") { // Migrate takes longer than busy_timeout on a slow machine
						err = revokeOld(db, d.dialect, id)
					}
					if err != nil {
						errs <- err
						return
					}
					revoked++
					if d.dialect == sqlstore.SQLite { // its lock is not fair: a writer without a pause starves the others
						time.Sleep(5 * time.Millisecond)
					}
				}
			})
			for _, err := range together(2, func() error { return sqlstore.Migrate(t.Context(), openSQL(t, *d), d.dialect) }) {
				require.NoError(t, err)
			}
			s := sqlSessions(t, db, d.dialect)
			r := newReader(s, 10_000)
			r.requirePull(t)
			require.GreaterOrEqual(t, len(r.seen), old)
			close(stop)
			process.Wait()
			close(errs)
			require.NoError(t, <-errs)
			for _, id := range ids[during:] {
				require.NoError(t, revokeOld(db, d.dialect, id))
				r.requirePull(t)
				require.True(t, r.knows(id))
			}
			for _, r := range []*reader{r, newReader(s, 1000)} {
				r.requirePull(t)
				require.Len(t, r.seen, old+revoked+later)
			}
			require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
			require.Zero(t, inInbox(t, db), "Migrate has left rows in the inbox")
		})
	}
}

// TestMigrateRepeats applies every file twice, as after a crash on a database that commits each CREATE by itself.
func TestMigrateRepeats(t *testing.T) {
	for _, kind := range []store{postgres, mariadb} { // SQLite undoes a file that was not applied whole
		t.Run(kind.name, func(t *testing.T) {
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			for range 2 {
				require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
				_, err := db.Exec("DELETE FROM signet_schema")
				require.NoError(t, err)
			}
		})
	}
}

// TestCutoffHeldOpen holds transactions with new cut-offs open, as a server does that stalls in a commit. In PostgreSQL nobody
// waits. In MariaDB the cut-off of one user does not make the others wait; with that of everybody, everybody waits.
func TestCutoffHeldOpen(t *testing.T) {
	for _, kind := range []store{postgres, mariadb} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			s := sqlSessions(t, db, d.dialect)
			for _, exists := range []bool{false, true} {
				for _, cutUser := range []string{"m", ""} {
					if exists {
						require.NoError(t, cut(t.Context(), s, cutUser))
					}
					ids := map[string]string{}
					for _, user := range []string{"a", "l", "n", "z"} {
						ids[user] = create(t, s, user)
					}
					tx, err := db.Begin()
					require.NoError(t, err)
					statement := `INSERT INTO signet_cutoffs (version, keep_until, data, user_id) VALUES (7, 9, '{"v":1,"ended":7}', '%s')`
					if exists {
						statement = `UPDATE signet_cutoffs SET version = 7, keep_until = 9, pos = NULL WHERE user_id = '%s'`
					}
					_, err = tx.Exec(fmt.Sprintf(statement, cutUser))
					require.NoError(t, err)
					waits := cutUser == "" && kind.name == mariadb.name
					if kind.name == postgres.name {
						ids[cutUser] = create(t, s, cutUser)
					}
					for user, id := range ids {
						limit := 10 * time.Second
						if waits {
							limit = 200 * time.Millisecond
						}
						ctx, cancel := context.WithTimeout(t.Context(), limit)
						err := revoke(ctx, s, id)
						cancel()
						if waits {
							require.Error(t, err)
							continue
						}
						require.NoError(t, err)
						create(t, s, user)
					}
					require.NoError(t, tx.Rollback())
				}
			}
		})
	}
}

// TestMaxPerUser lets a user log in more often than the limit allows.
func TestMaxPerUser(t *testing.T) {
	const limit = 3
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			s, err := sqlstore.NewSessions(db, d.dialect, sqlstore.WithMaxPerUser(limit))
			require.NoError(t, err)
			require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
			insertLive(t, db, d.dialect, "user", 150) // from a time without a limit
			var ids []string
			for range 5 {
				ids = append(ids, create(t, s, "user"))
			}
			list, _, err := s.List(t.Context(), "user", 1000)
			require.NoError(t, err)
			var live []string
			for _, one := range list {
				live = append(live, one.ID)
			}
			require.ElementsMatch(t, ids[2:], live)
			require.NoError(t, s.Update(t.Context(), ids[0], func(row session.Session, _ session.Moment) (session.Session, error) {
				require.Equal(t, session.ReasonEvicted, row.Reason)
				return row, nil
			}))
			r := newReader(s, 1000)
			r.requirePull(t)
			require.Len(t, r.seen, 152)
		})
	}
	_, err := sqlstore.NewSessions(&sql.DB{}, sqlstore.SQLite, nil)
	require.ErrorContains(t, err, "option is nil")
	_, err = sqlstore.NewSessions(&sql.DB{}, sqlstore.SQLite, sqlstore.WithMaxPerUser(0))
	require.Error(t, err)
}

// A call looks only at as many cut-offs as it may remove, because after a migration of all users there are very many at a time.
func TestDeleteExpiredLooksAtFewCutoffs(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			s := sqlSessions(t, db, d.dialect)
			add := func(userID string, keepUntil int) {
				_, err := db.Exec(fmt.Sprintf(`INSERT INTO signet_cutoffs (user_id, version, keep_until, pos, data)
					VALUES ('%s', 1, %d, 1, '{"v":1,"ended":99999999999999}')`, userID, keepUntil))
				require.NoError(t, err)
			}
			for i, keepUntil := range []int{10, 11, 12, 13, 13, 13, 14} { // they have ended a session
				userID := fmt.Sprint("user", i)
				insertLive(t, db, d.dialect, userID, 1)
				add(userID, keepUntil)
			}
			count := func(condition string) (n int) {
				require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM signet_cutoffs WHERE keep_until "+condition).Scan(&n))
				return n
			}
			for _, kept := range []int{2, 3, 6, 7, 7} {
				n, err := s.DeleteExpired(t.Context(), far-1, 2)
				require.NoError(t, err)
				require.Zero(t, n)
				require.Equal(t, kept, count("> 14"))
			}
			for i := range 3 { // of users without sessions
				add(fmt.Sprint("other", i), 10)
			}
			for _, want := range []int{2, 1, 0} {
				n, err := s.DeleteExpired(t.Context(), far-1, 2)
				require.NoError(t, err)
				require.Equal(t, want, n)
			}
			require.Equal(t, 7, count("> 0"))
		})
	}
}

// A cut-off stays until the sessions have gone that it has ended, also if one of them was committed beside it.
func TestACutoffOutlivesTheSessionsItEnded(t *testing.T) {
	const day = session.Millis(24 * 60 * 60 * 1000)
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			store := kind.host(t).fresh(t).sessions(t)
			ctx := t.Context()
			var now session.Millis
			create := func(userID string) string {
				id := session.NewID(userID)
				require.NoError(t, store.Create(ctx, userID, func(at session.Moment) (session.Session, error) {
					now = at.Now
					return session.Session{ID: id, UserID: userID, CreatedAt: now, EndsAt: now + 90*day, LastUsedAt: now, KeepUntil: now + 60*day,
						Current: 1, Next: 2, Born: at.Version()}, nil
				}))
				return id
			}
			cut := func(userID, spared string) {
				require.NoError(t, store.Cut(ctx, userID, func(c session.Cutoff, _, now session.Millis) (session.Cutoff, error) {
					return c.End(spared, now-day, now), nil
				}))
			}
			thief, kept := create("1"), create("2")
			cut("1", "")
			cut("2", kept)
			cut("3", "")
			create("1")
			create("3") // after its cut-off
			for range 2 {
				_, err := store.DeleteExpired(ctx, now, 100)
				require.NoError(t, err)
			}
			ended := func(id string) (ended bool) {
				require.NoError(t, store.Update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
					ended = at.Ended(row)
					return row, nil
				}))
				return ended
			}
			require.True(t, ended(thief))
			for userID, there := range map[string]bool{"1": true, "2": false, "3": false} {
				_, at, err := store.List(ctx, userID, 10)
				require.NoError(t, err)
				require.Equal(t, there, at.User.Ended != 0, "the cut-off of user %s", userID)
			}
		})
	}
}

// Somebody empties the tables, as the tests of a host do. The errors say what to do, and Migrate mends it.
func TestEmptiedTables(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			s := sqlSessions(t, db, d.dialect)
			old := create(t, s, "1")
			require.NoError(t, revoke(t.Context(), s, old))
			page, err := s.ReadLog(t.Context(), session.Start, 10, func(session.Entry) {})
			require.NoError(t, err)
			for _, tables := range [][]string{{"signet_log"}, {"signet_sessions", "signet_cutoffs", "signet_log", "signet_schema"}} {
				for _, table := range tables {
					_, err := db.Exec("DELETE FROM " + table)
					require.NoError(t, err)
				}
				const want = "call sqlstore.Migrate"
				require.ErrorContains(t, cut(t.Context(), s, "1"), want)
				_, err := s.ReadLog(t.Context(), session.Start, 10, func(session.Entry) {})
				require.ErrorContains(t, err, want)
				_, _, err = s.List(t.Context(), "1", 1)
				require.ErrorContains(t, err, want)
				err = s.Create(t.Context(), "1", func(session.Moment) (session.Session, error) { panic("there is no Moment") })
				require.ErrorContains(t, err, want)
				for range 2 {
					require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
				}
				require.NoError(t, revoke(t.Context(), s, create(t, s, "1")))
				found := 0
				_, err = s.ReadLog(t.Context(), page.Next, 10, func(session.Entry) { found++ })
				require.True(t, errors.Is(err, session.ErrCursor) || err == nil && found > 0, "%d, %v", found, err)
			}
		})
	}
}

// A process stops while it numbers a batch of the log, and its transaction stays open. Nobody waits for it, and everybody
// learns of revocations.
func TestNumberingThatIsHeldOpen(t *testing.T) {
	for _, kind := range []store{postgres, mariadb} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			s := sqlSessions(t, db, d.dialect)
			tx, err := db.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			_, err = tx.Exec("UPDATE signet_log SET head = head + 1")
			require.NoError(t, err)
			id := create(t, s, "1")
			require.NoError(t, revoke(t.Context(), s, id))
			read := func(ctx context.Context) (found bool) {
				_, err := s.ReadLog(ctx, session.Start, 10, func(e session.Entry) { found = found || e.ID == id })
				require.NoError(t, err)
				return found
			}
			some, cancel := context.WithTimeout(t.Context(), 9*time.Second) // each read waited for a second before
			defer cancel()
			for range 10 {
				require.True(t, read(some))
			}
			require.Equal(t, 1, inInbox(t, db))
			require.NoError(t, tx.Rollback())
			require.Eventually(t, func() bool { return read(t.Context()) && inInbox(t, db) == 0 }, 10*time.Second, 50*time.Millisecond)
		})
	}
}
