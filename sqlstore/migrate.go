package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/signet-go/signet/session"
)

//go:embed migrations
var migrations embed.FS

// component is the name of this package in the table signet_schema, which holds the version.
const component = "signet"

// Migrate creates the tables of this package, or brings them to the version of this package. Any number of processes may call it
// at the same time: one works and the others wait. If nothing is to be done, it needs no right to create tables. It also mends
// tables that were emptied, as by the tests of a host. If search_path has several schemas, and the tables are not in the first
// one, Migrate returns an error: a tenant would share the tables of another one. Processes that lack only the newest migration
// may run meanwhile, and afterwards. Call it before the first use of a store.
//
// On a table with millions of sessions, new indexes take seconds. MariaDB, MySQL and SQLite do not stop their readers
// meanwhile, MariaDB and MySQL do not stop their writers. In PostgreSQL, writers wait. A host that cannot wait makes the
// indexes first, with the statements of the folder migrations in their order and CREATE INDEX CONCURRENTLY; Migrate then finds
// them. An index that PostgreSQL calls INVALID, because its CREATE was cancelled, must be dropped first. In PostgreSQL,
// Migrate returns an error when it must wait longer than 5 s for other transactions, because everybody else would wait behind it. It
// also returns an error there if the database cannot hold every text, or the driver cannot read a BYTEA.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect) error {
	if err := check(db, dialect); err != nil {
		return err
	}
	names, err := fs.Glob(migrations, "migrations/"+string(dialect)+"/*.sql")
	if err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	if dialect == PostgreSQL {
		for _, check := range []func(context.Context, *sql.DB) error{inOneSchema, holdsAllTexts, readsBytes} {
			if err := check(ctx, db); err != nil {
				return fmt.Errorf("sqlstore: migrate: %w", err)
			}
		}
	}
	done := applied(ctx, db, dialect)
	var met time.Time // when this step met another process first
	for attempt := 0; done < len(names); {
		version, err := step(ctx, db, dialect, names)
		if attempt == 0 {
			met = time.Now() // not earlier: the step may have waited for the other one
		}
		switch {
		case err == nil:
			done, attempt = version, 0
		case metAnother(err) && time.Since(met) < execTime && pause(ctx, attempt) == nil:
			attempt++
		default:
			return fmt.Errorf("sqlstore: migrate: %w", err)
		}
	}
	d := newDatabase(db, dialect)
	if err := d.fillLog(ctx); err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	if err := d.numberOld(ctx); err != nil {
		return fmt.Errorf("sqlstore: migrate: %w", err)
	}
	return nil
}

