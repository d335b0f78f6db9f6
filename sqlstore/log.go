package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/signet-go/signet/session"
)

// The log has batches. All rows of a batch have the same number. The row of signet_log has the number of the newest batch, the
// head. The rows of a batch and the new head are committed together, and nobody else makes a batch meanwhile, because that changes
// the row of signet_log. So whoever sees a head in a snapshot sees all rows up to it.
//
// The number of a batch is the database's time in microseconds, or a larger one if the head is not smaller. So a database that
// has lost batches, in a failover or because a backup was restored, gives the batches that follow larger numbers than the lost
// ones had, and whoever has read the lost ones reads these too.
//
// A row that was revoked, or a cut-off that was changed, has no number yet: it is in the inbox. Whoever looks into the log
// reads the whole inbox and all rows with a number above the cursor, in one snapshot. So it does not matter how long the
// transaction of a revocation was open: its row is in the inbox when it becomes visible. A process that finds a row in the
// inbox for the second time numbers the inbox.

const (
	batchSize   = 1_000  // how many rows a batch has at most
	mostAtOnce  = 10_000 // how many rows of the inbox are numbered after one look at most
	leastAtOnce = 100    // the same when the database is slow
	mostSkipped = 15     // how many looks number nothing, at most, after one that failed to
)

// What a row of the log is: the first column of logTail and logCutoffs, which have these numbers as digits.
const (
	headRow = iota
	sessionRow
	cutoffRow
	inboxSession
	inboxCutoff
)

// In PostgreSQL and SQLite the index has only the rows with "revoked_at > 0". They use it only for a query that has this
// condition too. BY(...) names the index for MariaDB and SQLite, which could rather read the whole table. The upper bound in
// logTail lets PostgreSQL expect few rows even if it has no statistics.
const (
	logEnds = `SELECT NOW_MS, head,
		(SELECT pos FROM signet_sessions BY(signet_sessions_log) WHERE revoked_at > 0 AND pos > ? ORDER BY pos LIMIT 1 OFFSET ?),
		(SELECT pos FROM signet_cutoffs BY(signet_cutoffs_log) WHERE pos > ? ORDER BY pos LIMIT 1 OFFSET ?) FROM signet_log`
	logSessions = `SELECT id, keep_until FROM signet_sessions BY(signet_sessions_log) WHERE revoked_at > 0 AND pos > ? AND pos <= ?`
	logCutoffs  = `SELECT 2, user_id, keep_until, data FROM signet_cutoffs BY(signet_cutoffs_log) WHERE pos > ? AND pos <= ?`
	logTail     = `SELECT 0, '', head, '' FROM signet_log
		UNION ALL SELECT 1, id, keep_until, '' FROM signet_sessions BY(signet_sessions_log)
			WHERE revoked_at > 0 AND pos > ? AND pos < 9000000000000000000
		UNION ALL SELECT 2, user_id, keep_until, data FROM signet_cutoffs BY(signet_cutoffs_log) WHERE pos > ? AND pos < 9000000000000000000
		UNION ALL SELECT 3, id, keep_until, '' FROM signet_sessions BY(signet_sessions_log) WHERE revoked_at > 0 AND pos IS NULL
		UNION ALL SELECT 4, user_id, keep_until, data FROM signet_cutoffs BY(signet_cutoffs_log) WHERE pos IS NULL`
)

// inboxRow is a row of the inbox.
type inboxRow struct {
	cutoff bool
	id     string
}

