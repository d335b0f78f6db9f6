// Package userstore defines what signet must know about users: the User, the Store that a host supplies, and an
// in-memory Store for tests, examples and small programs. SQL is the same on database/sql, for hosts that have no user
// table of their own.
package userstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Errors that stores return, possibly wrapped; test with errors.Is.
var (
	// ErrNotFound says that no such user exists.
	ErrNotFound = errors.New("userstore: no such user")
	// ErrExists says that another user has that id or e-mail address already.
	ErrExists = errors.New("userstore: id or e-mail address taken")
	// ErrInvalid says that a user cannot be stored: its id or its e-mail address is empty.
	ErrInvalid = errors.New("userstore: id and e-mail address must not be empty")
)

// User is one account. Its printed, logged and JSON forms leave the password hash out.
type User struct {
	// ID becomes the subject ("sub") of the user's tokens. It must be unique, must never change and must never be given
	// to another user. A decimal number up to 2^53-1 is shown as a JSON number in the profile.
	ID string `json:"id"`
	// Email is the name that the user logs in with. Stores match it by NormalizeEmail.
	Email string `json:"email"`
	// PasswordHash is the string that a password.Hasher made. Empty: the user cannot log in with a password.
	PasswordHash string `json:"-"`
	// Roles are the user's roles; the first is the "role" of the profile.
	Roles []string `json:"roles,omitempty"`
	// Disabled users can neither log in nor refresh.
	Disabled bool `json:"disabled,omitempty"`
	// Profile holds further members of the profile answer, such as "name" and "avatar". Values must be JSON-encodable.
	Profile map[string]any `json:"profile,omitempty"`
}

// Format implements fmt.Formatter, so that printing does not show the password hash. Package fmt cannot call it for a User
// in an unexported field of another type, nor for %p and %w, which go vet reports: do not print those.
func (u User) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "User{ID:%q Email:%q Roles:%q Disabled:%t}", u.ID, u.Email, u.Roles, u.Disabled)
}

// LogValue implements slog.LogValuer without the password hash.
func (u User) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", u.ID), slog.String("email", u.Email), slog.Any("roles", u.Roles),
		slog.Bool("disabled", u.Disabled))
}

// Store finds users. Implementations MUST be safe for concurrent use, MUST return a User that the caller may change
// without changing the store, and MUST return an error that is ErrNotFound (errors.Is) when there is no such user, and
// only then: any other error means that the store could not answer, and is reported to clients as 503.
//
// The conformance kit is package userstore/storetest.
type Store interface {
	// FindByEmail returns the user whose NormalizeEmail(Email) equals NormalizeEmail(email).
	FindByEmail(ctx context.Context, email string) (User, error)
	// FindByID returns the user with exactly that ID.
	FindByID(ctx context.Context, id string) (User, error)
}

// PasswordUpdater is an optional interface of a Store that can take a better hash of an unchanged password. It MUST
// store newHash only if the user's hash still is oldHash, in one atomic step (otherwise a password that was changed
// meanwhile would come back), and return nil when it is not, having changed nothing.
type PasswordUpdater interface {
	UpdatePasswordHash(ctx context.Context, id, oldHash, newHash string) error
}

// NormalizeEmail returns the form of an address by which stores must compare: without surrounding white space, in lower
// case, in Unicode normalisation form C. Two spellings that look alike on the screen are thus one account. Addresses
// that differ in dots or +tags are different, as most mail servers see them.
func NormalizeEmail(email string) string {
	return norm.NFC.String(strings.ToLower(norm.NFC.String(strings.TrimSpace(email))))
}

// validate is what every store in this package asks of a user before it writes it.
func (u User) validate() error {
	if u.ID == "" || NormalizeEmail(u.Email) == "" {
		return ErrInvalid
	}
	return nil
}
