package integration

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

func TestRedisUpdateBatch(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store := redisSessions(t, client, "signet")
		var batcher session.Batcher = redisSessions(t, client, "signet") // it remembers none of the rows
		require.NoError(t, batcher.UpdateBatch(t.Context(), nil, nil))
		var ids []string
		rows := map[string]session.Session{}
		for i := range 600 {
			row := newSession(t, store, fmt.Sprintf("user%d", i))
			rows[row.ID] = row
			ids = append(ids, row.ID)
		}
		text := func(id string) string {
			group, _ := session.GroupOfID(id)
			text, err := client.Get(t.Context(), fmt.Sprintf("signet:{%d}:s:%s", group, id)).Result()
			require.NoError(t, err)
			return text
		}
		gone, unchanged, changed, revoked, longer := session.NewID("ann"), ids[0], ids[1], ids[2], ids[3]
		before := text(unchanged)
		endSessions(t, store, rows[ids[4]].UserID) // cut-offs do not matter
		r := redisFollow(t, store)
		calls := map[string]int{}
		err := batcher.UpdateBatch(t.Context(), append([]string{gone, "", "no id", ids[5]}, ids...),
			func(row session.Session, now session.Millis) session.Session {
				require.WithinDuration(t, time.Now(), now.Time(), time.Minute)
				if calls[row.ID]++; row.ID == changed && calls[row.ID] == 2 { // somebody else has changed it
					require.EqualValues(t, 1, row.Current)
					row.Next = 7
					return row
				}
				require.Equal(t, rows[row.ID], row)
				row.Next = 7
				switch row.ID {
				case unchanged:
					return rows[row.ID]
				case changed: // change gives the same row again
					changeSession(t, store, row.ID, func(row *session.Session, _ session.Moment) { row.Current = 1 })
				case revoked:
					row = row.Revoke(session.ReasonLogout, now)
				case longer:
					row.KeepUntil = now.Add(30 * day)
				}
				return row
			})
		require.NoError(t, err)
		require.Len(t, calls, len(ids))
		for id, n := range calls {
			require.Equal(t, map[bool]int{true: 2, false: 1}[id == changed], n, id)
		}
		require.Equal(t, before, text(unchanged), "not even the mark is new")
		for _, id := range ids {
			changeSession(t, redisSessions(t, client, "signet"), id, func(row *session.Session, _ session.Moment) {
				want := int64(7)
				if id == unchanged {
					want = 0
				}
				require.Equal(t, want, row.Next)
				require.Equal(t, id == changed, row.Current == 1)
				require.Equal(t, id == revoked, row.Revoked())
			})
		}
		require.Equal(t, revokedEntries(rows[revoked]), r.next(t))
		listed, _, err := store.List(t.Context(), rows[revoked].UserID, 10)
		require.NoError(t, err)
		require.Empty(t, listed)
		changeCutoff(t, store, rows[longer].UserID, func(c session.Cutoff, latest, now session.Millis) session.Cutoff {
			require.Greater(t, latest, now.Add(29*day))
			return c
		})

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, batcher.UpdateBatch(ctx, ids, nil), context.Canceled)
		_, err = client.Set(t.Context(), fmt.Sprintf("signet:{%d}:s:%s", session.GroupOfUser("ann"), gone), `m {"v":99}`, 0).Result()
		require.NoError(t, err)
		require.ErrorContains(t, batcher.UpdateBatch(t.Context(), []string{gone}, nil), "version 99")
	})
}