// ReadLog implements [session.Log]. A cursor is the number of a batch. A page has whole batches. Its last one is the batch in
// which the entry with the number limit is.
func (s *Sessions) ReadLog(ctx context.Context, after session.Cursor, limit int,
	each func(session.Entry)) (page session.Page, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("sqlstore: log: %w", err)
		}
	}()
	var from, head int64
	switch after {
	case session.Start:
	case session.End:
		from = math.MaxInt64
	default:
		if from, err = strconv.ParseInt(string(after), 10, 64); err != nil || from < 0 {
			return page, fmt.Errorf("%w: %q", session.ErrCursor, string(after))
		}
	}
	var ends [2]sql.NullInt64
	last := max(1, limit) - 1
	asked := time.Now()
	err = queryRow(ctx, s.db, s.queries.ends, from, last, from, last).Scan(&page.Now, &head, &ends[0], &ends[1])
	if err == nil {
		s.recent.Clock(page.Now, asked)
	}
	switch {
	case err != nil:
		return page, unmigrated(err)
	case after == session.End:
		page.Next = cursor(head)
		return page, nil
	case from > head:
		return page, fmt.Errorf("%w: %d is behind the end, %d", session.ErrCursor, from, head)
	}
	if until, more := firstOf(ends); more {
		page.Next, page.More = cursor(until), true
		if err = s.readSessions(ctx, each, from, until); err == nil {
			_, _, err = s.readRows(ctx, each, s.queries.cutoffs, from, until)
		}
		return page, err
	}
	head, inbox, err := s.readRows(ctx, each, s.queries.tail, from, from)
	if err != nil {
		return page, err
	}
	s.numberInbox(ctx, head, page.Now, inbox)
	page.Next = cursor(head)
	return page, nil
}

// firstOf returns the smaller one of two numbers that may be missing.
func firstOf(numbers [2]sql.NullInt64) (first int64, ok bool) {
	for _, n := range numbers {
		if n.Valid && (!ok || n.Int64 < first) {
			first, ok = n.Int64, true
		}
	}
	return first, ok
}

func cursor(number int64) session.Cursor { return session.Cursor(strconv.FormatInt(number, 10)) }

// readSessions calls each for the sessions of some batches. These may be millions, so it does nothing else.
func (s *Sessions) readSessions(ctx context.Context, each func(session.Entry), from, until int64) error {
	rows, err := s.db.QueryContext(ctx, s.queries.sessions, from, until)
	if err != nil {
		return err
	}
	defer closeRows(rows)
	for rows.Next() {
		var id string
		var keepUntil int64
		if err := rows.Scan(&id, &keepUntil); err != nil {
			return err
		}
		each(session.RevokedEntry(id, session.Millis(keepUntil)))
	}
	return rows.Err()
}

// readRows calls each for every row. It returns the head, if it is among the rows, and up to mostAtOnce rows of the inbox.
func (s *Sessions) readRows(ctx context.Context, each func(session.Entry), query string,
	args ...any) (head int64, inbox []inboxRow, err error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return 0, nil, err
	}
	defer closeRows(rows)
	var kind, number int64
	var id, data sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&kind, &id, &number, &data); err != nil {
			return 0, nil, err
		}
		switch kind {
		case headRow:
			head = number
			continue
		case sessionRow, inboxSession:
			each(session.RevokedEntry(string(id), session.Millis(number)))
		default:
			var c session.Cutoff
			if err := c.UnmarshalJSON(data); err != nil {
				return 0, nil, err
			}
			if len(id) == 0 {
				each(session.AllEntry(session.AllGroups, c))
			} else {
				each(session.CutEntry(string(id), c))
			}
		}
		if kind >= inboxSession && len(inbox) < mostAtOnce {
			inbox = append(inbox, inboxRow{kind == inboxCutoff, string(id)})
		}
	}
	return head, inbox, rows.Err()
}

