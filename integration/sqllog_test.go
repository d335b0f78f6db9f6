package integration

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

const far = session.Millis(1) << 50

// reader follows the log of a store, as a process does.
type reader struct {
	store   *sqlstore.Sessions
	limit   int
	cursor  session.Cursor
	seen    map[string]session.Entry
	entries int // how many the store gave
}

func newReader(store *sqlstore.Sessions, limit int) *reader {
	return &reader{store: store, limit: limit, seen: map[string]session.Entry{}}
}

// pull reads the log up to its end.
func (r *reader) pull(ctx context.Context) error {
	for {
		page, err := r.store.ReadLog(ctx, r.cursor, r.limit, func(e session.Entry) {
			r.entries++
			r.seen[e.ID] = e
		})
		if err != nil {
			return err
		}
		r.cursor = page.Next
		if !page.More {
			return nil
		}
	}
}

func (r *reader) requirePull(t testing.TB) {
	t.Helper()
	require.NoError(t, r.pull(t.Context()))
}

func (r *reader) knows(id string) bool {
	_, ok := r.seen[id]
	return ok
}

// create makes a session of the user in a store, and returns its id.
func create(t testing.TB, store session.Store, userID string) string {
	t.Helper()
	id := session.NewID(userID)
	require.NoError(t, store.Create(t.Context(), userID, func(at session.Moment) (session.Session, error) {
		return session.Session{ID: id, UserID: userID, Born: at.Version(), CreatedAt: at.Now, LastUsedAt: at.Now,
			Current: 1, Next: 2, KeepUntil: far}, nil
	}))
	return id
}

func revoke(ctx context.Context, store session.Store, id string) error {
	return store.Update(ctx, id, func(s session.Session, at session.Moment) (session.Session, error) {
		return s.Revoke(session.ReasonLogout, at.Now), nil
	})
}

func cut(ctx context.Context, store session.Store, userID string) error {
	return store.Cut(ctx, userID, func(before session.Cutoff, _, now session.Millis) (session.Cutoff, error) {
		return before.End("", far, now), nil
	})
}

// inInbox returns how many revoked sessions have no number yet.
func inInbox(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM signet_sessions WHERE revoked_at > 0 AND pos IS NULL").Scan(&n))
	return n
}

// fillRevoked adds n revoked sessions to a database with the tables of version 001 or a later one.
func fillRevoked(t testing.TB, db *sql.DB, d sqlstore.Dialect, n int) {
	t.Helper()
	numbers := "generate_series(1, %d) AS n(n)"
	switch d {
	case sqlstore.SQLite:
		numbers = "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < %d) SELECT n FROM c) AS n"
	case sqlstore.MariaDB:
		numbers = "(SELECT seq AS n FROM seq_1_to_%d) AS n"
	}
	name := "'id' || n"
	if d == sqlstore.MariaDB {
		name = "CONCAT('id', n)"
	}
	_, err := db.Exec(fmt.Sprintf(`INSERT INTO signet_sessions (id, user_id, version, keep_until, revoked_at, data)
		SELECT %s, 'u', 1, %d, n, '{}' FROM `+numbers, name, far, n))
	require.NoError(t, err)
}

