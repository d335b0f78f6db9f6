package integration

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// Each store is a process of its own. What one of them remembers is outdated when another one has written.
func TestRememberedRows(t *testing.T) {
	for _, kind := range []store{postgres, mariadb, sqlite, redisOne, redisCluster} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			at := kind.host(t).fresh(t)
			one, other := at.sessions(t), at.sessions(t)
			count := func(row *session.Session, _ session.Moment) { row.Tries++ }

			t.Run("another process has revoked the session", func(t *testing.T) {
				row := newSession(t, one, "ann")
				changeSession(t, one, row.ID, count)
				changeSession(t, other, row.ID, func(row *session.Session, at session.Moment) {
					*row = row.Revoke(session.ReasonLogout, at.Now)
				})
				var seen session.Session
				changeSession(t, one, row.ID, func(row *session.Session, _ session.Moment) { row.Tries, seen = 7, *row })
				require.True(t, seen.Revoked())
				changeSession(t, at.sessions(t), row.ID, func(row *session.Session, _ session.Moment) {
					require.True(t, row.Revoked())
					require.EqualValues(t, 7, row.Tries)
				})
			})

			t.Run("an answer that comes from an outdated row does not count", func(t *testing.T) {
				row := newSession(t, one, "ann")
				changeSession(t, one, row.ID, count)
				changeSession(t, other, row.ID, count)
				var seen int64
				changeSession(t, one, row.ID, func(row *session.Session, _ session.Moment) { seen = row.Tries }) // unchanged
				require.EqualValues(t, 2, seen)

				changeSession(t, one, row.ID, count)
				changeSession(t, other, row.ID, count)
				err := one.Update(t.Context(), row.ID, func(row session.Session, _ session.Moment) (session.Session, error) {
					if row.Tries < 4 {
						return row, errors.New("from the outdated row")
					}
					return row, nil
				})
				require.NoError(t, err)
			})

			t.Run("another process has cut off the user, and everybody", func(t *testing.T) {
				for _, who := range []string{"ann", ""} {
					row := newSession(t, one, "ann")
					changeSession(t, one, row.ID, count)
					endSessions(t, other, who)
					var seen session.Moment
					changeSession(t, one, row.ID, func(row *session.Session, at session.Moment) { row.Tries, seen = row.Tries+1, at })
					require.True(t, seen.Ended(row), "cut-off of %q", who)
				}
			})

			t.Run("the session is gone", func(t *testing.T) {
				none := session.NewID("ann")
				require.ErrorIs(t, one.Update(t.Context(), none, nil), session.ErrNotFound)
			})

			t.Run("processes that write in turn and at once lose nothing", func(t *testing.T) {
				row := newSession(t, one, "ann")
				const each = 40
				var all sync.WaitGroup
				errs := make(chan error, 4*each)
				for _, store := range []session.Store{one, one, other, at.sessions(t)} {
					all.Go(func() {
						for i := range each {
							if i%4 == 3 {
								errs <- store.(session.Batcher).UpdateBatch(t.Context(), []string{row.ID},
									func(row session.Session, now session.Millis) session.Session {
										row.ConfirmedAt = now
										return row
									})
								continue
							}
							errs <- store.Update(t.Context(), row.ID, func(row session.Session, _ session.Moment) (session.Session, error) {
								row.Tries++
								return row, nil
							})
						}
					})
				}
				all.Wait()
				close(errs)
				for err := range errs {
					require.NoError(t, err)
				}
				changeSession(t, at.sessions(t), row.ID, func(row *session.Session, _ session.Moment) {
					require.EqualValues(t, 4*each*3/4, row.Tries)
				})
			})
		})
	}
}

// A batch of rows of which other processes have written some changes each row once.
func TestRememberedBatch(t *testing.T) {
	for _, kind := range shared {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			at := kind.host(t).fresh(t)
			one, other := at.sessions(t), at.sessions(t)
			var ids []string
			for i := range 300 {
				ids = append(ids, newSession(t, one, fmt.Sprint("user", i)).ID)
			}
			for i := 0; i < len(ids); i += 50 {
				changeSession(t, other, ids[i], func(row *session.Session, _ session.Moment) { row.Parent = 5 })
			}
			for range 3 {
				require.NoError(t, one.(session.Batcher).UpdateBatch(t.Context(), ids, func(row session.Session, _ session.Millis) session.Session {
					row.Next++
					return row
				}))
			}
			reader := at.sessions(t)
			for i, id := range ids {
				changeSession(t, reader, id, func(row *session.Session, _ session.Moment) {
					require.EqualValues(t, 3, row.Next)
					require.Equal(t, i%50 == 0, row.Parent == 5)
				})
			}
		})
	}
}

// A database that was restored has lost the last writes, but a process may still remember them. That process must not overwrite
// what another process has written in their place.
func TestRememberedWriteWasLost(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			at := kind.host(t).fresh(t)
			db := openSQL(t, *at.database)
			one, other := at.sessions(t), at.sessions(t)
			row := newSession(t, one, "ann")
			var version int64
			var data string
			require.NoError(t, db.QueryRow(fmt.Sprintf("SELECT version, data FROM signet_sessions WHERE id = '%s'", row.ID)).Scan(&version, &data))
			changeSession(t, one, row.ID, func(row *session.Session, _ session.Moment) { row.Tries = 1 })
			_, err := db.Exec(fmt.Sprintf("UPDATE signet_sessions SET version = %d, data = '%s' WHERE id = '%s'", version, data, row.ID))
			require.NoError(t, err)
			changeSession(t, other, row.ID, func(row *session.Session, at session.Moment) {
				*row = row.Revoke(session.ReasonLogout, at.Now)
			})
			changeSession(t, one, row.ID, func(row *session.Session, _ session.Moment) { row.Tries++ })
			changeSession(t, at.sessions(t), row.ID, func(row *session.Session, _ session.Moment) {
				require.True(t, row.Revoked())
				require.EqualValues(t, 1, row.Tries)
			})
		})
	}
}
