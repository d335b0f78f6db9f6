package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/redisstore"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/throttle"
)

const day = 24 * time.Hour

// onRedis runs a test on one server and on a Cluster. The clients are for the test and see all keys.
func onRedis(t *testing.T, test func(t *testing.T, client redis.UniversalClient)) {
	t.Run("one server", func(t *testing.T) { test(t, openRedis(t, "redis://"+servers.Redis(t).Addr())) })
	t.Run("Cluster", func(t *testing.T) { test(t, openCluster(t, servers.RedisCluster(t, 3).Addrs())) })
}

// redisReader follows the log of a store.
type redisReader struct {
	store session.Store
	at    session.Cursor
	limit int
	saw   []session.Entry
}

func redisFollow(t testing.TB, store session.Store) *redisReader {
	r := &redisReader{store: store, at: session.End, limit: 1000}
	require.NoError(t, r.pull(t.Context()))
	require.Empty(t, r.saw)
	return r
}

func (r *redisReader) pull(ctx context.Context) error {
	for {
		page, err := r.store.ReadLog(ctx, r.at, r.limit, func(e session.Entry) { r.saw = append(r.saw, e) })
		if err != nil {
			return err
		}
		if r.at = page.Next; !page.More {
			return nil
		}
	}
}

// next pulls and returns what is new.
func (r *redisReader) next(t testing.TB) []session.Entry {
	t.Helper()
	r.saw = nil
	require.NoError(t, r.pull(t.Context()))
	return r.saw
}

func revokedEntries(rows ...session.Session) (entries []session.Entry) {
	for _, row := range rows {
		entries = append(entries, session.RevokedEntry(row.ID, row.KeepUntil))
	}
	return entries
}

func TestRedisLog(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store := redisSessions(t, client, "signet")
		r := redisFollow(t, store)
		var rows []session.Session
		for i := range 200 {
			rows = append(rows, newSession(t, store, fmt.Sprintf("user%d", i)))
		}
		require.Empty(t, r.next(t), "logins")
		for _, row := range rows {
			revokeSession(t, store, row.ID)
		}
		require.ElementsMatch(t, revokedEntries(rows...), r.next(t))
		require.Empty(t, r.next(t), "nothing is read twice")

		endSessions(t, store, "user7")
		first := r.next(t)
		require.Len(t, first, 1)
		require.Equal(t, session.UserCut, first[0].Kind)
		require.Equal(t, "user7", first[0].ID)
		require.NotZero(t, first[0].Ended)
		endSessions(t, store, "user7") // the cursor stands on the entry that this replaces
		second := r.next(t)
		require.Len(t, second, 1)
		require.Greater(t, second[0].Ended, first[0].Ended)
		changeCutoff(t, store, "user7", func(before session.Cutoff, _, now session.Millis) session.Cutoff {
			require.Equal(t, second[0], session.CutEntry("user7", before))
			return before.End(rows[7].ID, now.Add(day), now).Change(0, now)
		})
		third := r.next(t)
		require.Len(t, third, 1)
		require.Equal(t, rows[7].ID, third[0].Spared)
		require.Greater(t, third[0].Changed, third[0].Ended)

		endSessions(t, store, "")
		all := r.next(t)
		var groups []int
		for _, e := range all {
			require.Equal(t, session.AllCut, e.Kind)
			groups = append(groups, e.Group)
		}
		require.Len(t, groups, session.Groups)
		slices.Sort(groups)
		require.Len(t, slices.Compact(groups), session.Groups)

		want := slices.Concat(revokedEntries(rows...), third, all)
		for _, limit := range []int{0, 1, 50, 10_000} {
			r := &redisReader{store: store, limit: limit}
			require.ElementsMatch(t, want, r.next(t), "from the beginning, limit %d", limit)
			require.Empty(t, r.next(t))
		}
	})
}

// A cut-off that is committed between the Moment and the write makes Create and Update begin again.
func TestRedisCutoffsInBetween(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store := redisSessions(t, client, "signet")
		for _, cutUser := range []string{"ann", ""} {
			var calls []session.Version
			require.NoError(t, store.Create(t.Context(), "ann", func(at session.Moment) (session.Session, error) {
				if calls = append(calls, at.Version()); len(calls) == 1 {
					endSessions(t, store, cutUser)
				}
				return session.Session{ID: session.NewID("ann"), UserID: "ann", KeepUntil: at.Now.Add(day)}, nil
			}))
			require.Len(t, calls, 2)
			require.NotEqual(t, calls[0], calls[1])

			row := newSession(t, store, "ann")
			calls = nil
			changeSession(t, store, row.ID, func(row *session.Session, at session.Moment) {
				if calls = append(calls, at.Version()); len(calls) == 1 {
					require.False(t, at.Ended(*row))
					endSessions(t, store, cutUser)
				} else {
					require.True(t, at.Ended(*row))
				}
				row.Next++
			})
			require.Len(t, calls, 2)
		}
		cutAtOnce(t, store, "ann")
		cutAtOnce(t, store, "")
	})
}

