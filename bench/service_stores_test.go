package bench

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	_ "modernc.org/sqlite"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/redisstore"
	sessions "github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
)

// storeSpec says where a store is. A service opens it.
type storeSpec struct {
	Name    string
	Driver  string // "memory", "redis", or a driver of database/sql
	DSN     string
	Dialect sqlstore.Dialect
	Pool    int // connections, open and idle
}

// storesHere starts the stores that are installed here, each empty, until the test ends.
func storesHere(t *testing.T) (here []storeSpec, missing []string) {
	const pool = 16
	file := filepath.Join(t.TempDir(), "signet.db")
	for _, s := range []struct {
		name string
		open func(t testing.TB) storeSpec
	}{
		{"Memory", func(testing.TB) storeSpec { return storeSpec{Driver: "memory"} }},
		// SQLite has one writer, so more connections only wait for each other.
		{"SQLite", func(testing.TB) storeSpec {
			dsn := "file:" + file + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate"
			return storeSpec{Driver: "sqlite", DSN: dsn, Dialect: sqlstore.SQLite, Pool: 1}
		}},
		{"PostgreSQL", func(t testing.TB) storeSpec {
			return storeSpec{Driver: "pgx", DSN: servers.Postgres(t).URL(), Dialect: sqlstore.PostgreSQL, Pool: pool}
		}},
		{"MariaDB", func(t testing.TB) storeSpec {
			dsn := servers.MariaDB(t).URL() + "&interpolateParams=true"
			return storeSpec{Driver: "mysql", DSN: dsn, Dialect: sqlstore.MariaDB, Pool: pool}
		}},
		{"Redis everysec", func(t testing.TB) storeSpec {
			return storeSpec{Driver: "redis", DSN: servers.Redis(t, "--appendfsync", "everysec").URL()}
		}},
		{"Redis always", func(t testing.TB) storeSpec { return storeSpec{Driver: "redis", DSN: servers.Redis(t).URL()} }},
	} {
		spec, ok := ifInstalled(t, s.open)
		if !ok {
			missing = append(missing, s.name)
			continue
		}
		spec.Name = s.name
		here = append(here, spec)
	}
	return here, missing
}

// notInstalled is what Skipf of optional panics with.
type notInstalled struct{}

// optional is a test that goes on without a server, where the test itself would be skipped as a whole.
type optional struct{ testing.TB }

// Skipf implements testing.TB.
func (o optional) Skipf(format string, args ...any) {
	o.Helper()
	o.Logf(format, args...)
	panic(notInstalled{})
}

func ifInstalled(t testing.TB, open func(t testing.TB) storeSpec) (spec storeSpec, ok bool) {
	defer func() {
		if reason := recover(); reason != nil {
			if _, missing := reason.(notInstalled); !missing {
				panic(reason)
			}
		}
	}()
	return open(optional{t}), true
}

// quiet keeps the drivers from logging.
var quiet = sync.OnceFunc(func() {
	logging.Disable()
	mysql.SetLogger(log.New(io.Discard, "", 0))
})

func (s storeSpec) openSQL() (*sql.DB, error) {
	quiet()
	db, err := sql.Open(s.Driver, s.DSN)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(s.Pool)
	db.SetMaxIdleConns(s.Pool)
	return db, nil
}

func (s storeSpec) openRedis() (*redis.Client, error) {
	quiet()
	options, err := redis.ParseURL(s.DSN)
	if err != nil {
		return nil, err
	}
	options.ContextTimeoutEnabled = true
	return redis.NewClient(options), nil
}

// sessions opens the store for signet.
func (s storeSpec) sessions() (sessions.Store, error) {
	switch s.Driver {
	case "memory":
		return &sessions.Memory{}, nil
	case "redis":
		client, err := s.openRedis()
		if err != nil {
			return nil, err
		}
		return redisstore.New(client)
	}
	db, err := s.openSQL()
	if err != nil {
		return nil, err
	}
	if err := sqlstore.Migrate(context.Background(), db, s.Dialect); err != nil {
		return nil, err
	}
	return sqlstore.NewSessions(db, s.Dialect)
}

