package integration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"
)

// watched is a database/sql driver that reports every query. It is for SQLite, which uses no network that a proxy could
// watch.
type watched struct {
	below driver.Driver
	dsn   string
	tell  func(query string)
}

func openWatched(t testing.TB, d database, tell func(query string)) *sql.DB {
	t.Helper()
	plain, err := sql.Open(d.driver, d.dsn)
	require.NoError(t, err)
	defer plain.Close()
	db := sql.OpenDB(watched{plain.Driver(), d.dsn, tell})
	t.Cleanup(func() { db.Close() })
	return db
}

// Connect implements driver.Connector.
func (w watched) Connect(context.Context) (driver.Conn, error) {
	conn, err := w.below.Open(w.dsn)
	return watchedConn{conn, w.tell}, err
}

// Driver implements driver.Connector. It returns the wrapped driver.
func (w watched) Driver() driver.Driver { return w.below }

type watchedConn struct {
	driver.Conn
	tell func(query string)
}

// ExecContext implements driver.ExecerContext.
func (c watchedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.tell(query)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

// QueryContext implements driver.QueryerContext.
func (c watchedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.tell(query)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}
