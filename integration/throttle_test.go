package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/redisstore"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/throttle/throttletest"
)

func redisThrottle(t testing.TB, client redis.UniversalClient, prefix string) *redisstore.Throttle {
	t.Helper()
	store, err := redisstore.NewThrottle(client, redisstore.WithPrefix(prefix))
	require.NoError(t, err)
	return store
}

// onThrottles runs a test on every store. open returns the store of one more process, and fresh begins with an empty one.
func onThrottles(t *testing.T, test func(t *testing.T, fresh func() (open func(t *testing.T) throttle.Store))) {
	onRedis(t, func(t *testing.T, client redis.UniversalClient) {
		test(t, func() func(t *testing.T) throttle.Store {
			prefix := freshName()
			return func(t *testing.T) throttle.Store { return redisThrottle(t, client, prefix) }
		})
	})
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			host := kind.host(t)
			test(t, func() func(t *testing.T) throttle.Store {
				d := *host.fresh(t).database
				require.NoError(t, sqlstore.Migrate(t.Context(), openSQL(t, d), d.dialect))
				return func(t *testing.T) throttle.Store {
					store, err := sqlstore.NewThrottle(openSQL(t, d), d.dialect)
					require.NoError(t, err)
					return store
				}
			})
		})
	}
}

// TestThrottleStores runs the conformance kit on every store.
func TestThrottleStores(t *testing.T) {
	onThrottles(t, func(t *testing.T, fresh func() (open func(t *testing.T) throttle.Store)) {
		throttletest.Run(t, func(t *testing.T) throttle.Store { return fresh()(t) })
	})
}

func TestNewThrottleRefuses(t *testing.T) {
	client := openRedis(t, "redis://127.0.0.1:1")
	for _, opts := range [][]redisstore.ThrottleOption{{redisstore.WithPrefix("")}, {redisstore.WithPrefix("a{b}")}} {
		_, err := redisstore.NewThrottle(client, opts...)
		require.ErrorContains(t, err, "redisstore.WithPrefix")
	}
	_, err := redisstore.NewThrottle(nil)
	require.ErrorContains(t, err, "the client is nil")
	_, err = redisstore.NewThrottle(client, nil)
	require.ErrorContains(t, err, "option is nil")
}

// Three processes count together: of 30 attempts at each of them at the same time, at most 10 reach the hash. Meanwhile the
// owner signs in from a known place. With many more attempts some of them would wait for longer than a store may take, on a
// slow machine.
func TestThrottleCountsTogether(t *testing.T) {
	const each = 30
	onThrottles(t, func(t *testing.T, fresh func() (open func(t *testing.T) throttle.Store)) {
		open := fresh()
		limiters := make([]*throttle.Limiter, 3)
		for i := range limiters {
			limiters[i] = throttle.New(open(t), throttle.Config{})
		}
		const victim, home = "victim@example.org", "192.0.2.1"
		signIn := func() {
			attempt, err := limiters[0].Begin(t.Context(), victim, home)
			require.NoError(t, err)
			require.NoError(t, attempt.Succeeded(t.Context()))
		}
		signIn()
		var hashes atomic.Int64
		errs := make(chan error, len(limiters)*each)
		var wait sync.WaitGroup
		for _, limiter := range limiters {
			for i := range each {
				wait.Go(func() {
					if _, err := limiter.Begin(t.Context(), victim, fmt.Sprintf("198.51.100.%d", i)); err == nil {
						hashes.Add(1)
					} else if !errors.Is(err, throttle.ErrDelayed) {
						errs <- err
					}
				})
			}
		}
		for range 20 {
			signIn()
		}
		wait.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		require.Equal(t, int64(10), hashes.Load())
		for _, limiter := range limiters {
			var delayed *throttle.Delayed
			_, err := limiter.Begin(t.Context(), victim, "203.0.113.1")
			require.ErrorAs(t, err, &delayed)
			require.LessOrEqual(t, delayed.RetryAfter, 30*time.Second)
			attempt, err := limiter.Begin(t.Context(), victim, home)
			require.NoError(t, err)
			require.True(t, attempt.Known())
			require.NoError(t, attempt.Cancelled(t.Context()))
		}
		require.NoError(t, limiters[1].Clear(t.Context(), victim))
		_, err := limiters[2].Begin(t.Context(), victim, "203.0.113.1")
		require.NoError(t, err)
	})
}