// rawRow is what the bare service keeps for each id.
const rawRow = 400 // bytes

// rawRows is a table of rows with a version, without any rule about what is in them.
type rawRows interface {
	insert(ctx context.Context, ids []string, data string) error
	// bump reads a row and replaces it if nobody has changed it in between.
	bump(ctx context.Context, id, data string) (changed bool, err error)
}

func (s storeSpec) raw() (rawRows, error) {
	switch s.Driver {
	case "memory":
		return &memoryRows{rows: map[string]memoryRow{}}, nil
	case "redis":
		client, err := s.openRedis()
		return redisRows{client}, err
	}
	db, err := s.openSQL()
	if err != nil {
		return nil, err
	}
	return newSQLRows(db, s.Dialect)
}

type memoryRow struct {
	version int
	data    string
}

type memoryRows struct {
	mu   sync.Mutex
	rows map[string]memoryRow
}

func (m *memoryRows) insert(_ context.Context, ids []string, data string) error {
	for _, id := range ids {
		m.rows[id] = memoryRow{0, data}
	}
	return nil
}

func (m *memoryRows) bump(_ context.Context, id, data string) (changed bool, err error) {
	m.mu.Lock()
	row, ok := m.rows[id]
	m.mu.Unlock()
	if !ok {
		return false, fmt.Errorf("no row %q", id)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows[id].version != row.version {
		return false, nil
	}
	m.rows[id] = memoryRow{row.version + 1, data}
	return true, nil
}

type sqlRows struct {
	db                     *sql.DB
	add, read, conditional string
}

func newSQLRows(db *sql.DB, dialect sqlstore.Dialect) (*sqlRows, error) {
	kind := "TEXT"
	if dialect == sqlstore.MariaDB {
		kind = "VARCHAR(64)"
	}
	_, err := db.Exec("CREATE TABLE raw_rows (id " + kind + " PRIMARY KEY, version BIGINT NOT NULL, data TEXT NOT NULL)")
	r := &sqlRows{
		db:          db,
		add:         "INSERT INTO raw_rows (id, version, data) VALUES (?, 0, ?)",
		read:        "SELECT version, data FROM raw_rows WHERE id = ?",
		conditional: "UPDATE raw_rows SET version = version + 1, data = ? WHERE id = ? AND version = ?",
	}
	if dialect == sqlstore.PostgreSQL {
		for _, statement := range []*string{&r.add, &r.read, &r.conditional} {
			for i := 1; strings.Contains(*statement, "?"); i++ {
				*statement = strings.Replace(*statement, "?", fmt.Sprintf("$%d", i), 1)
			}
		}
	}
	return r, err
}

func (s *sqlRows) insert(ctx context.Context, ids []string, data string) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, id := range ids {
		if _, err := tx.ExecContext(ctx, s.add, id, data); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *sqlRows) bump(ctx context.Context, id, data string) (changed bool, err error) {
	var version int64
	var before string
	if err := s.db.QueryRowContext(ctx, s.read, id).Scan(&version, &before); err != nil {
		return false, err
	}
	result, err := s.db.ExecContext(ctx, s.conditional, data, id, version)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

type redisRows struct{ client *redis.Client }

// swap sets a row if its version, the first 16 characters, is still the same.
var swap = redis.NewScript(`
if string.sub(redis.call('GET', KEYS[1]) or '', 1, 16) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`)

func redisValue(version int64, data string) string { return fmt.Sprintf("%016x%s", version, data) }

func (r redisRows) insert(ctx context.Context, ids []string, data string) error {
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range ids {
			p.Set(ctx, "raw:"+id, redisValue(0, data), 0)
		}
		return nil
	})
	return err
}

func (r redisRows) bump(ctx context.Context, id, data string) (changed bool, err error) {
	row, err := r.client.Get(ctx, "raw:"+id).Result()
	if err != nil {
		return false, err
	}
	var version int64
	if version, err = strconv.ParseInt(row[:16], 16, 64); err != nil {
		return false, err
	}
	n, err := swap.Run(ctx, r.client, []string{"raw:" + id}, row[:16], redisValue(version+1, data)).Int()
	return n == 1, err
}
