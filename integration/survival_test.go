package integration

import (
	"context"
	"errors"
	"math/rand/v2"
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
	"github.com/signet-go/signet/sqlstore"
)

// followBound is how soon after a failover every service must know what was revoked.
const followBound = 5 * time.Second

// logouts is people who log out at the same time, at two services in turn.
type logouts struct {
	people  []person
	done    chan person // those who have got 204
	errs    chan error
	running sync.WaitGroup

	repeated atomic.Int64 // answers with 503, or without an answer
}

func beginLogouts(people []person, urls ...string) *logouts {
	l := &logouts{people: people, done: make(chan person, len(people)), errs: make(chan error, len(people))}
	todo := make(chan person, len(people))
	for _, p := range people {
		todo <- p
	}
	close(todo)
	for i := range 8 {
		l.running.Go(func() {
			for p := range todo {
				n, err := p.end(urls[i%len(urls)], urls[(i+1)%len(urls)])
				l.repeated.Add(int64(n))
				if err != nil {
					l.errs <- err
					return
				}
				l.done <- p
				time.Sleep(rand.N(20 * time.Millisecond))
			}
		})
	}
	go func() {
		l.running.Wait()
		close(l.done)
	}()
	return l
}

// next waits until n more people have got 204, and returns them.
func (l *logouts) next(t testing.TB, n int) (ended []person) {
	t.Helper()
	for len(ended) < n {
		p, ok := <-l.done
		if !ok {
			break
		}
		ended = append(ended, p)
	}
	select {
	case err := <-l.errs:
		t.Fatal(err)
	default:
	}
	require.Len(t, ended, n, "logouts with 204")
	return ended
}

// TestFaultsRevocationKill kills the store again and again while many people log out. What was answered with 204 is never
// lost: not in the services that run, and not in services that start later.
func TestFaultsRevocationKill(t *testing.T) {
	const kills, between = 3, 60
	for _, kind := range []store{postgres, mariadb, redisOne, redisCluster} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			host := kind.host(t)
			at := host.fresh(t)
			people := newCrowd()
			a, b := startMember(t, people.users, at.sessions(t)), startMember(t, people.users, at.sessions(t))
			good := people.add(t, a.auth, 20, 1)
			ending := people.add(t, a.auth, (kills+1)*between*3/4, 1)
			ending = append(ending, people.add(t, a.auth, (kills+1)*between/4, 2)...)
			rand.Shuffle(len(ending), func(i, j int) { ending[i], ending[j] = ending[j], ending[i] })

			stop := watch(t, good, a.url, b.url)
			l := beginLogouts(ending, a.url, b.url)
			var ended []person
			for i := range kills {
				ended = append(ended, l.next(t, between)...)
				server := host.server
				if server == nil {
					server = host.nodes[i%len(host.nodes)]
				}
				server.Kill() // in the middle of eight logouts
				time.Sleep(time.Second)
				server.Start()
			}
			ended = append(ended, l.next(t, between)...)
			began := time.Now()
			for _, m := range []*member{a, b} {
				requireEnded(t, m.url, ended, began, followBound)
				requireGood(t, m.url, good)
			}
			stop()

			// The services start again. So does the store, once more.
			a.end()
			b.end()
			for _, server := range append(host.nodes, host.server) {
				if server != nil {
					server.Kill()
					server.Start()
				}
			}
			require.Eventually(t, func() bool { // a Cluster needs a moment
				_, err := at.sessions(t).ReadLog(t.Context(), session.End, 1, func(session.Entry) {})
				return err == nil
			}, 30*time.Second, 200*time.Millisecond)
			c := startMember(t, people.users, at.sessions(t))
			requireEnded(t, c.url, ended, time.Now(), 0)
			requireGood(t, c.url, good)
			results.note(t, "%-12s killed %d times during %d logouts: lost 0; %d requests had 503 or no answer", kind.name,
				kills, len(ended), l.repeated.Load())
		})
	}
}

