package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"
)

// database is what all stores of this package have.
type database struct {
	db      *sql.DB
	dialect Dialect
	pool    *pool
}

func newDatabase(db *sql.DB, dialect Dialect) database { return database{db, dialect, poolOf(db)} }

// pool bounds how many connections of a database write at one time. It also looks at them now and then, and says once if their
// settings make everything slow. All stores on one database share it.
type pool struct {
	calls  atomic.Int64
	closed atomic.Int64 // sql.DBStats.MaxIdleClosed at the last look
	said   atomic.Bool
	logger atomic.Pointer[slog.Logger] // nil: the default one

	mu     sync.Mutex
	limit  int           // sql.DBStats.MaxOpenConnections at the last look
	places chan struct{} // one value for each write that runs; nil: the pool has no limit
}

// pools are those of all databases that are in use. The map keeps no database in memory.
var pools sync.Map

func poolOf(db *sql.DB) *pool {
	key := weak.Make(db)
	made, loaded := pools.LoadOrStore(key, new(pool))
	if !loaded {
		runtime.AddCleanup(db, func(key weak.Pointer[sql.DB]) { pools.Delete(key) }, key)
	}
	return made.(*pool)
}

// lookEvery is the number of calls between two looks.
const lookEvery = 256

// WithLogger sets the logger that hears if the settings of the database make its stores slow. All stores on one *[sql.DB] share
// it. The default, also for nil, is [slog.Default].
func WithLogger(logger *slog.Logger) Option {
	return option(func(s *Sessions) { s.pool.logger.Store(logger) })
}

// write runs a statement that writes, and returns how many rows it has changed. It waits until so few writes run that the pool
// has a connection left. So if the database cannot commit for some time, as without its synchronous standby or with a full disk,
// reads go on: above all those of the log, because without them no access token passes.
func (d database) write(ctx context.Context, query string, args []any) (changed int64, err error) {
	if places := d.places(); places != nil {
		select {
		case places <- struct{}{}:
		default: // the caller has to wait. Only here is Done called: of a limit.Context the first Done makes a timer
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		defer func() { <-places }()
	}
	result, err := d.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// places has room for as many values as writes may run at one time. It is nil if the pool has no limit. The host may change the
// limit.
func (d database) places() chan struct{} {
	limit := d.db.Stats().MaxOpenConnections
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit != p.limit {
		p.limit, p.places = limit, nil
		if limit > 0 {
			p.places = make(chan struct{}, max(1, limit-max(1, limit/8)))
		}
	}
	return p.places
}

// count counts a call. At every 256th one it looks at the pool.
func (d database) count() {
	if d.pool.calls.Add(1)%lookEvery != 0 || d.pool.said.Load() {
		return
	}
	stats := d.db.Stats()
	closed := stats.MaxIdleClosed - d.pool.closed.Swap(stats.MaxIdleClosed)
	if problem := d.dialect.problem(stats, closed); problem != "" && d.pool.said.CompareAndSwap(false, true) {
		cmp.Or(d.pool.logger.Load(), slog.Default()).Warn("sqlstore: "+problem, "MaxOpenConns", stats.MaxOpenConnections,
			"open", stats.OpenConnections, "closed", closed, "calls", lookEvery)
	}
}

// problem returns what is wrong with a pool that has closed so many idle connections since the last look.
func (d Dialect) problem(stats sql.DBStats, closed int64) string {
	switch {
	case d == SQLite && stats.OpenConnections > 1:
		return "several connections to SQLite wait for each other: set db.SetMaxOpenConns(1)"
	case closed > lookEvery/10:
		return "the pool closes connections and opens them again: set db.SetMaxIdleConns to MaxOpenConns"
	}
	return ""
}
