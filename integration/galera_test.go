package integration

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

// causal is the setting that lets a node of Galera read only what is up to date. The documentation of sqlstore asks for it.
const causal = "&wsrep_sync_wait=1"

// TestFaultsGalera runs one service on each of three nodes of a Galera cluster. As long as the nodes keep up with each other,
// all works without the setting too.
func TestFaultsGalera(t *testing.T) {
	t.Parallel()
	nodes := servers.Galera(t, 3)
	t.Run("migrate", func(t *testing.T) { galeraMigrate(t, nodes) })
	for _, setting := range []string{"", causal} {
		var at []database
		for _, node := range nodes {
			dsn := node.URL() + "&interpolateParams=true" + setting
			at = append(at, database{"mysql", dsn, sqlstore.MariaDB})
		}
		name := "with " + causal[1:]
		if setting == "" {
			name = "with the default"
		}
		t.Run("refresh "+name, func(t *testing.T) { galeraRefresh(t, at, name) })
		t.Run("revocation "+name, func(t *testing.T) { galeraRevocation(t, at, name) })
		t.Run("log "+name, func(t *testing.T) { galeraLog(t, at) })
		t.Run("behind "+name, func(t *testing.T) { galeraBehind(t, nodes[1], at, name, setting == causal) })
	}
}

func galeraMembers(t testing.TB, at []database, opts ...signet.Option) (people *crowd, members []*member) {
	people = newCrowd()
	for _, d := range at {
		members = append(members, startMember(t, people.users, sqlSessions(t, openSQL(t, d), d.dialect), opts...))
	}
	return people, members
}

// galeraRefresh refreshes one session at two nodes at once, and goes on at the third one, again and again. Each time there is
// one successor.
// galeraMigrate migrates an empty database from two processes at each node at one time. The lock of MariaDB is only of one node.
func galeraMigrate(t *testing.T, nodes []*servers.Server) {
	var processes []*sql.DB
	for _, node := range append(nodes, nodes...) {
		processes = append(processes, openSQL(t, database{"mysql", node.URL() + causal, sqlstore.MariaDB}))
	}
	for range 4 {
		_, err := processes[0].Exec("DROP TABLE IF EXISTS signet_schema, signet_factors, signet_users, signet_sessions, signet_cutoffs, signet_log")
		require.NoError(t, err)
		var all sync.WaitGroup
		for _, db := range processes {
			all.Go(func() { assert.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.MariaDB)) })
		}
		all.Wait()
	}
}

func galeraRefresh(t *testing.T, at []database, name string) {
	const sessions, rounds = 10, 12
	people, members := galeraMembers(t, at)
	for _, p := range people.add(t, members[0].auth, sessions, 1) {
		var tokens pair
		for _, m := range members {
			eventually(t, func() bool { // without the setting a node may have the session a moment later
				a, err := callRefresh(m.url, p.pairs[0].Refresh)
				tokens = a.pair()
				return err == nil && a.status == 201
			})
		}
		for round := range rounds {
			got := make(chan answer, 2)
			for i := range 2 {
				go func() {
					a, err := callRefresh(members[(round+i)%3].url, tokens.Refresh)
					if err != nil {
						t.Error(err)
					}
					got <- a
				}()
			}
			one, other := <-got, <-got
			require.Equal(t, 201, one.status, "%s", one.body)
			require.Equal(t, 201, other.status, "%s", other.body)
			require.Equal(t, generation(one.pair().Refresh), generation(other.pair().Refresh), "two successors")
			a, err := callRefresh(members[(round+2)%3].url, one.pair().Refresh)
			require.NoError(t, err)
			require.Equal(t, 201, a.status, "%s", a.body)
			tokens = a.pair()
		}
	}
	for _, m := range members {
		require.NotContains(t, m.log.String(), "event=theft")
	}
	results.note(t, "Galera, %s: %d times two refreshes of one session at two nodes at once: always one successor", name,
		sessions*rounds)
}

// galeraRevocation revokes at one node, and asks at the others.
func galeraRevocation(t *testing.T, at []database, name string) {
	const rounds, bound = 3, 3 * time.Second
	people, members := galeraMembers(t, at)
	var longest time.Duration
	for round := range rounds {
		ending := append(people.add(t, members[round].auth, 1, 1), people.add(t, members[round].auth, 1, 2)...)
		for _, m := range members {
			eventually(t, func() bool {
				a, err := callProfile(m.url, ending[1].pairs[1].Access)
				return err == nil && a.status == 200
			})
		}
		for _, p := range ending {
			_, err := p.end(members[round].url)
			require.NoError(t, err)
		}
		began := time.Now()
		for _, m := range members {
			longest = max(longest, requireEnded(t, m.url, ending, began, bound))
		}
	}
	results.note(t, "Galera, %s: revoked at one node, refused at the others after %v at most, bound %v", name,
		longest.Round(10*time.Millisecond), bound)
}