// Every key begins with the prefix and expires. No name is in the server.
func TestThrottleKeys(t *testing.T) {
	client := openRedis(t, "redis://"+servers.Redis(t).Addr())
	limiter := throttle.New(redisThrottle(t, client, "here"), throttle.Config{})
	for i := range 20 {
		attempt, err := limiter.Begin(t.Context(), fmt.Sprintf("user%d@example.org", i%3), "192.0.2.1")
		require.NoError(t, err)
		if i < 3 {
			require.NoError(t, attempt.Succeeded(t.Context()))
		}
	}
	_, err := limiter.Begin(t.Context(), "user1@example.org", "192.0.2.2")
	require.NoError(t, err)
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 5) // of three accounts and two addresses
	for _, key := range keys {
		require.True(t, strings.HasPrefix(key, "here:throttle:"), key)
		left, err := client.PTTL(t.Context(), key).Result()
		require.NoError(t, err)
		require.Positive(t, left)
		require.LessOrEqual(t, left, 30*day)
		value, err := client.Get(t.Context(), key).Result()
		require.NoError(t, err)
		for _, name := range []string{"user", "example", "192.0.2", string([]byte{192, 0, 2})} {
			require.NotContains(t, value, name)
		}
		require.Less(t, len(value), 64)
	}
}

// A value that is none of signet's is left alone.
func TestThrottleForeignValue(t *testing.T) {
	client := openRedis(t, "redis://"+servers.Redis(t).Addr())
	store := redisThrottle(t, client, "signet")
	var key throttle.Key
	for _, value := range []string{"", "short", "8 bytes.", "\x00longer than 8 bytes"} {
		require.NoError(t, client.Set(t.Context(), "signet:throttle:"+key.String(), value, time.Hour).Err())
		var read throttle.Record
		err := store.Update(t.Context(), key, func(before throttle.Record, _ time.Time) (throttle.Record, time.Time, error) {
			read = before
			return before, time.Time{}, nil
		})
		if len(value) >= 8 {
			require.NoError(t, err)
			require.Equal(t, throttle.Record(value[8:]), read)
		} else {
			require.Error(t, err)
		}
	}
}

// A server that is away or stalled is throttle.ErrUnavailable, within the time of the context.
func TestThrottleServerAway(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	for _, addr := range []string{"127.0.0.1:1", silent.Addr().String()} {
		store := redisThrottle(t, openRedis(t, "redis://"+addr), "signet")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := throttle.New(store, throttle.Config{}).Begin(ctx, "user@example.org", "192.0.2.1")
		require.ErrorIs(t, err, throttle.ErrUnavailable)
		require.NotErrorIs(t, err, throttle.ErrDelayed)
		require.Less(t, time.Since(began), 10*time.Second) // and not for ever
	}
	store := redisThrottle(t, openRedis(t, "redis://127.0.0.1:1"), "signet")
	attempt, err := throttle.New(store, throttle.Config{InsecureFailOpen: true}).Begin(t.Context(), "user@example.org", "192.0.2.1")
	require.NoError(t, err)
	require.NoError(t, attempt.Succeeded(t.Context()))
}

// Records whose time is over go, a few at each write, so a table does not grow for ever.
func TestThrottleTablesShrink(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			d := *kind.host(t).fresh(t).database
			db := openSQL(t, d)
			require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
			store, err := sqlstore.NewThrottle(db, d.dialect)
			require.NoError(t, err)
			writes := 0
			write := func(key byte, until time.Duration) {
				writes++
				err := store.Update(t.Context(), throttle.Key{key}, func(_ throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
					return throttle.Record(fmt.Sprint(writes)), now.Add(until), nil
				})
				require.NoError(t, err)
			}
			for i := range 200 {
				write(byte(i), 0)
			}
			time.Sleep(5 * time.Millisecond)
			for range 600 {
				write(255, time.Hour)
			}
			var rows int
			require.NoError(t, db.QueryRow("SELECT count(*) FROM signet_throttle").Scan(&rows))
			require.Equal(t, 1, rows)
		})
	}
}
