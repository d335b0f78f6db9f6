package integration

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

// TestFaultsGalera runs one service on each of three nodes of a Galera cluster.
func TestFaultsGalera(t *testing.T) {
	t.Parallel()
	nodes := servers.Galera(t, 3)
	for _, setting := range []string{"", "&wsrep_sync_wait=7"} {
		var at []database
		for _, node := range nodes {
			dsn := node.URL() + "&interpolateParams=true" + setting
			at = append(at, database{"mysql", dsn, sqlstore.MariaDB})
		}
		t.Run("one successor"+setting, func(t *testing.T) { galeraRefresh(t, at, setting != "") })
		t.Run("revocation"+setting, func(t *testing.T) { galeraRevocation(t, at) })
		t.Run("log"+setting, func(t *testing.T) { galeraLog(t, at) })
	}
}

func galeraMembers(t testing.TB, at []database) (people *crowd, members []*member) {
	people = newCrowd()
	for _, d := range at {
		members = append(members, startMember(t, people.users, sqlSessions(t, openSQL(t, d), d.dialect)))
	}
	return people, members
}

// galeraRefresh refreshes one session at two nodes at once, again and again. There is one successor.
func galeraRefresh(t *testing.T, at []database, causal bool) {
	const rounds = 40
	people, members := galeraMembers(t, at)
	var missing, forks, odd, hops int
	for round := range rounds {
		i, j := round%3, (round+1)%3
		p := people.add(t, members[i].auth, 1, 1)[0]
		// Does the other node know the session at once?
		a, err := callRefresh(members[j].url, p.pairs[0].Refresh)
		require.NoError(t, err)
		if a.status != 201 {
			missing++
			require.False(t, causal, "%d %s", a.status, a.body)
			require.Equal(t, 401, a.status, "%s", a.body)
			continue
		}
		tokens := a.pair()
		for range 3 {
			got := make(chan answer, 2)
			for _, m := range []*member{members[i], members[j]} {
				go func() {
					a, err := callRefresh(m.url, tokens.Refresh)
					if err != nil {
						t.Error(err)
					}
					got <- a
				}()
			}
			one, other := <-got, <-got
			if one.status != 201 || other.status != 201 {
				odd++
				t.Logf("%d %s, %d %s", one.status, one.body, other.status, other.body)
				continue
			}
			if generation(one.pair().Refresh) != generation(other.pair().Refresh) {
				forks++
			}
			// The third node goes on at once.
			tokens = one.pair()
			a, err := callRefresh(members[(round+2)%3].url, tokens.Refresh)
			require.NoError(t, err)
			hops++
			if a.status != 201 {
				odd++
				t.Logf("third: %d %s", a.status, a.body)
				continue
			}
			tokens = a.pair()
		}
	}
	alarms := 0
	for _, m := range members {
		alarms += strings.Count(m.log.String(), "event=theft")
	}
	results.note(t, "Galera, %v: refreshes of one session at two nodes at once: %d; forks %d, odd %d, alarms %d, session not there yet %d",
		map[bool]string{false: "default", true: "wsrep_sync_wait=7"}[causal], hops, forks, odd, alarms, missing)
	require.Zero(t, forks+odd+alarms)
}

// galeraRevocation revokes at one node, and asks at the others.
func galeraRevocation(t *testing.T, at []database) {
	const rounds, bound = 5, 3 * time.Second
	people, members := galeraMembers(t, at)
	var longest time.Duration
	for round := range rounds {
		for _, logins := range []int{1, 2} {
			p := people.add(t, members[round%3].auth, 1, logins)
			for _, m := range members {
				a, err := callProfile(m.url, p[0].pairs[0].Access)
				require.NoError(t, err)
				require.Equal(t, 200, a.status, "%s", a.body)
			}
			time.Sleep(time.Duration(round) * 170 * time.Millisecond)
			_, err := p[0].end(members[round%3].url)
			require.NoError(t, err)
			began := time.Now()
			for _, m := range members {
				longest = max(longest, requireEnded(t, m.url, p, began, bound))
			}
		}
	}
	results.note(t, "Galera: revoked at one node, refused at the others after %v at most, bound %v",
		longest.Round(10*time.Millisecond), bound)
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
	time.Sleep(time.Second) // the last ones reach all nodes
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
