package integration

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/session"
)

// bench is a store that is measured. ping makes one round trip to it and does nothing else.
type bench struct {
	name string
	open func(b *testing.B) (sessions session.Store, ping func(context.Context) error)
}

var benches = []bench{
	{"Memory", func(*testing.B) (session.Store, func(context.Context) error) {
		var ticks atomic.Int64 // each look takes one millisecond: in real time many refreshes would share one and not rotate
		began := time.Now()
		clock := func() time.Time { return began.Add(time.Duration(ticks.Add(1)) * time.Millisecond) }
		return &session.Memory{Clock: clock}, func(context.Context) error { return nil }
	}},
	{"SQLite", benchSQL(sqlite)},
	{"PostgreSQL", benchSQL(postgres)},
	{"MariaDB", benchSQL(mariadb)},
	{"Redis", func(b *testing.B) (session.Store, func(context.Context) error) {
		client := openRedis(b, redisOne.host(b).fresh(b).args[1])
		return redisSessions(b, client, "signet"), func(ctx context.Context) error { return client.Ping(ctx).Err() }
	}},
	{"RedisCluster", func(b *testing.B) (session.Store, func(context.Context) error) {
		client := openCluster(b, servers.RedisCluster(b, 3).Addrs())
		return redisSessions(b, client, "signet"), func(ctx context.Context) error { return client.Ping(ctx).Err() }
	}},
}

func benchSQL(kind store) func(b *testing.B) (session.Store, func(context.Context) error) {
	return func(b *testing.B) (session.Store, func(context.Context) error) {
		d := kind.host(b).fresh(b).database
		db := openSQL(b, *d)
		return sqlSessions(b, db, d.dialect), func(ctx context.Context) error {
			var one int
			return db.QueryRowContext(ctx, "SELECT 1").Scan(&one)
		}
	}
}

// BenchmarkRefresh refreshes sessions that rotate every time, one session per goroutine. The users are in memory. Compare it
// with BenchmarkRoundTrip of the same store: a refresh is two round trips and, where the store syncs to disk, a write.
func BenchmarkRefresh(b *testing.B) {
	for _, store := range benches {
		b.Run(store.name, func(b *testing.B) {
			sessions, _ := store.open(b)
			auth := newAuth(b, onlyJohn(b), sessions, noBackground()...)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(each *testing.PB) {
				tokens, err := auth.IssueFor(context.Background(), john)
				for each.Next() && err == nil {
					tokens, err = auth.Refresh(context.Background(), tokens.RefreshToken)
				}
				if err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
		})
	}
}

// BenchmarkRoundTrip measures how long the network and the store need for any answer at all.
func BenchmarkRoundTrip(b *testing.B) {
	for _, store := range benches {
		b.Run(store.name, func(b *testing.B) {
			_, ping := store.open(b)
			require.NoError(b, ping(context.Background()))
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(each *testing.PB) {
				for each.Next() {
					if err := ping(context.Background()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