// cutAtOnce changes a cut-off in parallel. No change may be lost.
func cutAtOnce(t *testing.T, store session.Store, userID string) {
	const n = 8
	version := func() (v []int64) {
		changeCutoff(t, store, userID, func(c session.Cutoff, _, _ session.Millis) session.Cutoff {
			v = append(v, c.Changed)
			return c
		})
		return v
	}
	before := version()
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			err := store.Cut(t.Context(), userID, func(c session.Cutoff, _, _ session.Millis) (session.Cutoff, error) {
				c.Changed++
				return c, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i, v := range version() {
		require.Equal(t, before[i]+n, v)
	}
}

// A revocation is on its way for seconds while later ones are written and read. The reader misses nothing.
func TestRedisLogDelayedWrite(t *testing.T) {
	server := servers.Redis(t)
	store := redisSessions(t, openRedis(t, "redis://"+server.Addr()), "signet")
	slow := redisSessions(t, openRedis(t, "redis://"+delayed(t, server.Addr(), 1500*time.Millisecond)), "signet")
	late := newSession(t, store, "ann")
	r := redisFollow(t, store)
	ctx, done := t.Context(), make(chan error, 1)
	go func() {
		done <- slow.Update(ctx, late.ID, func(row session.Session, at session.Moment) (session.Session, error) {
			return row.Revoke(session.ReasonLogout, at.Now), nil
		})
	}()
	want := revokedEntries(late)
	var saw []session.Entry
	for waiting := true; waiting; time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-done:
			require.NoError(t, err)
			waiting = false
		default:
			row := newSession(t, store, "ann")
			revokeSession(t, store, row.ID)
			want = append(want, revokedEntries(row)...)
		}
		saw = append(saw, r.next(t)...)
	}
	require.Greater(t, len(want), 10)
	require.ElementsMatch(t, want, saw)
}

// delayed is a proxy that passes on what the client sends only after a while.
func delayed(t testing.TB, server string, by time.Duration) string {
	t.Helper()
	return startProxy(t, server, func(client, upstream net.Conn) {
		go relay(upstream, client, func() { time.Sleep(by) })
		go relay(client, upstream, func() {})
	})
}

// A replica is promoted that lacks the last writes. Whoever has read them begins again.
func TestRedisLogFailover(t *testing.T) {
	primary := servers.Redis(t)
	host, port, err := net.SplitHostPort(primary.Addr())
	require.NoError(t, err)
	replica := servers.Redis(t, "--replicaof", host+" "+port)
	client, promoted := openRedis(t, "redis://"+primary.Addr()), openRedis(t, "redis://"+replica.Addr())
	store, after := redisSessions(t, client, "signet"), redisSessions(t, promoted, "signet")

	kept, lost := newSession(t, store, "ann"), newSession(t, store, "ann")
	revokeSession(t, store, kept.ID)
	reads, lags := redisFollow(t, store), redisFollow(t, store)
	require.Eventually(t, func() bool { return client.Do(t.Context(), "WAIT", 1, 100).Val() == int64(1) },
		10*time.Second, time.Millisecond)
	require.NoError(t, promoted.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
	revokeSession(t, store, lost.ID)
	require.Equal(t, revokedEntries(lost), reads.next(t))

	reads.store, lags.store = after, after
	require.Empty(t, lags.next(t), "it had read nothing that is lost")
	require.ErrorIs(t, reads.pull(t.Context()), session.ErrCursor)
	revokeSession(t, after, lost.ID)
	require.ErrorIs(t, reads.pull(t.Context()), session.ErrCursor, "the log goes on without what was lost")
	require.Equal(t, revokedEntries(lost), lags.next(t))
	reads.at = session.Start
	require.ElementsMatch(t, revokedEntries(kept, lost), reads.next(t))
}

// The server's clock was ahead and was set back, or all data is gone.
func TestRedisLogClockSetBack(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store := redisSessions(t, client, "signet")
		first, second, third := newSession(t, store, "ann"), newSession(t, store, "ann"), newSession(t, store, "ann")
		log := logOf("ann")
		ahead := time.Now().Add(time.Hour).UnixMilli()
		require.NoError(t, client.ZAdd(t.Context(), log, redis.Z{Score: float64(ahead), Member: oldEntry(first)}).Err())
		r := redisFollow(t, store)
		revokeSession(t, store, second.ID)
		require.Equal(t, revokedEntries(second), r.next(t))
		revokeSession(t, store, third.ID)
		require.Equal(t, revokedEntries(third), r.next(t))
		require.NoError(t, client.Del(t.Context(), log).Err())
		require.ErrorIs(t, r.pull(t.Context()), session.ErrCursor)
		_, err := store.ReadLog(t.Context(), "a cursor of another store", 10, func(session.Entry) {})
		require.ErrorIs(t, err, session.ErrCursor)
	})
}

