// Package sqlstore keeps sessions ([Sessions]) and users ([Users]) in a SQL database, for services of any number of processes. It works on
// PostgreSQL and its wire-compatible clusters, on MariaDB and MySQL, and on SQLite. It imports no driver: the host opens the
// database with its own.
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

// Dialect names a database's kind of SQL.
type Dialect string

// The databases that are supported. Each is tested against a real server.
const (
	PostgreSQL Dialect = "postgres" // and its wire-compatible clusters
	SQLite     Dialect = "sqlite"   // open it with a busy timeout and WAL
	MariaDB    Dialect = "mariadb"  // and MySQL 8
)

//go:embed migrations
var migrations embed.FS

// check returns an error for a database that is nil, and for a dialect that is none of the constants.
func check(db *sql.DB, d Dialect) error {
	if db == nil {
		return errors.New("sqlstore: the database is nil")
	}
	if d != PostgreSQL && d != SQLite && d != MariaDB {
		return fmt.Errorf("sqlstore: unknown SQL dialect %q: use PostgreSQL, SQLite or MariaDB", string(d))
	}
	return nil
}

// now is an expression for the database's clock in milliseconds. It does not depend on a time zone.
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

// holds reports whether a text column can hold the text. PostgreSQL's cannot hold a zero byte or what is not UTF-8, and a
// query that asks for such a text is an error there, not an empty answer.
func (d Dialect) holds(text string) bool {
	return d != PostgreSQL || utf8.ValidString(text) && !strings.Contains(text, "\x00")
}

// sql writes a query for the dialect: "?" becomes the dialect's placeholder, and "NOW_MS" its clock.
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

// Migrate makes the tables of this package, signet_sessions and signet_users, or brings them to the version of this package. Any number of
// processes may call it at the same time: one works and the others wait. Call it before the first use of a store.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect) error {
	if err := check(db, dialect); err != nil {
		return err
	}
	if err := migrate(ctx, db, dialect); err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	return nil
}

// component is the name under which signet_schema has the version.
const component = "signet"

// migrate applies the files of migrations/DIALECT, in the order of their names, each once. A step that failed half way in MariaDB, which
// commits every CREATE by itself, is begun again: the files use IF NOT EXISTS.
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
	_, err = conn.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS signet_schema (component "+text+" PRIMARY KEY, version BIGINT NOT NULL)")
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
	_, err = conn.ExecContext(ctx, d.sql("INSERT INTO signet_schema (component, version) VALUES (?, ?)"), component, len(names))
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

// lock keeps other processes out, and returns what ends that: with a commit where the database can undo its CREATEs.
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
		// The lock must go even when ctx has ended.
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

// pause lets some time pass between two attempts of writers that collide: a random time, up to a millisecond for each attempt so far and
// at most 20 ms, so that two that have collided do not collide again.
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
