package sqlstore

import (
	"cmp"
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

// pool looks at the connections of a database now and then. It says once if their settings make everything slow. All stores on one
// database share it.
type pool struct {
	calls  atomic.Int64
	closed atomic.Int64 // sql.DBStats.MaxIdleClosed at the last look
	said   atomic.Bool
	logger atomic.Pointer[slog.Logger] // nil: the default one
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
