package sqlstore

import (
	"cmp"
	"database/sql"
	"log/slog"
	"sync/atomic"
)

// pool looks at the connections of a database now and then. It says once if their settings make everything slow.
type pool struct {
	calls  atomic.Int64
	closed atomic.Int64 // sql.DBStats.MaxIdleClosed at the last look
	said   atomic.Bool
}

// lookEvery is the number of calls between two looks.
const lookEvery = 256

// WithLogger sets the logger that hears if the settings of the database make the store slow. The default is [slog.Default].
func WithLogger(logger *slog.Logger) Option { return option(func(s *Sessions) { s.logger = logger }) }

// count counts a call. At every 256th one it looks at the pool.
func (s *Sessions) count() {
	if s.pool.calls.Add(1)%lookEvery != 0 || s.pool.said.Load() {
		return
	}
	stats := s.db.Stats()
	closed := stats.MaxIdleClosed - s.pool.closed.Swap(stats.MaxIdleClosed)
	if problem := s.dialect.problem(stats, closed); problem != "" && s.pool.said.CompareAndSwap(false, true) {
		cmp.Or(s.logger, slog.Default()).Warn("sqlstore: "+problem, "MaxOpenConns", stats.MaxOpenConnections, "open", stats.OpenConnections,
			"closed", closed, "calls", lookEvery)
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