// logOf returns the key of the log that a user's entries are in.
func logOf(userID string) string {
	return fmt.Sprintf("signet:{%d}:revoked", session.GroupOfUser(userID))
}

func TestRedisNotify(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store := redisSessions(t, client, "signet")
		ctx, cancel := context.WithCancel(t.Context())
		woken, ended := make(chan time.Time, 100), make(chan error, 1)
		notify := func() { ended <- store.Notify(ctx, func() { woken <- time.Now() }) }
		go notify()
		await(t, woken) // the subscription
		var took []time.Duration
		for i := range 50 {
			userID := fmt.Sprintf("user%d", i)
			row := newSession(t, store, userID)
			began := time.Now()
			revokeSession(t, store, row.ID)
			took = append(took, await(t, woken).Sub(began))
		}
		slices.Sort(took)
		results.note(t, "Redis, from the call of Update until the wake, %s: median %v, slowest of %d %v", t.Name(),
			took[len(took)/2], len(took), took[len(took)-1])
		endSessions(t, store, "ann")
		await(t, woken)

		kill := func(ctx context.Context, client *redis.Client) error {
			return client.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err()
		}
		if cluster, ok := client.(*redis.ClusterClient); ok {
			require.NoError(t, cluster.ForEachMaster(t.Context(), kill))
		} else {
			require.NoError(t, kill(t.Context(), client.(*redis.Client)))
		}
		require.Error(t, await(t, ended), "the connection is gone")
		require.NoError(t, ctx.Err())
		go notify()
		await(t, woken)
		cancel()
		require.ErrorIs(t, await(t, ended), context.Canceled)
	})
}

func await[T any](t testing.TB, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came within 20 seconds")
	}
	return value
}

// The server is idle for longer than Notify waits, and then it stalls.
func TestRedisNotifyStalled(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t)
	store := redisSessions(t, openRedis(t, "redis://"+server.Addr()), "signet")
	woken, ended := make(chan time.Time, 100), make(chan error, 1)
	go func() { ended <- store.Notify(t.Context(), func() { woken <- time.Now() }) }()
	await(t, woken)
	time.Sleep(21 * time.Second)
	require.Empty(t, woken, "the connection has stayed")
	row := newSession(t, store, "ann")
	revokeSession(t, store, row.ID)
	await(t, woken)
	server.Pause()
	require.Error(t, <-ended)
	server.Resume()
}

// If the server's access rules forbid the channel, revocations are written all the same.
func TestRedisNotifyForbidden(t *testing.T) {
	client := openRedis(t, "redis://"+servers.Redis(t).Addr())
	store := redisSessions(t, client, "signet")
	r := redisFollow(t, store)
	require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "default", "resetchannels").Err())
	row := newSession(t, store, "ann")
	revokeSession(t, store, row.ID)
	require.Equal(t, revokedEntries(row), r.next(t))
	require.ErrorContains(t, store.Notify(t.Context(), func() {}), "NOPERM")
}