// TestLogOpenTransaction holds a transaction open in which a session is revoked. Meanwhile other revocations are committed,
// numbered and read. When the transaction commits, the next look into the log finds its session.
func TestLogOpenTransaction(t *testing.T) {
	const held = 3 * time.Second
	for _, kind := range []store{postgres, mariadb} { // SQLite has one writer at a time
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			stores := []*sqlstore.Sessions{sqlSessions(t, db, d.dialect), sqlSessions(t, db, d.dialect)}
			readers := []*reader{newReader(stores[0], 100), newReader(stores[1], 100)}
			slow, slowUser := create(t, stores[0], "slow"), "slow user"

			tx, err := db.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			// These are the statements of the store. The clock of the database is read now, long before the commit.
			_, err = tx.Exec(fmt.Sprintf(`UPDATE signet_sessions SET version = version + 1, keep_until = %d, pos = NULL,
				revoked_at = %d WHERE id = '%s'`, far, time.Now().UnixMilli(), slow))
			require.NoError(t, err)
			_, err = tx.Exec(fmt.Sprintf(`INSERT INTO signet_cutoffs (version, keep_until, data, user_id)
				VALUES (7, %d, '{"v":1,"ended":7}', '%s')`, far, slowUser))
			require.NoError(t, err)

			var others []string
			for began := time.Now(); time.Since(began) < held; time.Sleep(50 * time.Millisecond) {
				id := create(t, stores[1], "quick")
				require.NoError(t, revoke(t.Context(), stores[1], id))
				others = append(others, id)
				for _, r := range readers {
					r.requirePull(t)
					require.True(t, r.knows(id))
					require.False(t, r.knows(slow))
				}
			}
			require.NotEqual(t, session.Cursor("0"), readers[0].cursor, "nothing was numbered meanwhile")
			require.NoError(t, tx.Commit())
			for _, r := range append(readers, newReader(stores[0], 10)) {
				r.requirePull(t)
				require.True(t, r.knows(slow))
				require.True(t, r.knows(slowUser))
				require.Len(t, r.seen, len(others)+2)
			}
		})
	}
}

// TestLogManyReaders lets four stores on one database revoke, cut off, read and number at the same time. Every reader sees
// everything.
func TestLogManyReaders(t *testing.T) {
	const stores, each, cuts = 4, 500, 25
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := kind.host(t).fresh(t).database
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // SQLite took more than one on a slow machine
			defer cancel()
			var want sync.Map
			var writers, readers sync.WaitGroup
			errs := make(chan error, 100)
			done := make(chan struct{})
			var all []*reader
			for i := range stores {
				db := openSQL(t, *d)
				s := sqlSessions(t, db, d.dialect)
				ids := insertLive(t, db, d.dialect, fmt.Sprint("user", i), each)
				writers.Go(func() {
					for n, id := range ids {
						if err := revoke(ctx, s, id); err != nil {
							errs <- err
							return
						}
						want.Store(id, true)
						if n%(each/cuts) == 0 {
							userID := fmt.Sprint("user", i, n)
							if err := cut(ctx, s, userID); err != nil {
								errs <- err
								return
							}
							want.Store(userID, true)
						}
					}
				})
				for _, limit := range []int{1, 50}[i%2:] {
					r := newReader(s, limit)
					all = append(all, r)
					readers.Go(func() {
						for {
							select {
							case <-done:
								return
							default:
							}
							if err := r.pull(ctx); err != nil {
								errs <- err
								return
							}
							time.Sleep(5 * time.Millisecond)
						}
					})
				}
			}
			writers.Wait()
			close(done)
			readers.Wait()
			close(errs)
			for err := range errs {
				require.NoError(t, err)
			}
			for _, r := range append(all, newReader(all[0].store, 7)) {
				r.requirePull(t)
				require.Len(t, r.seen, stores*(each+cuts))
				for key := range r.seen {
					_, ok := want.Load(key)
					require.True(t, ok)
				}
			}
		})
	}
}

// insertLive adds n sessions of a user in one statement.
func insertLive(t testing.TB, db *sql.DB, d sqlstore.Dialect, userID string, n int) (ids []string) {
	t.Helper()
	var values []string
	for range n {
		s := session.Session{ID: session.NewID(userID), UserID: userID, Current: 1, Next: 2, KeepUntil: far}
		data, err := s.MarshalJSON()
		require.NoError(t, err)
		values = append(values, fmt.Sprintf("('%s', '%s', 1, %d, 0, '%s')", s.ID, userID, far, data))
		ids = append(ids, s.ID)
	}
	_, err := db.Exec("INSERT INTO signet_sessions (id, user_id, version, keep_until, revoked_at, data) VALUES " +
		strings.Join(values, ", "))
	require.NoError(t, err)
	return ids
}