// galeraBehind keeps a node from applying what the others write, for some seconds. With the setting, that node answers only
// when it has caught up, so its service answers 503. With the default it cannot know that it is behind.
func galeraBehind(t *testing.T, node *servers.Server, at []database, name string, causal bool) {
	const staleness = 2 * time.Second
	people, members := galeraMembers(t, at, signet.WithMaxStaleness(staleness))
	here, there := members[0], members[1]
	good, ending := people.add(t, here.auth, 1, 1), people.add(t, here.auth, 1, 1)
	for _, p := range append(good, ending...) {
		eventually(t, func() bool { // also the session of the last one is there
			a, err := callRefresh(there.url, p.pairs[0].Refresh)
			return err == nil && a.status == 201
		})
	}

	root := openSQL(t, database{"mysql", strings.Replace(node.URL(), "signet:signet@", "root@", 1), sqlstore.MariaDB})
	conn, err := root.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "FLUSH TABLES WITH READ LOCK")
	require.NoError(t, err)
	began := time.Now()
	_, err = ending[0].end(here.url)
	require.NoError(t, err)
	fresh := people.add(t, here.auth, 1, 1)[0]
	refreshed := make(chan answer, 1)
	go func() {
		a, err := callRefresh(there.url, fresh.pairs[0].Refresh)
		if err != nil {
			t.Error(err)
		}
		refreshed <- a
	}()
	time.Sleep(2 * staleness)
	seen := statuses(t, there.url, ending)
	_, err = conn.ExecContext(t.Context(), "UNLOCK TABLES")
	require.NoError(t, err)
	behind := time.Since(began)
	login := <-refreshed
	if causal {
		require.Equal(t, map[int]int{503: 1}, seen, "a revoked token at a node that is behind")
		require.Contains(t, []int{201, 503}, login.status, "a session that the node has not got yet: %s", login.body)
	}
	caught := time.Now()
	requireEnded(t, there.url, ending, caught, followBound)
	requireGood(t, there.url, good)
	results.note(t, "Galera, %s: a node %v behind: revoked token %v, refresh of a session that it has not got yet %d; caught up after %v",
		name, behind.Round(100*time.Millisecond), seen, login.status, time.Since(caught).Round(10*time.Millisecond))
}

// eventually waits until a condition holds.
func eventually(t testing.TB, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(limit), "it does not become true")
	}
}

// galeraLog revokes and cuts off at all nodes at once, while all nodes are read and number the log. Nobody misses anything.
func galeraLog(t *testing.T, at []database) {
	const each = 100
	var stores []*sqlstore.Sessions
	for _, d := range at {
		stores = append(stores, sqlSessions(t, openSQL(t, d), d.dialect))
	}
	var want sync.Map
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	var all []*reader
	prefix := freshName()
	for i, s := range stores {
		r := newReader(s, 50)
		all = append(all, r)
		readers.Go(func() {
			for {
				if err := r.pull(t.Context()); err != nil {
					t.Errorf("pull: %v", err)
					return
				}
				select {
				case <-done:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
		writers.Go(func() {
			for n := range each {
				userID := fmt.Sprint(prefix, "-", i, "-", n)
				id := create(t, s, userID)
				if err := revoke(t.Context(), s, id); err != nil {
					t.Errorf("revoke: %v", err)
					return
				}
				want.Store(id, true)
				if n%4 == 0 {
					if err := cut(t.Context(), s, userID); err != nil {
						t.Errorf("cut: %v", err)
						return
					}
					want.Store(userID, true)
				}
			}
		})
	}
	writers.Wait()
	time.Sleep(2 * time.Second) // the last ones reach all nodes
	close(done)
	readers.Wait()
	for _, r := range append(all, newReader(stores[0], 7)) {
		r.requirePull(t)
		n := 0
		want.Range(func(id, _ any) bool {
			n++
			require.True(t, r.knows(id.(string)), "entry %v", id)
			return true
		})
		require.Equal(t, len(stores)*(each+each/4), n)
	}
	require.NotEqual(t, session.Cursor("0"), all[0].cursor, "nothing was numbered")
}
