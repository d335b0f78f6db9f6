package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/signet-go/signet/userstore"
)

var errNoFactor = fmt.Errorf("%w, or the user has no such factor", userstore.ErrNotFound)

// Factor implements [userstore.FactorStore].
func (s *Users) Factor(ctx context.Context, userID, name string) ([]byte, error) {
	if !s.dialect.holds(userID) || !s.dialect.holds(name) {
		return nil, errNoFactor
	}
	var value []byte
	row := queryRow(ctx, s.db, s.dialect.sql(`SELECT value FROM signet_factors WHERE user_id = ? AND name = ?`),
		userID, name)
	err := row.Scan(&value)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, errNoFactor
	case err != nil:
		return nil, fmt.Errorf("sqlstore: factor: %w", err)
	}
	return value, nil
}

// ReplaceFactor implements [userstore.FactorStore]. It is one statement, so that processes need no lock and no transaction.
func (s *Users) ReplaceFactor(ctx context.Context, userID, name string, oldValue, newValue []byte) error {
	if err := userstore.ValidateFactor(name, newValue); err != nil {
		return err
	}
	if !s.dialect.holds(userID) {
		return notFound(userID)
	}
	if bytes.Equal(oldValue, newValue) { // MariaDB does not count a row that a statement leaves as it is
		return s.compareFactor(ctx, userID, name, oldValue, true)
	}
	query, args := s.replaceFactor(userID, name, oldValue, newValue)
	n, err := s.exec(ctx, query, args...)
	switch {
	case err != nil:
		return s.explainFactor(ctx, userID, err)
	case n == 0:
		return s.compareFactor(ctx, userID, name, oldValue, false)
	}
	return nil
}

// replaceFactor returns a statement that changes a row only if the stored value is the old one. A statement for a new row
// makes none if there is one already, or if there is no such user.
func (s *Users) replaceFactor(userID, name string, oldValue, newValue []byte) (query string, args []any) {
	switch {
	case len(newValue) == 0:
		return `DELETE FROM signet_factors WHERE user_id = ? AND name = ? AND value = ?`, []any{userID, name, oldValue}
	case len(oldValue) > 0:
		return `UPDATE signet_factors SET value = ? WHERE user_id = ? AND name = ? AND value = ?`,
			[]any{newValue, userID, name, oldValue}
	case s.dialect == MariaDB:
		return `INSERT IGNORE INTO signet_factors (user_id, name, value) SELECT id, ?, ? FROM signet_users WHERE id = ?`,
			[]any{name, newValue, userID}
	case s.dialect == PostgreSQL:
		return `INSERT INTO signet_factors (user_id, name, value) SELECT id, CAST(? AS text), CAST(? AS bytea)
			FROM signet_users WHERE id = ? ON CONFLICT (user_id, name) DO NOTHING`, []any{name, newValue, userID}
	default:
		return `INSERT INTO signet_factors (user_id, name, value) SELECT id, ?, ? FROM signet_users WHERE id = ?
			ON CONFLICT (user_id, name) DO NOTHING`, []any{name, newValue, userID}
	}
}

// compareFactor returns the reason why a statement changed no row: there is no such user, or the value is another one. If
// it is allowed to be equal, an equal value is no error.
func (s *Users) compareFactor(ctx context.Context, userID, name string, oldValue []byte, equal bool) error {
	value, err := s.Factor(ctx, userID, name)
	if errors.Is(err, userstore.ErrNotFound) {
		_, err = s.FindByID(ctx, userID)
	}
	switch {
	case errors.Is(err, userstore.ErrNotFound):
		return notFound(userID)
	case err != nil:
		return err
	case equal && bytes.Equal(value, oldValue):
		return nil
	}
	return userstore.ErrConflict
}

// explainFactor returns ErrNotFound for the error of a statement if the user was deleted while it ran.
func (s *Users) explainFactor(ctx context.Context, userID string, err error) error {
	if _, lookErr := s.FindByID(ctx, userID); errors.Is(lookErr, userstore.ErrNotFound) {
		return notFound(userID)
	}
	return fmt.Errorf("sqlstore: replace factor: %w", err)
}