func TestRedisUpdateBatchRoundTrips(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store := redisSessions(t, client, "signet")
		var ids []string
		for i := range 256 {
			ids = append(ids, newSession(t, store, fmt.Sprintf("user%d", i)).ID)
		}
		var pipelines, commands atomic.Int64
		client.AddHook(pipelineHook{func() { commands.Add(1) }, &pipelines})
		next := func(store session.Batcher) {
			pipelines.Store(0)
			commands.Store(0)
			require.NoError(t, store.UpdateBatch(t.Context(), ids, func(row session.Session, _ session.Millis) session.Session {
				row.Next++
				return row
			}))
		}
		other := redisSessions(t, client, "signet")
		next(other) // the server learns the scripts
		next(other)
		require.EqualValues(t, 2, pipelines.Load())
		require.Zero(t, commands.Load())
		next(store)
		require.EqualValues(t, 3, pipelines.Load(), "the rows that this store remembers are outdated")
		store = redisSessions(t, client, "signet")
		for _, id := range ids {
			changeSession(t, store, id, func(row *session.Session, _ session.Moment) { row.Parent++ })
		}
		next(store)
		require.EqualValues(t, 1, pipelines.Load(), "this store has written the rows last")
		require.Zero(t, commands.Load())
		require.NoError(t, store.UpdateBatch(t.Context(), ids, func(row session.Session, _ session.Millis) session.Session {
			require.EqualValues(t, 4, row.Next)
			return row
		}))
		require.EqualValues(t, 2, pipelines.Load(), "nothing is written")
	})
}

// pipelineHook counts pipelines, and commands outside of them.
type pipelineHook struct {
	hookFunc
	pipelines *atomic.Int64
}

// ProcessPipelineHook implements redis.Hook.
func (h pipelineHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.pipelines.Add(1)
		return next(ctx, cmds)
	}
}

// A session that is used again and again is kept for longer each time. Its place in the list of the user rarely changes. It
// is never too early: neither for a cut-off, nor for the expiry of the list, nor for List.
func TestRedisListLags(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		for _, lifetime := range []time.Duration{time.Minute, time.Hour, 30 * day} {
			userID := "user of " + lifetime.String()
			store := redisSessions(t, client, "signet")
			list := fmt.Sprintf("signet:{%d}:u:%s", session.GroupOfUser(userID), userID)
			row := newSession(t, store, userID)
			revokeSession(t, store, row.ID)
			row = newSession(t, store, userID)
			require.NoError(t, client.ZAdd(t.Context(), list, redis.Z{Score: 1, Member: "over"}).Err())
			require.NoError(t, client.ZAdd(t.Context(), list, redis.Z{Score: 1, Member: row.ID}).Err()) // as if it were new
			var scores []float64
			for i := range 64 {
				var keep session.Millis
				changeSession(t, store, row.ID, func(row *session.Session, at session.Moment) {
					row.KeepUntil = at.Now.Add(lifetime + time.Duration(i)*min(lifetime/16, 6*time.Hour)/32)
					row.Next++
					keep = row.KeepUntil
				})
				score, err := client.ZScore(t.Context(), list, row.ID).Result()
				require.NoError(t, err)
				require.GreaterOrEqual(t, score, float64(keep))
				require.LessOrEqual(t, score, float64(keep.Add(min(lifetime/12, 6*time.Hour))))
				if len(scores) == 0 || scores[len(scores)-1] != score {
					scores = append(scores, score)
				}
				ends, err := client.PTTL(t.Context(), list).Result()
				require.NoError(t, err)
				require.Greater(t, time.Now().Add(ends+time.Second), keep.Time().Add(day))
			}
			t.Logf("%v: %d scores", lifetime, len(scores))
			require.Less(t, len(scores), 8)
			err := client.ZScore(t.Context(), list, "over").Err()
			require.ErrorIs(t, err, redis.Nil, "the list is pruned when it is written")
		}
	})
}

// The scores of a list are in another order than the rows.
func TestRedisListOrder(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store := redisSessions(t, client, "signet")
		var rows []session.Session
		for i := range 20 {
			row := newSession(t, store, "ann")
			changeSession(t, store, row.ID, func(s *session.Session, at session.Moment) {
				s.KeepUntil = at.Now.Add(30*day - time.Duration(i)*10*time.Minute) // this is the score, and 6 hours
			})
			changeSession(t, store, row.ID, func(s *session.Session, _ session.Moment) {
				s.KeepUntil = s.KeepUntil.Add(time.Duration(i) * 15 * time.Minute)
				row = *s
			})
			rows = append(rows, row)
		}
		for _, limit := range []int{0, 1, 2, 10, 19, 20, 21} {
			found, _, err := store.List(t.Context(), "ann", limit)
			require.NoError(t, err)
			require.Len(t, found, min(limit, 20))
			for i, row := range found {
				require.Equal(t, rows[len(rows)-1-i].ID, row.ID, "limit %d", limit)
			}
		}
	})
}