// TestFaultsPromotion kills a primary while people log out, and promotes its replica. Nothing that was answered with 204 is
// lost, and everybody follows the new primary: the services, one that starts later, and one that follows the feed.
func TestFaultsPromotion(t *testing.T) {
	const before, after = 100, 60
	for name, open := range map[string]func(testing.TB) (*servers.Pair, *router, func(testing.TB) session.Store){
		"PostgreSQL with a synchronous standby": postgresPair,
		"Redis with WAIT":                       waitingPair,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair, way, sessions := open(t)
			people := newCrowd()
			a, b := startMember(t, people.users, sessions(t)), startMember(t, people.users, sessions(t))
			follower := startFollower(t, sessions(t))
			good, ending := people.add(t, a.auth, 20, 1), people.add(t, a.auth, before+after, 1)
			last := people.add(t, a.auth, 2, 1)

			stop := watch(t, good, a.url, b.url, follower)
			l := beginLogouts(ending, a.url, b.url)
			ended := l.next(t, before)
			pair.Primary.Kill()
			pair.Promote()
			way.point(pair.Replica.Addr())
			promoted := time.Now()

			// A revocation at the new primary is known everywhere soon.
			_, err := last[0].end(a.url)
			require.NoError(t, err)
			for _, url := range []string{a.url, b.url, follower} {
				requireRefused(t, url, last[:1], promoted, followBound)
			}
			took := time.Since(promoted)
			ended = append(ended, l.next(t, after)...)
			began := time.Now()
			requireEnded(t, a.url, ended, began, followBound)
			requireEnded(t, b.url, ended, began, followBound)
			requireRefused(t, follower, ended, began, followBound)
			c := startMember(t, people.users, sessions(t))
			requireEnded(t, c.url, ended, time.Now(), 0)
			stop()
			for _, m := range []*member{a, b, c} {
				requireGood(t, m.url, good)
			}
			results.note(t, "%s: the primary killed, the replica promoted: of %d logouts lost 0; all follow after %v, bound %v",
				name, len(ended), took.Round(10*time.Millisecond), followBound)
		})
	}
}

// TestFaultsPromotionLoss promotes a replica of Redis that has missed the last revocations: nobody waited for the replica. The
// services go on, refuse nothing that is good, and learn of new revocations. Those that know of the lost ones end these
// sessions again.
func TestFaultsPromotionLoss(t *testing.T) {
	t.Parallel()
	pair, way, client := redisPair(t)
	people := newCrowd()
	sessions := func() session.Store { return redisSessions(t, client(t), "signet") }
	a, b := startMember(t, people.users, sessions()), startMember(t, people.users, sessions())
	follower := startFollower(t, sessions())
	good, kept := people.add(t, a.auth, 20, 1), people.add(t, a.auth, 20, 1)
	lost, later := people.add(t, a.auth, 20, 1), people.add(t, a.auth, 20, 1)
	stop := watch(t, good, a.url, b.url, follower)
	beginLogouts(kept, a.url, b.url).next(t, len(kept))
	require.NoError(t, reachReplica(t.Context(), client(t)))
	pair.Promote() // from now on it gets nothing from the primary
	beginLogouts(lost, a.url, b.url).next(t, len(lost))
	began := time.Now()
	for _, url := range []string{a.url, b.url, follower} {
		requireRefused(t, url, append(lost, kept...), began, followBound) // everybody has read what will be lost
	}
	pair.Primary.Kill()
	way.point(pair.Replica.Addr())
	promoted := time.Now()

	_, err := later[0].end(a.url)
	require.NoError(t, err)
	for _, url := range []string{a.url, b.url, follower} {
		requireRefused(t, url, later[:1], promoted, followBound)
	}
	took := time.Since(promoted)
	beginLogouts(later[1:], b.url, a.url).next(t, len(later)-1)
	began = time.Now()
	for _, url := range []string{a.url, b.url, follower} {
		requireRefused(t, url, later, began, followBound)
		requireRefused(t, url, kept, began, followBound)
	}
	stop()
	for _, m := range []*member{a, b} {
		require.Eventually(t, func() bool { return strings.Contains(m.log.String(), "the log of revocations has changed") },
			20*time.Second, 10*time.Millisecond) // a look-up may have told of the new revocations before
		requireGood(t, m.url, good)
	}
	fresh := startMember(t, people.users, sessions())
	for _, p := range lost {
		for _, url := range []string{a.url, fresh.url} { // the second one knows only what the first one has written
			answer := patiently(t, func() (answer, error) { return callRefresh(url, p.pairs[0].Refresh) })
			require.Equal(t, 401, answer.status, "a session that was ended with 204")
		}
	}
	results.note(t, "Redis without WAIT: a replica promoted that had missed %d of %d logouts: these were ended again; all follow after %v,"+
		" bound %v", len(lost), len(lost)+len(kept)+len(later), took.Round(10*time.Millisecond), followBound)
}

