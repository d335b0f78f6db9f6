package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/signet-go/signet/session"
)

// Sessions is a [session.Store] in the tables signet_sessions, signet_cutoffs and signet_log. A refresh costs two round
// trips. The first one reads the row, the cut-offs and the database's clock. The second one writes the new row if nobody has
// changed any of them in between. If this process wrote the session last, it remembers the row ([session.Recent]), and the
// refresh costs the second one only. No other process waits for one that dies. Sessions is safe for concurrent use.
type Sessions struct {
	database
	maxPerUser int
	queries    queries
	recent     session.Recent[known]

	mu       sync.Mutex
	inbox    map[inboxRow]bool // what was in the inbox when this process looked last
	atOnce   int               // how many rows of it are numbered next; 0: mostAtOnce
	skip     int               // so many of the next looks number nothing
	lastSkip int               // what skip was after the last look that failed to number; 0: the last one did not fail
}

// Option is an option of [NewSessions].
type Option interface{ apply(*Sessions) }

type option func(*Sessions)

func (o option) apply(s *Sessions) { o(s) }

// WithMaxPerUser sets how many live sessions a user may have. The default is [session.MaxPerUser]. A login
// beyond it revokes the session that has been unused for the longest time. If a user has far more, from an earlier version or
// a larger limit, a login revokes up to 100 of them, and the next login goes on.
func WithMaxPerUser(n int) Option { return option(func(s *Sessions) { s.maxPerUser = n }) }

// NewSessions returns a store on db. The host closes db. Call [Migrate] before the first use. The error names a mistake in the
// arguments.
//
// With go-sql-driver/mysql, set interpolateParams=true. Otherwise every query costs a second round trip. Leave the isolation
// level of MariaDB and MySQL at REPEATABLE READ, their default: with READ COMMITTED a refresh could be committed beside a cut-off
// that it does not know. Leave PostgreSQL at READ COMMITTED, its default. If the default of your cluster is SERIALIZABLE, set
// READ COMMITTED for the connections: with SERIALIZABLE some reads fail under load.
//
// The pool of db matters. With PostgreSQL and MariaDB, call db.SetMaxOpenConns(16), or with what the server can bear, and
// db.SetMaxIdleConns with the same number. The default of 2 idle connections opens and closes connections all the time, which
// costs a third of the rate. With SQLite call db.SetMaxOpenConns(1): writers then queue here, and do not poll the lock of the
// file. The stores of this package look at the pool now and then, and one of them logs a warning if it is set otherwise.
//
// Give the driver time limits of its own. database/sql opens connections one after the other, and without a context: one server
// that takes a connection and stays silent would keep everybody waiting for another one, for minutes or for ever. With pgx, set
// connect_timeout=5. With go-sql-driver/mysql, set timeout=5s&readTimeout=10s&writeTimeout=10s; [Migrate] may take longer than
// that, so on large tables give it a database without readTimeout.
//
// Set innodb_lock_wait_timeout=4 there too: MariaDB and MySQL do not notice that a client has given up, and a statement that
// waits for a lock would keep its thread for 50 s more. The pool opens new connections meanwhile, up to max_connections of the
// server. An account with MAX_USER_CONNECTIONS leaves the others some, also when the disk of the server is full.
//
// If the database can be read but its writes wait, as in PostgreSQL without its synchronous standby, access tokens pass as before:
// the stores of this package leave an eighth of the connections, and at least one, to reads. They do not count writes of the host
// on the same db. If those could fill the pool, open another pool for this package.
//
// The store remembers up to 32,768 rows that it wrote last, in about 20 MB. Such a row need not be read again. So refreshes are
// cheapest if the load balancer sends all requests of a client to the same process.
//
// A host that makes its tables itself does not call Migrate. It then runs what is in the files of the folder migrations of this
// package, in the order of their names: the tables signet_sessions, signet_cutoffs and signet_log with their indexes and first
// rows, and for [Users] also signet_users and signet_factors, and for [Throttle] signet_throttle. The names of tables and
// indexes are fixed. A schema of PostgreSQL, which search_path names alone, or a database of its own, keeps them apart from other
// tables. Later versions of this package add files to the folder. A database of PostgreSQL should have the encoding UTF8: it must
// hold every text that a client sends.
//
// An account that may SELECT, INSERT, UPDATE and DELETE in these tables is enough, once the owner of the tables has called
// [Migrate]. If it calls Migrate too, it needs SELECT in signet_schema as well.
func NewSessions(db *sql.DB, dialect Dialect, opts ...Option) (*Sessions, error) {
	if err := check(db, dialect); err != nil {
		return nil, err
	}
	s := &Sessions{database: newDatabase(db, dialect), maxPerUser: session.MaxPerUser, queries: queriesOf(dialect)}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("sqlstore.NewSessions: an option is nil")
		}
		opt.apply(s)
	}
	if s.maxPerUser < 1 {
		return nil, fmt.Errorf("sqlstore.WithMaxPerUser: %d is less than 1", s.maxPerUser)
	}
	return s, nil
}

