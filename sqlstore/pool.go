package sqlstore

import (
	"cmp"
	"database/sql"
	"log/slog"
	"sync"
	"sync/atomic"
	"weak"
)

// pool looks at the connections of a database now and then. It says if their settings make everything slow.
type pool struct {
	db      *sql.DB
	dialect Dialect
	logger  *slog.Logger // nil: the default one
	calls   atomic.Int64
	closed  atomic.Int64 // sql.DBStats.MaxIdleClosed at the last look
}

// warned are the databases whose pools a store has complained about. It holds no database in memory.
var warned sync.Map

// lookEvery is the number of calls between two looks.
const lookEvery = 256

// WithLogger sets the logger that hears if the settings of the database make the store slow. The default is [slog.Default], which
// [Users] and [Throttle] use too.
func WithLogger(logger *slog.Logger) Option {
	return option(func(s *Sessions) { s.pool.logger = logger })
}

// count counts a call. At every 256th one it looks at the pool.
func (p *pool) count() {
	if p.calls.Add(1)%lookEvery != 0 {
		return
	}
	stats := p.db.Stats()
	closed := stats.MaxIdleClosed - p.closed.Swap(stats.MaxIdleClosed)
	problem := p.dialect.problem(stats, closed)
	if problem == "" {
		return
	}
	if _, said := warned.LoadOrStore(weak.Make(p.db), true); !said {
		cmp.Or(p.logger, slog.Default()).Warn("sqlstore: "+problem, "MaxOpenConns", stats.MaxOpenConnections, "open", stats.OpenConnections,
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