// numberInbox numbers the inbox if something in it was there already when this process looked last. After an error the rows
// stay in the inbox, and the next call tries half as many: a slow database must not be asked for too much again and again. Before
// that some calls do nothing, because a database that does not commit would hold up each look.
func (s *Sessions) numberInbox(ctx context.Context, head int64, now session.Millis, inbox []inboxRow) {
	seen := make(map[inboxRow]bool, len(inbox))
	for _, p := range inbox {
		seen[p] = true
	}
	s.mu.Lock()
	old := slices.ContainsFunc(inbox, func(p inboxRow) bool { return s.inbox[p] })
	s.inbox = seen
	atOnce := cmp.Or(s.atOnce, mostAtOnce)
	skipped := s.skip > 0
	s.skip = max(0, s.skip-1)
	s.mu.Unlock()
	if !old || skipped {
		return
	}
	var sessions, users []string
	for _, p := range inbox[:min(len(inbox), atOnce)] {
		if p.cutoff {
			users = append(users, p.id)
		} else {
			sessions = append(sessions, p.id)
		}
	}
	patience := time.Second
	if atOnce == leastAtOnce { // so the statements themselves are slow
		patience *= 4
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	free, err := s.isFree(ctx, head)
	tried := free && err == nil
	if tried {
		_, err = s.numberFree(ctx, head, now, sessions, users)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && tried:
		s.atOnce = max(atOnce/2, leastAtOnce)
	case tried:
		s.atOnce = min(2*atOnce, mostAtOnce)
	}
	if err != nil {
		s.lastSkip = min(2*s.lastSkip+1, mostSkipped)
	} else {
		s.lastSkip = 0
	}
	s.skip = s.lastSkip
}

// isFree reports whether nobody has made a batch since the head was read, and nobody holds the row of signet_log. It does not wait
// for a transaction that may stay open.
func (d database) isFree(ctx context.Context, head int64) (bool, error) {
	if d.dialect == SQLite {
		return true, nil
	}
	var same int64
	row := queryRow(ctx, d.db, d.dialect.sql(`SELECT head FROM signet_log WHERE id = 1 AND head = ? FOR UPDATE NOWAIT`), head)
	err := row.Scan(&same)
	if errors.Is(err, sql.ErrNoRows) || err != nil && held(err) {
		return false, nil
	}
	return err == nil, err
}

// numberFree makes batches of sessions and cut-offs that were in the inbox, after isFree. It reports false if another process has
// made one meanwhile.
func (d database) numberFree(ctx context.Context, head int64, now session.Millis, sessions, users []string) (done bool, err error) {
	next := max(head+1, int64(now)*1000)
	for _, rows := range []struct {
		table, id string // id is the column
		ids       []string
	}{{"signet_sessions", "id", sessions}, {"signet_cutoffs", "user_id", users}} {
		for ids := range slices.Chunk(rows.ids, batchSize) {
			if done, err = d.numberBatch(ctx, head, next, rows.table, rows.id, ids); !done {
				return false, err
			}
			head, next = next, next+1
		}
	}
	return true, nil
}

// numberBatch makes one batch if the head is still the same. It does so in one statement. If it were a transaction of several, a
// process that stops or loses its connection in between would keep others waiting.
func (d database) numberBatch(ctx context.Context, head, next int64, table, id string, ids []string) (done bool, err error) {
	list, args := idList(ids)
	var n int64
	switch d.dialect {
	case PostgreSQL:
		n, err = d.exec(ctx, d.dialect.sql(`WITH log AS (SELECT 1 FROM signet_log WHERE id = 1 AND head = ? FOR UPDATE),
			batch AS (UPDATE `+table+` SET pos = ? WHERE pos IS NULL AND EXISTS (SELECT 1 FROM log) AND `+id+` IN `+list+`)
			UPDATE signet_log SET head = ? WHERE id = 1 AND EXISTS (SELECT 1 FROM log)`),
			slices.Concat([]any{head, next}, args, []any{next})...)
	case MariaDB: // without the hint it could use the index on pos, and would then wait for everybody who is revoking a session
		n, err = d.exec(ctx, `UPDATE signet_log log LEFT JOIN `+table+` t FORCE INDEX (PRIMARY) ON t.pos IS NULL AND t.`+id+` IN `+list+`
			SET log.head = ?, t.pos = ? WHERE log.id = 1 AND log.head = ?`, append(args, next, next, head)...)
	default:
		n, err = numberSQLite(ctx, d.db, head, next, `UPDATE `+table+` SET pos = ? WHERE pos IS NULL AND `+id+` IN `+list, append([]any{next}, args...))
	}
	return n > 0 && err == nil, err
}

// numberSQLite needs a transaction, because SQLite has no statement for two tables. There is no connection that could be lost.
func numberSQLite(ctx context.Context, db *sql.DB, head, next int64, update string, args []any) (n int64, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	result, err := tx.ExecContext(ctx, `UPDATE signet_log SET head = ? WHERE id = 1 AND head = ?`, next, head)
	if err != nil {
		return 0, err
	}
	if n, err = result.RowsAffected(); n != 1 || err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, update, args...); err != nil {
		return 0, err
	}
	return n, tx.Commit()
}