// unmigrated explains the error of a query that has a row in every database that [Migrate] has seen.
func unmigrated(err error) error {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return errors.New("the table signet_log was emptied; call sqlstore.Migrate")
	case err != nil && noTable.MatchString(err.Error()):
		return fmt.Errorf("%w; call sqlstore.Migrate first", err)
	}
	return err
}

// noTable is what PostgreSQL, MariaDB and SQLite say of a table that does not exist.
var noTable = regexp.MustCompile(`signet_log\S* (does not|doesn't) exist|no such table: signet_log`)

// moment is a [session.Moment] as it is in the database. The versions are those of the rows, for compare and swap; 0 means
// that there is no row.
type moment struct {
	now       int64
	user, all int64
	data      [2][]byte
}

// columns returns where to put momentColumns, and more columns.
func (m *moment) columns(more ...any) []any {
	return append([]any{&m.now, &m.user, &m.data[0], &m.all, &m.data[1]}, more...)
}

func (m *moment) read() (at session.Moment, err error) {
	at.Now = session.Millis(m.now)
	for i, c := range []*session.Cutoff{&at.User, &at.All} {
		if m.data[i] != nil {
			if err := c.UnmarshalJSON(m.data[i]); err != nil {
				return at, err
			}
		}
	}
	return at, nil
}

// Create implements [session.Store].
func (s *Sessions) Create(ctx context.Context, userID string, make func(session.Moment) (session.Session, error)) error {
	s.count()
	user := s.text(userID)
	var row session.Session
	var made moment
	var at session.Moment
	for attempt := 0; ; attempt++ {
		var m moment
		var live int
		asked := time.Now()
		err := queryRow(ctx, s.db, s.queries.createRead, user, user).Scan(m.columns(&live)...)
		if err != nil {
			return fmt.Errorf("sqlstore: create: %w", unmigrated(err))
		}
		s.recent.Clock(session.Millis(m.now), asked)
		if attempt == 0 || m.user != made.user || m.all != made.all {
			if at, err = m.read(); err != nil {
				return fmt.Errorf("sqlstore: create: %w", err)
			}
			if row, err = make(at); err != nil {
				return err
			}
			made = m
		}
		data, err := row.MarshalJSON() // a text for the statement: some ways of pgx write bytes in another form into a column of text
		if err != nil {
			return fmt.Errorf("sqlstore: create: %w", err)
		}
		_, keepUntil, _ := keep(row, 0)
		done, err := s.change(ctx, s.queries.create, row.ID, row.UserID, keepUntil, flag(row.Revoked()), string(data),
			user, m.user, m.all)
		written := known{bytes.Clone(data), 1, keepUntil, m}
		if err != nil && taken(err) { // perhaps by this call: the answer was lost, and the driver has sent the write again
			if k, _, lookErr := s.find(ctx, row.ID, 1); lookErr == nil && k.wrote(written) {
				done, err = true, nil
			}
		}
		if err != nil {
			return fmt.Errorf("sqlstore: create: %w", err)
		}
		if done {
			s.recent.Keep(row.ID, written)
			if 2*live >= s.maxPerUser { // other logins may have been counted too early
				s.evict(ctx, row, at)
			}
			return nil
		}
		if err := pause(ctx, attempt); err != nil { // a cut-off came in between
			return fmt.Errorf("sqlstore: create: %w", err)
		}
	}
}

