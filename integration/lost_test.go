package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/redisstore"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

// A store loses cut-offs, as after a failover to a server that was behind. A process that knows them writes them again, and nobody
// gets tokens that are refused.
func TestLostCutoffsAreWrittenAgain(t *testing.T) {
	type losing struct {
		store session.Store
		other func() session.Store
		lose  func() error
	}
	server := redisOne.host(t)
	redis := func(t *testing.T) losing {
		client := openRedis(t, withAllRights(server.fresh(t).args[1]))
		open := func() session.Store { return redisSessions(t, client, "signet") }
		return losing{open(), open, func() error {
			for _, pattern := range []string{"*:c:*", "*:all", "*:revoked"} {
				keys, err := client.Keys(context.Background(), pattern).Result()
				if err == nil && len(keys) > 0 {
					err = client.Del(context.Background(), keys...).Err()
				}
				if err != nil {
					return err
				}
			}
			return nil
		}}
	}
	sql := func(kind store) func(t *testing.T) losing {
		host := kind.host(t)
		return func(t *testing.T) losing {
			at := host.fresh(t)
			db := openSQL(t, *at.database)
			return losing{at.sessions(t), func() session.Store { return at.sessions(t) }, func() error {
				_, err := db.Exec("DELETE FROM signet_cutoffs")
				return err
			}}
		}
	}
	for name, open := range map[string]func(*testing.T) losing{"Redis": redis, "PostgreSQL": sql(postgres), "MariaDB": sql(mariadb), "SQLite": sql(sqlite)} {
		for what, end := range map[string]func(context.Context, *signet.Auth) error{
			"user":    func(ctx context.Context, a *signet.Auth) error { return a.RevokeUser(ctx, john.ID) },
			"changed": func(ctx context.Context, a *signet.Auth) error { return a.UserChanged(ctx, john.ID) },
			"all":     func(ctx context.Context, a *signet.Auth) error { return a.RevokeAll(ctx) },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				l, ctx := open(t), t.Context()
				auth := newAuth(t, onlyJohn(t), l.store)
				old, err := auth.IssueFor(ctx, john)
				require.NoError(t, err)
				require.NoError(t, end(ctx, auth))
				require.NoError(t, l.lose())
				if what == "changed" { // the session goes on
					_, err = auth.Refresh(ctx, old.RefreshToken)
					require.NoError(t, err)
				}
				tokens, err := auth.IssueFor(ctx, john)
				require.NoError(t, err)
				_, err = auth.Verify(ctx, tokens.AccessToken)
				require.NoError(t, err, "a new login")
				next, err := auth.Refresh(ctx, tokens.RefreshToken)
				require.NoError(t, err)
				_, err = auth.Verify(ctx, next.AccessToken)
				require.NoError(t, err)

				fresh := newAuth(t, onlyJohn(t), l.other())
				_, err = fresh.Verify(ctx, next.AccessToken)
				require.NoError(t, err, "a process that has just started")
				_, err = fresh.Verify(ctx, old.AccessToken)
				require.ErrorIs(t, err, signet.ErrInvalidToken, "what was cut off is so for good")
			})
		}
	}
}

// A cut-off that was lost spares the session that it has spared, whoever writes it again.
func TestALostCutoffSparesTheSameSession(t *testing.T) {
	for _, kind := range databases {
		host := kind.host(t)
		for _, first := range []string{"its own refresh", "another login"} {
			t.Run(kind.name+" "+first, func(t *testing.T) {
				at, ctx := host.fresh(t), t.Context()
				auth := newAuth(t, onlyJohn(t), at.sessions(t))
				ended, err := auth.IssueFor(ctx, john)
				require.NoError(t, err)
				kept, err := auth.IssueFor(ctx, john)
				require.NoError(t, err)
				claims, err := auth.Verify(ctx, kept.AccessToken)
				require.NoError(t, err)
				require.NoError(t, auth.RevokeOtherSessions(ctx, john.ID, claims.SessionID))
				_, err = openSQL(t, *at.database).Exec("DELETE FROM signet_cutoffs")
				require.NoError(t, err)
				if first == "another login" {
					_, err = auth.IssueFor(ctx, john)
					require.NoError(t, err)
				}
				next, err := auth.Refresh(ctx, kept.RefreshToken)
				require.NoError(t, err)
				_, err = auth.Verify(ctx, next.AccessToken)
				require.NoError(t, err)
				_, err = auth.Refresh(ctx, ended.RefreshToken)
				require.ErrorIs(t, err, signet.ErrRevoked)
			})
		}
	}
}