// A replica takes the place of a master that was killed. The stores find it when the Cluster has, although nobody told their
// clients: a dead server sends nobody to another one.
func TestAClusterReplacesAMaster(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 3)
	master := cluster.Nodes()[0]
	replica := cluster.AddReplica(t, master)
	client := openCluster(t, cluster.Addrs())
	store := redisSessions(t, client, "signet")
	failures, err := redisstore.NewThrottle(openCluster(t, cluster.Addrs()))
	require.NoError(t, err)
	count := func() (err error) {
		for i := range 32 { // each shard has some of these
			err = errors.Join(err, failures.Update(t.Context(), throttle.Key{byte(i)}, func(throttle.Record, time.Time) (throttle.Record, time.Time, error) {
				return throttle.Record(fmt.Sprint(time.Now())), time.Now().Add(time.Hour), nil
			}))
		}
		return err
	}
	var elsewhere []session.Session // on the other masters
	for i := range 64 {
		row := newSession(t, store, "user"+strconv.Itoa(i))
		at, err := client.MasterForKey(t.Context(), fmt.Sprintf("signet:{%d}:all", session.GroupOfUser(row.UserID)))
		require.NoError(t, err)
		if at.Options().Addr != master.Addr() {
			elsewhere = append(elsewhere, row)
		}
	}
	require.Greater(t, len(elsewhere), 10)
	page, err := store.ReadLog(t.Context(), session.End, 1, func(session.Entry) {})
	require.NoError(t, err)
	read := map[string]bool{}
	pull := func() error {
		_, err := store.ReadLog(t.Context(), page.Next, session.Groups, func(e session.Entry) { read[e.ID] = true }) // one of each group at a time
		return err
	}
	require.NoError(t, count())
	require.NoError(t, pull())
	master.Kill()
	for _, row := range elsewhere { // it takes less than the five seconds after which the Cluster notices
		revokeSession(t, store, row.ID)
	}
	require.Error(t, pull())
	require.Len(t, read, len(elsewhere), "what they have stored is known at once")
	own := openRedis(t, "redis://"+replica.Addr())
	require.Eventually(t, func() bool {
		role, err := own.Do(t.Context(), "ROLE").Slice()
		return err == nil && role[0] == "master"
	}, 30*time.Second, 100*time.Millisecond)
	for name, ask := range map[string]func() error{"sessions": pull, "throttle": count} {
		require.Eventually(t, func() bool { return ask() == nil }, 10*time.Second, time.Second, "%s: the replica is the master now", name)
	}
}

// While a slot is moved, a session whose cut-off is not there yet cannot be read.
func TestAHalfMovedSlot(t *testing.T) {
	t.Parallel()
	cluster := servers.RedisCluster(t, 3)
	client := openCluster(t, cluster.Addrs())
	store := redisSessions(t, client, "signet")
	row := newSession(t, store, "ann")
	cut := func(c session.Cutoff, latest, now session.Millis) session.Cutoff {
		return session.Cutoff{Ended: c.Ended + 1, Changed: c.Changed + 1, KeepUntil: now.Add(day)}
	}
	changeCutoff(t, store, "", cut)
	changeCutoff(t, store, "ann", cut)
	key := func(name string) string { return fmt.Sprintf("signet:{%d}:%s", session.GroupOfUser("ann"), name) }
	from, err := client.MasterForKey(t.Context(), key("all"))
	require.NoError(t, err)
	slot, err := client.ClusterKeySlot(t.Context(), key("all")).Result()
	require.NoError(t, err)
	other := slices.IndexFunc(cluster.Addrs(), func(addr string) bool { return addr != from.Options().Addr })
	to := openRedis(t, "redis://"+cluster.Addrs()[other])
	id := func(node *redis.Client) string { return node.Do(t.Context(), "CLUSTER", "MYID").Val().(string) }
	require.NoError(t, to.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "IMPORTING", id(from)).Err())
	require.NoError(t, from.Do(t.Context(), "CLUSTER", "SETSLOT", slot, "MIGRATING", id(to)).Err())
	host, port, err := net.SplitHostPort(to.Options().Addr)
	require.NoError(t, err)
	move := func(names ...string) {
		args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
		for _, name := range names {
			args = append(args, key(name))
		}
		require.NoError(t, from.Do(t.Context(), args...).Err())
	}
	read := func() (at session.Moment, err error) {
		fresh := redisSessions(t, openCluster(t, cluster.Addrs()), "signet") // it remembers no row
		err = fresh.Update(t.Context(), row.ID, func(row session.Session, now session.Moment) (session.Session, error) {
			at = now
			return row, nil
		})
		return at, err
	}
	move("s:"+row.ID, "all")
	_, err = read()
	require.Error(t, err)
	require.NotErrorIs(t, err, session.ErrNotFound)
	move("c:ann", "u:ann", "revoked")
	at, err := read()
	require.NoError(t, err)
	require.EqualValues(t, 1, at.User.Ended)
}