// maxEvicted is how many sessions a login revokes at most.
const maxEvicted = 100

// evict revokes the sessions of the user that are too many. An error does not matter: the new session is stored, and the next
// login tries again.
func (s *Sessions) evict(ctx context.Context, created session.Session, at session.Moment) {
	rows, err := s.db.QueryContext(ctx, s.queries.oldest, created.UserID, s.maxPerUser+maxEvicted)
	if err != nil {
		return
	}
	defer closeRows(rows)
	var live []session.Session
	for rows.Next() {
		var data []byte
		var row session.Session
		if rows.Scan(&data) == nil && row.UnmarshalJSON(data) == nil {
			live = append(live, row)
		}
	}
	rows.Close() // before the next query: there may be only one connection
	for _, id := range session.Excess(live, at, s.maxPerUser, created.ID) {
		_ = s.Update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
			return row.Revoke(session.ReasonEvicted, at.Now), nil
		})
	}
}

// change reports whether the statement has changed a row. It has not if another one was first.
func (s *Sessions) change(ctx context.Context, query string, args ...any) (done bool, err error) {
	n, err := s.write(ctx, query, args)
	if collided(err) {
		return false, nil
	}
	return n == 1 && err == nil, err
}

// List implements [session.Store].
func (s *Sessions) List(ctx context.Context, userID string, limit int) (list []session.Session, at session.Moment, err error) {
	user := s.text(userID)
	rows, err := s.db.QueryContext(ctx, s.queries.list, user, user, -maxLater, user, max(limit, 1)-1)
	if err != nil {
		return nil, at, fmt.Errorf("sqlstore: list: %w", err)
	}
	defer closeRows(rows)
	for rows.Next() {
		var m moment
		var data []byte
		var row session.Session
		err := rows.Scan(m.columns(&data)...)
		if err == nil && data != nil {
			err = row.UnmarshalJSON(data)
			list = append(list, row)
		}
		if err == nil {
			at, err = m.read()
		}
		if err != nil {
			return nil, at, fmt.Errorf("sqlstore: list: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, at, fmt.Errorf("sqlstore: list: %w", err)
	}
	if at.Now == 0 { // there was no row at all
		return nil, at, fmt.Errorf("sqlstore: list: %w", unmigrated(sql.ErrNoRows))
	}
	if len(list) > limit {
		slices.SortFunc(list, func(a, b session.Session) int { return cmp.Compare(b.KeepUntil, a.KeepUntil) })
		list = list[:max(limit, 0)]
	}
	return list, at, nil
}

// Cut implements [session.Store] by compare and swap.
func (s *Sessions) Cut(ctx context.Context, userID string,
	change func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error)) error {
	for attempt := 0; ; attempt++ {
		done, err := s.cut(ctx, userID, change)
		if done || err != nil {
			return err
		}
		if err := pause(ctx, attempt); err != nil { // another write was first
			return fmt.Errorf("sqlstore: cut: %w", err)
		}
	}
}

func (s *Sessions) cut(ctx context.Context, userID string,
	change func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error)) (done bool, err error) {
	var now, version int64
	var latest sql.NullInt64
	var data []byte
	var before session.Cutoff
	user := s.text(userID)
	err = queryRow(ctx, s.db, s.queries.cutRead, user, user).Scan(&now, &latest, &version, &data)
	if err == nil && version > 0 {
		err = before.UnmarshalJSON(data)
	}
	if err != nil {
		return false, fmt.Errorf("sqlstore: cut: %w", unmigrated(err))
	}
	after, err := change(before, session.Millis(latest.Int64), session.Millis(now))
	if err != nil || after == before {
		return true, err
	}
	if data, err = after.MarshalJSON(); err != nil {
		return false, fmt.Errorf("sqlstore: cut: %w", err)
	}
	// The new version follows the clock, so a row that was deleted and made again has another version.
	query, args := s.queries.cutNew, []any{max(version+1, now), after.KeepUntil, string(data), user}
	if version > 0 {
		query, args = s.queries.cutAgain, append(args, version)
	}
	done, err = s.change(ctx, query, append(args, user, latest.Int64)...)
	if err != nil && !taken(err) {
		return false, fmt.Errorf("sqlstore: cut: %w", err)
	}
	return done, nil
}

