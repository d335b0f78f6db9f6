package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/signet-go/signet/session"
)

// Sessions is a [session.Store] in the table signet_sessions. A refresh costs two round trips. The first one reads the row
// and the database's clock. The second one writes the new row if nobody has changed the row in between. No transaction stays
// open, so a process that dies blocks no other process. Sessions is safe for concurrent use.
type Sessions struct {
	db      *sql.DB
	dialect Dialect
	queries queries
}

type queries struct{ now, read, insert, update, list, revoked, remove string }

// NewSessions returns a store on db. The host closes db. Call [Migrate] before the first use. With go-sql-driver/mysql, set
// interpolateParams=true. Otherwise every query costs a second round trip.
func NewSessions(db *sql.DB, dialect Dialect) (*Sessions, error) {
	if err := check(db, dialect); err != nil {
		return nil, err
	}
	// The subquery reads the clock only once, so the database can use the index. Without it PostgreSQL reads the clock for
	// every row.
	remove := `DELETE FROM signet_sessions WHERE id IN
		(SELECT id FROM signet_sessions WHERE keep_until < (SELECT NOW_MS) LIMIT ?)`
	if dialect == MariaDB { // MariaDB allows no LIMIT in such a subquery, but it allows one in DELETE
		remove = `DELETE FROM signet_sessions WHERE keep_until < NOW_MS LIMIT ?`
	}
	return &Sessions{db: db, dialect: dialect, queries: queries{
		now:  dialect.sql(`SELECT NOW_MS`),
		read: dialect.sql(`SELECT version, data, NOW_MS FROM signet_sessions WHERE id = ?`),
		insert: dialect.sql(`INSERT INTO signet_sessions (id, user_id, version, keep_until, revoked_at, data)
			VALUES (?, ?, 1, ?, CASE WHEN ? = 1 THEN NOW_MS ELSE 0 END, ?)`),
		// revoked_at is the time of this write, not of the decision: see session.Store.RevokedSince.
		update: dialect.sql(`UPDATE signet_sessions SET version = version + 1, keep_until = ?,
			revoked_at = CASE WHEN ? = 0 THEN 0 WHEN revoked_at > 0 THEN revoked_at ELSE NOW_MS END, data = ?
			WHERE id = ? AND version = ?`),
		list: dialect.sql(`SELECT data FROM signet_sessions WHERE user_id = ?`),
		// In PostgreSQL and SQLite the index has only the rows with "revoked_at > 0". They use it only for a query that has
		// this condition too.
		revoked: dialect.sql(`SELECT id, keep_until FROM signet_sessions
			WHERE revoked_at > 0 AND revoked_at >= ? AND keep_until > ?`),
		remove: dialect.sql(remove),
	}}, nil
}

// Create implements [session.Store].
func (s *Sessions) Create(ctx context.Context, make func(session.Millis) (session.Session, error)) error {
	var now session.Millis
	if err := s.db.QueryRowContext(ctx, s.queries.now).Scan(&now); err != nil {
		return fmt.Errorf("sqlstore: create: %w", err)
	}
	row, err := make(now)
	if err != nil {
		return err
	}
	data, err := row.MarshalJSON()
	if err != nil {
		return fmt.Errorf("sqlstore: create: %w", err)
	}
	_, err = s.db.ExecContext(ctx, s.queries.insert, row.ID, row.UserID, row.KeepUntil, flag(row.Revoked()), data)
	if err != nil {
		return fmt.Errorf("sqlstore: create: %w", err)
	}
	return nil
}

// Update implements [session.Store] by compare and swap.
func (s *Sessions) Update(ctx context.Context, id string,
	change func(session.Session, session.Millis) (session.Session, error)) error {
	for attempt := 0; ; attempt++ {
		row, version, now, err := s.read(ctx, id)
		if err != nil {
			return err
		}
		after, err := change(row, now)
		if err != nil || after == row {
			return err
		}
		if done, err := s.swap(ctx, after, version); done || err != nil {
			return err
		}
		if err := pause(ctx, attempt); err != nil { // another process changed the row first
			return fmt.Errorf("sqlstore: update: %w", err)
		}
	}
}

func (s *Sessions) read(ctx context.Context, id string) (row session.Session, version int64, now session.Millis, err error) {
	if !s.dialect.holds(id) {
		return row, 0, 0, session.ErrNotFound
	}
	var data []byte
	err = s.db.QueryRowContext(ctx, s.queries.read, id).Scan(&version, &data, &now)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return row, 0, 0, session.ErrNotFound
	case err == nil:
		err = row.UnmarshalJSON(data)
	}
	if err != nil {
		return row, 0, 0, fmt.Errorf("sqlstore: read: %w", err)
	}
	return row, version, now, nil
}

// swap writes a row if its version is still the one that was read.
func (s *Sessions) swap(ctx context.Context, row session.Session, version int64) (done bool, err error) {
	data, err := row.MarshalJSON()
	if err != nil {
		return false, fmt.Errorf("sqlstore: update: %w", err)
	}
	result, err := s.db.ExecContext(ctx, s.queries.update, row.KeepUntil, flag(row.Revoked()), data, row.ID, version)
	if err != nil {
		return false, fmt.Errorf("sqlstore: update: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("sqlstore: update: %w", err)
	}
	return n == 1, nil
}

// ListByUser implements [session.Store].
func (s *Sessions) ListByUser(ctx context.Context, userID string) ([]session.Session, error) {
	if !s.dialect.holds(userID) {
		return nil, nil // nobody has such an id
	}
	rows, err := s.db.QueryContext(ctx, s.queries.list, userID)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: list: %w", err)
	}
	defer rows.Close()
	var list []session.Session
	for rows.Next() {
		var data []byte
		var row session.Session
		if err := rows.Scan(&data); err != nil {
			return nil, fmt.Errorf("sqlstore: list: %w", err)
		}
		if err := row.UnmarshalJSON(data); err != nil {
			return nil, fmt.Errorf("sqlstore: list: %w", err)
		}
		list = append(list, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sqlstore: list: %w", err)
	}
	return list, nil
}

// RevokedSince implements [session.Store].
func (s *Sessions) RevokedSince(ctx context.Context, since session.Millis,
	each func(string, session.Millis)) (session.Millis, error) {
	var now session.Millis
	if err := s.db.QueryRowContext(ctx, s.queries.now).Scan(&now); err != nil {
		return 0, fmt.Errorf("sqlstore: revoked: %w", err)
	}
	rows, err := s.db.QueryContext(ctx, s.queries.revoked, max(1, since), now)
	if err != nil {
		return 0, fmt.Errorf("sqlstore: revoked: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var keepUntil session.Millis
		if err := rows.Scan(&id, &keepUntil); err != nil {
			return 0, fmt.Errorf("sqlstore: revoked: %w", err)
		}
		each(id, keepUntil)
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("sqlstore: revoked: %w", err)
	}
	return now, nil
}

// DeleteExpired implements [session.Store].
func (s *Sessions) DeleteExpired(ctx context.Context, limit int) (int, error) {
	result, err := s.db.ExecContext(ctx, s.queries.remove, limit)
	if err != nil {
		return 0, fmt.Errorf("sqlstore: delete expired: %w", err)
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// flag returns a truth value in the form that every dialect accepts.
func flag(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
