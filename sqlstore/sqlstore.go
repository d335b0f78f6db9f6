// Package sqlstore keeps sessions ([Sessions]) and users ([Users]) in a SQL database. Any number of processes can use the
// same database. The package works on PostgreSQL and its wire-compatible clusters, on MariaDB and MySQL, and on SQLite. It
// imports no driver: the host opens the database with a driver of its choice.
package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Dialect names the kind of SQL that a database understands.
type Dialect string

// The databases that are supported. Each is tested with a real database.
const (
	PostgreSQL Dialect = "postgres" // and its wire-compatible clusters
	SQLite     Dialect = "sqlite"   // open it with a busy timeout and WAL
	MariaDB    Dialect = "mariadb"  // and MySQL 8
)

//go:embed migrations
var migrations embed.FS

// check returns an error if the database is nil, or if the dialect is not one of the constants.
func check(db *sql.DB, d Dialect) error {
	if db == nil {
		return errors.New("sqlstore: the database is nil")
	}
	if d != PostgreSQL && d != SQLite && d != MariaDB {
		return fmt.Errorf("sqlstore: unknown SQL dialect %q: use PostgreSQL, SQLite or MariaDB", string(d))
	}
	return nil
}

// now returns an SQL expression for the database's clock in milliseconds. It does not depend on a time zone.
func (d Dialect) now() string {
	switch d {
	case PostgreSQL:
		return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
	case SQLite:
		return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
	default:
		return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000)"
	}
}

// holds reports whether a text column can hold the text. A column of PostgreSQL cannot hold a zero byte, or a text that is
// not UTF-8. A query for such a text is an error there and not an empty answer.
func (d Dialect) holds(text string) bool {
	return d != PostgreSQL || utf8.ValidString(text) && !strings.Contains(text, "\x00")
}

// sql writes a query for the dialect. It replaces "?" by the dialect's placeholder, and "NOW_MS" by the expression for its
// clock.
func (d Dialect) sql(query string) string {
	query = strings.ReplaceAll(query, "NOW_MS", d.now())
	if d != PostgreSQL {
		return query
	}
	var b strings.Builder
	n := 0
	for _, c := range query {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}

// Migrate creates the tables of this package, signet_sessions and signet_users, or brings them to the version of this
// package. Any number of processes may call it at the same time: one works and the others wait. Call it before the first use
// of a store.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect) error {
	if err := check(db, dialect); err != nil {
		return err
	}
	if err := migrate(ctx, db, dialect); err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	return nil
}

// component is the name of this package in the table signet_schema, which holds the version.
const component = "signet"

// migrate applies the files of migrations/DIALECT, each once, in the order of their names. MariaDB commits every CREATE by
// itself, so a step can fail half way there. The next call then begins that step again. This works because the files use IF
// NOT EXISTS.
func migrate(ctx context.Context, db *sql.DB, d Dialect) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	finish, err := lock(ctx, conn, d)
	if err != nil {
		return err
	}
	defer func() { err = finish(err) }()

	text := map[Dialect]string{PostgreSQL: "TEXT", SQLite: "TEXT", MariaDB: "VARBINARY(64)"}[d]
	_, err = conn.ExecContext(ctx,
		"CREATE TABLE IF NOT EXISTS signet_schema (component "+text+" PRIMARY KEY, version BIGINT NOT NULL)")
	if err != nil {
		return err
	}
	var version int
	row := conn.QueryRowContext(ctx, d.sql("SELECT version FROM signet_schema WHERE component = ?"), component)
	if err := row.Scan(&version); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	names, err := fs.Glob(migrations, "migrations/"+string(d)+"/*.sql")
	if err != nil {
		return err
	}
	for i, name := range names {
		if i < version {
			continue
		}
		if err := apply(ctx, conn, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if version >= len(names) {
		return nil
	}
	if _, err := conn.ExecContext(ctx, d.sql("DELETE FROM signet_schema WHERE component = ?"), component); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, d.sql("INSERT INTO signet_schema (component, version) VALUES (?, ?)"),
		component, len(names))
	return err
}

func apply(ctx context.Context, conn *sql.Conn, name string) error {
	text, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(string(text), ";\n") { // enough for the files of this package
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// lock keeps other processes out. It returns a function that ends the lock. Where the database can undo a CREATE, that
// function also commits, or rolls back after an error.
func lock(ctx context.Context, conn *sql.Conn, d Dialect) (finish func(error) error, err error) {
	begin, end, undo := "BEGIN", "COMMIT", "ROLLBACK"
	switch d {
	case SQLite:
		begin = "BEGIN IMMEDIATE"
	case MariaDB:
		begin, end, undo = "SELECT GET_LOCK('signet_schema', 60)", "SELECT RELEASE_LOCK('signet_schema')",
			"SELECT RELEASE_LOCK('signet_schema')"
	}
	if d == MariaDB {
		var got sql.NullInt64
		if err := conn.QueryRowContext(ctx, begin).Scan(&got); err != nil {
			return nil, err
		}
		if got.Int64 != 1 {
			return nil, errors.New("another process holds the lock signet_schema for longer than 60 s")
		}
	} else if _, err := conn.ExecContext(ctx, begin); err != nil {
		return nil, err
	}
	if d == PostgreSQL {
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_xact_lock(7374736967)"); err != nil {
			return nil, err
		}
	}
	return func(err error) error {
		// The lock must be released even if ctx has ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err != nil {
			conn.ExecContext(ctx, undo)
			return err
		}
		_, err = conn.ExecContext(ctx, end)
		return err
	}, nil
}

// pause waits between two attempts of writers that collide. The wait is random: up to a millisecond for each attempt so far,
// and at most 20 ms. So two writers that have collided do not collide again.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(rand.N(time.Duration(1+min(attempt, 19)) * time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
