package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/signet-go/signet/session"
)

// maxBatch is how many rows one statement of UpdateBatch reads or writes.
const maxBatch = 256

// UpdateBatch implements [session.Batcher] with two statements for every 256 sessions.
func (s *Sessions) UpdateBatch(ctx context.Context, ids []string,
	change func(row session.Session, now session.Millis) session.Session) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !s.dialect.holds(id) })
	slices.Sort(ids)
	for some := range slices.Chunk(slices.Compact(ids), maxBatch) {
		changed, err := s.changeBatch(ctx, some, change)
		if err == nil && len(changed) > 0 {
			err = s.writeBatch(ctx, changed)
		}
		if err != nil {
			return fmt.Errorf("sqlstore: update batch: %w", err)
		}
	}
	return nil
}

// changeBatch reads rows, and returns those that change has changed.
func (s *Sessions) changeBatch(ctx context.Context, ids []string,
	change func(session.Session, session.Millis) session.Session) (changed []storedRow, err error) {
	var args []any
	for i := range padded(len(ids)) {
		args = append(args, ids[min(i, len(ids)-1)])
	}
	rows, err := s.db.QueryContext(ctx, s.dialect.sql(`SELECT NOW_MS, version, data FROM signet_sessions
		WHERE id IN (?`+strings.Repeat(", ?", len(args)-1)+`)`), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []storedRow
	for rows.Next() {
		var row storedRow
		var data []byte
		if err := rows.Scan(&row.now, &row.version, &data); err != nil {
			return nil, err
		}
		if err := row.UnmarshalJSON(data); err != nil {
			return nil, err
		}
		found = append(found, row)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	rows.Close() // before change: there may be only one connection
	for _, row := range found {
		if after := change(row.Session, row.now); after != row.Session {
			row.Session = after
			changed = append(changed, row)
		}
	}
	return changed, nil
}

// writeBatch writes the rows that still have their version.
func (s *Sessions) writeBatch(ctx context.Context, rows []storedRow) error {
	var args []any
	for i := range padded(len(rows)) {
		row := rows[min(i, len(rows)-1)]
		data, err := row.MarshalJSON()
		if err != nil {
			return err
		}
		from, to := keep(row.Session)
		args = append(args, row.ID, row.version, from, to, flag(row.Revoked()), data)
	}
	query := s.dialect.batch(len(args) / 6)
	for attempt := 0; ; attempt++ {
		_, err := s.db.ExecContext(ctx, query, args...)
		if !collided(err) {
			return err
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
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
	const set = ` SET @version = s.version + 1, @pos = NULL, @data = v.data,
		@keep_until = CASE WHEN s.keep_until BETWEEN v.keep_from AND v.keep_to THEN s.keep_until ELSE v.keep_to END,
		@revoked_at = CASE WHEN v.revoked = 0 THEN 0 WHEN s.revoked_at > 0 THEN s.revoked_at ELSE NOW_MS END `
	if d == MariaDB { // only there a column of the changed table may have the name of the table
		return d.sql(`UPDATE (SELECT ? AS id, ? AS version, ? AS keep_from, ? AS keep_to, ? AS revoked, ? AS data` +
			strings.Repeat(` UNION ALL SELECT ?, ?, ?, ?, ?, ?`, n-1) + `) v STRAIGHT_JOIN signet_sessions s ON s.id = v.id` +
			strings.ReplaceAll(set, "@", "s.") + `WHERE s.version = v.version`)
	}
	return d.sql(`WITH v (id, version, keep_from, keep_to, revoked, data) AS (VALUES (CAST(? AS TEXT), CAST(? AS BIGINT),
		CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS TEXT))` +
		strings.Repeat(`, (?, ?, ?, ?, ?, ?)`, n-1) + `) UPDATE signet_sessions AS s` +
		strings.ReplaceAll(set, "@", "") + `FROM v WHERE s.id = v.id AND s.version = v.version`)
}
