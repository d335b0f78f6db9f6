package integration

import (
	"context"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/session"
)

// TestRefreshRoundTrips counts the round trips of a rotating refresh to its session store and to its user store. Only the
// first number has a limit.
func TestRefreshRoundTrips(t *testing.T) {
	const bound = 1.5 // this process has written each row last
	for _, c := range []struct {
		name string
		open func(t *testing.T) (sessions session.Store, users signet.UserStore, sessionTrips, userTrips func() int64)
	}{
		{"PostgreSQL", func(t *testing.T) (session.Store, signet.UserStore, func() int64, func() int64) {
			return metered(t, *postgres.host(t).fresh(t).database)
		}},
		{"MariaDB", func(t *testing.T) (session.Store, signet.UserStore, func() int64, func() int64) {
			return metered(t, *mariadb.host(t).fresh(t).database)
		}},
		{"MariaDB without interpolateParams", func(t *testing.T) (session.Store, signet.UserStore, func() int64, func() int64) {
			d := *mariadb.host(t).fresh(t).database
			d.dsn = strings.Replace(d.dsn, "interpolateParams=true", "interpolateParams=false", 1)
			return metered(t, d)
		}},
		{"SQLite", func(t *testing.T) (session.Store, signet.UserStore, func() int64, func() int64) {
			d := *sqlite.host(t).fresh(t).database
			var sessionCalls, userCalls atomic.Int64
			sessions := sqlSessions(t, openWatched(t, d, func(string) { sessionCalls.Add(1) }), d.dialect)
			users := sqlUsers(t, openWatched(t, d, func(string) { userCalls.Add(1) }), d.dialect)
			require.NoError(t, users.Add(t.Context(), john))
			return sessions, users, sessionCalls.Load, userCalls.Load
		}},
		{"Redis", func(t *testing.T) (session.Store, signet.UserStore, func() int64, func() int64) {
			m := startMeter(t, servers.Redis(t).Addr())
			return redisSessions(t, openRedis(t, "redis://"+m.addr), "signet"), onlyJohn(t), m.trips.Load, none
		}},
		{"RedisCluster", func(t *testing.T) (session.Store, signet.UserStore, func() int64, func() int64) {
			client := openCluster(t, servers.RedisCluster(t, 3).Addrs())
			var calls atomic.Int64
			client.AddHook(hook{&calls})
			return redisSessions(t, client, "signet"), onlyJohn(t), calls.Load, none
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sessions, users, sessionTrips, userTrips := c.open(t)
			chain := newChain(t, newAuth(t, users, sessions, noBackground()...))
			for range 5 { // first the costs that come only once: connections, prepared statements, cached scripts
				chain.refresh(t)
			}
			const n = 100
			beforeSessions, beforeUsers := sessionTrips(), userTrips()
			for range n {
				chain.refresh(t)
			}
			perSession := float64(sessionTrips()-beforeSessions) / n
			results.note(t, "round trips of a refresh, %-34s session store %.2f, user store %.2f", c.name, perSession,
				float64(userTrips()-beforeUsers)/n)
			if !strings.Contains(c.name, "without") {
				require.LessOrEqual(t, perSession, bound)
			}
		})
	}
}

func none() int64 { return 0 }

// metered opens the two stores of a database, each through its own meter.
func metered(t *testing.T, d database) (session.Store, signet.UserStore, func() int64, func() int64) {
	forSessions, forUsers := startMeter(t, d.addr(t)), startMeter(t, d.addr(t))
	sessionDB, userDB := d.via(t, forSessions.addr), d.via(t, forUsers.addr)
	users := sqlUsers(t, openSQL(t, userDB), d.dialect)
	require.NoError(t, users.Add(t.Context(), john))
	return sqlSessions(t, openSQL(t, sessionDB), d.dialect), users, forSessions.trips.Load, forUsers.trips.Load
}

// addr returns the host and the port in a DSN.
func (d database) addr(t *testing.T) string {
	t.Helper()
	if _, rest, ok := strings.Cut(d.dsn, "@tcp("); ok {
		addr, _, _ := strings.Cut(rest, ")")
		return addr
	}
	u, err := url.Parse(d.dsn)
	require.NoError(t, err)
	return u.Host
}

// via returns the same database at another address.
func (d database) via(t *testing.T, addr string) database {
	d.dsn = strings.Replace(d.dsn, d.addr(t), addr, 1)
	return d
}

// hook counts the commands and pipelines of a Redis client.
type hook struct{ calls *atomic.Int64 }

// DialHook implements redis.Hook.
func (hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.calls.Add(1)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.calls.Add(1)
		return next(ctx, cmds)
	}
}

// noBackground returns options under which each refresh rotates. Only refreshes then use the store, except that revocations
// are read once a second.
func noBackground() []signet.Option { return []signet.Option{signet.WithReuseWindow(0)} }

// chain is a session that is refreshed repeatedly.
type chain struct {
	auth   *signet.Auth
	tokens signet.Tokens
}

func newChain(t testing.TB, auth *signet.Auth) *chain {
	t.Helper()
	tokens, err := auth.IssueFor(context.Background(), john)
	require.NoError(t, err)
	return &chain{auth, tokens}
}

// refresh requires a new generation, because a repeated one would cost less. Refreshes within one millisecond count as parallel,
// and the fifth of them makes no new generation.
func (c *chain) refresh(t testing.TB) {
	t.Helper()
	time.Sleep(time.Millisecond)
	next, err := c.auth.Refresh(context.Background(), c.tokens.RefreshToken)
	require.NoError(t, err)
	require.NotEqual(t, generation(c.tokens.RefreshToken), generation(next.RefreshToken), "not rotated")
	c.tokens = next
}
