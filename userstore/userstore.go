// Package userstore says what signet must know about users: the [User], and the [Store] that a host supplies. [Memory]
// is a store in memory, for tests, examples and small programs. Package sqlstore has a store for hosts that have no
// user table of their own.
package userstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Errors that stores return, possibly wrapped; test with errors.Is.
var (
	// ErrNotFound says that no such user exists.
	ErrNotFound = errors.New("userstore: no such user")
	// ErrExists says that another user has that id or e-mail address already.
	ErrExists = errors.New("userstore: id or e-mail address taken")
	// ErrInvalid says that a user cannot be stored; see [User.Validate].
	ErrInvalid = errors.New("userstore: the id or the e-mail address is empty, too long, or not plain text")
)

// User is one account. Its printed, logged and JSON forms do not show the password hash and the attributes.
type User struct {
	// ID becomes the subject ("sub") of the user's tokens. It must be unique, must never change and must never be given
	// to another user. A decimal number up to 2^53-1 is shown as a JSON number in the profile.
	ID string `json:"id"`

	// Email is the name that the user logs in with. Stores match it by NormalizeEmail.
	Email string `json:"email"`

	// PasswordHash is the string that a password.Hasher made. If it is empty, the user cannot log in with a password.
	PasswordHash string `json:"-"`

	// Roles are the user's roles. The first one is the "role" of the profile.
	Roles []string `json:"roles,omitempty"`

	// Disabled users can neither log in nor refresh.
	Disabled bool `json:"disabled,omitempty"`

	// Profile holds further members of the profile answer, such as "name" and "avatar". Whoever may see the profile sees
	// them. Values must be JSON-encodable. A store may keep them as JSON: then sqlstore returns a number as json.Number, a time
	// as a string and a list as []any, while Memory returns what was stored.
	Profile map[string]any `json:"profile,omitempty"`

	// Attributes are for the host alone, for example a tenant that its function for signet.WithClaims reads. No answer
	// shows them. Values must be JSON-encodable, and come back as those of Profile do.
	Attributes map[string]any `json:"-"`
}

// Format implements [fmt.Formatter], so that printing does not show the password hash. Package fmt cannot call it for a
// User in an unexported field of another type, so do not print such values. It cannot call it for the verbs %p and %w
// either, and go vet reports these.
func (u User) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "User{ID:%q Email:%q Roles:%q Disabled:%t}", u.ID, u.Email, u.Roles, u.Disabled)
}

// LogValue implements [slog.LogValuer] without the password hash.
func (u User) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", u.ID), slog.String("email", u.Email), slog.Any("roles", u.Roles),
		slog.Bool("disabled", u.Disabled))
}

// Store finds users. Implementations MUST be safe for concurrent use, MUST return a User that the caller may change
// without changing the store, and MUST return an error that is ErrNotFound (errors.Is) when there is no such user, and
// only then. Any other error means that the store could not answer, and the client is answered 503. Every method honours
// ctx: it returns an error when ctx has ended.
//
// The conformance kit is package userstore/storetest.
type Store interface {
	// FindByEmail returns the user whose NormalizeEmail(Email) equals NormalizeEmail(email).
	FindByEmail(ctx context.Context, email string) (User, error)
	// FindByID returns the user with exactly that ID.
	FindByID(ctx context.Context, id string) (User, error)
}

// PasswordUpdater is an optional interface of a Store that can change the hash of a password. It MUST store newHash only if the
// user's hash still is oldHash, in one atomic step. Otherwise a password that was changed in the meantime would come back. If
// the user's hash is another one, it MUST change nothing and return nil. The same holds if there is no such user. An error
// means that nobody knows whether the hash was stored: signet logs it at a login, and answers 503 to a new password. It MUST be safe
// for concurrent use.
type PasswordUpdater interface {
	UpdatePasswordHash(ctx context.Context, id, oldHash, newHash string) error
}

// Writer is a [Store] that can also write. [Memory] and sqlstore.Users are Writers. signet itself needs no Writer. It
// is for programs that manage users, and for the kit that checks such stores. A method that returns an error has changed
// nothing. Implementations MUST be safe for concurrent use.
type Writer interface {
	Store
	PasswordUpdater

	// Add stores a new user. It returns ErrInvalid for a user that [User.Validate] refuses, and ErrExists when another user
	// has its id or its normalised e-mail address.
	Add(ctx context.Context, user User) error
	// Update replaces all fields of the user with that ID but PasswordHash, which only UpdatePasswordHash changes. Otherwise a
	// program that reads a user, changes the name and writes the user back would bring back a password that was changed in the
	// meantime. Of all other fields, Disabled and Roles too, the last writer wins. It returns ErrNotFound when there
	// is none, ErrInvalid as Add does, and ErrExists when another user has the new address.
	Update(ctx context.Context, user User) error
	// Delete removes the user with exactly that ID, so that id and address are free again. It returns ErrNotFound when
	// there is none.
	Delete(ctx context.Context, id string) error
}

// NormalizeEmail returns the form of an address by which stores must compare. It has no white space around it, and it
// is in lower case and in Unicode normalisation form C. So two encodings of the same text are one account. Letters that
// only look alike, such as the Latin and the Cyrillic a, are different. Addresses that differ in dots or +tags are
// different, as most mail servers treat them.
//
// A domain with letters beyond ASCII stays as it is, and its other form, xn--..., is another address here. Chromium sends that
// form from an <input type="email">, and other browsers and apps do not: let the field be type="text" inputmode="email".
func NormalizeEmail(email string) string {
	return norm.NFC.String(strings.ToLower(norm.NFC.String(strings.TrimSpace(email))))
}

// The longest id and e-mail address that a user may have, in bytes.
const (
	maxID    = 1024
	maxEmail = 1024
)

// Validate returns [ErrInvalid] for a user that a store should not take: some database could not hold the user, or
// nobody could log in as the user. The id and the normalised e-mail address must be 1 to 1,024 bytes of UTF-8. The id
// must not hold a NUL, and the address must not hold a control character. The address as it is written must not be
// longer than 1,024 bytes either.
func (u User) Validate() error {
	email := NormalizeEmail(u.Email)
	switch {
	case u.ID == "", len(u.ID) > maxID, !utf8.ValidString(u.ID), strings.Contains(u.ID, "\x00"):
	case email == "", len(email) > maxEmail, len(u.Email) > maxEmail, !utf8.ValidString(u.Email),
		strings.ContainsFunc(email, unicode.IsControl):
	default:
		return nil
	}
	return ErrInvalid
}