// The documented rights are enough in a Cluster too. On one server the stores of hostRedis have only these.
func TestRedisRightsInACluster(t *testing.T) {
	addrs := servers.RedisCluster(t, 3).Addrs()
	for _, addr := range addrs {
		args := []any{"ACL", "SETUSER"}
		for _, rule := range strings.Fields(redisAccount + " +cluster|slots") {
			args = append(args, rule)
		}
		require.NoError(t, openRedis(t, "redis://"+addr).Do(t.Context(), args...).Err())
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Username: "signet", Password: "signet", ContextTimeoutEnabled: true})
	defer client.Close()
	store := redisSessions(t, client, "signet")
	r := redisFollow(t, store)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	woken := make(chan time.Time, 100)
	go store.Notify(ctx, func() { woken <- time.Now() })
	await(t, woken) // the subscription
	row := newSession(t, store, "ann")
	revokeSession(t, store, row.ID)
	await(t, woken)
	require.Equal(t, revokedEntries(row), r.next(t))
	require.NoError(t, cut(t.Context(), store, ""))
	require.Len(t, r.next(t), session.Groups)
	_, err := store.DeleteExpired(t.Context(), session.MillisOf(time.Now()), 100)
	require.NoError(t, err)
}

// If the account lacks the right to a command, a script can fail half way. When the right is back and the call is repeated,
// what it says to have ended is in the log.
func TestRedisForbiddenCommands(t *testing.T) {
	client := openRedis(t, "redis://"+servers.Redis(t).Addr())
	store := redisSessions(t, client, "signet")
	for _, command := range []string{"set", "zadd", "zrem", "pexpireat", "zscore", "zrevrange"} {
		t.Run(command, func(t *testing.T) {
			ann, bob := newSession(t, store, "ann"), newSession(t, store, "bob")
			r := redisFollow(t, store)
			require.NoError(t, cut(t.Context(), store, "eve"))
			first := r.next(t)[0]
			end := func() error { // the cut-off replaces the first one
				return errors.Join(revoke(t.Context(), store, ann.ID), cut(t.Context(), store, "eve"),
					store.UpdateBatch(t.Context(), []string{bob.ID}, func(row session.Session, now session.Millis) session.Session {
						return row.Revoke(session.ReasonLogout, now)
					}))
			}
			require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "default", "-"+command).Err())
			require.Error(t, end())
			require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "default", "+"+command).Err())
			require.NoError(t, r.pull(t.Context())) // its cursor can be an entry of a script that has failed
			require.NoError(t, end())
			for _, reader := range []*redisReader{r, {store: store, limit: 1000}} {
				require.NoError(t, reader.pull(t.Context()))
				last := map[string]session.Entry{}
				for _, e := range reader.saw {
					last[e.ID] = e
				}
				require.Contains(t, last, ann.ID)
				require.Contains(t, last, bob.ID)
				require.Greater(t, last["eve"].Ended, first.Ended)
			}
		})
	}
}

func TestRedisMaxPerUser(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		wide := redisSessions(t, client, "signet")
		store, err := redisstore.New(client, redisstore.WithMaxPerUser(3))
		require.NoError(t, err)
		live := func() (ids []string) {
			rows, at, err := store.List(t.Context(), "ann", 1000)
			require.NoError(t, err)
			for _, row := range rows {
				if !at.Ended(row) {
					ids = append(ids, row.ID)
				}
			}
			return ids
		}
		var rows []session.Session
		for range 50 {
			rows = append(rows, newSession(t, wide, "ann"))
			time.Sleep(time.Millisecond)
		}
		r := redisFollow(t, store)
		rows = append(rows, newSession(t, store, "ann"))
		require.ElementsMatch(t, []string{rows[48].ID, rows[49].ID, rows[50].ID}, live())
		require.Len(t, r.next(t), 48)
		changeSession(t, store, rows[0].ID, func(row *session.Session, _ session.Moment) {
			require.Equal(t, session.ReasonEvicted, row.Reason)
		})

		// Of those that are left, the oldest has cut off the others. They go first.
		changeCutoff(t, store, "ann", func(c session.Cutoff, latest, now session.Millis) session.Cutoff {
			return c.End(rows[48].ID, latest, now)
		})
		first, second := newSession(t, store, "ann"), newSession(t, store, "ann")
		require.ElementsMatch(t, []string{rows[48].ID, first.ID, second.ID}, live())

		var group sync.WaitGroup
		for range 10 {
			group.Go(func() { newSession(t, store, "ann") })
		}
		group.Wait()
		require.GreaterOrEqual(t, len(live()), 3)
		newSession(t, store, "ann") // takes back what logins at once have left over
		require.Len(t, live(), 3)
		_, err = redisstore.New(client, redisstore.WithMaxPerUser(0))
		require.ErrorContains(t, err, "WithMaxPerUser")
		_, err = redisstore.New(client, nil)
		require.ErrorContains(t, err, "option is nil")
		_, err = redisstore.NewThrottle(client, nil)
		require.ErrorContains(t, err, "option is nil")
	})
}