// A store loses the end of a session. A process that knows it ends the session again.
func TestALostLogoutIsWrittenAgain(t *testing.T) {
	for _, kind := range shared {
		t.Run(kind.name, func(t *testing.T) {
			at, ctx := kind.host(t).fresh(t), t.Context()
			store := at.sessions(t)
			auth, other := newAuth(t, onlyJohn(t), store), newAuth(t, onlyJohn(t), at.sessions(t))
			tokens, err := auth.IssueFor(ctx, john)
			require.NoError(t, err)
			list, err := auth.Sessions(ctx, john.ID)
			require.NoError(t, err)
			var before session.Session
			changeSession(t, store, list[0].ID, func(row *session.Session, _ session.Moment) { before = *row })
			require.NoError(t, auth.Logout(ctx, tokens.RefreshToken))
			changeSession(t, at.sessions(t), before.ID, func(row *session.Session, _ session.Moment) { *row = before })
			_, err = auth.Refresh(ctx, tokens.RefreshToken)
			require.ErrorIs(t, err, signet.ErrRevoked)
			_, err = other.Refresh(ctx, tokens.RefreshToken)
			require.ErrorIs(t, err, signet.ErrRevoked)
		})
	}
}

// A database loses revocations that processes have read, as after a failover to a server that was behind. A process that looks
// only after new ones were numbered, as many as were lost or more, misses none of these.
func TestRevocationsAfterALossAreRead(t *testing.T) {
	for _, kind := range databases {
		host := kind.host(t)
		for name, again := range map[string]int{"fewer": 1, "as many": 3, "more": 5} {
			t.Run(kind.name+" "+name, func(t *testing.T) {
				d := *host.fresh(t).database
				db := openSQL(t, d)
				require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
				store, late := sqlSessions(t, db, d.dialect), newReader(sqlSessions(t, db, d.dialect), 1000)
				revokeMany := func(n int) (ids []string) {
					writer := newReader(store, 1000)
					for range n {
						id := create(t, store, "ann")
						require.NoError(t, revoke(t.Context(), store, id))
						ids = append(ids, id)
						for range 2 { // each has a batch of its own
							writer.requirePull(t)
						}
					}
					return ids
				}
				revokeMany(2)
				for _, table := range []string{"sessions", "log"} {
					_, err := db.Exec("CREATE TABLE saved_" + table + " AS SELECT * FROM signet_" + table)
					require.NoError(t, err)
				}
				revokeMany(3)
				late.requirePull(t)
				for _, table := range []string{"sessions", "log"} {
					_, err := db.Exec("DELETE FROM signet_" + table)
					require.NoError(t, err)
					_, err = db.Exec("INSERT INTO signet_" + table + " SELECT * FROM saved_" + table)
					require.NoError(t, err)
				}
				added := revokeMany(again)
				late.requirePull(t)
				for _, id := range added {
					require.True(t, late.knows(id))
				}
			})
		}
	}
}

// Logins at the same time leave as many sessions as there may be, whatever waits for a second step.
func TestLoginsAtOnceBesideHalfLogins(t *testing.T) {
	for _, kind := range shared {
		t.Run(kind.name, func(t *testing.T) {
			at := kind.host(t).fresh(t)
			open := func() session.Store {
				if at.database == nil {
					store, err := redisstore.New(openRedis(t, at.args[1]), redisstore.WithMaxPerUser(1))
					require.NoError(t, err)
					return store
				}
				store, err := sqlstore.NewSessions(openSQL(t, *at.database), at.database.dialect, sqlstore.WithMaxPerUser(1))
				require.NoError(t, err)
				return store
			}
			at.sessions(t) // migrates
			one, other := open(), open()
			for round := range 10 {
				user := fmt.Sprint("user", round)
				for range 2 {
					err := one.Create(t.Context(), user, func(at session.Moment) (session.Session, error) {
						return session.Session{ID: session.NewID(user), UserID: user, CreatedAt: at.Now, LastUsedAt: at.Now, EndsAt: at.Now.Add(day),
							PendingUntil: at.Now.Add(time.Minute), KeepUntil: at.Now.Add(time.Minute)}, nil
					})
					require.NoError(t, err)
				}
				var logins sync.WaitGroup
				logins.Go(func() { newSession(t, one, user) })
				logins.Go(func() { newSession(t, other, user) })
				logins.Wait()
				rows, _, err := one.List(t.Context(), user, 10)
				require.NoError(t, err)
				live := slices.DeleteFunc(rows, func(row session.Session) bool { return row.PendingUntil != 0 })
				require.NotEmpty(t, live)
			}
		})
	}
}

