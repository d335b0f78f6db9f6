package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/signet-go/signet/userstore"
)

// Users is a [userstore.Store], a [userstore.Writer] and a [userstore.FactorStore] in the tables signet_users and
// signet_factors. It is for hosts that have no user table of their own. It is safe for concurrent use by any number of
// processes.
type Users struct{ database }

// NewUsers returns a store on db. The host closes db. Call [Migrate] before the first use. The error says that db is nil, or that
// the dialect is unknown.
func NewUsers(db *sql.DB, dialect Dialect) (*Users, error) {
	if err := check(db, dialect); err != nil {
		return nil, err
	}
	return &Users{newDatabase(db, dialect)}, nil
}

// Add implements [userstore.Writer].
func (s *Users) Add(ctx context.Context, user userstore.User) error {
	columns, err := s.columns(user)
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, `INSERT INTO signet_users
		(email_key, email, roles, disabled, profile, attributes, id, password_hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, append(columns, user.PasswordHash)...)
	return s.explain(ctx, "add", user, err)
}

// Update implements [userstore.Writer].
func (s *Users) Update(ctx context.Context, user userstore.User) error {
	columns, err := s.columns(user)
	if err != nil {
		return err
	}
	if !s.dialect.holds(user.ID) {
		return notFound(user.ID)
	}
	n, err := s.exec(ctx, `UPDATE signet_users SET email_key = ?, email = ?, roles = ?, disabled = ?, profile = ?, attributes = ?
		WHERE id = ?`, columns...)
	if err == nil && n == 0 { // no such row, or nothing to change: MariaDB does not count an unchanged row
		_, err := s.FindByID(ctx, user.ID)
		return err
	}
	return s.explain(ctx, "update", user, err)
}

// Delete implements [userstore.Writer].
func (s *Users) Delete(ctx context.Context, id string) error {
	if !s.dialect.holds(id) {
		return notFound(id)
	}
	n, err := s.exec(ctx, `DELETE FROM signet_users WHERE id = ?`, id)
	if err != nil {
		return fmt.Errorf("sqlstore: delete: %w", err)
	}
	if n == 0 {
		return notFound(id)
	}
	return nil
}

// FindByEmail implements [userstore.Store].
func (s *Users) FindByEmail(ctx context.Context, email string) (userstore.User, error) {
	return s.find(ctx, "email_key", userstore.NormalizeEmail(email))
}

// FindByID implements [userstore.Store].
func (s *Users) FindByID(ctx context.Context, id string) (userstore.User, error) {
	return s.find(ctx, "id", id)
}

// UpdatePasswordHash implements [userstore.PasswordUpdater].
func (s *Users) UpdatePasswordHash(ctx context.Context, id, oldHash, newHash string) error {
	if !s.dialect.holds(id) || !s.dialect.holds(oldHash) {
		return nil // there is no such user
	}
	_, err := s.exec(ctx, `UPDATE signet_users SET password_hash = ? WHERE id = ? AND password_hash = ?`,
		newHash, id, oldHash)
	if err != nil {
		return fmt.Errorf("sqlstore: update password hash: %w", err)
	}
	return nil
}

func notFound(id string) error { return fmt.Errorf("%w: id %q", userstore.ErrNotFound, id) }

func (s *Users) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return s.database.exec(ctx, s.dialect.sql(query), args...)
}

// columns returns the values of a user's columns but the hash. The id comes last.
func (s *Users) columns(user userstore.User) ([]any, error) {
	if err := user.Validate(); err != nil {
		return nil, err
	}
	roles, err := json.Marshal(user.Roles)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: roles: %w", err)
	}
	profile, err := json.Marshal(user.Profile)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: profile: %w", err)
	}
	attributes, err := json.Marshal(user.Attributes)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: attributes: %w", err)
	}
	return []any{userstore.NormalizeEmail(user.Email), user.Email, string(roles), flag(user.Disabled), string(profile), string(attributes),
		user.ID}, nil
}

// explain tells whether an error means that an id or an address is taken. Every driver has its own error for that, so
// explain looks for the user instead. A hash has a random salt, so a user with the same one is the user of this call.
func (s *Users) explain(ctx context.Context, what string, user userstore.User, err error) error {
	if err == nil {
		return nil
	}
	added := what == "add"
	if added && !taken(err) { // the connection may have ended after the user was stored
		if stored, lookErr := s.FindByID(ctx, user.ID); lookErr == nil && stored.Email == user.Email && user.PasswordHash != "" &&
			stored.PasswordHash == user.PasswordHash {
			return nil
		}
	}
	if other, lookErr := s.FindByEmail(ctx, user.Email); lookErr == nil && (added || other.ID != user.ID) {
		return fmt.Errorf("%w: id %q", userstore.ErrExists, user.ID)
	}
	if _, lookErr := s.FindByID(ctx, user.ID); lookErr == nil && added {
		return fmt.Errorf("%w: id %q", userstore.ErrExists, user.ID)
	}
	return fmt.Errorf("sqlstore: %s: %w", what, err)
}

func (s *Users) find(ctx context.Context, column, value string) (userstore.User, error) {
	if !s.dialect.holds(value) {
		return userstore.User{}, userstore.ErrNotFound
	}
	s.count()
	var user userstore.User
	var roles, profile, attributes []byte
	var disabled int
	into := []any{&user.ID, &user.Email, &user.PasswordHash, &roles, &disabled, &profile, &attributes}
	more := ""
	if column == "id" {
		// Some drivers get the statement of another request behind a pooler. With as many columns as that of the look-up by address
		// this would be "no such user", and end a session. With more of them it is an error. No other statement has so many.
		more, into = ", 1, 1", append(into, new(int), new(int))
	}
	row := queryRow(ctx, s.db, s.dialect.sql(`SELECT id, email, password_hash, roles, disabled, profile, attributes`+more+`
		FROM signet_users
		WHERE `+column+` = ?`), value)
	err := row.Scan(into...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return userstore.User{}, userstore.ErrNotFound
	case err != nil:
		return userstore.User{}, fmt.Errorf("sqlstore: find: %w", err)
	}
	user.Disabled = disabled != 0
	if err := json.Unmarshal(roles, &user.Roles); err != nil {
		return userstore.User{}, fmt.Errorf("sqlstore: roles of %q: %w", user.ID, err)
	}
	if err := decodeMap(profile, &user.Profile); err != nil {
		return userstore.User{}, fmt.Errorf("sqlstore: profile of %q: %w", user.ID, err)
	}
	if err := decodeMap(attributes, &user.Attributes); err != nil {
		return userstore.User{}, fmt.Errorf("sqlstore: attributes of %q: %w", user.ID, err)
	}
	return user, nil
}

func decodeMap(text []byte, into *map[string]any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // the host's integers must not come back as floats
	return decoder.Decode(into)
}