func TestRedisList(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store, list := redisSessions(t, client, "signet"), fmt.Sprintf("signet:{%d}:u:ann", session.GroupOfUser("ann"))
		var rows []session.Session
		for i := range 10 {
			row := newSession(t, store, "ann")
			changeSession(t, store, row.ID, func(s *session.Session, at session.Moment) {
				s.KeepUntil = at.Now.Add(day + time.Duration(i)*time.Hour)
				row = *s
			})
			rows = append(rows, row)
		}
		revokeSession(t, store, rows[9].ID)
		gone := redis.Z{Score: float64(time.Now().Add(90 * day).UnixMilli()), Member: session.NewID("ann")}
		require.NoError(t, client.ZAdd(t.Context(), list, gone, // as the version before has left it
			redis.Z{Score: float64(rows[9].KeepUntil), Member: rows[9].ID}).Err())
		found, at, err := store.List(t.Context(), "ann", 2)
		require.NoError(t, err)
		require.Equal(t, []session.Session{rows[8], rows[7]}, found)
		require.WithinDuration(t, time.Now(), at.Now.Time(), time.Minute)
		changeCutoff(t, store, "ann", func(c session.Cutoff, latest, _ session.Millis) session.Cutoff {
			require.GreaterOrEqual(t, latest, rows[8].KeepUntil)
			return c
		})
		found, _, err = store.List(t.Context(), "ann", 0)
		require.NoError(t, err)
		require.Empty(t, found)
	})
}

// A server's clock that is wrong by less than a day loses nothing.
func TestRedisExpiry(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store := redisSessions(t, client, "signet")
		row := newSession(t, store, "ann")
		endSessions(t, store, "ann")
		endSessions(t, store, "")
		revokeSession(t, store, newSession(t, store, "ann").ID)
		group := fmt.Sprintf("signet:{%d}:", session.GroupOfUser("ann"))
		const slack = day / 16 // of the list, and so of the cut-off
		for key, want := range map[string]time.Time{
			"s:" + row.ID: row.KeepUntil.Time().Add(day),
			"u:ann":       row.KeepUntil.Time().Add(day + slack),
			"c:ann":       row.KeepUntil.Time().Add(day + slack),
			"all":         {},
			"revoked":     time.UnixMilli(7258118400000),
		} {
			ttl, err := client.PTTL(t.Context(), group+key).Result()
			require.NoError(t, err)
			if want.IsZero() {
				require.Equal(t, time.Duration(-1), ttl, key)
			} else {
				require.WithinDuration(t, want, time.Now().Add(ttl), 10*time.Second, key)
			}
		}
	})
}

func TestRedisPrune(t *testing.T) {
	client := openRedis(t, "redis://"+servers.Redis(t).Addr())
	store := redisSessions(t, client, "signet")
	now := time.Now()
	log := logOf("ann")
	var entries []redis.Z
	add := func(name string, n int, keepUntil time.Time) {
		for i := range n {
			entries = append(entries, redis.Z{Score: float64(now.Add(-time.Hour).UnixMilli() + int64(len(entries))),
				Member: fmt.Sprintf("%d:%s%d", keepUntil.UnixMilli(), name, i)})
		}
	}
	add("0long", 15_000, now.Add(day))
	add("0over", 500, now.Add(-time.Minute))
	add("0soon", 500, now.Add(time.Minute))
	add("0newest", 1000, now.Add(-time.Minute))
	require.NoError(t, client.ZAdd(t.Context(), log, entries...).Err())
	r := redisFollow(t, store)
	prune := func(before time.Time, want int) {
		for range 3 { // the first calls see the long ones only
			n, err := store.DeleteExpired(t.Context(), session.MillisOf(before), 1000)
			require.NoError(t, err)
			require.Zero(t, n)
		}
		left, err := client.ZCard(t.Context(), log).Result()
		require.NoError(t, err)
		require.EqualValues(t, want, left)
	}
	prune(now.Add(-time.Hour), 17_000) // by this clock nothing is over
	prune(now.Add(time.Hour), 16_500)  // by the server's clock some are
	row := newSession(t, store, "ann")
	revokeSession(t, store, row.ID)
	require.Equal(t, revokedEntries(row), r.next(t), "the cursor has stood on an entry that is over")
	prune(now.Add(time.Hour), 16_500) // the newest thousand and one: the oldest of them is over
}

