// Package sqlstore keeps sessions ([Sessions]), users ([Users]) and the failures of logins ([Throttle]) in a SQL database. Any
// number of processes can use the same database. The package works on PostgreSQL and its wire-compatible clusters, on MariaDB
// and MySQL, and on SQLite. It imports no driver: the host opens the database with a driver of its choice.
//
// # Several database servers
//
// If another server takes over, it must have every commit that was answered. PostgreSQL does that with a synchronous standby
// (synchronous_standby_names). Otherwise the last revocations can be lost. Their tokens pass again, except in processes that
// have read of them; these write lost cut-offs of users again when the user logs in or refreshes. Restart all processes
// together after such a failover, and after a backup was restored: a process that starts later does not know a lost cut-off,
// and the others would refuse the tokens that it makes. They forget the lost revocations then; signet.Auth.RevokeAll ends them
// for certain. New revocations reach every process, if the new server's clock is not
// behind the old one's by more than the failover took.
//
// In a Galera cluster of MariaDB, processes may use any node, and also several nodes at once. Set wsrep_sync_wait=1 for
// their connections (with go-sql-driver/mysql, add wsrep_sync_wait=1 to the data source name). Two refreshes of one
// session on two nodes give one successor even without it. But then a node that is behind the others does not know that
// it is: a session that was made on another node a moment ago is refused with 401, and a revoked token passes until the
// node has caught up. With it, both are answered 503 if the node needs too long.
//
// For the same reasons, do not send reads to a replica of any database. If a server becomes read-only, its open connections
// stay in the pool, and every write fails. Let the driver give them up (rejectReadOnly=true with go-sql-driver/mysql,
// target_session_attrs=read-write with pgx), and set [sql.DB.SetConnMaxLifetime].
//
// # Poolers
//
// Behind PgBouncer in transaction or statement mode, set default_query_exec_mode=exec with pgx, or binary_parameters=yes with
// lib/pq. Otherwise requests get each other's statements. pgx in its default mode then returns errors ("prepared statement
// already exists"), which are answered 503. lib/pq in its default mode, and pgx with describe_exec, run the statement of
// another request without an error: users are not found, and their sessions end. Statement mode has no transactions, so there
// [Migrate] needs a connection past the pooler. In session mode default_pool_size must be at least the sum of the MaxOpenConns
// of all processes, because an idle connection keeps its server connection.
//
// PgBouncer refuses settings in the connection string such as search_path. Do not list search_path in
// ignore_startup_parameters: the tenants would share the tables of the schema public. Use ALTER ROLE ... SET search_path.
//
// Prefer exec to simple_protocol. With the latter, and with lib/pq, database/sql repeats a write whose answer was lost.
// [Users.Add] can then return userstore.ErrExists for a user whom it has just added.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// execTime is for how long a statement is repeated if the database gives it up because of another statement. A database that has
// waited itself, such as SQLite for its busy_timeout, is asked less often.
const execTime = 5 * time.Second

// exec runs a statement that may be repeated, and returns how many rows it has changed.
func (d database) exec(ctx context.Context, query string, args ...any) (int64, error) {
	end := time.Now().Add(execTime)
	for attempt := 0; ; attempt++ {
		n, err := d.write(ctx, query, args)
		if !collided(err) || time.Now().After(end) {
			return n, err
		}
		if err := pause(ctx, attempt); err != nil {
			return 0, err
		}
	}
}

// collided reports whether an error says that the database gave up a statement, and undid it, because of another one that
// ran at the same time: a deadlock, or a lock or a snapshot that another one held. The statement may be sent again.
func collided(err error) bool {
	if err == nil {
		return false
	}
	var coded interface{ SQLState() string } // the errors of PostgreSQL's drivers have it
	if errors.As(err, &coded) {
		return coded.SQLState() == "40001" || coded.SQLState() == "40P01"
	}
	text := err.Error() // of MariaDB's driver: "Error 1213 (40001): Deadlock found"
	if strings.Contains(text, "SQLITE_BUSY") || strings.Contains(text, "database is locked") {
		return true
	}
	for _, number := range []string{"1213", "1205", "1020"} {
		if strings.Contains(text, "Error "+number+" ") || strings.Contains(text, "Error "+number+":") {
			return true
		}
	}
	return false
}

// held reports whether an error says that a row of a query with NOWAIT is locked.
func held(err error) bool {
	var coded interface{ SQLState() string }
	text := err.Error() // MariaDB has 1205 for it, and MySQL 3572
	return errors.As(err, &coded) && coded.SQLState() == "55P03" || strings.Contains(text, "Error 1205") || strings.Contains(text, "Error 3572")
}

// taken reports whether an error says that a row with the same key exists.
func taken(err error) bool {
	var coded interface{ SQLState() string }
	text := err.Error()
	return errors.As(err, &coded) && coded.SQLState() == "23505" || strings.Contains(text, "Error 1062") ||
		strings.Contains(text, "UNIQUE constraint failed")
}
