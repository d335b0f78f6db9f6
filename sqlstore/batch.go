package sqlstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/signet-go/signet/session"
)

// maxBatch is how many rows one statement of UpdateBatch reads or writes.
const maxBatch = 256

// UpdateBatch implements [session.Batcher] with two statements for every 256 sessions: one reads, and one writes. For sessions
// that this process wrote last, one statement writes, and none reads.
func (s *Sessions) UpdateBatch(ctx context.Context, ids []string,
	change func(row session.Session, now session.Millis) session.Session) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !s.dialect.holds(id) })
	slices.Sort(ids)
	var errs []error
	for some := range slices.Chunk(slices.Compact(ids), maxBatch) {
		rest, written, err := s.changeRemembered(ctx, some, change)
		for attempt := 0; err == nil && len(rest) > 0; attempt++ {
			if attempt > 0 { // others have changed rows meanwhile
				err = pause(ctx, attempt)
			}
			if err == nil {
				var unreadable error
				rest, written, unreadable, err = s.changeBatch(ctx, rest, written, change)
				errs = append(errs, unreadable)
			}
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sqlstore: update batch: %w", err)
	}
	return nil
}

// changeRemembered changes the rows that this process remembers. rest are the ids of the rows that may be unchanged. The
// database says how many rows it has written, but not which ones. So if one was outdated, rest has all of them, and written has
// the version that each row has if it was written. changeBatch leaves those out that have this version.
func (s *Sessions) changeRemembered(ctx context.Context, ids []string,
	change func(session.Session, session.Millis) session.Session) (rest []string, written map[string]int64, err error) {
	var changed []changedRow
	for _, id := range ids {
		k, now, ok := s.recent.Find(id)
		var row session.Session
		if ok && row.UnmarshalJSON(k.data) == nil {
			if after := change(row, now); after != row {
				changed = append(changed, changedRow{after, k})
				continue
			}
		}
		rest = append(rest, id) // what this process remembers may be outdated, so this row is read
	}
	if len(changed) == 0 {
		return rest, nil, nil
	}
	n, err := s.writeBatch(ctx, changed)
	if n == len(changed) {
		for _, c := range changed {
			s.recent.Tried(c.ID, true)
			s.recent.Keep(c.ID, c.known)
		}
		return rest, nil, err
	}
	written = map[string]int64{}
	for i, c := range changed {
		rest, written[c.ID] = append(rest, c.ID), c.version
		if i < len(changed)-n && err == nil { // so many were outdated: it does not matter which of them Tried counts
			s.recent.Tried(c.ID, false)
		} else {
			s.recent.Forget(c.ID)
		}
	}
	slices.Sort(rest) // all writers lock rows in one order
	return rest, written, err
}

// changedRow is a session after a change, and what is known of its row.
type changedRow struct {
	session.Session
	known
}

// changeBatch reads rows, calls change for each, and writes those that are different then. It skips a row whose version is the one
// in the parameter written, because this process has just written it. If somebody else has changed a row meanwhile, it returns all
// that it tried to write, to try again, with the versions of those that were written. unreadable is the error for rows that cannot
// be read.
func (s *Sessions) changeBatch(ctx context.Context, ids []string, written map[string]int64,
	change func(session.Session, session.Millis) session.Session) (again []string, tried map[string]int64, unreadable, err error) {
	found, err := s.readBatch(ctx, ids)
	if err != nil {
		return nil, nil, nil, err
	}
	var changed []changedRow
	for _, k := range found {
		var row session.Session
		if err := row.UnmarshalJSON(k.data); err != nil {
			unreadable = errors.Join(unreadable, err)
			continue
		}
		if written[row.ID] == k.version {
			continue
		}
		if after := change(row, session.Millis(k.now)); after != row {
			s.recent.Forget(row.ID) // without the cut-offs of its user the row is of no use to Update
			changed = append(changed, changedRow{after, k})
		}
	}
	if len(changed) > 0 {
		n, err := s.writeBatch(ctx, changed)
		if err != nil {
			return nil, nil, unreadable, err
		}
		if n < len(changed) {
			tried = map[string]int64{}
			for _, c := range changed {
				again, tried[c.ID] = append(again, c.ID), c.version
			}
			slices.Sort(again)
		}
	}
	return again, tried, unreadable, nil
}