// The ways of pgx to send a query, which poolers need, keep the rows as they are.
func TestWaysOfPgx(t *testing.T) {
	h := postgres.host(t)
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			at := h.fresh(t)
			at.sessions(t) // migrates
			d := *at.database
			d.dsn += "&default_query_exec_mode=" + mode
			one := sqlSessions(t, openSQL(t, d), d.dialect)
			row := newSession(t, one, "ann")
			changeSession(t, one, row.ID, func(row *session.Session, _ session.Moment) { row.Tries++ })
			require.NoError(t, one.UpdateBatch(t.Context(), []string{row.ID}, func(row session.Session, _ session.Millis) session.Session {
				row.Next = 5
				return row
			}))
			endSessions(t, one, "ann")
			other := sqlSessions(t, openSQL(t, d), d.dialect)
			changeSession(t, other, row.ID, func(row *session.Session, at session.Moment) {
				require.EqualValues(t, 1, row.Tries)
				require.EqualValues(t, 5, row.Next)
				require.NotZero(t, at.User.Ended)
			})
		})
	}
}

// A row that cannot be read keeps no other row from being changed, and somebody else who changes a row at the same time does not
// keep it from being changed.
func TestABatchWithARowThatCannotBeRead(t *testing.T) {
	for _, kind := range shared {
		t.Run(kind.name, func(t *testing.T) {
			at := kind.host(t).fresh(t)
			store := at.sessions(t)
			good, bad, busy := newSession(t, store, "ann"), newSession(t, store, "bob"), newSession(t, store, "eve")
			if at.database != nil {
				_, err := openSQL(t, *at.database).Exec(fmt.Sprintf(`UPDATE signet_sessions SET version = version + 1, data = '{"v":99,"id":"%s"}'
					WHERE id = '%s'`, bad.ID, bad.ID))
				require.NoError(t, err)
			} else {
				group, _ := session.GroupOfID(bad.ID)
				key := fmt.Sprintf("signet:{%d}:s:%s", group, bad.ID)
				require.NoError(t, openRedis(t, at.args[1]).Set(t.Context(), key, `m {"v":99}`, 0).Err())
			}
			var meanwhile atomic.Int64
			err := at.sessions(t).(session.Batcher).UpdateBatch(t.Context(), []string{good.ID, bad.ID, busy.ID},
				func(row session.Session, now session.Millis) session.Session {
					if row.ID == busy.ID && meanwhile.Add(1) <= 2 {
						changeSession(t, store, row.ID, func(row *session.Session, _ session.Moment) { row.Tries++ })
					}
					row.Next = 5
					return row
				})
			require.ErrorContains(t, err, "version 99")
			for _, id := range []string{good.ID, busy.ID} {
				changeSession(t, at.sessions(t), id, func(row *session.Session, _ session.Moment) {
					require.EqualValues(t, 5, row.Next)
					require.Equal(t, id == busy.ID, row.Tries == 2)
				})
			}
		})
	}
}

// The driver's connection can have another character set than the tables. The name of a browser needs all of Unicode, and one row
// must not keep the others of its batch from being written.
func TestTextsOnAConnectionWithAnotherCharset(t *testing.T) {
	host := hostMariaDB(t)
	for _, charset := range []string{"charset=utf8", "charset=utf8mb4", "charset=latin1", "collation=utf8_general_ci"} {
		for _, interpolate := range []string{"true", "false"} {
			t.Run(charset+" interpolateParams="+interpolate, func(t *testing.T) {
				d := *host.fresh(t).database
				d.dsn = strings.Replace(d.dsn, "interpolateParams=true", "interpolateParams="+interpolate, 1) + "&" + charset
				sessions := sqlSessions(t, openSQL(t, d), d.dialect)
				const agent = "browser 😀 'x' \\ ü 微"
				odd, usual := newSession(t, sessions, "1"), newSession(t, sessions, "1")
				changeSession(t, sessions, odd.ID, func(row *session.Session, _ session.Moment) { row.UserAgent = agent })
				require.NoError(t, sessions.UpdateBatch(t.Context(), []string{odd.ID, usual.ID}, func(row session.Session, now session.Millis) session.Session {
					row.ConfirmedAt = now
					return row
				}))
				list, _, err := sessions.List(t.Context(), "1", 10)
				require.NoError(t, err)
				require.Len(t, list, 2)
				for _, row := range list {
					require.Positive(t, row.ConfirmedAt)
					require.Equal(t, row.ID == odd.ID, row.UserAgent == agent, row.UserAgent)
				}
			})
		}
	}
}
