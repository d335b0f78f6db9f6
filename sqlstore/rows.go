package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
)

// Every wait for a database server ends with the context of the call. Some parts of database/sql have no context: Commit and
// Rollback of [sql.Tx], and Close of [sql.Rows] and [sql.Row] when a part of the answer was not read. There go-sql-driver/mysql
// waits for a silent server as long as the connection lives. So this package uses none of them with a server.

// queryer is a database, or one connection to it.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// queryRow is QueryRowContext, and its answer is read to the end.
func queryRow(ctx context.Context, db queryer, query string, args ...any) onlyRow {
	rows, err := db.QueryContext(ctx, query, args...)
	return onlyRow{rows, err}
}

// onlyRow is the answer to a query for one row.
type onlyRow struct {
	rows *sql.Rows
	err  error
}

// Scan is that of [sql.Row].
func (r onlyRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer closeRows(r.rows)
	if !r.rows.Next() {
		return cmp.Or(r.rows.Err(), sql.ErrNoRows)
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Next() // there is no second row, but the end
	return r.rows.Err()
}

// closeRows closes rows. First it reads the rest of them, because Close would do that without the context.
func closeRows(rows *sql.Rows) {
	for rows.Next() {
	}
	rows.Close()
}