// TestLogRowsRead counts the rows that one reader gets for each revocation. It looks into the log 10 times, after each
// hundredth revocation.
func TestLogRowsRead(t *testing.T) {
	const looks, revocations = 10, 100
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			s := sqlSessions(t, db, d.dialect)
			r := newReader(s, 10_000)
			late := 0 // rows that are read once more, because the machine was too slow to number them
			for look := range looks {
				left := max(0, inInbox(t, db)-revocations)
				late += left
				for _, id := range insertLive(t, db, d.dialect, fmt.Sprint("user", look), revocations) {
					require.NoError(t, revoke(t.Context(), s, id))
				}
				before := r.entries
				r.requirePull(t)
				require.LessOrEqual(t, r.entries-before, 3*revocations+left, "rows of one look")
			}
			require.LessOrEqual(t, r.entries, looks*revocations*5/2+late, "rows of all looks")
			for range 3 { // nothing new comes; soon a look reads nothing
				r.requirePull(t)
			}
			before := r.entries
			r.requirePull(t)
			require.Equal(t, before, r.entries)
		})
	}
}

// TestLogPagesStaySmall: a reader behind a slow link asks for few entries, and gets few, also if much was revoked at one moment.
func TestLogPagesStaySmall(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			store := sqlSessions(t, db, d.dialect)
			fillRevoked(t, db, d.dialect, 9_500)
			first, inbox := newReader(store, 5000), 1
			for looks := 0; inbox > 0 && looks < 30; looks++ { // what is found for the second time gets its numbers
				first.requirePull(t)
				inbox = inInbox(t, db)
			}
			require.Zero(t, inbox)
			require.Len(t, first.seen, 9_500)
			slow := newReader(store, 100)
			pages := 0
			for more := true; more; pages++ {
				before := slow.entries
				page, err := store.ReadLog(t.Context(), slow.cursor, slow.limit, func(e session.Entry) {
					slow.entries++
					slow.seen[e.ID] = e
				})
				require.NoError(t, err)
				require.LessOrEqual(t, slow.entries-before, 1_000)
				slow.cursor, more = page.Next, page.More
			}
			require.Len(t, slow.seen, 9_500)
			require.GreaterOrEqual(t, pages, 10)
			require.Equal(t, 9_500, slow.entries, "each once")
		})
	}
}

// TestLogSlowDatabase: a batch that is too large for a slow database is not tried for ever.
func TestLogSlowDatabase(t *testing.T) {
	t.Parallel()
	d := *postgres.host(t).fresh(t).database
	db := openSQL(t, d)
	sqlSessions(t, db, d.dialect) // makes the tables
	fillRevoked(t, db, d.dialect, 600)
	slow, err := sqlstore.NewSessions(openWatched(t, d, func(statement string) {
		if len(statement) > 2000 { // with more than 256 rows
			time.Sleep(1500 * time.Millisecond)
		}
	}), d.dialect)
	require.NoError(t, err)
	cursor, inbox := session.Start, 0
	for range 500 {
		page, err := slow.ReadLog(t.Context(), cursor, 5000, func(session.Entry) {})
		require.NoError(t, err)
		cursor = page.Next
		if inbox = inInbox(t, db); inbox == 0 {
			break
		}
	}
	require.Zero(t, inbox)
}

// BenchmarkLog reads a million revoked sessions from the beginning of the log.
func BenchmarkLog(b *testing.B) {
	for _, kind := range []store{postgres, mariadb} {
		b.Run(kind.name, func(b *testing.B) {
			d := kind.host(b).fresh(b).database
			db := openSQL(b, *d)
			s := sqlSessions(b, db, d.dialect)
			fillRevoked(b, db, d.dialect, 1_000_000)
			began := time.Now()
			require.NoError(b, sqlstore.Migrate(b.Context(), db, d.dialect))
			b.Logf("Migrate took %v", time.Since(began))
			for b.Loop() {
				entries := 0
				page := session.Page{More: true}
				for page.More {
					var err error
					page, err = s.ReadLog(b.Context(), page.Next, 100_000, func(session.Entry) { entries++ })
					require.NoError(b, err)
				}
				require.Equal(b, 1_000_000, entries)
			}
		})
	}
}