func TestRedisRoundTrips(t *testing.T) {
	m := startMeter(t, servers.Redis(t).Addr())
	client := openRedis(t, "redis://"+m.addr)
	store := redisSessions(t, client, "signet")
	row := newSession(t, store, "ann")
	for _, c := range []struct {
		name string
		want float64
		do   func()
	}{
		{"Create", 2, func() { newSession(t, store, session.NewID("ann")) }},
		{"Update of what another process wrote last", 2, func() {
			changeSession(t, redisSessions(t, client, "signet"), row.ID, func(row *session.Session, _ session.Moment) { row.Next++ })
		}},
		{"Update of what this process wrote last", 1, func() {
			changeSession(t, store, row.ID, func(row *session.Session, _ session.Moment) { row.Next++ })
		}},
		{"Cut", 2, func() { endSessions(t, store, "bob") }},
		{"Cut of everybody", 2, func() { endSessions(t, store, "") }},
		{"ReadLog", 1, func() { redisFollow(t, store) }},
	} {
		c.do() // the server learns the scripts
		before := m.trips.Load()
		const n = 20
		for range n {
			c.do()
		}
		require.InDelta(t, c.want, float64(m.trips.Load()-before)/n, 0.2, c.name)
	}
}

// The scripts of the version before this one.
var (
	oldNow  = "local t = redis.call('TIME')\nlocal now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
	oldSwap = redis.NewScriptServerSHA(oldNow + `
local function keep(key)
	local ttl = redis.call('PTTL', key)
	if ttl < 0 or now + ttl < tonumber(ARGV[4]) then redis.call('PEXPIREAT', key, ARGV[4]) end
end
local have = redis.call('GET', KEYS[1]) or ''
if have == ARGV[2] then return 1 end
if have ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', now))
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
keep(KEYS[2])
if ARGV[5] ~= '' then
	redis.call('ZADD', KEYS[3], 'NX', now, ARGV[5])
	keep(KEYS[3])
end
return 1`)
	oldRevoked = redis.NewScriptServerSHA(oldNow + `return {now, redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf')}`)
)

func oldEntry(row session.Session) string {
	return strconv.FormatInt(int64(row.KeepUntil), 10) + ":" + row.ID
}

// oldRevoke revokes a session in the way of the version before this one.
func oldRevoke(t testing.TB, client redis.UniversalClient, row session.Session) {
	t.Helper()
	group := fmt.Sprintf("signet:{%d}:", session.GroupOfUser(row.UserID))
	text, err := client.Get(t.Context(), group+"s:"+row.ID).Result()
	require.NoError(t, err)
	stored, err := row.Revoke(session.ReasonLogout, session.MillisOf(time.Now())).MarshalJSON()
	require.NoError(t, err)
	keys := []string{group + "s:" + row.ID, group + "u:" + row.UserID, group + "revoked"}
	done, err := oldSwap.Run(t.Context(), client, keys, text, "mark "+string(stored), row.ID, int64(row.KeepUntil), oldEntry(row)).Int()
	require.NoError(t, err)
	require.Equal(t, 1, done)
}