// inOneSchema returns an error if PostgreSQL finds the tables in another schema than the one where it makes new ones. So a service
// with a schema of its own neither takes the tables of another service for its own, nor leaves its old tables behind.
func inOneSchema(ctx context.Context, db *sql.DB) error {
	var found, first string
	row := queryRow(ctx, db, `SELECT n.nspname, current_schema() FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = to_regclass('signet_schema') AND n.nspname <> current_schema()`)
	switch err := row.Scan(&found, &first); {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("search_path finds the tables in the schema %q, but PostgreSQL would make new ones in %q: name one of the two alone",
		found, first)
}

// holdsAllTexts returns an error if PostgreSQL cannot store every text: the name of a browser or an e-mail address would then be an
// error of the store.
func holdsAllTexts(ctx context.Context, db *sql.DB) error {
	const text = "Łódź Ω 微信 😀"
	var got, encoding string
	err := queryRow(ctx, db, "SELECT CAST($1 AS text)", text).Scan(&got)
	if err == nil && got == text {
		return nil
	}
	if failed := queryRow(ctx, db, "SELECT current_setting('server_encoding')").Scan(&encoding); failed != nil || encoding == "UTF8" {
		return cmp.Or(err, failed)
	}
	return fmt.Errorf("the encoding of the database, %s, cannot hold every text; make the database with ENCODING 'UTF8'", encoding)
}

// readsBytes returns an error if the driver cannot read a BYTEA: pgx cannot, in its text modes, with bytea_output=escape.
func readsBytes(ctx context.Context, db *sql.DB) error {
	var got []byte
	var output string
	err := queryRow(ctx, db, "SELECT decode('005cff', 'hex')").Scan(&got)
	if err == nil && string(got) == "\x00\\\xff" {
		return nil
	}
	if failed := queryRow(ctx, db, "SELECT current_setting('bytea_output')").Scan(&output); failed != nil || output == "hex" {
		return cmp.Or(err, failed)
	}
	return errors.New("the driver cannot read values of the type bytea; set bytea_output=hex for the connections")
}

// applied returns how many files were applied. It returns 0 if nobody can tell yet. If all were, an account may call Migrate that
// must not create tables.
func applied(ctx context.Context, db *sql.DB, d Dialect) (version int) {
	row := queryRow(ctx, db, d.sql("SELECT version FROM signet_schema WHERE component = ?"), component)
	if row.Scan(&version) != nil {
		return 0
	}
	return version
}

// fillLog makes the only row of signet_log, if somebody has emptied the tables.
func (d database) fillLog(ctx context.Context) error {
	var rows int
	if err := queryRow(ctx, d.db, "SELECT COUNT(*) FROM signet_log").Scan(&rows); err != nil || rows > 0 {
		return err
	}
	insert := `INSERT INTO signet_log (id, head) SELECT 1, COALESCE(MAX(pos), 0) FROM
		(SELECT MAX(pos) AS pos FROM signet_sessions UNION ALL SELECT MAX(pos) FROM signet_cutoffs) AS numbers WHERE 1 = 1`
	if d.dialect == MariaDB {
		insert = strings.Replace(insert, "INSERT", "INSERT IGNORE", 1)
	} else {
		insert += " ON CONFLICT (id) DO NOTHING"
	}
	_, err := d.exec(ctx, insert)
	return err
}

// metAnother reports whether an error can come from a process that begins at the same time, although lock keeps others out: the
// lock of MariaDB is only of one node of a Galera cluster, and the switch of a new file of SQLite to its write-ahead log waits for
// nobody.
func metAnother(err error) bool {
	// It was there already, or was gone; and Galera has interrupted the statement, or the table was changed meanwhile.
	numbers := []string{"1050", "1060", "1061", "1062", "1091", "1826", "1317", "1412", "1615", "1684"}
	return collided(err) || slices.ContainsFunc(numbers, func(number string) bool {
		return strings.Contains(err.Error(), "Error "+number+" ")
	})
}

// step applies the first of the files that was not applied, and returns how many are. Each file has a transaction of its
// own, so that its locks are held for a short time. MariaDB commits every CREATE by itself, so a step can fail half way
// there. The next call then begins that step again. This works because every statement can be repeated there.
func step(ctx context.Context, db *sql.DB, d Dialect, names []string) (version int, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	finish, err := lock(ctx, conn, d)
	if err != nil {
		return 0, err
	}
	defer func() { err = finish(err) }()

	text, engine := "TEXT", ""
	if d == MariaDB {
		text, engine = "VARBINARY(64)", " ENGINE=InnoDB"
		var commits bool
		if err := queryRow(ctx, conn, "SELECT @@autocommit").Scan(&commits); err != nil || !commits {
			return 0, cmp.Or(err, errors.New("autocommit is off, so nothing would be stored; set autocommit=1 for the connections"))
		}
	}
	_, err = conn.ExecContext(ctx,
		"CREATE TABLE IF NOT EXISTS signet_schema (component "+text+" PRIMARY KEY, version BIGINT NOT NULL)"+engine)
	if err != nil {
		return 0, err
	}
	row := queryRow(ctx, conn, d.sql("SELECT version FROM signet_schema WHERE component = ?"), component)
	if err := row.Scan(&version); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if version >= len(names) {
		return version, nil
	}
	if err := apply(ctx, conn, d, names[version]); err != nil {
		return 0, fmt.Errorf("%s: %w", names[version], err)
	}
	version++
	higher := "ON CONFLICT (component) DO UPDATE SET version = excluded.version"
	if d == MariaDB { // another node may be further already
		higher = "ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version))"
	}
	_, err = conn.ExecContext(ctx, d.sql("INSERT INTO signet_schema (component, version) VALUES (?, ?) "+higher), component, version)
	return version, err
}

func apply(ctx context.Context, conn *sql.Conn, d Dialect, name string) error {
	text, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(string(text), ";\n") { // enough for the files of this package
		if strings.TrimSpace(statement) == "" {
			continue
		}
		_, err := conn.ExecContext(ctx, statement)
		if d == SQLite && err != nil && strings.Contains(err.Error(), "duplicate column name") { // signet_schema was emptied
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lock keeps other processes out. It returns a function that ends the lock. Where the database can undo a CREATE, that
// function also commits, or rolls back after an error.
func lock(ctx context.Context, conn *sql.Conn, d Dialect) (finish func(error) error, err error) {
	if d == MariaDB {
		return lockMariaDB(ctx, conn)
	}
	begin := "BEGIN"
	if d == SQLite {
		begin = "BEGIN IMMEDIATE"
	}
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return nil, err
	}
	finish = func(err error) error {
		if err == nil {
			err = execAtEnd(ctx, conn, 5*time.Second, "COMMIT")
		}
		if err == nil {
			return nil
		}
		// SQLite's transaction stays open after a COMMIT that found the file locked. If ROLLBACK fails there, nothing was open.
		if execAtEnd(ctx, conn, time.Second, "ROLLBACK") != nil && d != SQLite {
			discard(conn)
		}
		return err
	}
	if d == PostgreSQL { // the role may have limits for statements of another kind, and this process may lose its connection
		for _, statement := range []string{"SET LOCAL statement_timeout = 0", "SET LOCAL lock_timeout = 0",
			"SET LOCAL idle_in_transaction_session_timeout = '1min'",
			"SELECT pg_advisory_xact_lock(7374736967)", "SET LOCAL lock_timeout = '5s'"} {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return nil, finish(err)
			}
		}
	}
	return finish, nil
}

// lockMariaDB takes a lock that belongs to the connection. If this process falls silent, the server gives the connection up
// after a minute, and not after eight hours as by default. A connection with such a limit must not go back to the pool.
func lockMariaDB(ctx context.Context, conn *sql.Conn) (finish func(error) error, err error) {
	defer func() {
		if err != nil {
			discard(conn)
		}
	}()
	if _, err := conn.ExecContext(ctx, "SET SESSION wait_timeout = 60"); err != nil {
		return nil, err
	}
	var got sql.NullInt64
	if err := queryRow(ctx, conn, "SELECT GET_LOCK('signet_schema', 60)").Scan(&got); err != nil {
		return nil, err
	}
	if got.Int64 != 1 {
		return nil, errors.New("another process holds the lock signet_schema for longer than 60 s")
	}
	return func(err error) error {
		released := execAtEnd(ctx, conn, 5*time.Second, "SELECT RELEASE_LOCK('signet_schema')")
		discard(conn)
		return cmp.Or(err, released)
	}, nil
}

// execAtEnd sends a statement that ends what the connection has begun, also if ctx has ended.
func execAtEnd(ctx context.Context, conn *sql.Conn, limit time.Duration, statement string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	_, err := conn.ExecContext(ctx, statement)
	return err
}

// discard closes a connection in place of giving it back to the pool.
func discard(conn *sql.Conn) { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }

// numberOld takes the sessions that were revoked before the log existed out of the inbox, so that the first look of each
// process into the log is small. It goes through them in the order of revoked_at, and not of the inbox: the index of the
// inbox still has the entries of the rows that were just taken out of it.
func (d database) numberOld(ctx context.Context) error {
	var from sql.NullInt64
	row := queryRow(ctx, d.db, `SELECT MIN(revoked_at) FROM signet_sessions WHERE revoked_at > 0 AND pos IS NULL`)
	if err := row.Scan(&from); err != nil {
		return err
	}
	// With IS TRUE no database uses the index of the inbox.
	old := d.dialect.sql(`SELECT id, revoked_at FROM signet_sessions
		WHERE revoked_at > 0 AND revoked_at >= ? AND (pos IS NULL) IS TRUE ORDER BY revoked_at LIMIT ?`)
	for from.Valid {
		ids, last, err := oldest(ctx, d.db, old, from.Int64)
		if err != nil || len(ids) == 0 {
			return err
		}
		done, err := d.numberNow(ctx, ids)
		if err != nil || !done {
			return err
		}
		from.Int64, from.Valid = last, len(ids) == mostAtOnce
	}
	return nil
}

// numberNow numbers sessions also if other processes number others meanwhile. It reports false if it had no success for some
// seconds, as when a process has stopped while it numbers rows. The sessions then stay in the inbox.
func (d database) numberNow(ctx context.Context, ids []string) (done bool, err error) {
	end := time.Now().Add(execTime)
	for attempt := 0; time.Now().Before(end); attempt++ {
		var head int64
		var now session.Millis
		if err := queryRow(ctx, d.db, d.dialect.sql(`SELECT head, NOW_MS FROM signet_log`)).Scan(&head, &now); err != nil {
			return false, err
		}
		bounded, cancel := context.WithDeadline(ctx, end)
		done, err := d.isFree(bounded, head)
		if done {
			done, err = d.numberFree(bounded, head, now, ids, nil)
		}
		late := bounded.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case late && !done:
			return false, nil
		case done || err != nil && !collided(err):
			return done, err
		}
		if err := pause(ctx, attempt); err != nil {
			return false, err
		}
	}
	return false, nil
}

// oldest returns the ids of up to mostAtOnce sessions, and when the last one of them was revoked.
func oldest(ctx context.Context, db *sql.DB, query string, from int64) (ids []string, last int64, err error) {
	rows, err := db.QueryContext(ctx, query, from, mostAtOnce)
	if err != nil {
		return nil, 0, err
	}
	defer closeRows(rows)
	for rows.Next() {
		var id string
		if err := rows.Scan(&id, &last); err != nil {
			return nil, 0, err
		}
		ids = append(ids, id)
	}
	return ids, last, rows.Err()
}
