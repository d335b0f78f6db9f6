package integration

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/redisstore"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

// store is a kind of store that processes can share.
type store struct {
	name string
	host func(t testing.TB) *host
}

// host is a running store.
type host struct {
	server *servers.Server   // nil if there is not exactly one server
	nodes  []*servers.Server // of a cluster
	fresh  func(t testing.TB) place
}

// place is a new and empty part of a host.
type place struct {
	args     []string                         // arguments for the example
	database *database                        // nil for Redis
	sessions func(t testing.TB) session.Store // each on its own connections
}

// database is what database/sql needs to open a database.
type database struct {
	driver, dsn string
	dialect     sqlstore.Dialect
}

var (
	postgres     = store{"PostgreSQL", hostPostgres}
	mariadb      = store{"MariaDB", hostMariaDB}
	sqlite       = store{"SQLite", hostSQLite}
	redisOne     = store{"Redis", hostRedis}
	redisCluster = store{"RedisCluster", hostCluster}

	databases = []store{postgres, mariadb, sqlite}
	shared    = []store{postgres, mariadb, sqlite, redisOne}
)

// counter makes the names of places. Their order does not matter.
var counter atomic.Int64

func freshName() string { return fmt.Sprintf("place%d", counter.Add(1)) }

func hostPostgres(t testing.TB) *host {
	server := servers.Postgres(t)
	admin := openSQL(t, database{"pgx", server.URL(), sqlstore.PostgreSQL})
	return &host{server, nil, func(t testing.TB) place {
		name := freshName()
		_, err := admin.Exec("CREATE SCHEMA " + name)
		require.NoError(t, err)
		url := server.URL() + "&search_path=" + name
		return sqlPlace(database{"pgx", url, sqlstore.PostgreSQL}, url)
	}}
}

func hostMariaDB(t testing.TB) *host {
	server := servers.MariaDB(t)
	root := strings.Replace(server.URL(), "signet:signet@", "root@", 1)
	admin := openSQL(t, database{"mysql", root, sqlstore.MariaDB})
	return &host{server, nil, func(t testing.TB) place {
		name := freshName()
		for _, statement := range []string{"CREATE DATABASE " + name, "GRANT ALL ON " + name + ".* TO signet@'%'"} {
			_, err := admin.Exec(statement)
			require.NoError(t, err)
		}
		dsn := strings.Replace(server.URL(), "/signet?", "/"+name+"?", 1) + "&interpolateParams=true"
		return sqlPlace(database{"mysql", dsn, sqlstore.MariaDB}, "mysql:"+dsn)
	}}
}

func hostSQLite(testing.TB) *host {
	return &host{nil, nil, func(t testing.TB) place {
		file := filepath.Join(t.TempDir(), "signet.db")
		dsn := "file:" + file + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate"
		return sqlPlace(database{"sqlite", dsn, sqlstore.SQLite}, "sqlite:"+file)
	}}
}

func sqlPlace(d database, flag string) place {
	return place{args: []string{"-db", flag}, database: &d, sessions: func(t testing.TB) session.Store {
		return sqlSessions(t, openSQL(t, d), d.dialect)
	}}
}

// redisAccount is an account with the rights that redisstore documents.
const redisAccount = "signet on >signet ~signet:* &signet:* +@read +@write +@scripting +@pubsub +@connection -@dangerous +time"

func hostRedis(t testing.TB) *host {
	server := servers.Redis(t, append([]string{"--databases", "1000", "--user"}, strings.Fields(redisAccount)...)...)
	return &host{server, nil, func(t testing.TB) place {
		url := fmt.Sprintf("redis://signet:signet@%s/%d", server.Addr(), counter.Add(1)%1000)
		return place{args: []string{"-redis", url}, sessions: func(t testing.TB) session.Store {
			return redisSessions(t, openRedis(t, url), "signet")
		}}
	}}
}

// withAllRights returns the URL without its account.
func withAllRights(url string) string { return strings.Replace(url, "signet:signet@", "", 1) }

func hostCluster(t testing.TB) *host {
	cluster := servers.RedisCluster(t, 3)
	return &host{nil, cluster.Nodes(), func(t testing.TB) place {
		prefix := freshName()
		return place{sessions: func(t testing.TB) session.Store {
			return redisSessions(t, openCluster(t, cluster.Addrs()), prefix)
		}}
	}}
}

func openSQL(t testing.TB, d database) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, d.dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	t.Cleanup(func() { db.Close() })
	return db
}

func openRedis(t testing.TB, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	require.NoError(t, err)
	options.ContextTimeoutEnabled = true
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

func openCluster(t testing.TB, addrs []string) *redis.ClusterClient {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func sqlSessions(t testing.TB, db *sql.DB, dialect sqlstore.Dialect) *sqlstore.Sessions {
	t.Helper()
	s, err := sqlstore.NewSessions(db, dialect)
	require.NoError(t, err)
	require.NoError(t, sqlstore.Migrate(context.Background(), db, dialect))
	return s
}

func redisSessions(t testing.TB, client redis.UniversalClient, prefix string) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(client, redisstore.WithPrefix(prefix))
	require.NoError(t, err)
	return s
}

func sqlUsers(t testing.TB, db *sql.DB, dialect sqlstore.Dialect) *sqlstore.Users {
	t.Helper()
	s, err := sqlstore.NewUsers(db, dialect)
	require.NoError(t, err)
	require.NoError(t, sqlstore.Migrate(context.Background(), db, dialect))
	return s
}