// Processes of this version and of the one before it revoke sessions, and each reads the other's.
func TestRedisRollingUpgrade(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store, log := redisSessions(t, client, "signet"), logOf("ann")
		r := redisFollow(t, store)
		var rows []session.Session
		for i := range 30 {
			row := newSession(t, store, "ann")
			if rows = append(rows, row); i%2 == 0 {
				oldRevoke(t, client, row)
			} else {
				revokeSession(t, store, row.ID)
			}
			if i%3 == 0 {
				require.Subset(t, r.next(t), revokedEntries(row))
			}
		}
		r.next(t)
		whole := &redisReader{store: store, limit: 7}
		require.ElementsMatch(t, revokedEntries(rows...), whole.next(t))

		// The scores of this version have run ahead. An entry of the version before comes in behind the cursor.
		ahead, behind := newSession(t, store, "ann"), newSession(t, store, "ann")
		require.NoError(t, client.ZAdd(t.Context(), log,
			redis.Z{Score: float64(time.Now().UnixMilli() + 500), Member: oldEntry(ahead)}).Err())
		require.Contains(t, r.next(t), revokedEntries(ahead)[0])
		oldRevoke(t, client, behind)
		require.Contains(t, r.next(t), revokedEntries(behind)[0])
		require.Empty(t, r.next(t), "the second before the cursor is read again only if something came in")

		// The old readers take every entry for a session.
		endSessions(t, store, "ann")
		endSessions(t, store, "")
		answer, err := oldRevoked.Run(t.Context(), client, []string{log}, 0).Slice()
		require.NoError(t, err)
		var ids []string
		for _, entry := range answer[1].([]any) {
			var keepUntil int64
			var id string
			_, err := fmt.Sscanf(entry.(string), "%d:%s", &keepUntil, &id)
			require.NoError(t, err)
			ids = append(ids, id)
		}
		for _, row := range append(rows, ahead, behind) {
			require.Contains(t, ids, row.ID)
		}

		// The version before gives the log an end only if it has none.
		ttl, err := client.PTTL(t.Context(), log).Result()
		require.NoError(t, err)
		require.Greater(t, ttl, 100*365*day)
		last := newSession(t, store, "ann")
		oldRevoke(t, client, last)
		ttl, err = client.PTTL(t.Context(), log).Result()
		require.NoError(t, err)
		require.Greater(t, ttl, 100*365*day)

		found, _, err := store.List(t.Context(), "ann", 5)
		require.NoError(t, err)
		require.Equal(t, []session.Session{ahead}, found, "without those that the version before has kept in the list")
	})
}

// The server finds the user of a row by itself. If the id has an escape in JSON, that costs one round trip more.
func TestRedisUserIDs(t *testing.T) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		store := redisSessions(t, client, "signet")
		var trips atomic.Int64
		client.AddHook(hookFunc(func() { trips.Add(1) }))
		other := redisSessions(t, client, "signet") // it remembers none of the rows, so it reads them
		for _, c := range []struct {
			userID string
			trips  int64
		}{
			{"", 2}, {" ", 2}, {"{}", 2}, {`user`, 2}, {"é😀", 2}, {`"`, 3}, {`\`, 3}, {"a\x00b", 3}, {`","user":"ann`, 3},
		} {
			row := newSession(t, store, c.userID)
			if c.userID != "" {
				endSessions(t, store, c.userID)
			}
			changeSession(t, redisSessions(t, client, "signet"), row.ID, func(row *session.Session, _ session.Moment) {
				row.Next++ // the server learns the scripts
			})
			trips.Store(0)
			changeSession(t, other, row.ID, func(row *session.Session, at session.Moment) {
				require.Equal(t, c.userID != "", at.Ended(*row), "%q", c.userID)
				require.Equal(t, c.userID, row.UserID)
				row.Next++
			})
			require.Equal(t, c.trips, trips.Load(), "%q", c.userID)
		}
	})
}

type hookFunc func()

func (hookFunc) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h hookFunc) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h()
		return next(ctx, cmd)
	}
}

func (h hookFunc) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A row that this version cannot read does not keep a user's older sessions alive.
func TestRedisEvictsBesideAnUnreadableRow(t *testing.T) {
	client := openRedis(t, withAllRights(hostRedis(t).fresh(t).args[1]))
	s, err := redisstore.New(client, redisstore.WithMaxPerUser(2))
	require.NoError(t, err)
	ctx := t.Context()
	made := session.Millis(0)
	create := func() (id string) {
		made += 60_000
		require.NoError(t, s.Create(ctx, "u", func(m session.Moment) (session.Session, error) {
			id = session.NewID("u")
			return session.Session{ID: id, UserID: "u", CreatedAt: made, LastUsedAt: made, EndsAt: m.Now.Add(time.Hour), KeepUntil: m.Now.Add(time.Hour),
				Current: 1, Next: 2}, nil
		}))
		return id
	}
	unreadable := create()
	for _, key := range client.Keys(ctx, "*:s:"+unreadable).Val() {
		text := strings.Replace(client.Get(ctx, key).Val(), `"v":1`, `"v":9`, 1)
		require.NoError(t, client.Set(ctx, key, text, redis.KeepTTL).Err())
	}
	for range 6 {
		create()
	}
	require.EqualValues(t, 3, client.ZCard(ctx, client.Keys(ctx, "*:u:u").Val()[0]).Val())
	_, _, err = s.List(ctx, "u", 10)
	require.Error(t, err)
}