// dueCutoffs returns a time that is not after before, so that about limit cut-offs of users have an earlier keep_until. some is
// false if no cut-off of a user has a keep_until earlier than before.
func (s *Sessions) dueCutoffs(ctx context.Context, before session.Millis, limit int) (until session.Millis, some bool, err error) {
	var first, next sql.NullInt64
	err = queryRow(ctx, s.db, s.queries.dueCutoffs, before, before, limit).Scan(&first, &next)
	if err != nil || !first.Valid {
		return 0, false, unmigrated(err)
	}
	if next.Valid { // if all have the same time, all count: otherwise the call would get no further
		return session.Millis(max(next.Int64, first.Int64+1)), true, nil
	}
	return before, true, nil
}

// keepCutoffs looks at the cut-offs that may be deleted. It keeps each of them until the sessions that it has ended are deleted
// too: without the cut-off these would be good again.
func (s *Sessions) keepCutoffs(ctx context.Context, before session.Millis) error {
	rows, err := s.db.QueryContext(ctx, s.queries.outlived, before)
	if err != nil {
		return err
	}
	defer closeRows(rows)
	needed := map[string]int64{} // by user: until when
	for rows.Next() {
		var user string
		var data, sessionData []byte
		var until int64
		var at session.Moment
		var row session.Session
		if err := rows.Scan(&user, &data, &until, &sessionData); err != nil {
			return err
		}
		unreadable := at.User.UnmarshalJSON(data) != nil || row.UnmarshalJSON(sessionData) != nil
		if unreadable || at.Ended(row) {
			needed[user] = max(needed[user], until)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for user, until := range needed {
		if _, err := s.exec(ctx, s.queries.keepLonger, until, user, until); err != nil {
			return err
		}
	}
	return nil
}

// DeleteExpired implements [session.Store].
func (s *Sessions) DeleteExpired(ctx context.Context, before session.Millis, limit int) (removed int, err error) {
	if limit < 1 {
		return 0, nil
	}
	sessions, err := s.exec(ctx, s.queries.removeSessions, before, limit)
	if err == nil && int(sessions) < limit {
		removed, err = s.deleteCutoffs(ctx, before, limit-int(sessions))
	}
	if err != nil {
		err = fmt.Errorf("sqlstore: delete expired: %w", err)
	}
	return int(sessions) + removed, err
}

// deleteCutoffs looks only at those cut-offs that it may remove: there may be very many, and the next call is soon.
func (s *Sessions) deleteCutoffs(ctx context.Context, before session.Millis, limit int) (removed int, err error) {
	until, some, err := s.dueCutoffs(ctx, before, limit)
	if err != nil || !some {
		return 0, err
	}
	if err := s.keepCutoffs(ctx, until); err != nil {
		return 0, err
	}
	n, err := s.exec(ctx, s.queries.removeCutoffs, until, limit)
	return int(n), err
}

// text returns the argument of a query for an id. An id that the database cannot hold becomes NULL: it finds nothing, and
// cannot be written.
func (s *Sessions) text(id string) any {
	if !s.dialect.holds(id) {
		return nil
	}
	return id
}

// flag returns a truth value in the form that every dialect accepts.
func flag(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