// requireRefused waits until a service refuses the access tokens of people.
func requireRefused(t testing.TB, url string, people []person, began time.Time, bound time.Duration) {
	t.Helper()
	for _, person := range people {
		for _, p := range person.pairs {
			for {
				a, err := callProfile(url, p.Access)
				require.NoError(t, err)
				if a.status == 401 {
					break
				}
				require.Contains(t, []int{200, 503}, a.status, "%s", a.body)
				require.Less(t, time.Since(began), bound, "an access token of a session that was ended with 204: %d", a.status)
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
}

func postgresPair(t testing.TB) (*servers.Pair, *router, func(testing.TB) session.Store) {
	pair := servers.PostgresPair(t)
	way := startRouter(t, pair.Primary.Addr())
	url := strings.Replace(pair.Primary.URL(), pair.Primary.Addr(), way.addr, 1)
	return pair, way, sqlPlace(database{"pgx", url, sqlstore.PostgreSQL}, url).sessions
}

func redisPair(t testing.TB) (*servers.Pair, *router, func(testing.TB) *redis.Client) {
	pair := servers.RedisPair(t)
	way := startRouter(t, pair.Primary.Addr())
	return pair, way, func(t testing.TB) *redis.Client { return openRedis(t, "redis://"+way.addr+"/0") }
}

// waitingPair is as redisPair, with stores that wait for the replica until it is promoted.
func waitingPair(t testing.TB) (*servers.Pair, *router, func(testing.TB) session.Store) {
	pair, way, client := redisPair(t)
	return pair, way, func(t testing.TB) session.Store {
		c := client(t)
		return &waiting{redisSessions(t, c, "signet"), func(ctx context.Context) error {
			if way.to() == pair.Replica.Addr() { // it has no replica itself
				return nil
			}
			return reachReplica(ctx, c)
		}}
	}
}

// waiting is a store in Redis that answers only when a replica has what was written.
type waiting struct {
	*redisstore.Store
	reach func(context.Context) error
}

func (w *waiting) Create(ctx context.Context, userID string, make func(session.Moment) (session.Session, error)) error {
	if err := w.Store.Create(ctx, userID, make); err != nil {
		return err
	}
	return w.reach(ctx)
}

func (w *waiting) Update(ctx context.Context, id string,
	change func(session.Session, session.Moment) (session.Session, error)) error {
	if err := w.Store.Update(ctx, id, change); err != nil {
		return err
	}
	return w.reach(ctx)
}

func (w *waiting) Cut(ctx context.Context, userID string,
	change func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error)) error {
	if err := w.Store.Cut(ctx, userID, change); err != nil {
		return err
	}
	return w.reach(ctx)
}

// reachReplica waits until a replica has all that the server had before. WAIT counts only the writes of its own connection.
// So a write of its own goes in front of it, in one pipeline. The replica has that write after all earlier ones.
func reachReplica(ctx context.Context, client *redis.Client) error {
	var replicas *redis.Cmd
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Incr(ctx, "wait")
		replicas = pipe.Do(ctx, "WAIT", 1, 1000)
		return nil
	})
	if err != nil {
		return err
	}
	if n, err := replicas.Int(); n < 1 || err != nil {
		return errors.Join(errors.New("no replica has the write"), err)
	}
	return nil
}
