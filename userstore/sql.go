package userstore

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/signet-go/signet/internal/sqlkit"
)

// Dialect names a database's kind of SQL.
type Dialect = sqlkit.Dialect

// The databases that SQL works on.
const (
	PostgreSQL = sqlkit.PostgreSQL // and its wire-compatible clusters
	SQLite     = sqlkit.SQLite     // open it with a busy timeout and WAL
	MariaDB    = sqlkit.MariaDB    // and MySQL 8
)

//go:embed migrations
var migrations embed.FS

// SQL is a Store in the table signet_users of a SQL database, for hosts that have no user table of their own. It imports
// no driver. It is safe for concurrent use by any number of processes.
type SQL struct {
	db      *sql.DB
	dialect Dialect
}

// NewSQL returns a store on db, which the host closes. Call Migrate before the first use.
func NewSQL(db *sql.DB, dialect Dialect) (*SQL, error) {
	if err := sqlkit.Check(db, dialect); err != nil {
		return nil, fmt.Errorf("userstore: %w", err)
	}
	return &SQL{db: db, dialect: dialect}, nil
}

// Migrate makes the table, or brings it to the version of this package. Any number of processes may call it at once.
func (s *SQL) Migrate(ctx context.Context) error {
	if err := sqlkit.Migrate(ctx, s.db, s.dialect, "users", migrations); err != nil {
		return fmt.Errorf("userstore: migrate: %w", err)
	}
	return nil
}

// Add stores a new user. It returns ErrInvalid or ErrExists.
func (s *SQL) Add(ctx context.Context, user User) error {
	columns, err := s.columns(user)
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, `INSERT INTO signet_users (email_key, email, password_hash, roles, disabled, profile, id)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, columns...)
	return s.explain(ctx, "add", user, err, true)
}

// Update replaces the user with the same ID. It returns ErrNotFound, ErrInvalid, or ErrExists when another user has the
// new e-mail address.
func (s *SQL) Update(ctx context.Context, user User) error {
	columns, err := s.columns(user)
	if err != nil {
		return err
	}
	if !s.dialect.Holds(user.ID) {
		return fmt.Errorf("%w: id %q", ErrNotFound, user.ID)
	}
	n, err := s.exec(ctx, `UPDATE signet_users SET email_key = ?, email = ?, password_hash = ?, roles = ?, disabled = ?,
		profile = ? WHERE id = ?`, columns...)
	if err == nil && n == 0 { // no such row, or, by MariaDB's count, nothing to change in it
		_, err := s.FindByID(ctx, user.ID)
		return err
	}
	return s.explain(ctx, "update", user, err, false)
}

// Delete removes the user with that ID, or returns ErrNotFound.
func (s *SQL) Delete(ctx context.Context, id string) error {
	if !s.dialect.Holds(id) {
		return fmt.Errorf("%w: id %q", ErrNotFound, id)
	}
	n, err := s.exec(ctx, `DELETE FROM signet_users WHERE id = ?`, id)
	if err != nil {
		return fmt.Errorf("userstore: delete: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("%w: id %q", ErrNotFound, id)
	}
	return nil
}

// FindByEmail implements Store.
func (s *SQL) FindByEmail(ctx context.Context, email string) (User, error) {
	return s.find(ctx, "email_key", NormalizeEmail(email))
}

// FindByID implements Store.
func (s *SQL) FindByID(ctx context.Context, id string) (User, error) { return s.find(ctx, "id", id) }

// UpdatePasswordHash implements PasswordUpdater.
func (s *SQL) UpdatePasswordHash(ctx context.Context, id, oldHash, newHash string) error {
	_, err := s.exec(ctx, `UPDATE signet_users SET password_hash = ? WHERE id = ? AND password_hash = ?`, newHash, id, oldHash)
	if err != nil {
		return fmt.Errorf("userstore: update password hash: %w", err)
	}
	return nil
}

func (s *SQL) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, s.dialect.SQL(query), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// columns are a user's values, the id last.
func (s *SQL) columns(user User) ([]any, error) {
	if err := user.validate(); err != nil {
		return nil, err
	}
	roles, err := json.Marshal(user.Roles)
	if err != nil {
		return nil, fmt.Errorf("userstore: roles: %w", err)
	}
	profile, err := json.Marshal(user.Profile)
	if err != nil {
		return nil, fmt.Errorf("userstore: profile: %w", err)
	}
	disabled := 0
	if user.Disabled {
		disabled = 1
	}
	return []any{NormalizeEmail(user.Email), user.Email, user.PasswordHash, string(roles), disabled, string(profile), user.ID}, nil
}

// explain tells a taken id or address from other failures. Every driver has its own error for it; a look tells as well.
func (s *SQL) explain(ctx context.Context, what string, user User, err error, added bool) error {
	if err == nil {
		return nil
	}
	if other, lookErr := s.FindByEmail(ctx, user.Email); lookErr == nil && (added || other.ID != user.ID) {
		return fmt.Errorf("%w: id %q", ErrExists, user.ID)
	}
	if _, lookErr := s.FindByID(ctx, user.ID); lookErr == nil && added {
		return fmt.Errorf("%w: id %q", ErrExists, user.ID)
	}
	return fmt.Errorf("userstore: %s: %w", what, err)
}

func (s *SQL) find(ctx context.Context, column, value string) (User, error) {
	if !s.dialect.Holds(value) {
		return User{}, ErrNotFound
	}
	var user User
	var roles, profile []byte
	var disabled int
	row := s.db.QueryRowContext(ctx, s.dialect.SQL(`SELECT id, email, password_hash, roles, disabled, profile FROM signet_users
		WHERE `+column+` = ?`), value)
	err := row.Scan(&user.ID, &user.Email, &user.PasswordHash, &roles, &disabled, &profile)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return User{}, ErrNotFound
	case err != nil:
		return User{}, fmt.Errorf("userstore: find: %w", err)
	}
	user.Disabled = disabled != 0
	if err := json.Unmarshal(roles, &user.Roles); err != nil {
		return User{}, fmt.Errorf("userstore: roles of %q: %w", user.ID, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(profile))
	decoder.UseNumber() // an integer of the host must not come back as a float
	if err := decoder.Decode(&user.Profile); err != nil {
		return User{}, fmt.Errorf("userstore: profile of %q: %w", user.ID, err)
	}
	return user, nil
}
