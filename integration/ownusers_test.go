package integration

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
	"github.com/signet-go/signet/userstore/storetest"
)

// The README's user store, word for word (TestSnippets).

// Users finds users in a table of the shop.
type Users struct{ DB *sql.DB }

func (u Users) FindByEmail(ctx context.Context, email string) (userstore.User, error) {
	return u.find(ctx, "email = ?", userstore.NormalizeEmail(email))
}

func (u Users) FindByID(ctx context.Context, id string) (userstore.User, error) {
	return u.find(ctx, "id = ?", number(id))
}

// number is an id as the table has it, so that the database uses its index. It is 0, which no row has, for any other text.
func number(id string) int64 {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != id {
		return 0
	}
	return n
}

func (u Users) find(ctx context.Context, where string, value any) (userstore.User, error) {
	var user userstore.User
	var role, name string
	row := u.DB.QueryRowContext(ctx, "SELECT id, email, COALESCE(password, ''), role, name, blocked FROM users WHERE "+where, value)
	err := row.Scan(&user.ID, &user.Email, &user.PasswordHash, &role, &name, &user.Disabled)
	if errors.Is(err, sql.ErrNoRows) {
		return userstore.User{}, userstore.ErrNotFound // and only then: any other error is answered 503
	}
	user.Roles, user.Profile = []string{role}, map[string]any{"name": name}
	return user, err
}

func (u Users) UpdatePasswordHash(ctx context.Context, id, oldHash, newHash string) error {
	_, err := u.DB.ExecContext(ctx, "UPDATE users SET password = ? WHERE id = ? AND COALESCE(password, '') = ?", newHash, number(id), oldHash)
	return err
}

// The two methods of docs/login.md, for SQLite.

func (u Users) Factor(ctx context.Context, userID, name string) (value []byte, err error) {
	row := u.DB.QueryRowContext(ctx, "SELECT value FROM factors WHERE user_id = ? AND name = ?", number(userID), name)
	if err = row.Scan(&value); errors.Is(err, sql.ErrNoRows) || err == nil && len(value) == 0 {
		return nil, userstore.ErrNotFound
	}
	return value, err
}

func (u Users) ReplaceFactor(ctx context.Context, userID, name string, oldValue, newValue []byte) error {
	if err := userstore.ValidateFactor(name, newValue); err != nil {
		return err
	}
	// An empty value is none, so there is always a row to change.
	_, err := u.DB.ExecContext(ctx, "INSERT INTO factors SELECT id, ?, x'' FROM users WHERE id = ? ON CONFLICT DO NOTHING", name, number(userID))
	if err != nil {
		return err
	}
	result, err := u.DB.ExecContext(ctx, "UPDATE factors SET value = ? WHERE user_id = ? AND name = ? AND value = ?",
		append([]byte{}, newValue...), number(userID), name, append([]byte{}, oldValue...)) // nil would be NULL
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n == 1 || err != nil {
		return err
	}
	if _, err := u.FindByID(ctx, userID); err != nil {
		return err
	}
	return userstore.ErrConflict
}

type withoutFactors struct {
	userstore.Store
	userstore.PasswordUpdater
}

// TestTheUserStoreOfTheREADME runs it on the databases that write ? for a parameter.
func TestTheUserStoreOfTheREADME(t *testing.T) {
	for _, kind := range []store{sqlite, mariadb} {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.host(t).fresh(t).database
			db := openSQL(t, *d)
			hash, err := password.Bcrypt{Cost: 4}.Hash("changeme")
			require.NoError(t, err)
			text := "VARCHAR(255)"
			if kind.name == mariadb.name {
				text += " COLLATE utf8mb4_nopad_bin"
			}
			statements := []string{
				`CREATE TABLE users (id INTEGER PRIMARY KEY, email ` + text + ` NOT NULL UNIQUE, password ` + text + `, role ` + text + ` NOT NULL,
					name ` + text + ` NOT NULL, blocked INTEGER NOT NULL DEFAULT 0)`,
				`INSERT INTO users VALUES (7, 'jörg@mail.com', '` + hash + `', 'admin', 'Jörg', 0)`,
				`INSERT INTO users VALUES (8, 'ada@mail.com', NULL, 'customer', 'Ada', 0)`, // she came by social login
				`CREATE TABLE factors (user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE, name ` + text + ` NOT NULL, value BLOB NOT NULL,
					PRIMARY KEY (user_id, name))`,
			}
			for _, statement := range statements {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			users := Users{db}
			jorg := userstore.User{ID: "7", Email: "jörg@mail.com", PasswordHash: hash, Roles: []string{"admin"}, Profile: map[string]any{"name": "Jörg"}}
			if kind.name == sqlite.name {
				storetest.RunReadOnly(t, users, jorg)
			} else { // ON CONFLICT is not for MariaDB
				storetest.RunReadOnly(t, withoutFactors{users, users}, jorg)
			}

			auth := newAuth(t, users, &session.Memory{}, signet.WithPasswordHasher(password.Bcrypt{Cost: 4}))
			_, err = auth.Login(t.Context(), " JÖRG@Mail.com", "changeme")
			require.NoError(t, err)
			require.NoError(t, auth.SetPassword(t.Context(), "8", "her first password"))
			_, err = auth.Login(t.Context(), "ada@mail.com", "her first password")
			require.NoError(t, err)
		})
	}
}