func (s *Sessions) readBatch(ctx context.Context, ids []string) (found []known, err error) {
	list, args := idList(ids)
	rows, err := s.db.QueryContext(ctx, s.dialect.sql(`SELECT NOW_MS, version, data FROM signet_sessions WHERE id IN `+list), args...)
	if err != nil {
		return nil, err
	}
	defer closeRows(rows) // before change: there may be only one connection
	for rows.Next() {
		var k known
		if err := rows.Scan(&k.now, &k.version, &k.data); err != nil {
			return nil, err
		}
		found = append(found, k)
	}
	return found, rows.Err()
}

// writeBatch writes each row whose version in the database is still the one in rows, and returns how many it has written. It puts
// the new versions and texts into rows.
func (s *Sessions) writeBatch(ctx context.Context, rows []changedRow) (n int, err error) {
	step := versionStep()
	var args []any
	for i := range padded(len(rows)) {
		row := &rows[min(i, len(rows)-1)]
		if i < len(rows) {
			data, err := row.MarshalJSON()
			if err != nil {
				return 0, err
			}
			row.data = bytes.Clone(data) // it may be remembered
		}
		var from, to int64
		from, to, row.keptUntil = keep(row.Session, row.keptUntil)
		args = append(args, row.ID, row.version, from, to, flag(row.Revoked()), string(row.data))
	}
	query := s.dialect.batch(len(args) / 6)
	changed, err := s.exec(ctx, query, append(args, step)...)
	if err != nil {
		return 0, err
	}
	for i := range rows {
		rows[i].version += step
	}
	return int(changed), nil
}

// idList returns a list of parameters for IN, and their values. The last id is repeated, so that few queries are prepared.
func idList(ids []string) (list string, args []any) {
	for i := range padded(len(ids)) {
		args = append(args, ids[min(i, len(ids)-1)])
	}
	return "(?" + strings.Repeat(", ?", len(args)-1) + ")", args
}

// padded returns the power of two that is not below n. The last row is repeated up to there, so that few queries are prepared.
func padded(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}

// batch returns a statement that changes n rows.
func (d Dialect) batch(n int) string {
	const set = ` SET @version = s.version + ?, @pos = NULL, @data = v.data,
		@keep_until = CASE WHEN s.keep_until BETWEEN v.keep_from AND v.keep_to THEN s.keep_until ELSE v.keep_to END,
		@revoked_at = CASE WHEN v.revoked = 0 THEN 0 WHEN s.revoked_at > 0 THEN s.revoked_at ELSE NOW_MS END `
	if d == MariaDB { // only there a column of the changed table may have the name of the table
		return d.sql(`UPDATE (SELECT ? AS id, ? AS version, ? AS keep_from, ? AS keep_to, ? AS revoked, CAST(? AS BINARY) AS data` +
			strings.Repeat(` UNION ALL SELECT ?, ?, ?, ?, ?, ?`, n-1) + `) v STRAIGHT_JOIN signet_sessions s ON s.id = v.id` +
			strings.ReplaceAll(set, "@", "s.") + `WHERE s.version = v.version`)
	}
	return d.sql(`WITH v (id, version, keep_from, keep_to, revoked, data) AS (VALUES (CAST(? AS TEXT), CAST(? AS BIGINT),
		CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS TEXT))` +
		strings.Repeat(`, (?, ?, ?, ?, ?, ?)`, n-1) + `) UPDATE signet_sessions AS s` +
		strings.ReplaceAll(set, "@", "") + `FROM v WHERE s.id = v.id AND s.version = v.version`)
}
